"""Mechanisms whose every word is given, for tests of the engine; they learn nothing."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from pajax._pytree import axes, pytree, static
from pajax.protocols import Contract, Episode, Report, Spec, Stage


class State(NamedTuple):
    """What the next contract is chosen by, and what was seen."""

    contracts: Contract  # the even one and the odd one, stacked in front
    report: Report
    stages: Array  # int32 [...], done so far
    rewards: Array  # [...], sum of what `update` saw
    payments: Array  # [...], likewise
    visits: Array  # [H, S, A, ...], sum of what `observe` saw
    episodes: Array  # int32, likewise


@pytree
class Scripted:
    """Posts contract `i % 2` in stage i, and reports what it is told to.

    Arrays have the leading axis of the two contracts, and no lanes.
    """

    transfer: Array = axes("i", "h", "s", "a")
    own_action: Array = axes("i", "h", "s")
    target: Array = axes("i", "h", "s")
    estimate: Array = axes("h", "s", "a")
    is_resolved: Array = axes("h", "s", "a")
    estimating_stages: Any = axes(default=0)
    adapting_until: float = static(default=0.5)

    def init(self, spec: Spec) -> State:
        """The script, its arrays over lanes already."""
        contracts = Contract(self.transfer, self.own_action, self.target)
        report = Report(jnp.zeros(spec.lanes, bool), self.estimate, self.is_resolved)
        return State(
            contracts,
            report,
            stages=jnp.zeros(spec.lanes, jnp.int32),
            rewards=spec.zeros(),
            payments=spec.zeros(),
            visits=spec.per_action(),
            episodes=jnp.int32(0),
        )

    def post(self, state: State) -> Contract:
        """The contract of this stage."""
        is_odd = state.stages % 2 == 1
        return Contract(*(jnp.where(is_odd, x[1], x[0]) for x in state.contracts))

    def update(self, state: State, episode: Episode) -> State:
        """Adds the episode up."""
        return state._replace(
            rewards=state.rewards + episode.rewards.sum(0),
            payments=state.payments + episode.payments.sum(0),
        )

    def observe(self, state: State, stage: Stage) -> State:
        """Counts the stage."""
        return state._replace(
            stages=state.stages + 1,
            visits=state.visits + stage.visits,
            episodes=state.episodes + stage.num_episodes,
        )

    def report(self, state: State) -> Report:
        """As told; estimating in the first stages."""
        is_estimating = state.stages < self.estimating_stages
        return state.report._replace(is_estimating=is_estimating)


def scripted(game, transfer=0.0, own_action=0, target=-1, **fields) -> Scripted:
    """A script for a game; what is given is broadcast to [2, H, S, A] or [2, H, S]."""
    states = (2, game.horizon, game.num_states)
    actions = (*states, game.num_actions)
    estimate = np.broadcast_to(fields.pop("estimate", np.nan), actions[1:])
    resolved = np.broadcast_to(fields.pop("is_resolved", True), actions[1:])
    return Scripted(
        transfer=jnp.asarray(np.broadcast_to(transfer, actions), float),
        own_action=jnp.asarray(np.broadcast_to(own_action, states), jnp.int32),
        target=jnp.asarray(np.broadcast_to(target, states), jnp.int32),
        estimate=jnp.asarray(estimate, float),
        is_resolved=jnp.asarray(resolved),
        **fields,
    )
