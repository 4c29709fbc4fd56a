"""A study so small that compiling is most of it: four cells of a bandit that share a compilation.

A shard of `SHARD_PAIRS` runs is the unit of everything, since another number is compiled again.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import pajax as px

KEY = jax.random.key(7)
AGENTS = {"low": px.agents.UCBQ(bonus=0.03), "high": px.agents.UCBQ(bonus=0.3)}
MECHANISMS = {
    "none": px.mechanisms.FlatTransfer(amount=0.0, action=1),
    "paid": px.mechanisms.FlatTransfer(amount=0.5, action=1),
}
EPISODES, SEEDS, SHARD_PAIRS = 24, 8, 4


def arguments(**options: Any) -> dict[str, Any]:
    """Those of `pajax.study` and `pajax.plan`, with some changed."""
    usual = {
        "key": KEY,
        "game": px.games.bandit(),
        "agents": AGENTS,
        "mechanisms": MECHANISMS,
        "num_episodes": EPISODES,
        "num_seeds": SEEDS,
        "shard_pairs": SHARD_PAIRS,
    }
    return usual | options


def study(**options: Any) -> xr.Dataset:
    """The small study."""
    return px.study(**arguments(progress=False, **options))


@functools.cache
def expected(num_seeds: int = SEEDS, keep: str = "seeds") -> xr.Dataset:
    """What a study must return that was neither stored nor interrupted."""
    return study(num_seeds=num_seeds, keep=keep)


def batch_of_bandits(number: int) -> px.Game:
    """Games of the size of the bandit; more of them begin with the same ones."""
    rewards = np.random.default_rng(5).uniform(size=(number, 2, 5))
    return px.stack_games(px.games.bandit(u, v) for u, v in rewards)


def content(dataset: xr.Dataset, folder: Path) -> bytes:
    """The bytes of a saved Dataset."""
    return px.save(dataset, folder / "content.npz").read_bytes()
