"""Learners of the agent's side, one algorithm a file.

Each has the methods of `pajax.protocols.Agent`, which says what their arguments are.
"""

from pajax.agents.best_response import BestResponse
from pajax.agents.exp3 import Exp3
from pajax.agents.logit import Logit
from pajax.agents.neural_q import NeuralQ
from pajax.agents.policy_gradient import PolicyGradient
from pajax.agents.posterior_sampling import PosteriorSampling
from pajax.agents.q_learning import QLearning
from pajax.agents.thompson import ThompsonSampling
from pajax.agents.ucb1 import UCB1
from pajax.agents.ucb_q import UCBQ
from pajax.agents.ucbvi import UCBVI

__all__ = [
    "UCB1",
    "UCBQ",
    "UCBVI",
    "BestResponse",
    "Exp3",
    "Logit",
    "NeuralQ",
    "PolicyGradient",
    "PosteriorSampling",
    "QLearning",
    "ThompsonSampling",
]
