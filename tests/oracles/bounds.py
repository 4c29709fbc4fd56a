"""Bounds and audits of THEORY section 3, for one run and one checkpoint, in plain Python."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from oracles import exact
from oracles.exact import NumpyGame


@dataclass(frozen=True)
class Run:
    """All that a bound may read: sizes, terms of the mechanism, constants, and what a run did."""

    horizon: float
    num_states: float
    num_actions: float
    width: float  # w
    test_visits: float  # n
    min_visits: float  # nmin
    margin: float  # gamma
    constant: float  # C
    kappa: float
    coverage: float  # p
    episodes: float  # k
    phase_one: float  # T1
    contracts: float  # L
    agent_regret: float


def interval_width(run: Run) -> float:
    """The middle of an interval of width w that holds tau* is off by w / 2 at most."""
    return run.width / 2


def identification(run: Run) -> float:
    """(T6): right answers beyond 4 C n^(kappa - 1) if the last half of the visits is counted."""
    return run.width / 2 + 4 * run.constant / run.test_visits ** (1 - run.kappa)


def phase_one_length(run: Run, has_checks: bool = False) -> float:
    """(T6): 1.64 n + nmin m visits for each action, at p visits an episode."""
    halvings = math.log(run.horizon / run.width, 1.6)
    visits = 0.0
    for _ in range(int(run.num_actions)):
        visits += 1.64 * run.test_visits + run.min_visits * max(halvings, 0.0)
        if has_checks:
            for _ in ("high", "low"):
                visits += max(run.min_visits, run.test_visits / 2)
    if has_checks:
        visits += max(run.min_visits, run.test_visits / 10)
    return visits / run.coverage


def compliance(run: Run) -> float:
    """Each off-target step costs the agent gamma at least."""
    return run.agent_regret / run.margin


def deviations(run: Run) -> float:
    """(T7): L contracts of equal length lose C (k / L)^kappa each, and gamma a deviation."""
    number = max(run.contracts, 1.0)
    lost = number * run.constant * (run.episodes / number) ** run.kappa
    return lost / run.margin


def width_term(run: Run) -> float:
    """K H w of (T8)."""
    return sum(run.episodes * run.width for _ in range(int(run.horizon)))


def gap_regime(run: Run) -> float:
    """(T8) without the term of the width; the constant of O~ is 1, its logarithm log k."""
    steps = run.num_states * run.num_actions * run.episodes * math.log(max(run.episodes, math.e))
    planning = run.horizon**2 * math.sqrt(steps)
    return 2 * run.horizon * (run.phase_one + deviations(run)) + planning


def welfare_regret(run: Run) -> float:
    """(T8)."""
    return gap_regime(run) + width_term(run)


def excess_payment(run: Run) -> float:
    """The largest payments less tau*, step by step: offers H - h, then hi + gamma + w (H-1-h)."""
    steps = range(int(run.horizon))
    offered = sum(run.horizon - h for h in steps)
    posted = sum(run.width + run.margin + run.width * (run.horizon - 1 - h) for h in steps)
    return run.phase_one * offered + run.episodes * posted


def principal_regret(run: Run) -> float:
    """(T3): welfare regret and the payments beyond tau*."""
    return welfare_regret(run) + excess_payment(run)


# Exploration


def soft_welfare(game: NumpyGame, policy: np.ndarray, rate: float) -> float:
    """Welfare of a policy that plays a uniform action with probability `rate` at each step."""
    reward, values = exact.welfare_rewards(game), np.zeros(game.num_states)
    for h in reversed(range(game.horizon)):
        kernel, earlier = exact.at_step(game.transition, h), np.zeros(game.num_states)
        for s in range(game.num_states):
            for a in range(game.num_actions):
                share = rate / game.num_actions + (1 - rate) * (policy[h, s] == a)
                earlier[s] += share * (reward[h, s, a] + kernel[s, a] @ values)
        values = earlier
    return float(game.initial @ values)


def exploration_loss(game: NumpyGame, rate: float) -> float:
    """W* less the best welfare of any such policy, by trying them all."""
    return exact.optimal_welfare(game) - max(
        soft_welfare(game, policy, rate) for policy in exact.all_policies(game)
    )


def exploration_slope(game: NumpyGame) -> float:
    """(T9) for an episode and eps = 1: 1 / A sum d_h(s) sum_a gap, d of the welfare optimum."""
    values, q_values = exact.backward_induction(game, exact.welfare_rewards(game))
    visited, total = exact.occupancy(game, exact.greedy(q_values)), 0.0
    for h, s, a in itertools.product(*map(range, game.shape)):
        total += visited[h, s] * (values[h, s] - q_values[h, s, a])
    return total / game.num_actions


# Audits


def most_lost(ages: np.ndarray, lost: np.ndarray, age: float) -> float:
    """The most that a run lost under any contract of at most this age."""
    return max([0.0, *(r for n, r in zip(ages, lost, strict=True) if n <= age)])


def constant(ages: np.ndarray, lost: np.ndarray, kappa: float, share: float) -> float:
    """The smallest C that a share of runs [run, checkpoint] keeps below, at their points."""
    needed = sorted(
        max(max(r, 0.0) / max(n, 1.0) ** kappa for n, r in zip(*run, strict=True))
        for run in zip(ages, lost, strict=True)
    )
    return next(c for c in needed if sum(x <= c for x in needed) >= share * len(needed))


def coverage_at_end_of_phase_one(
    episodes: np.ndarray, phase_one: np.ndarray, coverage: np.ndarray
) -> list[float]:
    """Of each run at the first checkpoint with phase one over; at the last if it has none."""
    found = []
    for length, shares in zip(phase_one[:, -1], coverage, strict=True):
        ended = [share for k, share in zip(episodes, shares, strict=True) if k >= length]
        found.append(ended[0] if length > 0 and ended else shares[-1])
    return found
