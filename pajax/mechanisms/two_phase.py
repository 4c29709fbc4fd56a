"""The two-phase mechanism: estimate the smallest transfers, then steer.

Order "parallel" estimates all steps at once, and verifies what it finds: the practical default.
Order "backward" estimates step H-1 first and posts nothing later than the step at work, so that
tau* is what it is defined to be; earlier steps carry a roll-in subsidy on a policy that steers to
the states still unfinished. Both stop phase one at a cap: what is unfinished keeps its interval and
is reported as unresolved. In phase one the principal plays the own action that it tried least.

How to estimate and how to steer are parts that can be exchanged (see `pajax.mechanisms.base`).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import _checks, lanes, model, planning
from pajax._pytree import axes, pytree, static
from pajax.mechanisms import own_actions
from pajax.mechanisms.base import Estimate, Knowledge, Task
from pajax.mechanisms.bisection import Bisection
from pajax.mechanisms.steering import OptimisticSteering
from pajax.protocols import Contract, Episode, Report, Spec, Stage

ORDERS = ("parallel", "backward")
ESTIMATOR_METHODS = ("init", "offers", "observe", "is_done", "estimate")
STEERING_METHODS = ("init", "observe", "post")


class RollIn(NamedTuple):
    """Backward order: where it stands, and the policy that steers to untested states."""

    level: Array  # int32 [...], the step under test; -1 when all are done
    level_start: Array  # [...], episodes when it began
    target: Array  # int32 [H, S, ...]
    planned: Array  # [...], episodes when the policy was planned


class State(NamedTuple):
    """Everything that the principal knows."""

    task: Task
    known: Knowledge
    estimator: Any
    steering: Any
    roll_in: RollIn
    is_estimating: Array  # bool [...]
    episodes: Array  # [...], done so far
    episode_cap: Array  # episodes of phase one, or of a level


@pytree
class TwoPhase:
    """The two-phase mechanism of Helou (2026), arXiv:2601.03451.

    `pajax.mechanisms.two_phase` has its phases; details and constants are pajax's own. Numbers are
    fields that can be swept. Of two defaults in brackets, the second is for bandits, S = H = 1.

    Attributes:
      width: w, accuracy of a transfer, reward units; None for [2 K^(-1/4); K^(-1/4)].
      test_visits: n, visits of a test at the final accuracy; None for [K^(1/2) / 4; K^(1/2)].
      min_visits: nmin, least visits of a test; None for [20; 50]. Use 100 for restarting or
        contract-blind agents.
      margin: gamma, reward units, posted above hi.
      cap: share of the K episodes after which phase one stops.
      roll_in: subsidy of the roll-in, reward units (backward).
      roll_in_bonus: scale of the optimistic bonus in the roll-in's plan (backward).
      roll_in_episodes: episodes between two plans of the roll-in (backward).
      estimator: how tau* is estimated, an `Estimator` (see `pajax.mechanisms.base`).
      steering: how phase two is played, a `Steering` (likewise).
      order: "parallel" or "backward".
      adapting_until: share of the K episodes with short stages (see `pajax.protocols.Mechanism`);
        raise it with `cap`.
    """

    width: float | Array | None = axes(low=1e-06, default=None)
    test_visits: float | Array | None = axes(low=1.0, default=None)
    min_visits: float | Array | None = axes(low=1.0, default=None)
    margin: float | Array = axes(low=0.0, default=0.1)
    cap: float | Array = axes(low=0.0, high=1.0, default=0.5)
    roll_in: float | Array = axes(low=0.0, default=1.0)
    roll_in_bonus: float | Array = axes(low=0.0, default=0.1)
    roll_in_episodes: float | Array = axes(low=1.0, default=50.0)
    estimator: Any = axes(default_factory=Bisection)
    steering: Any = axes(default_factory=OptimisticSteering)
    order: str = static(default="parallel", choices=ORDERS)
    adapting_until: float = static(default=0.5)

    def init(self, spec: Spec) -> State:
        """Nothing known.

        Raises:
          ValueError: the estimator or the steering lacks a method.
        """
        _checks.methods("estimator", self.estimator, ESTIMATOR_METHODS)
        _checks.methods("steering", self.steering, STEERING_METHODS)
        task = self._task(spec)
        zero = spec.zeros()
        levels = 1 if self.order == "parallel" else spec.horizon
        level = jnp.full(spec.lanes, spec.horizon - 1, jnp.int32)
        return State(
            task=task,
            known=Knowledge.none(spec),
            estimator=self.estimator.init(spec, task),
            steering=self.steering.init(spec),
            roll_in=RollIn(level, zero, spec.per_state(0), zero),
            is_estimating=zero == 0.0,
            episodes=zero,
            episode_cap=jnp.asarray(self.cap, float) * (float(spec.num_episodes) / levels),
        )

    def post(self, state: State) -> Contract:
        """The offers of phase one, or the contract of phase two."""
        is_estimating = state.is_estimating
        steered = self.steering.post(state.steering, state.task, state.known, self._estimate(state))
        return Contract(
            transfer=jnp.where(is_estimating, self._offers(state), steered.transfer),
            own_action=jnp.where(is_estimating, _tried_action(state.known), steered.own_action),
            target=jnp.where(is_estimating, -1, steered.target),
        )

    def update(self, state: State, episode: Episode) -> State:
        """Adds an episode to what is known."""
        return state._replace(known=state.known.after_episode(episode))

    def observe(self, state: State, stage: Stage) -> State:
        """Moves the estimation or the steering on."""
        # each part is skipped while no lane needs it; where it is not skipped, masks do the same
        state = lanes.when(state.is_estimating.any(), self._learn, state, stage)
        state = state._replace(
            known=state.known.after_stage(stage),
            episodes=state.episodes + stage.num_episodes.astype(state.episodes.dtype),
        )
        moved = self._move_on(state)
        has_just_begun = state.is_estimating & ~moved.is_estimating
        return lanes.when(~moved.is_estimating.all(), self._steer, moved, stage, has_just_begun)

    def report(self, state: State) -> Report:
        """The estimates of tau*."""
        estimate = self._estimate(state)
        return Report(state.is_estimating, estimate.transfer, estimate.is_resolved)

    def terms(self, spec: Spec) -> dict[str, Any]:
        """What the bounds on it are in (see `pajax.bounds`): numbers by name.

        Args:
          spec: the sizes of the game and of the run.
        """
        task = self._task(spec)
        return {
            "width": task.width,
            "test_visits": task.test_visits,
            "min_visits": task.min_visits,
            "margin": task.margin,
            "phase_one_cap": jnp.asarray(self.cap, float) * float(spec.num_episodes),
        }

    def _task(self, spec: Spec) -> Task:
        episodes = jnp.asarray(spec.num_episodes, float)
        is_bandit = spec.num_states == spec.horizon == 1
        width, share, least = (1.0, 1.0, 50.0) if is_bandit else (2.0, 0.25, 20.0)
        chosen = lambda value, default: default if value is None else jnp.asarray(value, float)  # noqa: E731
        return Task(
            width=chosen(self.width, width * episodes**-0.25),
            test_visits=chosen(self.test_visits, share * jnp.sqrt(episodes)),
            min_visits=chosen(self.min_visits, jnp.asarray(least, float)),
            margin=jnp.asarray(self.margin, float),
            confidence=model.confidence(spec.num_episodes),
            prior=spec.steps_left(),
            is_simultaneous=jnp.asarray(self.order == "parallel"),
        )

    def _estimate(self, state: State) -> Estimate:
        return self.estimator.estimate(state.estimator, state.task)

    def _offers(self, state: State) -> Array:
        """What is posted in phase one, [H, S, A, ...]."""
        offers = self.estimator.offers(state.estimator)
        offers = jnp.where(self._is_active(state)[:, :, None], offers, 0.0)
        if self.order == "parallel":
            return offers
        rolled = lanes.one_hot(state.roll_in.target, offers.shape[2], 2)
        is_earlier = _steps(offers) < state.roll_in.level
        return jnp.where(rolled & is_earlier, self.roll_in, offers)

    def _learn(self, state: State, stage: Stage) -> State:
        """The stage as the estimator sees it."""
        is_active = self._is_active(state)
        estimator = self.estimator.observe(state.estimator, state.task, stage, is_active)
        return state._replace(estimator=estimator)

    def _steer(self, state: State, stage: Stage, has_just_begun: Array) -> State:
        """The stage as the steering sees it."""
        parts = (state.task, stage, state.known, self._estimate(state), has_just_begun)
        steered = self.steering.observe(state.steering, *parts)
        kept = lanes.where_lane(state.is_estimating, state.steering, steered)
        return state._replace(steering=kept)

    def _is_active(self, state: State) -> Array:
        """Where the estimator is at work, bool [H, S, ...]."""
        is_active = state.is_estimating & ~self.estimator.is_done(state.estimator)
        if self.order == "backward":
            is_active = is_active & (_steps(is_active) == state.roll_in.level)
        return is_active

    def _move_on(self, state: State) -> State:
        """Ends phase one, or a level of it, when it is done or its cap is reached."""
        is_done = self.estimator.is_done(state.estimator)
        if self.order == "parallel":
            is_over = is_done.all((0, 1)) | (state.episodes >= state.episode_cap)
            return state._replace(is_estimating=state.is_estimating & ~is_over)
        return self._next_level(state, is_done)

    def _next_level(self, state: State, is_done: Array) -> State:
        roll_in = state.roll_in
        at_level = _steps(is_done) == roll_in.level
        at_cap = state.episodes - roll_in.level_start >= state.episode_cap
        is_over = state.is_estimating & ((is_done | ~at_level).all((0, 1)) | at_cap)
        level = roll_in.level - is_over.astype(jnp.int32)
        is_due = is_over | (state.episodes - roll_in.planned >= self.roll_in_episodes)
        target = self._roll_in_policy(state, level, is_done)
        return state._replace(
            is_estimating=state.is_estimating & (level >= 0),
            roll_in=RollIn(
                level=level,
                level_start=jnp.where(is_over, state.episodes, roll_in.level_start),
                target=jnp.where(is_due, target, roll_in.target),
                planned=jnp.where(is_due, state.episodes, roll_in.planned),
            ),
        )

    def _roll_in_policy(self, state: State, level: Array, is_done: Array) -> Array:
        """Optimistic policy [H, S, ...] for reaching a state still unfinished at step `level`."""
        seen, steps = state.known.model, _steps(is_done)
        is_wanted = (steps == level) & ~is_done
        reward = is_wanted[:, :, None].astype(seen.rewards.dtype)
        is_earlier = (steps < level)[:, :, None]
        bonus = model.hoeffding_bonus(seen.visits, self.roll_in_bonus, state.task.confidence)
        plan = model.optimistic_plan(
            seen,
            reward,
            jnp.where(is_earlier, bonus, 0.0),
            bound=jnp.where(is_earlier, 1.0, reward),
        )
        return planning.greedy(plan.q_values)


def _tried_action(known: Knowledge) -> Array:
    """The own action of phase one, int32 [H, S, ...]."""
    if known.own_rewards is None:
        return jnp.zeros_like(known.visits[:, :, 0], jnp.int32)
    return own_actions.least_tried(known.own_rewards)


def _steps(like: Array) -> Array:
    """H in the shape [H, 1, ..., 1], to compare with a lane's step."""
    steps = jnp.arange(like.shape[0], dtype=jnp.int32)
    return steps.reshape((-1,) + (1,) * (like.ndim - 1))
