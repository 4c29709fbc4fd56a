"""Families of games, one a file."""

from pajax.games.bandit import bandit
from pajax.games.garnet import garnet
from pajax.games.pollution import pollution

__all__ = ["bandit", "garnet", "pollution"]
