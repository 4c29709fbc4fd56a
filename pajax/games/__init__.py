"""Families of games, one a file."""

from pajax.games.bandit import bandit, two_player_bandit
from pajax.games.commons import commons
from pajax.games.garnet import garnet
from pajax.games.insurance import insurance
from pajax.games.market import market
from pajax.games.pollution import pollution
from pajax.games.rand_hie import Moments, RandData, RandFit, fit_rand, load_rand, rand_insurance

__all__ = [
    "Moments",
    "RandData",
    "RandFit",
    "bandit",
    "commons",
    "fit_rand",
    "garnet",
    "insurance",
    "load_rand",
    "market",
    "pollution",
    "rand_insurance",
    "two_player_bandit",
]
