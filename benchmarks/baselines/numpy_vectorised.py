"""NumPy, all pairs at once: a Python loop over steps, fancy indexing over pairs."""

import numpy as np
from workload import Curves, Workload

from . import EPSILON, first_bonus, initial_values, value_bounds


def simulate(workload: Workload, algorithm: str, seed: int = 0) -> Curves:
    """All pairs, on the one thread that NumPy has for this."""
    rng = np.random.default_rng(seed)
    game, pair = workload.game_of_pair, np.arange(workload.num_pairs)
    initial = workload.initial.cumsum(-1)
    transition = workload.transition.cumsum(-1)
    bound, bonus = value_bounds(workload)[game], np.float32(first_bonus(workload))
    values = initial_values(workload, algorithm)[game]
    visits = np.zeros_like(workload.transfer[game])
    totals = np.zeros((3, workload.num_pairs))
    recorded = []
    for episode in range(1, workload.num_episodes + 1):
        s = _draw(rng, initial[game])
        for h in range(workload.horizon):
            a = values[pair, h, s].argmax(-1)
            if algorithm == "q-learning":
                is_random = rng.random(len(pair), np.float32) < EPSILON
                a = np.where(is_random, rng.integers(0, values.shape[-1], len(pair)), a)
            u = rng.random(len(pair), np.float32) < workload.agent_reward[game, s, a]
            v = rng.random(len(pair), np.float32) < workload.principal_reward[game, s, a]
            successor = _draw(rng, transition[game, s, a])
            visits[pair, h, s, a] += 1
            n, paid = visits[pair, h, s, a], workload.transfer[game, h, s, a]
            goal, best = u + paid, values[pair, h + 1, successor].max(-1)
            if algorithm == "ucb-q":
                goal += bonus / np.sqrt(n) + np.minimum(best, bound[:, h + 1])
            else:
                goal += best
            old = values[pair, h, s, a]
            rate = (workload.horizon + 1) / (workload.horizon + n)
            values[pair, h, s, a] = old + rate * (goal - old)
            totals += (workload.welfare_gap[game, h, s, a], paid, u.astype(np.float32) + v)
            s = successor
        if episode in workload.checkpoints:
            recorded.append(totals.copy())
    return Curves(*np.stack(recorded, -1))


def _draw(rng: np.random.Generator, cumulative: np.ndarray) -> np.ndarray:
    """One outcome of each row, [pairs, S] -> [pairs], by inverse CDF."""
    f = rng.random(len(cumulative), np.float32)
    return (f[:, None] >= cumulative[:, :-1]).sum(-1)
