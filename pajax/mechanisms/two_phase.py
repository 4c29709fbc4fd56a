"""The two-phase mechanism: estimate the smallest transfers, then steer (THEORY: section 4).

Order "parallel" tests all steps at once and verifies what it finds: the practical default. Order
"backward" estimates step H-1 first and posts nothing later than the step under test, so that tau*
is what it is defined to be; earlier steps carry a roll-in subsidy on a policy that steers to the
states still untested. Both stop phase one at a cap: what is unfinished keeps its interval and is
reported as unresolved.

The tests are in `pajax.mechanisms.estimation`, phase two is in `pajax.mechanisms.steering`.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import _checks, lanes, model, planning
from pajax._pytree import axes, pytree, static
from pajax.mechanisms import estimation, steering
from pajax.protocols import Contract, Episode, Report, Spec, Stage

ORDERS = ("parallel", "backward")


class RollIn(NamedTuple):
    """Backward order: where it stands, and the policy that steers to untested states."""

    level: Array  # int32 [...], the step under test; -1 when all are done
    level_start: Array  # [...], episodes when it began
    target: Array  # int32 [H, S, ...]
    planned: Array  # [...], episodes when the policy was planned


class Settings(NamedTuple):
    """Numbers of a run, resolved from the fields and the sizes."""

    estimation: estimation.Settings
    steering: steering.Settings
    episode_cap: Array  # episodes of phase one, or of a level


class State(NamedTuple):
    """Everything that the principal knows."""

    settings: Settings
    model: model.Model  # of transitions and its own rewards, from all episodes
    visits: Array  # [H, S, A, ...], plays in all stages done
    intervals: estimation.Intervals
    tests: estimation.Tests
    steering: steering.State
    roll_in: RollIn
    is_estimating: Array  # bool [...]
    episodes: Array  # [...], done so far


@pytree
class TwoPhase:
    """The two-phase mechanism of arXiv:2601.03451, as THEORY section 4 derives it.

    Attributes (numbers, so that they can be swept; None means the default in brackets):
      width: w, accuracy of a transfer, reward units [2 K^(-1/4)].
      test_visits: n, visits of a test at the final accuracy [K^(1/2) / 4].
      min_visits: least visits of a test; use 100 for restarting or contract-blind agents.
      first_offer: g, first offer of the gallop, reward units.
      inflation: iota, outward inflation of an answer, as a share of the interval.
      burn: share of a test's visits that are not counted.
      margin: gamma, reward units, posted above hi.
      bonus: c2, scale of the optimistic bonus in phase two.
      cap: share of the K episodes after which phase one stops.
      roll_in: subsidy of the roll-in, reward units (backward).
      roll_in_episodes: episodes between two plans of the roll-in (backward).
      repair_visits: visits of (h, s) between two verdicts on compliance.
      max_failures: failed checks after which an action is left unresolved, and longest streak.
      order: "parallel" or "backward".
      adapting_until: share of the K episodes with short stages (see `pajax.protocols.Mechanism`);
        raise it with `cap`.
    """

    width: Any = axes(low=1e-06, default=None)
    test_visits: Any = axes(low=1.0, default=None)
    min_visits: Any = axes(low=1.0, default=20.0)
    first_offer: Any = axes(low=0.0, default=0.5)
    inflation: Any = axes(low=0.0, high=0.5, default=0.125)
    burn: Any = axes(low=0.0, high=0.9, default=0.5)
    margin: Any = axes(low=0.0, default=0.1)
    bonus: Any = axes(low=0.0, default=0.1)
    cap: Any = axes(low=0.0, high=1.0, default=0.5)
    roll_in: Any = axes(low=0.0, default=1.0)
    roll_in_episodes: Any = axes(low=1.0, default=50.0)
    repair_visits: Any = axes(low=1.0, default=20.0)
    max_failures: Any = axes(low=0.0, high=20.0, default=6.0)
    order: str = static(default="parallel", choices=ORDERS)
    adapting_until: float = static(default=0.5)

    def init(self, spec: Spec) -> State:
        """Nothing known; a baseline test everywhere.

        Raises:
          ValueError: the principal has several own actions; it does not learn which to play.
        """
        own = spec.num_own_actions
        _checks.require(own == 1, "game", f"{own} own actions", "have one under TwoPhase")
        settings = self._settings(spec)
        intervals, tests = estimation.init(spec, settings.estimation)
        zero = spec.zeros()
        level = jnp.full(spec.lanes, spec.horizon - 1, jnp.int32)
        return State(
            settings=settings,
            model=model.empty(spec),
            visits=spec.per_action(),
            intervals=intervals,
            tests=tests,
            steering=steering.init(spec),
            roll_in=RollIn(level, zero, spec.per_state(0), zero),
            is_estimating=zero == 0.0,
            episodes=zero,
        )

    def post(self, state: State) -> Contract:
        """The offers under test, or the transfers of phase two."""
        num_actions = state.intervals.low.shape[2]
        tested = (
            lanes.one_hot(state.tests.action, num_actions, 2) & self._is_active(state)[:, :, None]
        )
        offers = jnp.where(tested, state.tests.offer[:, :, None], 0.0)
        if self.order == "backward":
            rolled = lanes.one_hot(state.roll_in.target, num_actions, 2)
            is_earlier = _steps(offers) < state.roll_in.level
            offers = jnp.where(rolled & is_earlier, self.roll_in, offers)
        posted = steering.transfers(state.steering, state.intervals, state.settings.steering)
        return Contract(
            transfer=jnp.where(state.is_estimating, offers, posted),
            own_action=jnp.zeros_like(state.steering.target),
            target=jnp.where(state.is_estimating, -1, state.steering.target),
        )

    def update(self, state: State, episode: Episode) -> State:
        """Adds an episode to the model."""
        return state._replace(model=model.observe(state.model, episode, episode.rewards))

    def observe(self, state: State, stage: Stage) -> State:
        """Moves the tests or the steering on."""
        # each part is skipped while no lane needs it; where it is not skipped, masks do the same
        state = lanes.when(state.is_estimating.any(), self._test, state, stage)
        state = lanes.when(~state.is_estimating.all(), self._repair, state, stage)
        state = state._replace(
            visits=state.visits + stage.visits,
            episodes=state.episodes + stage.num_episodes.astype(state.episodes.dtype),
        )
        moved = self._move_on(state)
        has_just_begun = state.is_estimating & ~moved.is_estimating
        return lanes.when(~moved.is_estimating.all(), self._replan, moved, has_just_begun)

    def report(self, state: State) -> Report:
        """The middles of the intervals."""
        return Report(
            is_estimating=state.is_estimating,
            transfer=estimation.midpoint(state.intervals),
            is_resolved=estimation.is_resolved(state.intervals, state.settings.estimation),
        )

    def _settings(self, spec: Spec) -> Settings:
        episodes = jnp.asarray(spec.num_episodes, float)
        width = 2.0 * episodes**-0.25 if self.width is None else jnp.asarray(self.width, float)
        visits = 0.25 * jnp.sqrt(episodes) if self.test_visits is None else self.test_visits
        prior = spec.steps_left()
        levels = 1 if self.order == "parallel" else spec.horizon
        return Settings(
            estimation=estimation.Settings(
                width=width,
                test_visits=jnp.asarray(visits, float),
                check_visits=jnp.maximum(self.min_visits, jnp.asarray(visits, float) / 2.0),
                min_visits=jnp.asarray(self.min_visits, float),
                first_offer=jnp.asarray(self.first_offer, float),
                inflation=jnp.asarray(self.inflation, float),
                burn=jnp.asarray(self.burn, float),
                max_failures=jnp.asarray(self.max_failures, float),
                prior=prior,
                is_verifying=jnp.asarray(self.order == "parallel"),
            ),
            steering=steering.Settings(
                width=width,
                margin=jnp.asarray(self.margin, float),
                bonus=jnp.asarray(self.bonus, float),
                confidence=model.confidence(spec.num_episodes),
                repair_visits=jnp.asarray(self.repair_visits, float),
                max_streak=jnp.asarray(self.max_failures, float),
                prior=prior,
            ),
            episode_cap=jnp.asarray(self.cap, float) * (episodes / levels),
        )

    def _test(self, state: State, stage: Stage) -> State:
        intervals, tests = estimation.advance(
            state.intervals,
            state.tests,
            stage.visits,
            self._is_active(state),
            state.settings.estimation,
        )
        return state._replace(intervals=intervals, tests=tests)

    def _repair(self, state: State, stage: Stage) -> State:
        repaired = steering.repair(state.steering, stage.visits, state.settings.steering)
        kept = lanes.where_lane(state.is_estimating, state.steering, repaired)
        return state._replace(steering=kept)

    def _replan(self, state: State, has_just_begun: Array) -> State:
        planned = steering.replan(
            state.steering,
            state.model,
            state.visits,
            state.intervals,
            has_just_begun,
            state.settings.steering,
        )
        kept = lanes.where_lane(state.is_estimating, state.steering, planned)
        return state._replace(steering=kept)

    def _is_active(self, state: State) -> Array:
        """Where tests run, bool [H, S, ...]."""
        is_active = state.is_estimating & (state.tests.kind != estimation.DONE)
        if self.order == "backward":
            is_active = is_active & (_steps(is_active) == state.roll_in.level)
        return is_active

    def _move_on(self, state: State) -> State:
        """Ends phase one, or a level of it, when its tests are done or its cap is reached."""
        is_done = state.tests.kind == estimation.DONE
        if self.order == "parallel":
            at_cap = state.episodes >= state.settings.episode_cap
            is_over = is_done.all((0, 1)) | at_cap
            return state._replace(is_estimating=state.is_estimating & ~is_over)
        return self._next_level(state, is_done)

    def _next_level(self, state: State, is_done: Array) -> State:
        roll_in = state.roll_in
        at_level = _steps(is_done) == roll_in.level
        at_cap = state.episodes - roll_in.level_start >= state.settings.episode_cap
        is_over = state.is_estimating & ((is_done | ~at_level).all((0, 1)) | at_cap)
        level = roll_in.level - is_over.astype(jnp.int32)
        is_due = is_over | (state.episodes - roll_in.planned >= self.roll_in_episodes)
        target = _roll_in_policy(state.model, level, is_done, state.settings.steering)
        return state._replace(
            is_estimating=state.is_estimating & (level >= 0),
            roll_in=RollIn(
                level=level,
                level_start=jnp.where(is_over, state.episodes, roll_in.level_start),
                target=jnp.where(is_due, target, roll_in.target),
                planned=jnp.where(is_due, state.episodes, roll_in.planned),
            ),
        )


def _roll_in_policy(
    seen: model.Model, level: Array, is_done: Array, settings: steering.Settings
) -> Array:
    """Optimistic policy [H, S, ...] for reaching a state still untested at step `level`."""
    steps = _steps(is_done)
    is_wanted = (steps == level) & ~is_done
    reward = is_wanted[:, :, None].astype(seen.rewards.dtype)
    is_earlier = (steps < level)[:, :, None]
    bonus = model.hoeffding_bonus(seen.visits, settings.bonus, settings.confidence)
    plan = model.optimistic_plan(
        seen,
        reward,
        jnp.where(is_earlier, bonus, 0.0),
        bound=jnp.where(is_earlier, 1.0, reward),
    )
    return planning.greedy(plan.q_values)


def _steps(like: Array) -> Array:
    """H in the shape [H, 1, ..., 1], to compare with a lane's step."""
    steps = jnp.arange(like.shape[0], dtype=jnp.int32)
    return steps.reshape((-1,) + (1,) * (like.ndim - 1))
