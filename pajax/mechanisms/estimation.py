"""Phase one: estimating tau* from what the agent does (THEORY: section 4, PHASE 1, and (T6)).

Each (h, s) runs tests of its own, and moves on by its own visit count. A test posts an offer x on
one action for so many visits, lets the agent adapt during a share `burn` of them, and counts the
rest. It answers *yes* when the action is the plurality (ties to the lowest action).

    BASELINE    nothing is posted; the plurality action gets [lo, hi] = [0, w]
    BISECT      x on the widest action, the middle of [lo, hi], or, while its upper end has never
                come down, a gallop min(middle, max(2 lo, first offer)). With W = min(hi - lo,
                2 (x - lo)): yes gives hi = min(hi, x + iota W), no gives lo = max(lo, x - iota W).
                The outward inflation iota keeps tau* inside when an answer is marginally wrong.
    CHECK_HIGH  hi + w/2 must suffice; CHECK_LOW: lo - w/2 must not (not asked if lo <= w/2).
                A failure moves that end outward by w 2^failures, and bisection goes on.
    DONE        every interval is at most w wide, and checked
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax.protocols import Spec

BASELINE, BISECT, CHECK_HIGH, CHECK_LOW, DONE = range(5)
#: Relative slack in "at most w wide", for rounding.
SLACK = 1e-4


class Intervals(NamedTuple):
    """What is known of tau*; each [H, S, A, ...]."""

    low: Array
    high: Array
    has_come_down: Array  # bool: the upper end is no longer the prior H - h
    failures: Array  # failed checks so far
    is_high_checked: Array  # bool
    is_low_checked: Array  # bool


class Tests(NamedTuple):
    """The test that each (h, s) is running; [H, S, ...] unless said."""

    kind: Array  # int32, BASELINE .. DONE
    action: Array  # int32
    offer: Array  # x
    needed: Array  # N, visits
    visits: Array  # so far
    counts: Array  # [H, S, A, ...], counted plays


class Settings(NamedTuple):
    """Resolved numbers of a run; see `TwoPhase` for their meaning."""

    width: Array
    test_visits: Array
    check_visits: Array
    min_visits: Array
    first_offer: Array
    inflation: Array
    burn: Array
    max_failures: Array
    prior: Array  # [H, 1, 1, ...], H - h, an upper bound on tau*
    is_verifying: Array  # bool


def init(spec: Spec, settings: Settings) -> tuple[Intervals, Tests]:
    """Intervals [0, H - h], and a baseline test everywhere."""
    no = spec.per_action() > 0.0
    high = spec.per_action() + settings.prior
    intervals = Intervals(spec.per_action(), high, no, spec.per_action(), no, no)
    zero = spec.zeros(spec.horizon, spec.num_states)
    baseline_visits = jnp.maximum(settings.min_visits, settings.test_visits / 10.0)
    tests = Tests(
        kind=spec.per_state(BASELINE),
        action=spec.per_state(0),
        offer=zero,
        needed=zero + baseline_visits,
        visits=zero,
        counts=spec.per_action(),
    )
    return intervals, tests


def advance(
    intervals: Intervals, tests: Tests, plays: Array, is_active: Array, settings: Settings
) -> tuple[Intervals, Tests]:
    """Tests after a stage with these `plays` [H, S, A, ...]; inactive (h, s) stand still."""
    is_counting = is_active & (tests.visits >= settings.burn * tests.needed)
    counts = tests.counts + jnp.where(is_counting[:, :, None], plays, 0.0)
    visits = tests.visits + jnp.where(is_active, lanes.total(plays, 2), 0.0)
    tests = tests._replace(visits=visits, counts=counts)
    counted = lanes.total(counts, 2)
    is_finished = is_active & (counted >= (1.0 - settings.burn) * tests.needed)
    answered = _answer(intervals, tests, settings)
    intervals = lanes.where_lane(is_finished[:, :, None], answered, intervals)
    following = _next_tests(intervals, settings)
    return intervals, Tests(
        *(
            jnp.where(is_finished[:, :, None] if new.ndim > visits.ndim else is_finished, new, old)
            for new, old in zip(following, tests, strict=True)
        )
    )


def is_resolved(intervals: Intervals, settings: Settings) -> Array:
    """Where the interval is as narrow as asked and, if verifying, was checked: [H, S, A, ...]."""
    low_is_checked = intervals.is_low_checked | (intervals.low <= 0.5 * settings.width)
    is_checked = intervals.is_high_checked & low_is_checked
    return ~_is_wide(intervals, settings) & (is_checked | ~settings.is_verifying)


def midpoint(intervals: Intervals) -> Array:
    """(lo + hi) / 2, [H, S, A, ...]."""
    return 0.5 * (intervals.low + intervals.high)


def _is_wide(intervals: Intervals, settings: Settings) -> Array:
    return intervals.high - intervals.low > settings.width * (1.0 + SLACK)


def _answer(intervals: Intervals, tests: Tests, settings: Settings) -> Intervals:
    """The intervals if every test were finished now."""
    low, high, has_come_down, failures, high_checked, low_checked = intervals
    width = settings.width
    plurality = lanes.argmax(tests.counts, 2)[0]
    yes = (plurality == tests.action)[:, :, None]
    x = tests.offer[:, :, None]
    num_actions = low.shape[2]
    of_plurality = lanes.one_hot(plurality, num_actions, 2)
    tested = lanes.one_hot(tests.action, num_actions, 2)
    kind = tests.kind[:, :, None]

    baseline = (kind == BASELINE) & of_plurality
    high = jnp.where(baseline, jnp.minimum(width, settings.prior), high)

    bisect = (kind == BISECT) & tested
    reach = lanes.product(settings.inflation, jnp.minimum(high - low, 2.0 * (x - low)))
    comes_down = bisect & yes
    new_high = jnp.where(comes_down, jnp.minimum(high, x + reach), high)
    new_low = jnp.where(bisect & ~yes, jnp.maximum(low, x - reach), low)

    high_fails = (kind == CHECK_HIGH) & tested & ~yes
    low_fails = (kind == CHECK_LOW) & tested & yes
    step_out = width * jnp.exp2(failures)
    new_high = jnp.where(high_fails, jnp.minimum(settings.prior, high + step_out), new_high)
    new_low = jnp.where(low_fails, jnp.maximum(0.0, low - step_out), new_low)
    fails = high_fails | low_fails
    return Intervals(
        low=new_low,
        high=new_high,
        has_come_down=has_come_down | baseline | comes_down,
        failures=failures + fails.astype(failures.dtype),
        is_high_checked=(high_checked | ((kind == CHECK_HIGH) & tested & yes)) & ~fails,
        is_low_checked=(low_checked | ((kind == CHECK_LOW) & tested & ~yes)) & ~fails,
    )


def _next_tests(intervals: Intervals, settings: Settings) -> Tests:
    """The test that each (h, s) would run next."""
    low, high = intervals.low, intervals.high
    width = settings.width
    is_wide = _is_wide(intervals, settings)
    can_check = settings.is_verifying & (intervals.failures < settings.max_failures)
    ask_high = ~intervals.is_high_checked & can_check
    ask_low = ~intervals.is_low_checked & (low > 0.5 * width) & can_check

    gap = high - low
    bisected, _ = lanes.argmax(jnp.where(is_wide, gap, -1.0), 2)
    raised, _ = lanes.argmax(ask_high.astype(low.dtype), 2)
    lowered, _ = lanes.argmax(ask_low.astype(low.dtype), 2)
    kind = jnp.where(ask_low.any(2), CHECK_LOW, DONE)
    kind = jnp.where(ask_high.any(2), CHECK_HIGH, kind)
    kind = jnp.where(is_wide.any(2), BISECT, kind)
    choices = jnp.stack([jnp.zeros_like(raised), bisected, raised, lowered, jnp.zeros_like(raised)])
    action = lanes.lookup(choices, kind)

    at_action = lambda table: lanes.lookup(table, action, 2)  # noqa: E731
    low, high, gap = at_action(low), at_action(high), at_action(gap)
    middle = 0.5 * (low + high)
    gallop = jnp.minimum(middle, jnp.maximum(2.0 * low, settings.first_offer))
    probe = jnp.where(at_action(intervals.has_come_down), middle, gallop)
    zero = jnp.zeros_like(low)
    offers = jnp.stack([zero, probe, high + 0.5 * width, low - 0.5 * width, zero])
    ratio = width / jnp.maximum(gap, width)
    visits = jnp.maximum(settings.min_visits, settings.test_visits * ratio * ratio)
    check = zero + settings.check_visits
    needed = jnp.stack([zero, visits, check, check, zero])
    return Tests(
        kind=kind.astype(jnp.int32),
        action=action,
        offer=lanes.lookup(offers, kind),
        needed=lanes.lookup(needed, kind),
        visits=zero,
        counts=jnp.zeros_like(intervals.low),
    )
