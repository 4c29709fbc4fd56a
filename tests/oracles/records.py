"""Records and small helpers shared by the plain-loop re-enactment.

Source: the trajectory specification in the docstrings of pajax; THEORY.md section 1 (the model).
Every sum starts from its first product and runs upward, every argmax is the first maximum, so that
a float64 run of pajax breaks its ties in the same way.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Sizes(NamedTuple):
    """What a learner is told of a game: H, S, A and the number of episodes K."""

    horizon: int
    num_states: int
    num_actions: int
    num_episodes: int


@dataclass
class GameArrays:
    """A game; every table has its own leading time axis T, 1 or H (initial has none)."""

    transition: np.ndarray  # [T, S, A, S]
    agent_reward: np.ndarray  # [T, S, A]
    principal_reward: np.ndarray  # [T, S, A, B]
    initial: np.ndarray  # [S]
    horizon: int
    noise: str = "bernoulli"


@dataclass
class SamplerTables:
    """Packed alias rows, each entry (threshold24 << 8 | alias8) in a uint32."""

    initial: np.ndarray  # [S] or [1, S]
    kernel: np.ndarray  # [T, S, A, S]


@dataclass
class Contract:
    """What is announced before a stage; target is -1 where the mechanism has none."""

    transfer: np.ndarray  # [H, S, A]
    own_action: np.ndarray  # [H, S], int
    target: np.ndarray  # [H, S], int


@dataclass
class Episode:
    """What the agent has seen of one episode, all of length H."""

    states: list = field(default_factory=list)
    actions: list = field(default_factory=list)
    rewards: list = field(default_factory=list)
    payments: list = field(default_factory=list)
    next_states: list = field(default_factory=list)


@dataclass
class Stage:
    """What the principal has seen of one stage; rewards are sums of v."""

    transitions: np.ndarray  # [H, S, A, S], counts
    rewards: np.ndarray  # [H, S, A]
    num_episodes: int


@dataclass
class Trajectory:
    """The whole run of one pair; the last four are None unless the mechanism is TwoPhase."""

    states: np.ndarray  # [K, H], int
    actions: np.ndarray  # [K, H], int
    agent_rewards: np.ndarray  # [K, H]
    principal_rewards: np.ndarray  # [K, H]
    payments: np.ndarray  # [K, H]
    transfers: list  # per stage, [H, S, A]
    targets: list  # per stage, [H, S]
    lo: np.ndarray | None = None
    hi: np.ndarray | None = None
    resolved: np.ndarray | None = None
    phase_one_episodes: int | None = None


def first_argmax(values):
    """Return the lowest index of a maximum."""
    best = 0
    for index in range(1, len(values)):
        if values[index] > values[best]:
            best = index
    return best


def weighted_sum(weights, values):
    """Return sum_i weights[i] values[i], added from i = 0 upward."""
    total = weights[0] * values[0]
    for index in range(1, len(weights)):
        total = total + weights[index] * values[index]
    return total


def table_at(table, step):
    """Return the slice of a table with a time axis of length 1 or H at this step."""
    return table[step] if len(table) > 1 else table[0]


def uniform(word):
    """Map a 32-bit word to [0, 1), on a grid of 2^-24."""
    return (word >> 8) * 2.0**-24
