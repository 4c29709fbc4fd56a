"""Mechanisms of the principal's side, one a file."""

from pajax.mechanisms.static import FixedTransfers, FlatTransfer, NoTransfer, QuantisedTransfers
from pajax.mechanisms.two_phase import TwoPhase

__all__ = ["FixedTransfers", "FlatTransfer", "NoTransfer", "QuantisedTransfers", "TwoPhase"]
