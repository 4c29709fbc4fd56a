"""Mechanisms of the principal's side, one a file.

Each has the methods of `pajax.protocols.Mechanism`, which says what their arguments are; so do
`Bisection` and `DiscreteChoice`, which estimate, and `OptimisticSteering`, which steers, with the
protocols of `pajax.mechanisms.base`.
"""

from pajax.mechanisms.belgic import Belgic
from pajax.mechanisms.bisection import Bisection
from pajax.mechanisms.discrete_choice import DiscreteChoice, LogitTransfers
from pajax.mechanisms.elimination import EliminationPrincipal
from pajax.mechanisms.epsilon_greedy import EpsilonGreedyPrincipal
from pajax.mechanisms.ipa import IPA
from pajax.mechanisms.pigouvian import PigouvianTax
from pajax.mechanisms.residual_claimant import ResidualClaimant
from pajax.mechanisms.static import (
    FixedTransfers,
    FlatTransfer,
    NoTransfer,
    QuantisedTransfers,
    RobustSubsidy,
)
from pajax.mechanisms.steering import OptimisticSteering
from pajax.mechanisms.two_phase import TwoPhase

__all__ = [
    "IPA",
    "Belgic",
    "Bisection",
    "DiscreteChoice",
    "EliminationPrincipal",
    "EpsilonGreedyPrincipal",
    "FixedTransfers",
    "FlatTransfer",
    "LogitTransfers",
    "NoTransfer",
    "OptimisticSteering",
    "PigouvianTax",
    "QuantisedTransfers",
    "ResidualClaimant",
    "RobustSubsidy",
    "TwoPhase",
]
