"""What mechanisms share: what a principal knows of its game, and the parts of two phases.

A mechanism of two phases first estimates tau* and then steers with the estimate. Both parts are
exchangeable: an `Estimator` says what to offer at each (h, s) while estimating, and what it has
learned of tau*; a `Steering` plans and posts contracts from the estimate. `TwoPhase` decides where
the estimator is at work, and when the first phase is over.
"""

from typing import Any, NamedTuple, Protocol

from jax import Array

from pajax import model
from pajax.mechanisms import own_actions
from pajax.mechanisms.own_actions import OwnRewards
from pajax.model import Model
from pajax.protocols import Contract, Episode, Spec, Stage


class Knowledge(NamedTuple):
    """What a principal has seen in all its episodes."""

    model: Model  # of transitions and its own rewards, whatever its own action
    own_rewards: OwnRewards | None  # by its own action; None where it has but one
    visits: Array  # [H, S, A, ...], plays in the stages done

    @staticmethod
    def none(spec: Spec) -> "Knowledge":
        """Before the first episode."""
        return Knowledge(model.empty(spec), own_actions.empty(spec), spec.per_action())

    @property
    def by_own_action(self) -> OwnRewards:
        """Its rewards by own action, [H, S, A, B, ...], also where there is but one."""
        if self.own_rewards is not None:
            return self.own_rewards
        return OwnRewards(self.model.rewards[:, :, :, None], self.visits[:, :, :, None])

    def after_episode(self, episode: Episode) -> "Knowledge":
        """With one more episode, as the principal saw it."""
        own_rewards = self.own_rewards
        if own_rewards is not None:
            own_rewards = own_actions.observe(own_rewards, episode)
        seen = model.observe(self.model, episode, episode.rewards)
        return self._replace(model=seen, own_rewards=own_rewards)

    def after_stage(self, stage: Stage) -> "Knowledge":
        """With the stage's plays."""
        return self._replace(visits=self.visits + stage.visits)


class Task(NamedTuple):
    """What two phases ask of their parts in a run; see `TwoPhase` for the meaning."""

    width: Array  # w
    test_visits: Array  # n
    min_visits: Array  # nmin
    margin: Array  # gamma
    confidence: Array  # log K
    prior: Array  # [H, 1, 1, 1...], H - h, an upper bound on tau*
    is_simultaneous: Array  # bool: all (h, s) are estimated at once and so disturb one another


class Estimate(NamedTuple):
    """What an estimator has learned of tau*; each [H, S, A, ...]."""

    transfer: Array  # the estimate itself, which plans are made with
    low: Array
    high: Array  # the end of the interval which implements the action, if tau* is inside
    is_resolved: Array  # bool, as closely as it meant to


class Estimator(Protocol):
    """How tau* is estimated from what the agent plays under offers."""

    def init(self, spec: Spec, task: Task) -> Any:
        """Its state before the first stage."""
        ...

    def offers(self, state: Any) -> Array:
        """What it would post at each (h, s) it is at work at, [H, S, A, ...]."""
        ...

    def observe(self, state: Any, task: Task, stage: Stage, is_active: Array) -> Any:
        """It learns from a stage, where it was active, bool [H, S, ...]."""
        ...

    def is_done(self, state: Any) -> Array:
        """Where it has nothing left to do, bool [H, S, ...]."""
        ...

    def estimate(self, state: Any, task: Task) -> Estimate:
        """What it has learned so far."""
        ...


class Steering(Protocol):
    """How a principal plays when it has an estimate of tau*."""

    def init(self, spec: Spec) -> Any:
        """Its state before the first stage."""
        ...

    def observe(
        self,
        state: Any,
        task: Task,
        stage: Stage,
        known: Knowledge,
        estimate: Estimate,
        has_just_begun: Array,
    ) -> Any:
        """It learns from a stage, and plans.

        `has_just_begun`, bool [...]: the stage was the last of the first phase.
        """
        ...

    def post(self, state: Any, task: Task, known: Knowledge, estimate: Estimate) -> Contract:
        """The contract of the coming stage."""
        ...
