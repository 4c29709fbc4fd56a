"""Mechanisms that never learn: one contract, posted for ever.

`NoTransfer` is laissez-faire, a baseline that any principal can play. The others come from whoever
knows the game: an oracle's transfers, or the coarse contracts of `pajax.transfers`.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from pajax import _checks, planning, transfers
from pajax._pytree import axes, pytree, static
from pajax.game import Game
from pajax.protocols import Contract, Episode, Report, Spec, Stage


def _contract(spec: Spec, transfer: Array, target: Array) -> Contract:
    """A contract, spread over lanes, with the principal's own action 0."""
    lanes = (1,) * (3 + len(spec.lanes))
    transfer = jnp.asarray(transfer, float)
    transfer = transfer.reshape(transfer.shape + lanes[transfer.ndim :])
    target = jnp.asarray(target, jnp.int32)
    target = target.reshape(target.shape + lanes[target.ndim + 1 :])
    return Contract(
        transfer=spec.per_action() + transfer,
        own_action=spec.per_state(0),
        target=spec.per_state(0) + target,
    )


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
    """Laissez-faire: nothing is ever paid."""

    def init(self, spec: Spec) -> Contract:
        """No transfers, no target."""
        return _contract(spec, jnp.zeros((1, 1, 1)), jnp.full((1, 1), -1))


@pytree
class FixedTransfers(_Static):
    """Posts given transfers for ever. `FixedTransfers.oracle(game)` knows the game."""

    transfer: Array = axes("h", "s", "a")  # [H, S, A, ...] >= 0
    target: Array = axes("h", "s")  # int [H, S, ...], -1 where none

    @staticmethod
    def make(transfer: Any, target: Any = None) -> "FixedTransfers":
        """Checked transfers [H, S, A, ...]; `target` is int [H, S, ...], by default none.

        Raises:
          ValueError: transfers are not finite, negative, or of other shape than the target.
        """
        checked = _checks.finite("transfer", transfer)
        low = checked.min() if checked.size else 0.0
        _checks.require(low >= 0.0, "transfer", low, "be at least 0 everywhere")
        _checks.require(
            checked.ndim >= 3, "transfer", f"shape {checked.shape}", "have axes [H, S, A, ...]"
        )
        shape = checked.shape[:2] + checked.shape[3:]
        target = jnp.full(shape, -1, jnp.int32) if target is None else jnp.asarray(target)
        _checks.require(
            target.shape == shape, "target", f"shape {target.shape}", f"have shape {shape}"
        )
        return FixedTransfers(transfer=jnp.asarray(checked, float), target=target)

    @staticmethod
    def oracle(game: Game, margin: float = 0.1) -> "FixedTransfers":
        """tau* + margin on the welfare-optimal action, 0 elsewhere (T2), (T3).

        The agent is then strictly better off with the target everywhere, by `margin` (reward
        units) or more; payments exceed the minimal ones by the margin a step.
        """
        _checks.require(margin >= 0.0, "margin", margin, "be at least 0")
        target = planning.greedy(planning.welfare_values(game).q_values)
        least = transfers.minimal_transfers(game)
        paid = transfers.on_target(target, 1.0, game.num_actions) * (least + margin)
        return FixedTransfers(transfer=paid, target=target)

    def init(self, spec: Spec) -> Contract:
        """The given contract."""
        return _contract(spec, self.transfer, self.target)


@pytree
class FlatTransfer(_Static):
    """Pays one amount for one action, in every state and step: a flat subsidy."""

    amount: Any = axes()  # >= 0, reward units
    action: Any = axes()  # int, the action paid for

    @staticmethod
    def best(game: Game) -> "FlatTransfer":
        """The flat subsidy with the best best-response welfare (`transfers.best_flat_contract`)."""
        contract = transfers.best_flat_contract(game)
        action = contract.target[0, 0]
        return FlatTransfer(amount=contract.transfer.max((0, 1, 2)), action=action)

    def init(self, spec: Spec) -> Contract:
        """The amount on the action."""
        action = jnp.broadcast_to(jnp.asarray(self.action, jnp.int32), spec.lanes)
        target = spec.per_state(0) + action
        return _contract(spec, transfers.on_target(target, self.amount, spec.num_actions), target)


@pytree
class QuantisedTransfers(_Static):
    """Transfers of a few amounts (`transfers.quantised_contract`); an oracle, it takes the game.

    Attributes:
      game: the game whose minimal transfers are quantised.
      margin: reward units, added before rounding up.
      levels: number of amounts, zero included, at least 2.
    """

    game: Game
    margin: Any = axes(default=0.02)
    levels: int = static(default=4)

    def init(self, spec: Spec) -> Contract:
        """The quantised contract."""
        contract = transfers.quantised_contract(self.game, self.levels, self.margin)
        return _contract(spec, contract.transfer, contract.target)
