"""Audits of what the theory assumes of learners, on the runs themselves.

**(A1), regret-based rationality.** Under one fixed contract for n episodes the agent loses at most
C n^kappa, with high probability. At each checkpoint a run has a point (n, r): how long the contract
in force has been so, and what the agent lost under it. With M(n) the most that a run lost under any
contract of age at most n, (A1) says M(n) <= C n^kappa. So

- kappa is the slope of log q on log n, where q(n) is the (1 - delta) quantile of M(n) over runs,
  over the last decade and a half of ages that at least half of the runs have reached; its interval
  is the percentile bootstrap over whole runs;
- C is the (1 - delta) quantile over runs of max r / n^kappa', with kappa' the larger of kappa and
  1/2 (the rate of learners that explore as they should), and its interval that of a quantile from
  order statistics (binomial, so exact, if conservative; NaN where there are too few runs for an
  end).

(A1) *fails* if kappa's interval lies above 0.9: what is lost hardly bends, so contracts are not
learned. It *holds* if the interval lies below, or nothing was lost; else it is unclear. A fixed
contract gives points of every age; where contracts change all the time (phase one) all are young,
and less than a decade of ages says nothing. Points are taken at checkpoints, so that C is a little
less than the largest over all episodes. A Dataset over horizons has the ends of runs only, where
little is lost any more: of it (A1) is unclear. The tests of phase one (T6) ask more than this: that
little is lost at each (h, s) alone, while what is posted there and later is fixed.

**(A2), coverage p.** Exact, from the game: the least probability of a visit to a (h, s) that
matters, on the path of the welfare optimum and when nothing is paid. Realised: the least share of
the episodes of phase one that visited a (h, s) which matters; of all episodes if a mechanism has no
such phase, or if the Dataset is one over horizons, which knows the ends of runs only. A mechanism
that tests each action needs

    A (1.64 n + nmin m) visits of each (h, s),    m = log_1.6(H / w)    (T6),

in its phase one, at most `phase_one_cap` episodes long. (A2) *holds* if the interval of the mean of
the realised coverage times the cap lies above this number. It *fails* if in every run some (h, s)
that matters was never visited. Else it is unclear: more episodes might do with the same coverage.
Of a mechanism without tests nothing is asked.
"""

import functools
import math
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.stats

from pajax import statistics
from pajax.statistics import Estimate

HOLDS, FAILS, UNCLEAR = "holds", "fails", "unclear"
#: Above it a growth exponent is that of an agent that does not learn.
MOST_KAPPA = 0.9
LEAST_KAPPA = 0.5
#: Less than a decade of ages says nothing.
_LEAST_AGE = 10.0
_DECADES = 1.5
_AGES_PER_DECADE = 8
_RESAMPLES = 400


class _Runs(Protocol):
    """What audits read of a case."""

    @property
    def episodes(self) -> np.ndarray: ...
    @property
    def is_over_horizons(self) -> bool: ...
    def __getitem__(self, name: str) -> np.ndarray: ...
    def has(self, name: str) -> bool: ...


class Rationality(NamedTuple):
    """The audit of (A1).

    Attributes:
      state: "holds", "fails" or "unclear".
      kappa: the growth exponent; 0 if nothing was lost, NaN if unknown.
      constant: C at `kappa_used`, reward units.
      kappa_used: in bounds: the larger of kappa and 1/2.
      longest: age of contract reached by half of the runs, episodes; NaN if unknown.
    """

    state: str
    kappa: Estimate
    constant: Estimate
    kappa_used: float
    longest: float

    @property
    def evidence(self) -> str:
        """The numbers, for people."""
        if not math.isfinite(self.kappa.value):
            if not math.isfinite(self.longest):
                return "the ends of runs do not show it: check the studies themselves"
            if self.longest >= _LEAST_AGE:
                return "what is lost under contracts has no growth exponent"
            return f"half of the contracts lasted {self.longest:.0f} episodes at most"
        ends = f"[{self.kappa.low:z.2f}, {self.kappa.high:z.2f}]"
        return f"kappa = {self.kappa.value:z.2f} {ends}, C = {self.constant.value:.3g}"


class Coverage(NamedTuple):
    """The audit of (A2).

    Attributes:
      state: "holds", "fails" or "unclear".
      on_path: exact coverage of the welfare optimum, a probability.
      laissez_faire: exact coverage when nothing is paid, a probability.
      realised: mean over runs of the share of episodes, with its t interval.
      needed: visits of each (h, s) that tests take; 0 if there are none.
      allowed: episodes that phase one may take.
    """

    state: str
    on_path: float
    laissez_faire: float
    realised: Estimate
    needed: float
    allowed: float

    @property
    def evidence(self) -> str:
        """The numbers, for people."""
        ends = f"[{self.realised.low:.3g}, {self.realised.high:.3g}]"
        seen = f"realised coverage {self.realised.value:.3g} {ends}"
        if not self.needed:
            return f"{seen}, no tests"
        return f"{seen} in at most {self.allowed:,.0f} episodes, {self.needed:,.0f} visits needed"


def audit_rationality(case: _Runs, delta: float, level: float = 0.95) -> Rationality:
    """(A1) on the runs of a case (see `pajax.bounds.audits`).

    Args:
      case: the runs, a `Case`.
      delta: share of runs in which the constant may be exceeded, in (0, 1).
      level: coverage of the intervals, in (0, 1).
    """
    ages, lost = case["contract_age"], case["contract_regret"]
    unknown = Estimate(*[np.float64(np.nan)] * 3)
    if case.is_over_horizons:
        return Rationality(UNCLEAR, unknown, unknown, LEAST_KAPPA, math.nan)
    grid, longest = _ages(ages)
    most_lost = _envelope(ages, lost, grid)
    if len(ages) == 0 or longest < _LEAST_AGE:
        return Rationality(UNCLEAR, unknown, unknown, LEAST_KAPPA, longest)
    if not (lost > 0.0).any():
        none = Estimate(*[np.float64(0.0)] * 3)
        return Rationality(HOLDS, none, none, LEAST_KAPPA, longest)
    kappa = _exponent(most_lost, grid, 1.0 - delta, level)
    used = float(np.fmax(kappa.value, LEAST_KAPPA))
    constants = (np.maximum(lost, 0.0) / np.maximum(ages, 1.0) ** used).max(1)
    constant = quantile_interval(constants, 1.0 - delta, level)
    return Rationality(_side(kappa, MOST_KAPPA), kappa, constant, used, longest)


def audit_coverage(case: _Runs, level: float = 0.95) -> Coverage:
    """(A2) on the runs of a case (see `pajax.bounds.audits`).

    Args:
      case: the runs, a `Case`.
      level: coverage of the interval, in (0, 1).
    """
    shares = np.take_along_axis(case["coverage"], _phase_one_end(case)[:, None], 1)[:, 0]
    realised = statistics.mean_interval(shares, level=level)
    exact = float(case["path_coverage"]), float(case["laissez_faire_coverage"])
    if not case.has("test_visits"):
        return Coverage(HOLDS, *exact, realised, 0.0, float(case.episodes[-1]))
    needed, allowed = float(at_end(visits_needed(case))), float(at_end(case["phase_one_cap"]))
    is_enough = HOLDS if realised.low * allowed > needed else UNCLEAR
    state = FAILS if (shares == 0.0).all() else is_enough
    return Coverage(state, *exact, realised, needed, allowed)


def visits_needed(case: _Runs) -> np.ndarray:
    """A (1.64 n + nmin m), the visits of a (h, s) that tests take (T6)."""
    halvings = np.log(case["horizon"] / case["width"]) / np.log(1.6)
    tests = 1.64 * case["test_visits"] + case["min_visits"] * np.maximum(halvings, 0.0)
    return case["num_actions"] * tests


def at_end(values: Any) -> np.ndarray:
    """The last checkpoint of what may have checkpoints, [seed] or a number."""
    return np.atleast_1d(np.asarray(values, np.float64))[..., -1]


def quantile_interval(samples: Any, probability: float, level: float = 0.95) -> Estimate:
    """A quantile of the distribution that samples come from, by order statistics.

    The value is the smallest sample with at least this share of the samples at or below it. An end
    is an order statistic, so that the interval covers the quantile with probability `level` at
    least whatever the distribution; it is NaN where no sample is far enough out.

    Args:
      samples: [n], at least one.
      probability: of the quantile, in (0, 1).
      level: coverage, in (0, 1).
    """
    ordered, number = np.sort(np.asarray(samples, np.float64)), len(samples)
    outside = (1.0 - level) / 2.0
    below = int(scipy.stats.binom.ppf(outside, number, probability)) - 1
    above = int(scipy.stats.binom.isf(outside, number, probability))
    at = lambda i: ordered[i] if 0 <= i < number else np.float64(np.nan)  # noqa: E731
    return Estimate(at(max(0, math.ceil(number * probability) - 1)), at(below), at(above))


def _ages(ages: np.ndarray) -> tuple[np.ndarray, float]:
    """Log-spaced ages up to the one that half of the runs reach, and that one."""
    longest = float(np.median(ages.max(1))) if len(ages) else 0.0
    number = 2 + math.ceil(_AGES_PER_DECADE * math.log10(max(longest, 1.0)))
    return np.unique(np.round(np.geomspace(1.0, max(longest, 1.0), number))), longest


def _envelope(ages: np.ndarray, lost: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """M: the most that each run lost under a contract of at most this age, [run, age]."""
    is_younger = ages[:, None, :] <= grid[:, None]
    return np.where(is_younger, lost[:, None, :], 0.0).max(2)


def _exponent(curves: np.ndarray, ages: np.ndarray, probability: float, level: float) -> Estimate:
    """Slope of the log quantile of curves [run, age] on log age, late, where it is positive.

    0 if the quantile is 0 throughout; an end is NaN if the quantile is 0 in too many resamples.
    """
    quantile = functools.partial(np.quantile, q=probability, axis=-2, method="higher")
    is_late = (ages >= ages[-1] / 10.0**_DECADES) & (quantile(curves) > 0.0)
    if not is_late.any():
        return Estimate(*[np.float64(0.0)] * 3)
    curves, log_ages = curves[:, is_late], np.log(ages[is_late])
    picks = np.random.default_rng(0).integers(len(curves), size=(_RESAMPLES, len(curves)))
    value, slopes = (_slope(quantile(x), log_ages) for x in (curves, curves[picks]))
    low, high = np.quantile(slopes, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(value, low, high) if len(curves) > 1 else Estimate(value, *[np.nan] * 2)


def _slope(curves: np.ndarray, log_ages: np.ndarray) -> np.ndarray:
    """Least-squares slope of log curves [..., age]; NaN where one is 0, 0 of a single age."""
    centred = log_ages - log_ages.mean()
    with np.errstate(divide="ignore"):
        logs = np.log(curves)
    logs = np.where(np.isfinite(logs), logs, np.nan)
    # from the first: a flat curve has slope 0 exactly
    slopes = (logs - logs[..., :1]) @ centred
    return slopes / max(centred @ centred, np.finfo(np.float64).tiny)


def _side(estimate: Estimate, limit: float) -> str:
    """Whether an interval lies below a limit ("holds"), above it ("fails"), or neither."""
    if estimate.high < limit:
        return HOLDS
    return FAILS if estimate.low > limit else UNCLEAR


def _phase_one_end(case: _Runs) -> np.ndarray:
    """The first checkpoint at or after the end of each run's phase one; the last if it has none."""
    length, last = case["phase_one"][:, -1:], len(case.episodes) - 1
    at = np.minimum((case.episodes < length).sum(1), last)
    has_none = (length[:, 0] == 0.0) | case.is_over_horizons
    return np.where(has_none, last, at)
