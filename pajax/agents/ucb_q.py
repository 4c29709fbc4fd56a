"""UCB-Q: optimistic Q-learning with Hoeffding bonuses (Jin, Allen-Zhu, Bubeck and Jordan, 2018).

Measured alone (no transfers, K = 1e5, 32 seeds; 2 seeds each of 16 Garnets), agent regret grows
with the exponent 0.47 in pollution and 0.32 in Garnet. In the bandit it is 1.00: the bonus has a
factor H^(3/2), and its default, chosen for some steps, leaves runs on wrong arms there, which
violates (A1). With `bonus=0.3` it is 0.01 (64 seeds).
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
    tabular_begin,
    tabular_init,
    tabular_memo,
    tabular_row,
    tabular_update,
    tabular_visits,
    value_bound,
)
from pajax.protocols import Contract, Episode, Spec


class State(NamedTuple):
    """Action values, and what bounds and scales them."""

    table: TabularState
    optimum: Array  # [H, 1, 1, 1...], value of a cell never seen, H - h
    bound: Array  # [H, ...], largest value under the contract
    scale: Array  # scalar, H^3 log(S A H K)


@pytree
class UCBQ:
    """Greedy on Q, which starts at H - h and is learned with an optimistic bonus.

    Source: Jin, Allen-Zhu, Bubeck and Jordan, 2018 (see `pajax.agents.ucb_q`).

    After its n-th visit Q[h, s, a] moves by (H + 1) / (H + n) towards

        u + payment + bonus sqrt(H^3 log(S A H K) / n) + min(bound[h+1], max_a' Q[h+1, s', a']).

    Attributes:
      bonus: the constant c of Jin et al.; their proof has a large one, practice a small one.
      memory: "aware", "restarting" or "blind" of the contract (see `pajax.agents.base`).
    """

    bonus: float | Array = axes(low=0.0, default=0.03)
    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 0

    def init(self, spec: Spec) -> State:
        """Optimistic values."""
        optimum = spec.steps_left()
        sizes = spec.num_states * spec.num_actions * spec.horizon * spec.num_episodes
        return State(
            table=tabular_init(spec, spec.per_action() + optimum),
            optimum=optimum,
            bound=spec.zeros(spec.horizon),
            scale=spec.horizon**3 * jnp.log(jnp.asarray(float(sizes))),
        )

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract."""
        table = tabular_begin(state.table, contract, self.memory, state.optimum)
        return state._replace(table=table, bound=value_bound(contract.transfer))

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, TabularMemo]:
        """Greedy; ties go to the lowest action."""
        values = tabular_row(state.table, h, s)
        a, best = lanes.argmax(values)
        return a, tabular_memo(values, a, best)

    def update(self, state: State, episode: Episode, memo: TabularMemo) -> State:
        """Temporal differences of the whole episode."""
        cell, visits = tabular_visits(state.table, episode)
        bonus = self.bonus * jnp.sqrt(state.scale / visits)
        bounded = jnp.minimum(memo.best, state.bound)
        goal = episode.rewards + episode.payments + bonus + next_values(bounded)
        rate = (visits.shape[0] + 1.0) / (visits.shape[0] + visits)
        table = tabular_update(state.table, memo, cell, visits, rate, goal)
        return state._replace(table=table)
