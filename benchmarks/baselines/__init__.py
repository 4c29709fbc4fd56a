"""Competitors of pajax: the same learners on the same work, written as people write them by hand.

Each module has `simulate(workload, algorithm, seed, ...) -> Curves`. None imports pajax. What they
share is the definition of the learner, here, that of `pajax.agents.QLearning(epsilon=EPSILON)` and
`pajax.agents.UCBQ(bonus=BONUS)` under one contract: after the n-th visit of (h, s, a)

    Q[h, s, a] += (H + 1) / (H + n) (u + transfer[h, s, a] + bonus(n) + next - Q[h, s, a]),

where Q starts at its value without contract plus the transfer, and next is max_a' Q[h+1, s', a'],
for "ucb-q" at most bound[h+1], with bonus(n) = BONUS sqrt(H^3 log(S A H K) / n). Ties between
actions go to the lowest. "q-learning" is EPSILON-greedy, "ucb-q" greedy.
"""

import math

import numpy as np
from workload import Workload

EPSILON = 0.1
BONUS = 0.03


def initial_values(workload: Workload, algorithm: str) -> np.ndarray:
    """Q before the first episode, float32 [G, H + 1, S, A]; the last step is 0, and stays so."""
    steps_left = np.arange(workload.horizon, 0, -1, dtype=np.float32)[:, None, None]
    fresh = steps_left if algorithm == "ucb-q" else np.float32(0.0)
    return np.pad(workload.transfer + fresh, ((0, 0), (0, 1), (0, 0), (0, 0)))


def value_bounds(workload: Workload) -> np.ndarray:
    """The sum over h' >= h of (1 + max transfer[h']), float32 [G, H + 1]; 0 at the end."""
    largest = 1.0 + workload.transfer.max((2, 3))
    return np.pad(largest[:, ::-1].cumsum(1)[:, ::-1], ((0, 0), (0, 1)))


def first_bonus(workload: Workload) -> float:
    """BONUS sqrt(H^3 log(S A H K)), the bonus of a first visit."""
    sizes = math.prod(workload.sizes) * workload.num_episodes
    return BONUS * math.sqrt(workload.horizon**3 * math.log(sizes))
