"""Verdicts: one bound in one cell, checked, with the reasons.

Each verdict is one of four, never a bare pass.

*consistent* or *violated*. A bound on runs says that a share of at most delta breaks it. Of n runs
k break it at the last checkpoint, and the share has a Clopper-Pearson interval: violated if all of
the interval is above delta, consistent if none is. A bound on the mean is compared with the t
interval of the mean in the same way. A rate says that the mean grows no faster than K^a, up to
logarithms: violated if the interval of the growth exponent lies above the slope of
K^a (log K)^log_power over the same window, consistent if it lies below a.

*inconclusive* where the data could not tell: an interval holds what it is compared with; the
exponent's interval is wider than `max_width`; there is none; a run has a number that is not finite;
the window is dominated by phase one (along a run, half of the runs were still estimating when it
began; over horizons, phase one filled its cap at half of the runs of some length in it); or an
assumption is unclear.

*not applicable* where an assumption or a condition of the bound fails, with the audit as evidence,
or the mechanism lacks what the bound is about.

Error rates. A bound that is true is called violated with probability (1 - level) / 2 at most (for a
rate, nearly so: its interval is a bootstrap's), and one that is false is called consistent as
rarely; in each cell, on its own, so that N checks may raise N (1 - level) / 2 false alarms. No
finite run proves a rate: a verdict is about the window it names.

Besides, of each cell: the constant that would make the right-hand side meet the mean at the last
checkpoint, and the slack, its inverse: how many times the bound exceeds what happened.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pajax import _checks, statistics
from pajax.bounds.audits import FAILS, UNCLEAR
from pajax.bounds.base import Bound, Case, Condition, right_side
from pajax.bounds.theory import Rate
from pajax.ledger import PARTIAL
from pajax.statistics import Estimate

CONSISTENT, VIOLATED = "consistent", "violated"
INCONCLUSIVE, NOT_APPLICABLE = "inconclusive", "not applicable"
VERDICTS = (CONSISTENT, VIOLATED, INCONCLUSIVE, NOT_APPLICABLE)
#: Share of its cap that a phase one fills which was stopped by it.
_FULL = 0.99

Exponent = Callable[[str], Estimate]


@dataclasses.dataclass(frozen=True)
class Rules:
    """How sure a verdict has to be."""

    level: float  # coverage of every interval
    decades: float  # length of the window of growth exponents, powers of ten
    max_width: float  # of the interval of a growth exponent


class Ends(NamedTuple):
    """Both sides at the last checkpoint, [run]."""

    observed: np.ndarray
    side: np.ndarray


def check(bound: Bound, case: Case, rules: Rules, exponent: Exponent) -> dict[str, Any]:
    """The verdict on a bound in a case, and the numbers that it rests on.

    Args:
      bound: to be checked.
      case: the runs.
      rules: how sure to be.
      exponent: the growth exponent of a variable in the case (see `growth_exponent`).
    """
    row = {**case.place._asdict(), "bound": bound.name, "tag": bound.tag, "runs": case.num_runs}
    lacking = [name for name in bound.needs if not case.has(name)]
    if lacking:
        reason = f"the mechanism has no {lacking[0].replace('_', ' ')}"
        return row | {"verdict": NOT_APPLICABLE, "reason": reason}
    states = _conditions(bound, case)
    ends = _at_end(bound, case)
    row |= _size(bound, case, ends)
    row |= _compare(bound, case, ends, rules, exponent)
    failed = [f"{name} fails: {evidence}" for name, state, evidence in states if state == FAILS]
    if failed:
        return row | {"verdict": NOT_APPLICABLE, "reason": "; ".join(failed)}
    unclear = [
        f"{name} unclear: {evidence}" for name, state, evidence in states if state == UNCLEAR
    ]
    if unclear:
        return row | {"verdict": INCONCLUSIVE, "reason": "; ".join(unclear)}
    return row


def _conditions(bound: Bound, case: Case) -> list[Condition]:
    """All that a bound assumes, on these runs."""
    audits = {"A1": lambda: case.rationality, "A2": lambda: case.coverage}
    found = [(name, audits[_known(name, audits)]()) for name in bound.assumes]
    assumed = [Condition(f"({name})", audit.state, audit.evidence) for name, audit in found]
    return [*assumed, *bound.conditions(case)]


def _known(name: str, audits: dict[str, Any]) -> str:
    return _checks.choice("assumes", name, audits)


def _at_end(bound: Bound, case: Case) -> Ends:
    """What is bounded and the bound, of the runs that have a number."""
    observed, side = bound.observed(case)[:, -1], right_side(bound, case)[:, -1]
    has_number = ~np.isnan(observed) | (bound.variable not in PARTIAL)
    return Ends(observed[has_number], side[has_number])


def _size(bound: Bound, case: Case, ends: Ends) -> dict[str, Any]:
    """The bound against the mean at the last checkpoint; a rate's constant is fitted there."""
    if len(ends.observed) == 0:
        return {}
    mean, side = ends.observed.mean(), ends.side.mean()
    if isinstance(bound, Rate):
        return {"mean": mean, "constant": mean / case.episodes[-1] ** bound.exponent}
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"mean": mean, "value": side, "constant": mean / side, "slack": side / mean}


# Verdicts


def _compare(
    bound: Bound, case: Case, ends: Ends, rules: Rules, exponent: Exponent
) -> dict[str, Any]:
    """The verdict if all that the bound assumes holds."""
    if isinstance(bound, Rate):
        return _of_rate(bound, case, rules, exponent(bound.variable))
    what, number = bound.variable.replace("_", " "), len(ends.observed)
    if number == 0:
        return {"verdict": INCONCLUSIVE, "reason": f"no run has a {what}"}
    is_bad = ~np.isfinite(ends.observed) | np.isnan(ends.side)
    if is_bad.any():
        reason = f"{is_bad.sum()} of {number} runs: the {what} or the bound is not a finite number"
        return {"verdict": INCONCLUSIVE, "reason": reason}
    return _of_mean(bound, ends, rules) if bound.delta is None else _of_runs(bound, ends, rules)


def _of_runs(bound: Bound, ends: Ends, rules: Rules) -> dict[str, Any]:
    """The share of runs that break the bound, against delta."""
    breaks = (ends.observed < ends.side) if bound.is_floor else (ends.observed > ends.side)
    broken, number, delta = int(breaks.sum()), len(breaks), bound.delta
    share = statistics.clopper_pearson(broken, number, rules.level)
    told = f"{broken} of {number} runs {'below' if bound.is_floor else 'above'}, {_told(share)}"
    numbers = {"broken": broken, "share": share.value, "share_low": share.low}
    numbers |= {"share_high": share.high, "delta": delta}
    if share.low > delta:
        return numbers | {"verdict": VIOLATED, "reason": f"{told}, against {delta:g}"}
    if share.high <= delta:
        return numbers | {"verdict": CONSISTENT, "reason": f"{told}, against {delta:g}"}
    return numbers | {"verdict": INCONCLUSIVE, "reason": f"{told}, holds {delta:g}"}


def _of_mean(bound: Bound, ends: Ends, rules: Rules) -> dict[str, Any]:
    """The mean over runs, against the bound; of each run less its own, if they have their own."""
    excess = ends.observed - ends.side
    interval = statistics.mean_interval(-excess if bound.is_floor else excess, level=rules.level)
    where = "the mean less the bound" if not bound.is_floor else "the floor less the mean"
    told = f"{where}: {_told(interval)}"
    if np.isnan(interval.low):
        return {"verdict": INCONCLUSIVE, "reason": f"{told}: no interval"}
    if interval.low > 0.0:
        return {"verdict": VIOLATED, "reason": told}
    if interval.high <= 0.0:
        return {"verdict": CONSISTENT, "reason": told}
    return {"verdict": INCONCLUSIVE, "reason": f"{told}, holds 0"}


def _of_rate(bound: Rate, case: Case, rules: Rules, slope: Estimate) -> dict[str, Any]:
    """The growth exponent, against that of the rate."""
    numbers = {"exponent": slope.value, "exponent_low": slope.low, "exponent_high": slope.high}
    first, last = _window(case, rules)
    what = "over K" if case.is_over_horizons else "for k"
    told = f"exponent {_told(slope, 'z.2f')} {what} = {first:,.0f}..{last:,.0f}"

    def say(verdict: str, reason: str) -> dict[str, Any]:
        return numbers | {"verdict": verdict, "reason": reason}

    if not math.isfinite(slope.value):
        what = bound.variable.replace("_", " ")
        return say(INCONCLUSIVE, f"the mean {what} is not positive throughout the window")
    if not math.isfinite(slope.low):
        return say(INCONCLUSIVE, f"{told}: too few runs for an interval")
    early = _dominated(case, first)
    if early:
        return say(INCONCLUSIVE, f"{told}, {early}")
    if slope.high - slope.low > rules.max_width:
        return say(INCONCLUSIVE, f"{told}: wider than {rules.max_width:g}")
    steepest = _steepest(bound, case, first)
    if slope.low > steepest:
        return say(VIOLATED, f"{told}, against {steepest:.2f} with logarithms")
    if slope.high <= bound.exponent:
        return say(CONSISTENT, f"{told}, against {bound.exponent:.2f}")
    return say(INCONCLUSIVE, f"{told}, against {bound.exponent:.2f} to {steepest:.2f}")


def growth_exponent(case: Case, rules: Rules, variable: str) -> Estimate:
    """Growth exponent of a variable's mean over the window."""
    decades = _decades(case, rules)
    return statistics.growth_exponent(
        case[variable], case.episodes, decades=decades, level=rules.level
    )


def _decades(case: Case, rules: Rules) -> float:
    """Length of the window; over horizons all of them, as there are few."""
    whole = math.log10(case.episodes[-1] / case.episodes[0]) if case.is_over_horizons else 0.0
    return max(rules.decades, whole + 1e-9)


def _window(case: Case, rules: Rules) -> tuple[float, float]:
    """First and last checkpoint of the window."""
    last = float(case.episodes[-1])
    start = last / 10.0 ** _decades(case, rules)
    return float(case.episodes[case.episodes >= start][0]), last


def _steepest(bound: Rate, case: Case, first: float) -> float:
    """Least-squares slope of log (k^a (log k)^log_power) on log k over the window."""
    k = case.episodes[case.episodes >= max(first, np.e)].astype(np.float64)
    if len(k) < 2:
        return bound.exponent
    return bound.exponent + bound.log_power * np.polyfit(np.log(k), np.log(np.log(k)), 1)[0]


def _dominated(case: Case, first: float) -> str:
    """Why the window is dominated by phase one; empty if it is not."""
    phase_one, k = case["phase_one"], case.episodes
    if case.is_over_horizons:
        if not case.has("phase_one_cap"):
            return ""
        is_full = np.median(phase_one, 0) >= _FULL * case["phase_one_cap"]
        return f"but phase one filled its cap at K = {k[is_full][0]:,}" if is_full.any() else ""
    ends = np.median(phase_one[:, -1])
    return f"but phase one lasted {ends:,.0f} episodes" if ends >= first else ""


def _told(interval: Estimate, form: str = ".3g") -> str:
    value, low, high = (format(number, form) for number in interval)
    return f"{value} [{low}, {high}]"
