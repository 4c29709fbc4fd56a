"""Insurance: moral hazard over time, with prevention that pays later and mostly pays others.

The insured has a risk class k (low, medium, high) and a history j (1 after a claim in the last
period, else 0); the state is s = 2 k + j. Its action a is an effort of prevention (none, some,
full), which takes off the share p(a) of what goes wrong:

    claim in this period    pi(s, a) = (1 - p(a)) claim(k) relapse^j,    then j' = 1, else 0
    class worsens by one    (1 - p(a)) worsening(j)
    class recovers by one   p(a) recovery

A claim costs 1. The insured bears the share c of it (co-insurance) and its effort, which is harder
for the sicker; the insurer bears the rest of the claim:

    insured's cost  c pi(s, a) + strain(k) effort_cost(a),        insurer's cost  (1 - c) pi(s, a).

Rewards are what is saved against the worst state and action, in one unit for both,

    u = (max cost - cost) / scale,   likewise v,   scale = the wider of the two ranges of costs,

so both lie in [0, 1] and welfare u + v adds up as money does. Transfers are rebates of premium. The
insured earns the share c of what its effort saves, now and later, and bears all of what it costs:
left alone it does too little.

With the default numbers (3 classes, horizon 5, c = 0.1) a reward unit is 0.531 of a claim, and
W* = 6.9769, rho . V0 = 3.3048, and without rebates the insured makes no effort at all, of welfare
5.3364, 76.5 % of W*. The welfare optimum is full effort in the classes medium and high (in the last
step in high alone) and none in low, where effort costs more than it saves. Some effort is a poor
bargain, for it prevents little. The best single rebate, for one effort in whatever state, reaches
84.8 % of W*: one that moves the sick buys needless effort of the healthy as well.
"""

from collections.abc import Sequence

import numpy as np

from pajax import _checks
from pajax.game import Game, make_game

CLASSES = ("low", "medium", "high")
ACTIONS = ("none", "some", "full")


def insurance(
    *,
    claim: Sequence[float] = (0.05, 0.25, 0.5),
    relapse: float = 1.2,
    prevention: Sequence[float] = (0.0, 0.3, 0.8),
    effort_cost: Sequence[float] = (0.0, 0.1, 0.25),
    strain: Sequence[float] = (1.0, 1.2, 1.5),
    coinsurance: float = 0.1,
    worsening: Sequence[float] = (0.05, 0.5),
    recovery: float = 0.8,
    initial: Sequence[float] = (0.2, 0.4, 0.4),
    horizon: int = 5,
    noise: str = "bernoulli",
) -> Game:
    """The insurance game: S = 2 K states s = 2 k + j, stationary, B = 1.

    The game is pajax's own; `pajax.games.insurance` has its equations.

    Args:
      claim: probability of a claim without effort or an earlier claim, [K].
      relapse: factor on it after a claim, at least 0; `max(claim) * relapse` at most 1.
      prevention: p, share of claims and of worsening that each effort prevents, [A] in [0, 1].
      effort_cost: what each effort costs the insured, [A], at least 0, in costs of a claim.
      strain: factor on it, by class, [K], at least 0.
      coinsurance: c, share of a claim that the insured bears, in [0, 1].
      worsening: probabilities without effort that the class worsens, (clean, after a claim).
      recovery: probability that the class recovers under an effort that prevents everything.
      initial: shares of the classes at the start, [K]; nobody has had a claim.
      horizon: H >= 1, periods.
      noise: see `make_game`.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    base = series("claim", claim, high=1.0)
    factor = float(_checks.in_range("relapse", relapse, 0.0, np.inf))
    rule = "keep claim * relapse at most 1"
    _checks.require(base.max() * factor <= 1.0, "relapse", relapse, rule)
    prevented = series("prevention", prevention, high=1.0)
    cost = series("effort_cost", effort_cost, like=prevented)
    burden = series("strain", strain, like=base)
    share = float(_checks.in_range("coinsurance", coinsurance, 0.0, 1.0))
    worse = series("worsening", worsening, high=1.0, like=np.zeros(2))
    better = float(_checks.in_range("recovery", recovery, 0.0, 1.0))
    start = series("initial", _checks.distribution("initial", initial), like=base)

    left = 1.0 - prevented
    claims = (base[:, None] * [1.0, factor])[:, :, None] * left  # [K, J, A]
    effort = burden[:, None, None] * cost
    u, v = savings(share * claims + effort, (1.0 - share) * claims)
    moves = class_moves(len(base), better * prevented, worse[:, None] * left)
    return make_game(
        transition=history_kernel(moves, claims),
        agent_reward=u,
        principal_reward=v,
        initial=np.stack([start, np.zeros_like(start)], 1).ravel(),
        horizon=horizon,
        noise=noise,
    )


def series(
    argument: str, values: Sequence[float] | np.ndarray, *, high: float = np.inf,
    like: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """`values` in [0, high] along one axis, not empty, or as long as `like`."""
    array = _checks.in_range(argument, values, 0.0, high)
    shape = f"shape {array.shape}"
    if like is not None:
        _checks.require(array.shape == like.shape, argument, shape, f"have shape {like.shape}")
    _checks.require(array.ndim == 1 and array.size > 0, argument, shape, "have one axis, not empty")
    return array


def class_moves(num_classes: int, down: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Probabilities of the next class, [K, J, A, K'], from those of one down and one up.

    These may be anything that broadcasts to [K, J, A]. A move that would leave the ladder stays.
    """
    shape = np.broadcast_shapes((num_classes, 1, 1), down.shape, up.shape)
    down, up = np.broadcast_to(down, shape), np.broadcast_to(up, shape)
    moves = np.zeros((*shape, num_classes))
    for k in range(num_classes):
        if k > 0:
            moves[k, ..., k - 1] = down[k]
        if k + 1 < num_classes:
            moves[k, ..., k + 1] = up[k]
        moves[k, ..., k] = 1.0 - moves[k].sum(-1)
    return moves


def history_kernel(moves: np.ndarray, claims: np.ndarray) -> np.ndarray:
    """The kernel [S, A, S'] over s = 2 k + j: the class moves, and independently a claim happens.

    `moves` is [K, J, A, K']; `claims` are the probabilities that j' = 1, [K, J, A].
    """
    num_classes, _, num_actions = claims.shape
    history = np.stack([1.0 - claims, claims], -1)  # [K, J, A, J']
    joint = moves[..., None] * history[..., None, :]  # [K, J, A, K', J']
    return joint.reshape(2 * num_classes, num_actions, 2 * num_classes)


def savings(insured: np.ndarray, insurer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rewards u and v, [S, A], of costs [K, J, A]: saved against each one's worst, in one unit."""
    saved = [cost.max() - cost for cost in (insured, insurer)]
    scale = max(float(part.max()) for part in saved)
    _checks.require(scale > 0.0, "costs", "one cost everywhere", "differ between states or actions")
    u, v = (part.reshape(-1, part.shape[-1]) / scale for part in saved)
    return u, v
