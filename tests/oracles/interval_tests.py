"""Plain-loop phase 1 of TwoPhase at one (step, state): its tests and its intervals.

Source: the trajectory specification in the docstrings of pajax; THEORY.md section 4 (phase 1:
baseline, bisect, verify) and (T6) (a test and its noisy bisection). Float64, one principal.
"""

import math
from dataclasses import dataclass

from .records import first_argmax

BASELINE, BISECT, CHECK_HIGH, CHECK_LOW, DONE = range(5)
WIDTH_SLACK = 1e-4


@dataclass
class Settings:
    """The fields of TwoPhase; None takes the default that depends on K."""

    width: float | None = None
    test_visits: float | None = None
    min_visits: float = 20
    first_offer: float = 0.5
    inflation: float = 0.125
    burn: float = 0.5
    margin: float = 0.1
    bonus: float = 0.1
    check_visits: float | None = None
    cap: float = 0.5
    roll_in: float = 1.0
    roll_in_episodes: int = 50
    repair_visits: int = 20
    max_failures: int = 6

    def fill(self, num_episodes):
        """Put in the defaults: w = 2 K^-1/4, n = K^1/2 / 4, nchk = max(nmin, n / 2)."""
        if self.width is None:
            self.width = 2.0 * float(num_episodes) ** -0.25
        if self.test_visits is None:
            self.test_visits = math.sqrt(num_episodes) / 4.0
        if self.check_visits is None:
            self.check_visits = max(self.min_visits, self.test_visits / 2.0)
        return self


@dataclass
class Test:
    """The test that one (step, state) is running."""

    __test__ = False  # not a pytest class

    kind: int
    action: int
    offer: float
    needed: float
    counts: list
    visits: int = 0


@dataclass
class Intervals:
    """What phase 1 knows at one (step, state), per action; touched: hi has come down."""

    lo: list
    hi: list
    touched: list
    fails: list
    checked_hi: list
    checked_lo: list
    top: float  # H - h, the largest value of hi

    @classmethod
    def start(cls, top, num_actions):
        """Return [0, top] for every action, nothing known."""
        return cls(
            lo=[0.0] * num_actions,
            hi=[top] * num_actions,
            touched=[False] * num_actions,
            fails=[0] * num_actions,
            checked_hi=[False] * num_actions,
            checked_lo=[False] * num_actions,
            top=top,
        )


def close_baseline(intervals, action, width):
    """Give the action played when nothing is posted the interval [0, w]."""
    intervals.lo[action] = 0.0
    intervals.hi[action] = min(width, intervals.top)
    intervals.touched[action] = True


def close_bisection(intervals, test, yes, inflation):
    """Move one end to the offer, inflated outward (T6)."""
    action, offer = test.action, test.offer
    low, high = intervals.lo[action], intervals.hi[action]
    span = min(high - low, 2.0 * (offer - low))
    if yes:
        intervals.hi[action] = min(high, offer + inflation * span)
        intervals.touched[action] = True
    else:
        intervals.lo[action] = max(low, offer - inflation * span)


def close_check(intervals, test, yes, width):
    """Accept the checked end, or reopen it outward by w 2^fails and ask for both checks again."""
    action = test.action
    if test.kind == CHECK_HIGH and yes:
        intervals.checked_hi[action] = True
        return
    if test.kind == CHECK_LOW and not yes:
        intervals.checked_lo[action] = True
        return
    step_out = width * 2.0 ** intervals.fails[action]
    if test.kind == CHECK_HIGH:
        intervals.hi[action] = min(intervals.top, intervals.hi[action] + step_out)
    else:
        intervals.lo[action] = max(0.0, intervals.lo[action] - step_out)
    intervals.fails[action] += 1
    intervals.checked_hi[action] = False
    intervals.checked_lo[action] = False


def next_test(intervals, settings, verify):
    """Return the next test of a (step, state): bisect the widest, else verify, else done."""
    num_actions = len(intervals.lo)
    width = settings.width
    spans = [high - low for low, high in zip(intervals.lo, intervals.hi, strict=True)]
    widest = first_argmax(spans)
    if spans[widest] > width * (1.0 + WIDTH_SLACK):
        return _bisection(intervals, widest, settings)
    if verify:
        allowed = [count < settings.max_failures for count in intervals.fails]
        for action in range(num_actions):
            if allowed[action] and not intervals.checked_hi[action]:
                offer = intervals.hi[action] + width / 2.0
                return Test(CHECK_HIGH, action, offer, settings.check_visits, [0] * num_actions)
        for action in range(num_actions):
            low_matters = intervals.lo[action] > width / 2.0
            if allowed[action] and low_matters and not intervals.checked_lo[action]:
                offer = intervals.lo[action] - width / 2.0
                return Test(CHECK_LOW, action, offer, settings.check_visits, [0] * num_actions)
    return Test(DONE, 0, 0.0, 0.0, [0] * num_actions)


def _bisection(intervals, action, settings):
    low, high = intervals.lo[action], intervals.hi[action]
    middle = (low + high) / 2.0
    gallop = min(middle, max(2.0 * low, settings.first_offer))
    offer = middle if intervals.touched[action] else gallop
    ratio = settings.width / (high - low)
    needed = max(settings.min_visits, settings.test_visits * (ratio * ratio))
    return Test(BISECT, action, offer, needed, [0] * len(intervals.lo))
