"""Scalar loops compiled by numba as a good researcher writes them: indexed tables, inverse CDF.

One loop over pairs, episodes and steps; sizes are read from the arrays, draws are floats, the next
state comes from a scan of the CDF. `numba_loops` is the same taken to the limit; the random words
are its own, and the LLVM option that it sets for the process holds here, too.
"""

from typing import Any

import numba
import numpy as np
from numba import float32, int64, njit, prange, uint64
from workload import Curves, Workload

from . import EPSILON, first_bonus, initial_values, value_bounds
from .numba_loops import NUM_PARTS, draw, generator, high, low

_UNIT = np.float32(2.0**-32)


def simulate(workload: Workload, algorithm: str, seed: int = 0, threads: int = 1) -> Curves:
    """All pairs, on one thread or several."""
    numba.set_num_threads(threads)
    curves = np.empty((workload.num_pairs, len(workload.checkpoints), 3))
    tables = (
        workload.initial[:, None, None].cumsum(-1, dtype=np.float64).astype(np.float32),
        workload.transition.cumsum(-1, dtype=np.float64).astype(np.float32),
        workload.agent_reward,
        workload.principal_reward,
        workload.transfer,
        workload.welfare_gap,
        initial_values(workload, algorithm),
        value_bounds(workload).astype(np.float32),
    )
    epsilon = np.float32(EPSILON if algorithm == "q-learning" else 0.0)
    bonus = np.float32(first_bonus(workload) if algorithm == "ucb-q" else 0.0)
    play = _play_parallel if threads > 1 else _play_serial
    limits = (workload.num_seeds, workload.checkpoints, np.uint64(seed))
    play(tables, algorithm == "ucb-q", epsilon, bonus, *limits, curves)
    return Curves(*np.moveaxis(curves, -1, 0))


def _play_all(
    tables: Any, is_ucb: Any, epsilon: Any, bonus: Any, num_seeds: Any, checkpoints: Any, seed: Any,
    curves: Any,
) -> None:  # fmt: skip
    """All pairs, in parts; a part has its own tables to learn in."""
    num_pairs = len(curves)
    num_parts = min(NUM_PARTS, num_pairs)
    for part in prange(num_parts):
        values = np.empty_like(tables[6][0])
        visits = np.empty_like(tables[4][0])
        for pair in range(part * num_pairs // num_parts, (part + 1) * num_pairs // num_parts):
            game = pair // num_seeds
            values[:] = tables[6][game]
            visits[:] = float32(0.0)
            _play_pair(
                tables[0][game], tables[1][game], tables[2][game], tables[3][game],
                tables[4][game], tables[5][game], tables[7][game], is_ucb, epsilon, bonus,
                checkpoints, generator(seed, uint64(pair)), values, visits, curves[pair],
            )  # fmt: skip


@njit(fastmath=True, error_model="numpy")
def _play_pair(
    initial, transition, agent_reward, principal_reward, transfer, gap, bound, is_ucb, epsilon,
    bonus, checkpoints, rng, values, visits, curves,
):  # fmt: skip
    horizon, _, num_actions = visits.shape
    actions_per_epsilon = float32(num_actions / epsilon)
    regret, payment, welfare, episode = 0.0, 0.0, 0, 0
    for checkpoint in range(len(checkpoints)):
        while episode < checkpoints[checkpoint]:
            episode += 1
            word, rng = draw(rng)
            s = _next_state(initial, 0, 0, float32(high(word)) * _UNIT)
            for h in range(horizon):
                word, rng = draw(rng)
                other, rng = draw(rng)
                f = float32(high(word)) * _UNIT
                a, _ = _best(values, h, s)
                if f < epsilon:
                    a = min(int(f * actions_per_epsilon), num_actions - 1)
                u = int64(float32(low(word)) * _UNIT < agent_reward[s, a])
                v = int64(float32(high(other)) * _UNIT < principal_reward[s, a])
                successor = _next_state(transition, s, a, float32(low(other)) * _UNIT)
                _, best = _best(values, h + 1, successor)
                visits[h, s, a] += float32(1.0)
                n = visits[h, s, a]
                goal = float32(u) + transfer[h, s, a]
                if is_ucb:
                    goal += bonus / np.sqrt(n) + min(best, bound[h + 1])
                else:
                    goal += best
                rate = float32(horizon + 1) / (float32(horizon) + n)
                values[h, s, a] += rate * (goal - values[h, s, a])
                regret += gap[h, s, a]
                payment += transfer[h, s, a]
                welfare += u + v
                s = successor
        curves[checkpoint, 0] = regret
        curves[checkpoint, 1] = payment
        curves[checkpoint, 2] = welfare


@njit(fastmath=True, inline="always")
def _best(values, h, s):
    """The first maximiser of a row and its value. No view is made, which costs more."""
    index, best = 0, values[h, s, 0]
    for a in range(1, values.shape[2]):
        if values[h, s, a] > best:
            index, best = a, values[h, s, a]
    return index, best


@njit(fastmath=True, inline="always")
def _next_state(cumulative, s, a, f):
    successor = 0
    for i in range(cumulative.shape[2] - 1):
        successor += 1 if f >= cumulative[s, a, i] else 0
    return successor


_play_serial = njit(_play_all)
_play_parallel = njit(_play_all, parallel=True)
