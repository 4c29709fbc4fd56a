"""The stateless case, S = H = 1: an agent's arms with a payoff externality.

`bandit` by default has W* = 1.25 (arm 1), while the agent left alone plays arm 4, of welfare 0.90.

With own actions of the principal it is the two-player game of BELGIC (Scheid, Capitaine, Boursier,
Moulines, Jordan and Durmus, NeurIPS 2024, arXiv:2406.19824): upstream, the agent, plays a and earns
u(a); downstream, the principal, plays b, earns v(a, b) and pays the transfers. Welfare is
W(a, b) = u(a) + v(a, b), and tau*(a) = max u - u(a).

`two_player_bandit` is such a game, a factory above a fishery. Arms: idle, filtered, partial, full
production; own actions: hold back, fish, farm.

    arm       u    tau*   v(hold back, fish, farm)   W(hold back, fish, farm)
    idle     .25   .55          .30  .60  .55               .55   .85   .80
    filtered .40   .40          .30  .45  .95               .70   .85  1.35
    partial  .65   .15          .25  .30  .20               .90   .95   .85
    full     .80   .00          .20  .10  .00              1.00   .90   .80

W* = 1.35 at (filtered, farm), u of the best arm 0.80, W* - max u = 0.55. Left alone the factory
runs at full; the fishery's best answer is to hold back, with welfare 1.00, 74.1 % of W*. That pair
cannot be left by one action at a time: while the fishery holds back, full is the arm with the best
welfare and the best v - tau*; while the factory runs at full, holding back is the best answer. The
efficient arm needs its own action: filtered with anything but farm is worse than 1.00.
"""

from typing import Any

import numpy as np

from pajax import _checks
from pajax.game import Game, make_game

UPSTREAM_ACTIONS = ("idle", "filtered", "partial", "full")
DOWNSTREAM_ACTIONS = ("hold back", "fish", "farm")

_AGENT_REWARD = (0.2, 0.35, 0.5, 0.65, 0.8)
_PRINCIPAL_REWARD = (0.55, 0.9, 0.5, 0.3, 0.1)
_UPSTREAM_REWARD = (0.25, 0.40, 0.65, 0.80)
_DOWNSTREAM_REWARD = (
    (0.30, 0.60, 0.55),
    (0.30, 0.45, 0.95),
    (0.25, 0.30, 0.20),
    (0.20, 0.10, 0.00),
)


def bandit(
    agent_reward: Any = _AGENT_REWARD,
    principal_reward: Any = _PRINCIPAL_REWARD,
    *,
    noise: str = "bernoulli",
) -> Game:
    """A bandit, S = H = 1 (see `pajax.games.bandit`).

    Args:
      agent_reward: mean u of each arm, [A], in [0, 1].
      principal_reward: mean v in [0, 1]: of each arm, [A], or of each arm and own action, [A, B].
      noise: see `make_game`.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    u, v = np.asarray(agent_reward), np.asarray(principal_reward)
    rule = "have axes [A], at least one arm"
    _checks.require(u.ndim == 1 and u.size > 0, "agent_reward", f"shape {u.shape}", rule)
    same = v.ndim in (1, 2) and v.shape[:1] == u.shape
    rule = f"have axes [A] or [A, B], A = {len(u)}"
    _checks.require(same, "principal_reward", f"shape {v.shape}", rule)
    return make_game(
        transition=np.ones((1, len(u), 1)),
        agent_reward=u[None],
        principal_reward=v[None],
        initial=[1.0],
        horizon=1,
        noise=noise,
    )


def two_player_bandit(*, noise: str = "bernoulli") -> Game:
    """A factory upstream of a fishery: A = 4, B = 3; its efficient arm needs one own action.

    A game of the kind of BELGIC (Scheid et al., NeurIPS 2024, arXiv:2406.19824); its numbers are
    pajax's own (see `pajax.games.bandit`).

    Args:
      noise: see `make_game`.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    return bandit(_UPSTREAM_REWARD, _DOWNSTREAM_REWARD, noise=noise)
