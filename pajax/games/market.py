"""A market: a seller, the platform that it sells on, and a reputation that both live on.

States: reputation r (poor, fair, good) and stock z (scarce, ample), s = 2 r + z. The seller chooses
care and price together. Reputation brings d buyers; an ample stock serves them all, a scarce one
the share `scarce_supply`; at the action's price the share f of those buys.

          poor  fair  good                careful  standard  milk
    d      .5    .75   1       effort e     1        .5      0
                               price p     .3        .5     .8
                               share f      1       .75     .5

    q = d * (1 or scarce_supply) * f   sales
    u = p q + .3 (1 - e)               the seller: revenue, and the time that it spares
    v = q (1 - trust + trust * e)      the platform: volume, and trust from careful sales

    r   up one with probability .1 + .6 q e, down one with .1 + .6 q (1 - e), within its levels
    z   ample to scarce with probability .8 q, scarce to ample with .7; independent of r's move

All states are equally likely at first. With the defaults W* = 3.4702, rho . V0 = 2.4743,
W* - rho . V0 = 0.9959; without transfers the seller milks in every state, with welfare 2.5961,
74.8 % of W*. The welfare optimum is `careful` while stock is ample and `milk` while it is scarce.

No stateless contract is enough. Let x[a] >= 0 be paid for action a in every state. In the last step
the seller plays argmax_a u(s, a) + x[a]. There W* needs `careful` at (good, ample), where it has
u = .300 and `milk` .700, so x[careful] - x[milk] >= .400; and it needs `milk` at (poor, scarce),
where it has u = .320 and `careful` .015, so x[careful] - x[milk] <= .305. Every policy reaches both
states with positive probability. Hence no x attains W*, at any horizon, nor does one that changes
with the step; and whatever x is, in one of the two states the seller gains (.400 - .305) / 2 =
.0475 or more by leaving the target. The economics: the temptation to save on care grows with the
buyers, and so does the harm. What must be paid where they are many also buys care where they are
few, and there it is wasted.

Over all steps and states the seller's gain from leaving the optimum somewhere is .1157 or more (a
linear programme in x). The best stateless contract on a grid of .01 pays for care everywhere and
reaches 85.0 % of W*.
"""

import numpy as np

from pajax import _checks
from pajax.game import Game, make_game

STATES = tuple(f"{r}, {z}" for r in ("poor", "fair", "good") for z in ("scarce", "ample"))
ACTIONS = ("careful", "standard", "milk")

_BUYERS = (0.5, 0.75, 1.0)
_EFFORT = np.array([1.0, 0.5, 0.0])
_PRICE = np.array([0.3, 0.5, 0.8])
_SHARE = np.array([1.0, 0.75, 0.5])
_TIME = 0.3


def market(
    *,
    horizon: int = 5,
    scarce_supply: float = 0.1,
    trust: float = 0.9,
    noise: str = "bernoulli",
) -> Game:
    """A platform (the principal) and a seller (the agent): S = 6, A = 3, stationary.

    The game is pajax's own; `pajax.games.market` has its equations, and shows that no stateless
    contract attains W*.

    Args:
      horizon: H >= 1.
      scarce_supply: share of the buyers whom a scarce stock can serve, in [0, 1].
      trust: weight of care in what the platform earns from a sale, in [0, 1].
      noise: see `make_game`.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    _checks.in_range("scarce_supply", scarce_supply, 0.0, 1.0)
    _checks.in_range("trust", trust, 0.0, 1.0)
    sales = np.multiply.outer(np.outer(_BUYERS, (scarce_supply, 1.0)).ravel(), _SHARE)  # [S, A]
    reputation, stock = _reputation(sales), _stock(sales)
    return make_game(
        transition=(reputation[..., :, None] * stock[..., None, :]).reshape((6, 3, 6)),
        agent_reward=_PRICE * sales + _TIME * (1.0 - _EFFORT),
        principal_reward=sales * (1.0 - trust + trust * _EFFORT),
        initial=np.full(6, 1.0 / 6.0),
        horizon=horizon,
        noise=noise,
    )


def _reputation(sales: np.ndarray) -> np.ndarray:
    """Probabilities of the next reputation, [S, A, 3]."""
    level = np.arange(6)[:, None] // 2
    up = np.where(level < 2, 0.1 + 0.6 * sales * _EFFORT, 0.0)
    down = np.where(level > 0, 0.1 + 0.6 * sales * (1.0 - _EFFORT), 0.0)
    step = np.arange(3) - level[..., None]  # [S, 1, 3]
    moves = [step == 1, step == -1, step == 0]
    return np.select(moves, [x[..., None] for x in (up, down, 1.0 - up - down)])


def _stock(sales: np.ndarray) -> np.ndarray:
    """Probabilities of a scarce and of an ample stock next, [S, A, 2]."""
    is_ample = np.arange(6)[:, None] % 2 == 1
    ample = np.where(is_ample, 1.0 - 0.8 * sales, 0.7)
    return np.stack([1.0 - ample, ample], -1)
