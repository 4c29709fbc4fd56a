"""Bounds as objects, assumptions audited, and verdicts on both.

- `pajax.bounds.theory` has the right-hand sides, with their formulas.
- `pajax.bounds.audits` says how (A1) and (A2) are audited on the runs.
- `pajax.bounds.verdicts` says when a bound is consistent, violated, inconclusive, not applicable.
"""

from pajax.bounds.audits import (
    Coverage,
    Rationality,
    audit_coverage,
    audit_rationality,
    quantile_interval,
)
from pajax.bounds.base import Bound, Case, Condition, cases, evaluate
from pajax.bounds.checks import Checks, check_bounds
from pajax.bounds.theory import (
    Compliance,
    Deviations,
    ExcessPayment,
    ExplorationFloor,
    GapRegime,
    Identification,
    IntervalWidth,
    PhaseOneLength,
    PrincipalRegret,
    Rate,
    WelfareRegret,
    theory,
)

__all__ = [
    "Bound",
    "Case",
    "Checks",
    "Compliance",
    "Condition",
    "Coverage",
    "Deviations",
    "ExcessPayment",
    "ExplorationFloor",
    "GapRegime",
    "Identification",
    "IntervalWidth",
    "PhaseOneLength",
    "PrincipalRegret",
    "Rate",
    "Rationality",
    "WelfareRegret",
    "audit_coverage",
    "audit_rationality",
    "cases",
    "check_bounds",
    "evaluate",
    "quantile_interval",
    "theory",
]
