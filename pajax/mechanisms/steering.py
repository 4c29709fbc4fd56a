"""Phase two: steering long-run behaviour with estimated transfers (THEORY: section 4, PHASE 2).

The principal plans optimistically on v - (lo + hi) / 2, its own reward net of the estimated
transfer, from the actions really played, and posts on the target it finds

    hi + gamma + w (H - 1 - h) + bump.

By (T3) the plan maximises welfare; by (T4) the margin makes the target strictly optimal. Where the
agent complies in fewer than half of `repair_visits` visits, the bump grows by w 2^streak; it is
posted, but never enters the plan, which would otherwise flee from what it has to repair.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes, model, planning
from pajax.mechanisms import estimation
from pajax.mechanisms.estimation import Intervals
from pajax.protocols import Spec
from pajax.transfers import safe_margin


class State(NamedTuple):
    """The plan, and how well the agent follows it."""

    target: Array  # int32 [H, S, ...]
    planned_visits: Array  # [H, S, A, ...], counts when the plan was made
    bump: Array  # [H, S, A, ...], reward units
    streak: Array  # [H, S, A, ...], repairs in a row
    window_visits: Array  # [H, S, ...], since the last verdict
    window_hits: Array  # [H, S, ...], of them on target


class Settings(NamedTuple):
    """Resolved numbers of a run; see `TwoPhase` for their meaning."""

    width: Array
    margin: Array
    bonus: Array
    confidence: Array  # log K
    repair_visits: Array
    max_streak: Array
    prior: Array  # [H, 1, 1, ...], H - h


def init(spec: Spec) -> State:
    """No plan yet."""
    zero = spec.zeros(spec.horizon, spec.num_states)
    none = spec.per_action()
    return State(spec.per_state(0), none, none, none, zero, zero)


def repair(state: State, plays: Array, settings: Settings) -> State:
    """Raises the bump of targets not followed in a stage with these plays [H, S, A, ...]."""
    at_target = lanes.one_hot(state.target, plays.shape[2], 2)
    visits = state.window_visits + lanes.total(plays, 2)
    hits = state.window_hits + lanes.total(jnp.where(at_target, plays, 0.0), 2)
    is_judged = visits >= settings.repair_visits
    judged = is_judged[:, :, None] & at_target
    failed = judged & (hits < 0.5 * visits)[:, :, None]
    raised = state.bump + settings.width * jnp.exp2(state.streak)
    longer = jnp.minimum(state.streak + 1.0, settings.max_streak)
    return state._replace(
        bump=jnp.where(failed, jnp.minimum(settings.prior, raised), state.bump),
        streak=jnp.where(failed, longer, jnp.where(judged, 0.0, state.streak)),
        window_visits=jnp.where(is_judged, 0.0, visits),
        window_hits=jnp.where(is_judged, 0.0, hits),
    )


def replan(
    state: State,
    seen: model.Model,
    visits: Array,
    intervals: Intervals,
    has_just_begun: Array,
    settings: Settings,
) -> State:
    """A new plan in lanes where phase two has just begun or some count has doubled."""
    doubled = visits >= 2.0 * jnp.maximum(state.planned_visits, 1.0)
    is_due = has_just_begun | doubled.any((0, 1, 2))

    def plan(_: Array, seen: model.Model, visits: Array, intervals: Intervals) -> Array:
        rewards = model.mean_rewards(seen) - estimation.midpoint(intervals)
        scale = settings.bonus * settings.prior
        bonus = model.hoeffding_bonus(visits, scale, settings.confidence)
        values = model.optimistic_plan(seen, rewards, bonus, bound=settings.prior)
        return planning.greedy(values.q_values)

    planned = lanes.when(is_due.any(), plan, state.target, seen, visits, intervals)
    target = jnp.where(is_due, planned, state.target)
    restart = has_just_begun | (target != state.target)
    return state._replace(
        target=target,
        planned_visits=jnp.where(is_due, visits, state.planned_visits),
        window_visits=jnp.where(restart, 0.0, state.window_visits),
        window_hits=jnp.where(restart, 0.0, state.window_hits),
    )


def transfers(state: State, intervals: Intervals, settings: Settings) -> Array:
    """Posted: hi + gamma + w (H - 1 - h) + bump on the target, [H, S, A, ...] (T4)."""
    horizon, rank = state.bump.shape[0], state.bump.ndim
    margin = safe_margin(horizon, settings.width, settings.margin)
    margin = margin.reshape((horizon, *(1,) * (rank - margin.ndim), *margin.shape[1:]))
    amount = intervals.high + margin + state.bump
    return jnp.where(lanes.one_hot(state.target, amount.shape[2], 2), amount, 0.0)
