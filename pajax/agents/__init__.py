"""Learners of the agent's side, one algorithm a file."""

from pajax.agents.best_response import BestResponse
from pajax.agents.q_learning import QLearning
from pajax.agents.ucb_q import UCBQ
from pajax.agents.ucbvi import UCBVI

__all__ = ["UCBQ", "UCBVI", "BestResponse", "QLearning"]
