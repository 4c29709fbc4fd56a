"""The stateless case, S = H = 1: an agent's arms with a payoff externality (THEORY: section 5).

The default has W* = 1.25 (arm 1), while the agent left alone plays arm 4, of welfare 0.90.
"""

from collections.abc import Sequence

import numpy as np

from pajax import _checks
from pajax.game import Game, make_game

_AGENT_REWARD = (0.2, 0.35, 0.5, 0.65, 0.8)
_PRINCIPAL_REWARD = (0.55, 0.9, 0.5, 0.3, 0.1)


def bandit(
    agent_reward: Sequence[float] = _AGENT_REWARD,
    principal_reward: Sequence[float] = _PRINCIPAL_REWARD,
    *,
    noise: str = "bernoulli",
) -> Game:
    """A bandit: mean rewards of each arm, [A] for both, in [0, 1]."""
    u, v = np.asarray(agent_reward), np.asarray(principal_reward)
    same = u.ndim == 1 and v.shape == u.shape
    _checks.require(same, "principal_reward", f"shape {v.shape}", f"have shape {u.shape}, [A]")
    return make_game(
        transition=np.ones((1, len(u), 1)),
        agent_reward=u[None],
        principal_reward=v[None],
        initial=[1.0],
        horizon=1,
        noise=noise,
    )
