"""Logit: quantal response (McKelvey and Palfrey, 1995) to learned action values.

A player of theirs errs the less often, the more an error costs: it plays a with probability

    exp(Q[h, s, a] / T) / sum_a' exp(Q[h, s, a'] / T),

where the temperature T, in reward units, is low for a careful player (their lambda is 1 / T). Here
Q is learned by Q-learning (Watkins, 1989), with the maximum over actions in its target: errors are
the player's way to play, not a part of what it values. As exploration the rule is Boltzmann's.

Measured alone (no transfers, K = 1e5, 32 seeds; 8 seeds each of 8 Garnets), with the default
temperature: agent regret grows with the exponent 0.40 in the bandit, 0.50 in pollution, 0.45 in
Garnet; with T = 0.1 it grows with 1.11, 0.95, 0.98. A falling temperature is a bet on what is known
by then: an action thought bad when T is low is seldom tried again. After 2e4 episodes without
transfers and then 5e4 under the oracle's contract (16 seeds), regret under that contract grows with
the exponents 0.77, 0.87, 0.94 (bandit) and 0.85, 1.01, 0.66 (pollution) if aware, restarting,
blind. "restarting" violates (A1) in pollution: values are forgotten, but T goes on falling; so does
"blind" in the bandit.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax._pytree import axes, pytree, static
from pajax.agents.base import (
    MEMORIES,
    TabularMemo,
    TabularState,
    next_values,
    softmax_draw,
    tabular_begin,
    tabular_init,
    tabular_memo,
    tabular_row,
    tabular_update,
    tabular_visits,
)
from pajax.protocols import Contract, Episode, Spec
from pajax.schedules import PowerSchedule, Schedule, value_at


def _default_temperature() -> PowerSchedule:
    return PowerSchedule(scale=12.0, exponent=0.5)


class State(NamedTuple):
    """Action values, and this stage's temperature."""

    table: TabularState
    temperature: Array  # [...]
    episodes: Array  # [...], done so far


@pytree
class Logit:
    """Plays a with probability proportional to exp(Q[h, s, a] / T); Q is learned from Q = 0.

    Source: quantal response (McKelvey and Palfrey, 1995) to values of Q-learning (Watkins, 1989);
    see `pajax.agents.logit`. After its n-th visit Q[h, s, a] moves by (H + 1) / (H + n) towards
    u + payment + max_a' Q[h+1, s', a'].

    Attributes:
      temperature: T in reward units, a number or a schedule over episodes, read when a stage
        begins; at 0 the action is greedy. By default min(1, 12 / (k + 1)^(1/2)). A constant T is
        quantal response proper and costs linear regret, as constant exploration does (T9): K times
        the mean of sum_a softmax(Q / T)_a gap_a along the way.
      memory: "aware", "restarting" or "blind" of the contract (see `pajax.agents.base`).
    """

    temperature: Schedule = axes(low=0.0, default_factory=_default_temperature)
    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 1

    def init(self, spec: Spec) -> State:
        """Zero values."""
        return State(tabular_init(spec, spec.per_action()), spec.zeros(), spec.zeros())

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract, and of the temperature."""
        table = tabular_begin(state.table, contract, self.memory, jnp.zeros(()))
        temperature = value_at(self.temperature, state.episodes)
        temperature = jnp.maximum(temperature, jnp.finfo(temperature.dtype).tiny)
        return State(table, jnp.broadcast_to(temperature, state.episodes.shape), state.episodes)

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, TabularMemo]:
        """Draws from the softmax of Q[h, s, :] / T."""
        values = tabular_row(state.table, h, s)
        best = lanes.maximum(values)
        a, _ = softmax_draw((values - best) / state.temperature, words[0])
        return a, tabular_memo(values, a, best)

    def update(self, state: State, episode: Episode, memo: TabularMemo) -> State:
        """Temporal differences of the whole episode."""
        cell, visits = tabular_visits(state.table, episode)
        goal = episode.rewards + episode.payments + next_values(memo.best)
        rate = (visits.shape[0] + 1.0) / (visits.shape[0] + visits)
        table = tabular_update(state.table, memo, cell, visits, rate, goal)
        return State(table, state.temperature, state.episodes + 1.0)
