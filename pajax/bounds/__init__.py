"""Bounds as objects, assumptions audited, and verdicts on both (THEORY: section 3)."""

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
