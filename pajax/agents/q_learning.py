"""Epsilon-greedy Q-learning (Watkins, 1989) in a finite-horizon game."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax._pytree import axes, pytree, static
from pajax.agents.base import (
    MEMORIES,
    TabularMemo,
    TabularState,
    epsilon_greedy,
    next_values,
    tabular_begin,
    tabular_init,
    tabular_memo,
    tabular_row,
    tabular_update,
    tabular_visits,
)
from pajax.protocols import Contract, Episode, Spec
from pajax.schedules import PowerSchedule, Schedule, value_at


def _default_epsilon() -> PowerSchedule:
    return PowerSchedule(scale=3.0, exponent=0.5)


class State(NamedTuple):
    """Action values, and this stage's exploration rate."""

    table: TabularState
    epsilon: Array  # [...]
    episodes: Array  # [...], done so far


@pytree
class QLearning:
    """Q[h, s, a] += rate (u + payment + max_a' Q[h+1, s', a'] - Q[h, s, a]), from Q = 0.

    Source: Watkins, 1989; epsilon-greedy, in a finite-horizon game.

    Attributes:
      epsilon: exploration rate, a number or a schedule over episodes, read when a stage begins;
        by default 3 / (k + 1)^(1/2), since a constant rate costs linear regret (T9).
      learning_rate: a number or a schedule over the earlier visits n - 1 of (h, s, a); by default
        (H + 1) / (H + n).
      memory: "aware", "restarting" or "blind" of the contract (see `pajax.agents.base`).
    """

    epsilon: Schedule = axes(low=0.0, high=1.0, default_factory=_default_epsilon)
    learning_rate: Schedule | None = axes(low=0.0, high=1.0, default=None)
    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 1

    def init(self, spec: Spec) -> State:
        """Zero values."""
        return State(tabular_init(spec, spec.per_action()), spec.zeros(), spec.zeros())

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract, and of the exploration rate."""
        table = tabular_begin(state.table, contract, self.memory, jnp.zeros(()))
        epsilon = value_at(self.epsilon, state.episodes)
        return State(table, jnp.broadcast_to(epsilon, state.epsilon.shape), state.episodes)

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, TabularMemo]:
        """Epsilon-greedy; ties go to the lowest action."""
        values = tabular_row(state.table, h, s)
        a, best = epsilon_greedy(values, state.epsilon, words[0])
        return a, tabular_memo(values, a, best)

    def update(self, state: State, episode: Episode, memo: TabularMemo) -> State:
        """Temporal differences of the whole episode."""
        cell, visits = tabular_visits(state.table, episode)
        goal = episode.rewards + episode.payments + next_values(memo.best)
        rate = self._rate(visits, horizon=visits.shape[0])
        table = tabular_update(state.table, memo, cell, visits, rate, goal)
        return State(table, state.epsilon, state.episodes + 1.0)

    def _rate(self, visits: Array, horizon: int) -> Array:
        if self.learning_rate is None:
            return (horizon + 1.0) / (horizon + visits)
        return value_at(self.learning_rate, visits - 1.0)
