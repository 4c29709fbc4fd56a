"""Mechanisms that never learn: one contract, posted for ever.

`NoTransfer` is laissez-faire, a baseline that any principal can play. The others come from whoever
knows the game: an oracle's transfers, or the coarse and the robust contracts of `pajax.transfers`.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from pajax import _checks, planning, transfers
from pajax._pytree import axes, pytree, static
from pajax.game import Game
from pajax.protocols import Contract, Episode, Report, Spec, Stage


def _contract(spec: Spec, transfer: Array, target: Array, own_action: Array) -> Contract:
    """A contract from arrays [H or 1, S or 1, A or 1, lanes or none]."""
    return Contract(
        transfer=spec.per_action() + _aligned(jnp.asarray(transfer, float), 3, spec),
        own_action=spec.per_state(0) + _aligned(jnp.asarray(own_action, jnp.int32), 2, spec),
        target=spec.per_state(0) + _aligned(jnp.asarray(target, jnp.int32), 2, spec),
    )


def _aligned(table: Array, rank: int, spec: Spec) -> Array:
    """A table with one axis for each of the spec's lanes behind its `rank` own axes."""
    return table.reshape(table.shape + (1,) * (rank + len(spec.lanes) - table.ndim))


class _Static:
    """The methods of a mechanism whose state is its contract."""

    adapting_until = 0.0

    def post(self, state: Contract) -> Contract:
        """The one contract."""
        return state

    def update(self, state: Contract, episode: Episode) -> Contract:
        """Learns nothing."""
        return state

    def observe(self, state: Contract, stage: Stage) -> Contract:
        """Learns nothing."""
        return state

    def report(self, state: Contract) -> Report:
        """Estimates nothing."""
        return Report(
            is_estimating=jnp.zeros(state.target.shape[2:], bool),
            transfer=jnp.full_like(state.transfer, jnp.nan),
            is_resolved=jnp.ones(state.transfer.shape, bool),
        )


@pytree
class NoTransfer(_Static):
    """Laissez-faire: nothing is ever paid, and the principal plays its own action 0."""

    def init(self, spec: Spec) -> Contract:
        """No transfers, no target."""
        none = jnp.zeros((1, 1, 1))
        return _contract(spec, none, jnp.full((1, 1), -1), own_action=none[0])


@pytree
class FixedTransfers(_Static):
    """Posts given transfers for ever. `FixedTransfers.oracle(game)` knows the game.

    Attributes:
      transfer: [H, S, A, ...], reward units, at least 0.
      target: int [H, S, ...], -1 where none.
      own_action: int [H, S, ...].
    """

    transfer: Array = axes("h", "s", "a", low=0.0)
    target: Array = axes("h", "s", low=-1)
    own_action: Array = axes("h", "s", low=0)

    @staticmethod
    def make(transfer: Any, target: Any = None, own_action: Any = None) -> "FixedTransfers":
        """Given transfers, checked.

        Args:
          transfer: [H, S, A, ...], reward units, at least 0.
          target: int [H, S, ...], -1 where none; by default none anywhere.
          own_action: int [H, S, ...]; by default 0.

        Raises:
          ValueError: transfers are not finite, negative, or the shapes do not go together.
        """
        checked = _checks.in_range("transfer", transfer, 0.0, np.inf)
        shape = checked.shape
        _checks.require(len(shape) >= 3, "transfer", f"shape {shape}", "have axes [H, S, A, ...]")
        tables = {}
        for name, table, default in (("target", target, -1), ("own_action", own_action, 0)):
            table = np.full((*shape[:2], *shape[3:]), default) if table is None else table
            tables[name] = jnp.asarray(_checks.in_range(name, table, default, np.inf), jnp.int32)
            fits, rule = (*shape[:2], *shape[3:]), "have the axes [H, S, ...] of transfer"
            _checks.require(tables[name].shape == fits, name, f"shape {tables[name].shape}", rule)
        return FixedTransfers(transfer=jnp.asarray(checked, float), **tables)

    @staticmethod
    def oracle(game: Game, margin: float | Array = 0.1) -> "FixedTransfers":
        """tau* + margin on the welfare-optimal action, 0 elsewhere (T2), (T3).

        The agent is then strictly better off with the target everywhere, by `margin` or more;
        payments exceed the minimal ones by the margin a step.

        Args:
          game: the game.
          margin: reward units, a number or [...].
        """
        target = planning.greedy(planning.welfare_values(game).q_values)
        least = transfers.minimal_transfers(game)
        paid = transfers.on_target(target, 1.0, game.num_actions) * (least + margin)
        return FixedTransfers(
            transfer=paid, target=target, own_action=planning.best_own_action(game, target)
        )

    def init(self, spec: Spec) -> Contract:
        """The given contract."""
        return _contract(spec, self.transfer, self.target, self.own_action)


@pytree
class FlatTransfer(_Static):
    """Pays one amount for one action, in every state and step: a flat subsidy.

    Attributes:
      amount: reward units, at least 0.
      action: the one paid for, int.
    """

    amount: float | Array = axes(low=0.0)
    action: int | Array = axes(low=0)

    @staticmethod
    def best(game: Game) -> "FlatTransfer":
        """The flat subsidy of the best welfare (`pajax.transfers.best_flat_contract`).

        Args:
          game: the game.
        """
        contract = transfers.best_flat_contract(game)
        action = contract.target[0, 0]
        return FlatTransfer(amount=contract.transfer.max((0, 1, 2)), action=action)

    def init(self, spec: Spec) -> Contract:
        """The amount on the action.

        Raises:
          ValueError: there is no such action.
        """
        if not isinstance(self.action, Tracer):
            _checks.in_range("action", self.action, 0, spec.num_actions - 1)
        action = jnp.broadcast_to(jnp.asarray(self.action, jnp.int32), spec.lanes)
        target = spec.per_state(0) + action
        paid = transfers.on_target(target, self.amount, spec.num_actions)
        return _contract(spec, paid, target, own_action=spec.per_state(0))


@pytree
class QuantisedTransfers(_Static):
    """Transfers of a few amounts (`pajax.transfers.quantised_contract`); an oracle.

    Attributes:
      game: the game whose minimal transfers are quantised.
      margin: reward units, added before rounding up.
      levels: number of amounts, zero included, at least 2.
    """

    game: Game
    margin: float | Array = axes(low=1e-6, default=0.02)
    levels: int = static(default=4)

    def init(self, spec: Spec) -> Contract:
        """The quantised contract."""
        contract = transfers.quantised_contract(self.game, self.levels, self.margin)
        own_action = planning.best_own_action(self.game, contract.target)
        return _contract(spec, contract.transfer, contract.target, own_action)


@pytree
class RobustSubsidy(_Static):
    """The best transfers against an agent that may forgo up to epsilon (T5); an oracle.

    It pays on every action, as `pajax.transfers.robust_subsidy` says. A step off the welfare
    optimum then costs the agent (1 - x) times what it costs welfare. With several own actions the
    principal plays the best one for the target, while its guarantee counts the best one for the
    action that is played: off the target it may net less.

    The question is that of *Optimal Robust Subsidy Policies for Irrational Agent in Principal-Agent
    MDPs* (ICLR 2026), known here by its abstract; the answer is derived in `pajax.transfers`.

    Attributes:
      game: the game that the transfers are computed from.
      epsilon: what the agent may forgo, reward units an episode.
    """

    game: Game
    epsilon: float | Array = axes(low=0.0, default=0.1)

    def init(self, spec: Spec) -> Contract:
        """The subsidy; the target is the welfare-optimal policy."""
        contract = transfers.robust_subsidy(self.game, self.epsilon)
        target = planning.greedy(planning.welfare_values(self.game).q_values)
        own_action = planning.best_own_action(self.game, target)
        return _contract(spec, contract.transfer, target, own_action)
