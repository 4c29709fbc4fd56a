"""What is recorded of a run, and what it follows from (T1).

With n[h, s, a] the plays of a stage, the welfare regret of the stage is sum n (gap + max_b v - v),
the agent's regret under the contract is sum n gap_c, payments are sum n transfer: each has exactly
the mean of its definition and no reward noise. So has the principal's regret,

    sum n (gap + max_b v - v + transfer - tau*),

against its best net value W* - rho . V0 an episode (T3): the agent's mean reward is V0 less its
loss under no contract, E sum u = rho . V0 - E sum tau*, for any way to play, so that what the
principal nets is E sum (v - transfer) = W^pi - rho . V0 - E sum (transfer - tau*). In words: the
principal loses the welfare regret and what it pays beyond the smallest transfers.

Sums run over one record interval and start again at 0, so that float32 does not drift;
`pajax.studies.results` adds them up in float64. What is recorded at the end of an interval is for
the audits of assumptions: how long the contract in force has been so and what the agent has lost
under it (A1), how often the states that matter were visited (A2), and how far the estimates of
transfers are from tau*.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pajax import lanes, planning, printing
from pajax.game import Game
from pajax.protocols import Contract, Report, Spec


class Record(NamedTuple):
    """What happened in each record interval; arrays [I, ...], sums unless said.

    Attributes:
      welfare_regret: (T1), reward units.
      realised_welfare: u + v as drawn, reward units.
      principal_regret: (T3), against W* - rho . V0, reward units.
      agent_regret: under the contracts posted, reward units.
      payment: from the principal to the agent, reward units.
      principal_utility: v as drawn, less payments, reward units.
      off_target: steps whose contract had a target that was not played.
      phase_one: episodes in which the mechanism was estimating.
      contracts: that came into force outside phase one.
      contract_age: at the end, episodes under the contract in force.
      contract_regret: at the end, the agent's regret in them, reward units.
      coverage: at the end, least share of all episodes that visited a state that matters.
      transfer_error: at the end, mean |estimate - tau*| where resolved, reward units.
      worst_transfer_error: at the end, the largest of them.
      unresolved: at the end, number of transfers not resolved.
    """

    welfare_regret: Array
    realised_welfare: Array
    principal_regret: Array
    agent_regret: Array
    payment: Array
    principal_utility: Array
    off_target: Array
    phase_one: Array
    contracts: Array
    contract_age: Array
    contract_regret: Array
    coverage: Array
    transfer_error: Array
    worst_transfer_error: Array
    unresolved: Array

    __repr__ = printing.of_fields


#: The entries of an interval's end.
AT_END = (
    "contract_age",
    "contract_regret",
    "coverage",
    "transfer_error",
    "worst_transfer_error",
    "unresolved",
)
#: What a run has no number for before it has resolved a transfer; any other it should have.
PARTIAL = ("transfer_error", "worst_transfer_error")


class Oracle(NamedTuple):
    """What the record knows and no learner does."""

    welfare_gap: Array  # [H, S, A, ...], VW - QW
    own_gap: Array  # [T, S, A, B, ...], max_b v - v
    minimal_transfers: Array  # [H, S, A, ...]
    matters: Array  # bool [H, S, ...]: on the path of the welfare optimum


class Prices(NamedTuple):
    """What each play counts for in the record, under one contract; flat [H * S * A, ...] each."""

    welfare_regret: Array
    agent_regret: Array
    payment: Array
    off_target: Array

    @staticmethod
    def none(spec: Spec) -> "Prices":
        """Before a contract was priced."""
        return Prices(*(lanes.flat(spec.per_action()) for _ in Prices._fields))


class Tally(NamedTuple):
    """What is counted in a segment."""

    visits: Array  # flat [H * S * A, ...], counts of plays
    agent_rewards: Array  # [...], sum of u
    principal_rewards: Array  # [...], sum of v

    @staticmethod
    def empty(spec: Spec) -> "Tally":
        """Nothing counted yet."""
        return Tally(lanes.flat(spec.per_action()), spec.zeros(), spec.zeros())


class Spell(NamedTuple):
    """What happened since the contract in force was posted."""

    episodes: Array  # [...], counts
    agent_regret: Array  # [...]

    @staticmethod
    def empty(spec: Spec) -> "Spell":
        """A contract that was not played yet."""
        return Spell(spec.zeros(), spec.zeros())


def make_oracle(game: Game) -> Oracle:
    """The exact gaps of a game; its lanes do not touch one another."""
    v, welfare = game.principal_reward, planning.welfare_values(game)
    return Oracle(
        welfare_gap=welfare.gaps,
        own_gap=v.max(3, keepdims=True) - v,
        minimal_transfers=planning.agent_values(game).gaps,
        matters=planning.often_visited(game, planning.greedy(welfare.q_values)),
    )


def price(game: Game, oracle: Oracle, contract: Contract) -> Prices:
    """The welfare gap with the loss of the own action, the agent's gap, and so on."""
    gap = oracle.welfare_gap
    if game.num_own_actions > 1:
        gap = gap + lanes.lookup(oracle.own_gap, contract.own_action[:, :, None], 3)
    off = ~lanes.one_hot(contract.target, game.num_actions, 2) & (contract.target >= 0)[:, :, None]
    agent_gap = planning.agent_values(game, contract.transfer).gaps
    tables = Prices(gap, agent_gap, contract.transfer, off.astype(gap.dtype))
    return jax.tree.map(lanes.flat, tables)


def settle(
    oracle: Oracle,
    prices: Prices,
    seen: Tally,
    spell: Spell,
    is_estimating: Array,
    length: Array,
) -> tuple[Record, Spell]:
    """Sums over one segment, and the spell with it; entries of an interval's end are left at 0."""
    minimal = lanes.flat(oracle.minimal_transfers)
    sums, minimal = lanes.dot(seen.visits, (prices, minimal))
    zero, episodes = jnp.zeros_like(sums.payment), length.astype(sums.payment.dtype)
    is_new = (spell.episodes == 0.0) & ~is_estimating
    record = Record(
        welfare_regret=sums.welfare_regret,
        realised_welfare=seen.agent_rewards + seen.principal_rewards,
        principal_regret=sums.welfare_regret + (sums.payment - minimal),
        agent_regret=sums.agent_regret,
        payment=sums.payment,
        principal_utility=seen.principal_rewards - sums.payment,
        off_target=sums.off_target,
        phase_one=jnp.where(is_estimating, episodes, 0.0),
        contracts=is_new.astype(zero.dtype),
        contract_age=zero,
        contract_regret=zero,
        coverage=zero,
        transfer_error=zero,
        worst_transfer_error=zero,
        unresolved=zero,
    )
    return record, Spell(spell.episodes + episodes, spell.agent_regret + sums.agent_regret)


def conclude(record: Record, oracle: Oracle, report: Report, spell: Spell, visits: Array) -> Record:
    """The record of an interval with the entries of its end.

    Args:
      record: sums over the interval.
      oracle: of the game.
      report: of the mechanism.
      spell: of the contract in force.
      visits: plays since the run began, flat [H * S * A, ...].
    """
    is_resolved = report.is_resolved
    error = jnp.where(is_resolved, jnp.abs(report.transfer - oracle.minimal_transfers), 0.0)
    worst = lanes.maximum(lanes.maximum(lanes.maximum(error)))
    tables = (error, is_resolved.astype(error.dtype))
    error, resolved = lanes.dot(None, jax.tree.map(lanes.flat, tables))
    return record._replace(
        contract_age=spell.episodes,
        contract_regret=spell.agent_regret,
        coverage=_coverage(oracle.matters, visits),
        transfer_error=error / resolved,
        worst_transfer_error=jnp.where(resolved > 0.0, worst, jnp.nan),
        unresolved=math.prod(is_resolved.shape[:3]) - resolved,
    )


def _coverage(matters: Array, visits: Array) -> Array:
    """Least share of the episodes that visited a (h, s) that matters, [...]."""
    horizon, num_states, *of_lanes = matters.shape
    by_state = lanes.total(visits.reshape((horizon, num_states, -1, *of_lanes)), 2)
    least = -lanes.maximum(lanes.maximum(jnp.where(matters, -by_state, -jnp.inf)))
    # Not the engine's count of episodes: what divides all lanes alike, XLA may make a reciprocal,
    # and does or does not by their number.
    return least / lanes.total(by_state[0])
