"""Steering long-run behaviour with estimated transfers.

The principal plans optimistically on v - tau_hat, its own reward net of the estimated
transfer, from the actions really played, and posts on the target it finds

    hi + gamma + w (H - 1 - h) + bump.

By (T3) the plan maximises welfare; by (T4) the margin makes the target strictly optimal, so that a
deviation costs the agent gamma (T7). Where the agent complies in fewer than half of `repair_visits`
visits, the bump grows by w 2^streak; it is posted, but never enters the plan, which would otherwise
flee from what it has to repair. A bump at some states and not at others takes from the margin of
the steps before it, for which (T4) then vouches no more.

Of several own actions it plays, at each (h, s), the one with the largest index for the target (see
`pajax.mechanisms.own_actions`); the plan's v is that index.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes, model, planning
from pajax._pytree import axes, pytree
from pajax.mechanisms import own_actions
from pajax.mechanisms.base import Estimate, Knowledge, Task
from pajax.protocols import Contract, Spec, Stage
from pajax.transfers import safe_margin


class State(NamedTuple):
    """The plan, and how well the agent follows it."""

    target: Array  # int32 [H, S, ...]
    planned_visits: Array  # [H, S, A, ...], counts when the plan was made
    bump: Array  # [H, S, A, ...], reward units
    streak: Array  # [H, S, A, ...], repairs in a row
    window_visits: Array  # [H, S, ...], since the last verdict
    window_hits: Array  # [H, S, ...], of them on target


@pytree
class OptimisticSteering:
    """Plans optimistically on what it nets, posts with the margin of (T4), and repairs.

    Phase two of `TwoPhase` (see `pajax.mechanisms.steering`).

    Attributes:
      bonus: c2, scale of the plan's bonus c2 (H - h) sqrt(log K / N).
      own_bonus: scale of the bonus of an own action.
      repair_visits: visits of (h, s) between two verdicts on compliance.
      max_streak: longest streak of repairs that doubles the next one.
    """

    bonus: float | Array = axes(low=0.0, default=0.1)
    own_bonus: float | Array = axes(low=0.0, default=0.5**0.5)
    repair_visits: float | Array = axes(low=1.0, default=20.0)
    max_streak: float | Array = axes(low=0.0, high=20.0, default=6.0)

    def init(self, spec: Spec) -> State:
        """No plan yet."""
        zero = spec.zeros(spec.horizon, spec.num_states)
        none = spec.per_action()
        return State(spec.per_state(0), none, none, none, zero, zero)

    def observe(
        self,
        state: State,
        task: Task,
        stage: Stage,
        known: Knowledge,
        estimate: Estimate,
        has_just_begun: Array,
    ) -> State:
        """Raises bumps where the target was not followed, and replans where that is due."""
        repaired = self._repair(state, task, stage.visits)
        state = lanes.where_lane(has_just_begun, state, repaired)
        return self._replan(state, task, known, estimate, has_just_begun)

    def post(self, state: State, task: Task, known: Knowledge, estimate: Estimate) -> Contract:
        """On the target hi + gamma + w (H - 1 - h) + bump (T4), and the best own action there."""
        horizon, rank = state.bump.shape[0], state.bump.ndim
        margin = safe_margin(horizon, task.width, task.margin)
        margin = margin.reshape((horizon, *(1,) * (rank - margin.ndim), *margin.shape[1:]))
        amount = estimate.high + margin + state.bump
        at_target = lanes.one_hot(state.target, amount.shape[2], 2)
        _, own_action = self._own_values(known, task)
        return Contract(
            transfer=jnp.where(at_target, amount, 0.0),
            own_action=lanes.lookup(own_action, state.target, 2),
            target=state.target,
        )

    def _repair(self, state: State, task: Task, plays: Array) -> State:
        """Raises the bump of targets not followed in a stage with these plays [H, S, A, ...]."""
        at_target = lanes.one_hot(state.target, plays.shape[2], 2)
        visits = state.window_visits + lanes.total(plays, 2)
        hits = state.window_hits + lanes.total(jnp.where(at_target, plays, 0.0), 2)
        is_judged = visits >= self.repair_visits
        judged = is_judged[:, :, None] & at_target
        failed = judged & (hits < 0.5 * visits)[:, :, None]
        raised = state.bump + task.width * jnp.exp2(state.streak)
        longer = jnp.minimum(state.streak + 1.0, self.max_streak)
        return state._replace(
            bump=jnp.where(failed, jnp.minimum(task.prior, raised), state.bump),
            streak=jnp.where(failed, longer, jnp.where(judged, 0.0, state.streak)),
            window_visits=jnp.where(is_judged, 0.0, visits),
            window_hits=jnp.where(is_judged, 0.0, hits),
        )

    def _replan(
        self, state: State, task: Task, known: Knowledge, estimate: Estimate, has_just_begun: Array
    ) -> State:
        """A new plan in lanes where steering has just begun or some count has doubled."""
        doubled = known.visits >= 2.0 * jnp.maximum(state.planned_visits, 1.0)
        is_due = has_just_begun | doubled.any((0, 1, 2))
        plan = lambda _, *inputs: self._plan(*inputs)  # noqa: E731
        planned = lanes.when(is_due.any(), plan, state.target, task, known, estimate)
        target = jnp.where(is_due, planned, state.target)
        restart = has_just_begun | (target != state.target)
        return state._replace(
            target=target,
            planned_visits=jnp.where(is_due, known.visits, state.planned_visits),
            window_visits=jnp.where(restart, 0.0, state.window_visits),
            window_hits=jnp.where(restart, 0.0, state.window_hits),
        )

    def _plan(self, task: Task, known: Knowledge, estimate: Estimate) -> Array:
        """The target, int32 [H, S, ...]."""
        rewards, _ = self._own_values(known, task)
        bonus = model.hoeffding_bonus(known.visits, self.bonus * task.prior, task.confidence)
        net = rewards - estimate.transfer
        values = model.optimistic_plan(known.model, net, bonus, bound=task.prior)
        return planning.greedy(values.q_values)

    def _own_values(self, known: Knowledge, task: Task) -> tuple[Array, Array]:
        """The principal's reward with its best own action, and that action: [H, S, A, ...]."""
        if known.own_rewards is None:
            rewards = model.mean_rewards(known.model)
            return rewards, jnp.zeros_like(rewards, jnp.int32)
        return own_actions.optimistic(known.own_rewards, self.own_bonus, task.confidence)
