"""What is recorded of a run, and what it follows from (T1).

With n[h, s, a] the plays of a stage, the welfare regret of the stage is sum n (gap + max_b v - v),
the agent's regret under the contract is sum n gap_c, payments are sum n transfer: each has exactly
the mean of its definition and no reward noise. Sums run over one record interval and start again
at 0, so that float32 does not drift; `pajax.results` adds them up in float64.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pajax import lanes, planning
from pajax.game import Game
from pajax.protocols import Contract, Report, Spec


class Record(NamedTuple):
    """What happened in each record interval; arrays [I, ...], sums unless said."""

    welfare_regret: Array  # (T1), reward units
    realised_welfare: Array  # u + v as drawn
    agent_regret: Array  # under the contracts posted
    payment: Array
    principal_utility: Array  # v as drawn, less payments
    off_target: Array  # steps whose contract had a target that was not played
    phase_one: Array  # episodes in which the mechanism was estimating
    transfer_error: Array  # at the end: mean |estimate - tau*| where resolved
    unresolved: Array  # at the end: transfers not resolved


class Oracle(NamedTuple):
    """What the record knows and no learner does."""

    welfare_gap: Array  # [H, S, A, ...], VW - QW
    own_gap: Array  # [T, S, A, B, ...], max_b v - v
    minimal_transfers: Array  # [H, S, A, ...]


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


def make_oracle(game: Game) -> Oracle:
    """The exact gaps of a game; its lanes do not touch one another."""
    v = game.principal_reward
    return Oracle(
        welfare_gap=planning.welfare_values(game).gaps,
        own_gap=v.max(3, keepdims=True) - v,
        minimal_transfers=planning.agent_values(game).gaps,
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


def settle(prices: Prices, seen: Tally, is_estimating: Array, length: Array) -> Record:
    """Sums over one segment; entries of an interval's end are left at 0."""
    sums = lanes.dot(seen.visits, prices)
    zero = jnp.zeros_like(sums.payment)
    return Record(
        welfare_regret=sums.welfare_regret,
        realised_welfare=seen.agent_rewards + seen.principal_rewards,
        agent_regret=sums.agent_regret,
        payment=sums.payment,
        principal_utility=seen.principal_rewards - sums.payment,
        off_target=sums.off_target,
        phase_one=jnp.where(is_estimating, length.astype(zero.dtype), 0.0),
        transfer_error=zero,
        unresolved=zero,
    )


def transfer_error(oracle: Oracle, report: Report) -> tuple[Array, Array]:
    """Mean |estimate - tau*| where resolved (NaN if nowhere), and the number unresolved."""
    error = jnp.where(report.is_resolved, jnp.abs(report.transfer - oracle.minimal_transfers), 0.0)
    tables = (error, report.is_resolved.astype(error.dtype))
    error, resolved = lanes.dot(None, jax.tree.map(lanes.flat, tables))
    return error / resolved, math.prod(report.is_resolved.shape[:3]) - resolved
