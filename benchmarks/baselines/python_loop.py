"""Plain Python over NumPy tables, one pair after the other, as one would write it first."""

import numpy as np
from workload import Curves, Workload

from . import EPSILON, first_bonus, initial_values, value_bounds


def simulate(workload: Workload, algorithm: str, seed: int = 0) -> Curves:
    """All pairs, one after the other."""
    values, bounds = initial_values(workload, algorithm), value_bounds(workload)
    pairs = [
        _play_pair(workload, game, algorithm, values[game].copy(), bounds[game], [seed, pair])
        for pair, game in enumerate(workload.game_of_pair)
    ]
    return Curves(*np.moveaxis(pairs, -1, 0))


def _play_pair(
    workload: Workload, game: int, algorithm: str, values: np.ndarray, bound: np.ndarray,
    seed: list[int],
) -> list[tuple[float, float, float]]:  # fmt: skip
    """The totals of one pair at the checkpoints."""
    rng = np.random.default_rng(seed)
    num_states, num_actions, horizon = workload.sizes
    initial, transition = _rows(workload.initial[game]), _rows(workload.transition[game])
    agent_reward, principal_reward = workload.agent_reward[game], workload.principal_reward[game]
    transfer, gap = workload.transfer[game], workload.welfare_gap[game]
    bonus = first_bonus(workload)
    visits = np.zeros(transfer.shape, int)
    regret, payment, welfare = 0.0, 0.0, 0.0
    recorded = []
    for episode in range(1, workload.num_episodes + 1):
        s = rng.choice(num_states, p=initial)
        for h in range(horizon):
            if algorithm == "q-learning" and rng.random() < EPSILON:
                a = rng.integers(num_actions)
            else:
                a = np.argmax(values[h, s])
            u = float(rng.random() < agent_reward[s, a])
            v = float(rng.random() < principal_reward[s, a])
            successor = rng.choice(num_states, p=transition[s, a])
            visits[h, s, a] += 1
            n = visits[h, s, a]
            goal, best = u + transfer[h, s, a], values[h + 1, successor].max()
            if algorithm == "ucb-q":
                goal += bonus / np.sqrt(n) + min(best, bound[h + 1])
            else:
                goal += best
            values[h, s, a] += (horizon + 1) / (horizon + n) * (goal - values[h, s, a])
            regret += gap[h, s, a]
            payment += transfer[h, s, a]
            welfare += u + v
            s = successor
        if episode in workload.checkpoints:
            recorded.append((regret, payment, welfare))
    return recorded


def _rows(probabilities: np.ndarray) -> np.ndarray:
    """In float64, as closely normalised as `choice` wants it."""
    rows = probabilities.astype(np.float64)
    return rows / rows.sum(-1, keepdims=True)
