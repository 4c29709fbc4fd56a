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
    """What a principal has seen in all its episodes.

    Attributes:
      model: of transitions and its own rewards, whatever its own action.
      own_rewards: its rewards by its own action; None where it has but one.
      visits: plays in the stages done, [H, S, A, ...].
    """

    model: Model
    own_rewards: OwnRewards | None
    visits: Array

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
    """What two phases ask of their parts in a run; see `TwoPhase` for the meaning.

    Attributes:
      width: w, reward units.
      test_visits: n.
      min_visits: nmin.
      margin: gamma, reward units.
      confidence: log K.
      prior: H - h, an upper bound on tau*, [H, 1, 1, 1...], reward units.
      is_simultaneous: all (h, s) are estimated at once and so disturb one another, bool.
    """

    width: Array
    test_visits: Array
    min_visits: Array
    margin: Array
    confidence: Array
    prior: Array
    is_simultaneous: Array


class Estimate(NamedTuple):
    """What an estimator has learned of tau*; each [H, S, A, ...].

    Attributes:
      transfer: the estimate itself, which plans are made with, reward units.
      low: lower end of its interval, reward units.
      high: upper end, which implements the action if tau* is inside.
      is_resolved: estimated as closely as it meant to, bool.
    """

    transfer: Array
    low: Array
    high: Array
    is_resolved: Array


class Estimator(Protocol):
    """How tau* is estimated from what the agent plays under offers."""

    def init(self, spec: Spec, task: Task) -> Any:
        """Its state before the first stage, any tree of arrays.

        Args:
          spec: the sizes of the game and of the run.
          task: what is asked of it.
        """
        ...

    def offers(self, state: Any) -> Array:
        """What it would post at each (h, s) it is at work at, [H, S, A, ...], reward units.

        Args:
          state: its state.
        """
        ...

    def observe(self, state: Any, task: Task, stage: Stage, is_active: Array) -> Any:
        """Its state after a stage, from which it learns where it was active.

        Args:
          state: its state.
          task: what is asked of it.
          stage: the plays of the stage.
          is_active: where its offers were posted, bool [H, S, ...].
        """
        ...

    def is_done(self, state: Any) -> Array:
        """Where it has nothing left to do, bool [H, S, ...].

        Args:
          state: its state.
        """
        ...

    def estimate(self, state: Any, task: Task) -> Estimate:
        """What it has learned so far.

        Args:
          state: its state.
          task: what is asked of it.
        """
        ...


class Steering(Protocol):
    """How a principal plays when it has an estimate of tau*."""

    def init(self, spec: Spec) -> Any:
        """Its state before the first stage, any tree of arrays.

        Args:
          spec: the sizes of the game and of the run.
        """
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
        """Its state after a stage, from which it learns, and plans.

        Args:
          state: its state.
          task: what is asked of it.
          stage: the plays of the stage.
          known: what the principal has seen.
          estimate: of tau*.
          has_just_begun: bool [...], the stage was the last of the first phase.
        """
        ...

    def post(self, state: Any, task: Task, known: Knowledge, estimate: Estimate) -> Contract:
        """The contract of the coming stage.

        Args:
          state: its state.
          task: what is asked of it.
          known: what the principal has seen.
          estimate: of tau*.
        """
        ...
