"""Estimating tau* by noisy bisection.

Each (h, s) runs tests of its own, and moves on by its own visit count. A test is a question to the
agent (see `pajax.mechanisms.questions`).

    BASELINE    nothing is posted; the plurality action gets [lo, hi] = [0, w]
    BISECT      x on the widest action, the middle of [lo, hi], or, while its upper end has never
                come down, a gallop min(middle, max(2 lo, first offer)). With W = min(hi - lo,
                2 (x - lo)): yes gives hi = min(hi, x + iota W), no gives lo = max(lo, x - iota W).
                The outward inflation iota keeps tau* inside when an answer is marginally wrong.
    CHECK_HIGH  hi + w/2 must suffice; CHECK_LOW: lo - w/2 must not (not asked if lo <= w/2).
                A failure moves that end outward by w 2^failures, and bisection goes on.
    DONE        every interval is at most w wide, and checked

A test at width hi - lo takes max(nmin, n (w / (hi - lo))^2) visits, a check max(nmin, n / 2). There
are checks only where all (h, s) are tested at once, so that tests disturb one another.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax._pytree import axes, pytree
from pajax.mechanisms import questions
from pajax.mechanisms.base import Estimate, Task
from pajax.mechanisms.questions import Question
from pajax.protocols import Spec, Stage

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


class Test(NamedTuple):
    """The test that each (h, s) is running."""

    kind: Array  # int32 [H, S, ...], BASELINE .. DONE
    question: Question


class State(NamedTuple):
    """What is known, and what is being asked."""

    intervals: Intervals
    test: Test


@pytree
class Bisection:
    """An estimator: noisy bisection on each action's transfer, with checks.

    Pajax's own, with the error of (T6); `pajax.mechanisms.bisection` has the tests and their order.

    Attributes:
      first_offer: g, first offer of the gallop, reward units.
      inflation: iota, outward inflation of an answer, as a share of the interval.
      burn: share of a test's visits that are not counted.
      max_failures: failed checks after which an action is left unresolved.
    """

    first_offer: float | Array = axes(low=0.0, default=0.5)
    inflation: Any = axes(low=0.0, high=0.5, default=0.125)
    burn: float | Array = axes(low=0.0, high=0.9, default=0.5)
    max_failures: float | Array = axes(low=0.0, high=20.0, default=6.0)

    def init(self, spec: Spec, task: Task) -> State:
        """Intervals [0, H - h], and a baseline test everywhere."""
        no, none = spec.per_action() > 0.0, spec.per_action()
        intervals = Intervals(none, none + task.prior, no, none, no, no)
        needed = jnp.maximum(task.min_visits, task.test_visits / 10.0)
        return State(intervals, Test(spec.per_state(BASELINE), questions.nothing(spec, needed)))

    def offers(self, state: State) -> Array:
        """Each test's offer on its action, [H, S, A, ...]."""
        return questions.offers(state.test.question)

    def observe(self, state: State, task: Task, stage: Stage, is_active: Array) -> State:
        """Goes on with active tests, and where one is finished, answers it and begins the next."""
        intervals, (kind, question) = state
        question, is_finished = questions.hear(question, stage, is_active, self.burn)
        answered = self._answer(intervals, Test(kind, question), task)
        intervals = lanes.where_lane(is_finished[:, :, None], answered, intervals)
        following = self._next_test(intervals, task)
        test = Test(
            kind=jnp.where(is_finished, following.kind, kind),
            question=questions.where_finished(is_finished, following.question, question),
        )
        return State(intervals, test)

    def is_done(self, state: State) -> Array:
        """Where every interval is at most w wide, and checked, bool [H, S, ...]."""
        return state.test.kind == DONE

    def estimate(self, state: State, task: Task) -> Estimate:
        """The intervals and their middles.

        Resolved where as narrow as asked and, if there are checks, checked.
        """
        intervals = state.intervals
        low_is_checked = intervals.is_low_checked | (intervals.low <= 0.5 * task.width)
        is_checked = intervals.is_high_checked & low_is_checked
        is_resolved = ~_is_wide(intervals, task) & (is_checked | ~task.is_simultaneous)
        middle = 0.5 * (intervals.low + intervals.high)
        return Estimate(middle, intervals.low, intervals.high, is_resolved)

    def _answer(self, intervals: Intervals, test: Test, task: Task) -> Intervals:
        """The intervals if every test were finished now."""
        kind, question = test
        low, high, has_come_down, failures, high_checked, low_checked = intervals
        width = task.width
        plurality = questions.plurality(question)
        yes = (plurality == question.action)[:, :, None]
        x = question.offer[:, :, None]
        num_actions = low.shape[2]
        of_plurality = lanes.one_hot(plurality, num_actions, 2)
        tested = lanes.one_hot(question.action, num_actions, 2)
        kind = kind[:, :, None]

        baseline = (kind == BASELINE) & of_plurality
        high = jnp.where(baseline, jnp.minimum(width, task.prior), high)

        bisect = (kind == BISECT) & tested
        reach = lanes.product(self.inflation, jnp.minimum(high - low, 2.0 * (x - low)))
        comes_down = bisect & yes
        new_high = jnp.where(comes_down, jnp.minimum(high, x + reach), high)
        new_low = jnp.where(bisect & ~yes, jnp.maximum(low, x - reach), low)

        high_fails = (kind == CHECK_HIGH) & tested & ~yes
        low_fails = (kind == CHECK_LOW) & tested & yes
        step_out = width * jnp.exp2(failures)
        new_high = jnp.where(high_fails, jnp.minimum(task.prior, high + step_out), new_high)
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

    def _next_test(self, intervals: Intervals, task: Task) -> Test:
        """The test that each (h, s) would run next."""
        low, high = intervals.low, intervals.high
        width = task.width
        is_wide = _is_wide(intervals, task)
        can_check = task.is_simultaneous & (intervals.failures < self.max_failures)
        ask_high = ~intervals.is_high_checked & can_check
        ask_low = ~intervals.is_low_checked & (low > 0.5 * width) & can_check

        gap = high - low
        bisected, _ = lanes.argmax(jnp.where(is_wide, gap, -1.0), 2)
        raised, _ = lanes.argmax(ask_high.astype(low.dtype), 2)
        lowered, _ = lanes.argmax(ask_low.astype(low.dtype), 2)
        kind = jnp.where(ask_low.any(2), CHECK_LOW, DONE)
        kind = jnp.where(ask_high.any(2), CHECK_HIGH, kind)
        kind = jnp.where(is_wide.any(2), BISECT, kind)
        choices = jnp.stack(
            [jnp.zeros_like(raised), bisected, raised, lowered, jnp.zeros_like(raised)]
        )
        action = lanes.lookup(choices, kind)

        at_action = lambda table: lanes.lookup(table, action, 2)  # noqa: E731
        low, high, gap = at_action(low), at_action(high), at_action(gap)
        middle = 0.5 * (low + high)
        gallop = jnp.minimum(middle, jnp.maximum(2.0 * low, self.first_offer))
        probe = jnp.where(at_action(intervals.has_come_down), middle, gallop)
        zero = jnp.zeros_like(low)
        offers = jnp.stack([zero, probe, high + 0.5 * width, low - 0.5 * width, zero])
        ratio = width / jnp.maximum(gap, width)
        visits = jnp.maximum(task.min_visits, task.test_visits * ratio * ratio)
        check = zero + jnp.maximum(task.min_visits, task.test_visits / 2.0)
        needed = jnp.stack([zero, visits, check, check, zero])
        question = questions.ask(
            action, lanes.lookup(offers, kind), lanes.lookup(needed, kind), intervals.low.shape[2]
        )
        return Test(kind.astype(jnp.int32), question)


def _is_wide(intervals: Intervals, task: Task) -> Array:
    return intervals.high - intervals.low > task.width * (1.0 + SLACK)
