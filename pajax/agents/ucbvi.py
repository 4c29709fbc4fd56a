"""UCBVI: optimistic value iteration in an estimated model (Azar, Osband and Munos, 2017).

Measured alone (no transfers, K = 1e5, 32 seeds; 2 seeds each of 16 Garnets), agent regret grows
with the exponent 0.22 in pollution and 0.19 in Garnet. In the bandit it is 0.86, interval
[0.04, 0.94] (64 seeds): the default bonus, far below the one of the proof, leaves a few runs on a
wrong arm, which violates (A1). With `bonus=0.5` it is 0.23 [0.16, 0.31] there.
"""

from typing import NamedTuple

from jax import Array

from pajax import lanes, model
from pajax._pytree import axes, pytree, static
from pajax.agents.base import MEMORIES, forget, value_bound
from pajax.protocols import Contract, Episode, Spec


class State(NamedTuple):
    """The estimated model and the plan made in it."""

    model: model.Model
    q_values: Array  # flat [H * S * A, ...]
    transfer: Array  # [H, S, A, ...], the contract known last
    confidence: Array  # scalar, log K
    steps_left: Array  # [H, 1, 1, 1...], H - h


@pytree
class UCBVI:
    """Greedy on an optimistic plan (see `pajax.model`), made anew when a stage begins.

    Source: Azar, Osband and Munos, 2017 (see `pajax.agents.ucbvi`).

    Attributes:
      bonus: scale of the exploration bonus (H - h) sqrt(log K / N).
      stationary: one model for all steps, as Azar et al. assume; False keeps one for each step.
      memory: "aware" plans with the transfers posted, on a model of its own rewards; "restarting"
        and "blind" take payments for rewards (see `pajax.agents.base`).
    """

    bonus: float | Array = axes(low=0.0, default=0.2)
    stationary: bool = static(default=True)
    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 0

    def init(self, spec: Spec) -> State:
        """An empty model; plans are made in `begin`."""
        confidence = model.confidence(spec.num_episodes)
        none = spec.per_action()
        return State(model.empty(spec), lanes.flat(none), none, confidence, spec.steps_left())

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract, and replans."""
        seen = state.model
        if self.memory == "restarting":
            seen = forget(seen, state.transfer, contract.transfer)
        known = model.pooled(seen) if self.stationary else seen
        rewards = model.mean_rewards(known)
        if self.memory == "aware":
            rewards = rewards + contract.transfer
        scale = self.bonus * state.steps_left
        bonus = model.hoeffding_bonus(known.visits, scale, state.confidence)
        bound = value_bound(contract.transfer)[:, None, None]
        plan = model.optimistic_plan(known, rewards, bonus, bound)
        q_values = lanes.flat(plan.q_values)
        return state._replace(model=seen, q_values=q_values, transfer=contract.transfer)

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, None]:
        """Greedy on the plan; ties go to the lowest action."""
        return lanes.argmax(lanes.row(state.q_values, h, s, state.transfer.shape[1:3]))[0], None

    def update(self, state: State, episode: Episode, memo: None) -> State:
        """Adds the episode to the model."""
        paid = 0.0 if self.memory == "aware" else episode.payments
        return state._replace(model=model.observe(state.model, episode, episode.rewards + paid))
