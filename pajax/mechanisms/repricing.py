"""Mechanisms that post what they would post if their estimates were true.

The contract is a function of what the principal knows; it is made anew whenever the visits of some
(h, s, a) have doubled, so that there are O(S A H log K) contracts in a run, each in force for long.
Until then it stands, and the agent can learn it.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes, model
from pajax.mechanisms import own_actions
from pajax.mechanisms.base import Knowledge
from pajax.protocols import Contract, Episode, Report, Spec, Stage


class State(NamedTuple):
    """What is known, and what is posted."""

    known: Knowledge
    contract: Contract
    priced_visits: Array  # [H, S, A, ...], when the contract was made
    confidence: Array  # log K
    prior: Array  # [H, 1, 1, 1...], H - h


class Repricing:
    """The methods of a mechanism of this kind; a subclass says what `transfers` it posts.

    Its estimate of v is optimistic, with a bonus of scale `own_bonus`
    (`pajax.mechanisms.own_actions`).
    """

    own_bonus: Any
    adapting_until = 0.0

    def transfers(self, state: State, rewards: Array) -> Array:
        """What it would pay if its rewards were these, [H, S, A, ...], in reward units.

        Args:
          state: what is known.
          rewards: its own, [H, S, A, ...].
        """
        raise NotImplementedError

    def init(self, spec: Spec) -> State:
        """Nothing known."""
        state = State(
            known=Knowledge.none(spec),
            contract=Contract(spec.per_action(), spec.per_state(0), spec.per_state(-1)),
            priced_visits=spec.per_action(),
            confidence=model.confidence(spec.num_episodes),
            prior=spec.steps_left(),
        )
        return state._replace(contract=self._contract(state.contract, state))

    def post(self, state: State) -> Contract:
        """The contract in force."""
        return state.contract

    def update(self, state: State, episode: Episode) -> State:
        """Adds an episode to what is known."""
        return state._replace(known=state.known.after_episode(episode))

    def observe(self, state: State, stage: Stage) -> State:
        """Prices anew in lanes where the visits of some (h, s, a) have doubled."""
        state = state._replace(known=state.known.after_stage(stage))
        visits = state.known.visits
        is_due = (visits >= 2.0 * jnp.maximum(state.priced_visits, 1.0)).any((0, 1, 2))
        contract = lanes.when(is_due.any(), self._contract, state.contract, state)
        return state._replace(
            contract=lanes.where_lane(is_due, contract, state.contract),
            priced_visits=jnp.where(is_due, visits, state.priced_visits),
        )

    def report(self, state: State) -> Report:
        """It estimates no tau*."""
        return Report(
            is_estimating=jnp.zeros(state.contract.target.shape[2:], bool),
            transfer=jnp.full_like(state.contract.transfer, jnp.nan),
            is_resolved=jnp.ones(state.contract.transfer.shape, bool),
        )

    def _contract(self, contract: Contract, state: State) -> Contract:
        """The new contract; its own action is the best for what the agent has played most of late.

        (It says so before the agent plays, and cannot wait for what that will be.)
        """
        seen = state.known.by_own_action
        rewards, own_action = own_actions.optimistic(seen, self.own_bonus, state.confidence)
        usual, _ = lanes.argmax(state.known.visits - state.priced_visits, 2)
        return contract._replace(
            transfer=self.transfers(state, rewards),
            own_action=lanes.lookup(own_action, usual, 2),
        )
