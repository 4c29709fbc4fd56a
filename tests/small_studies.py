"""A study so small that compiling is most of it: four cells of a bandit that share a compilation.

A shard of `SHARD_PAIRS` runs is the unit of everything, since other numbers are compiled again.
"""

import contextlib
import errno
import functools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr

import pajax as px
from pajax.studies import archive

KEY = jax.random.key(7)
AGENTS = {"low": px.agents.UCBQ(bonus=0.03), "high": px.agents.UCBQ(bonus=0.3)}
MECHANISMS = {
    "none": px.mechanisms.FlatTransfer(amount=0.0, action=1),
    "paid": px.mechanisms.FlatTransfer(amount=0.5, action=1),
}
EPISODES, SEEDS, SHARD_PAIRS = 24, 8, 4
#: Shards, and runs, of a study of one game.
NUM_SHARDS, NUM_RUNS = 8, 32


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
    return px.study(**arguments(**({"progress": False} | options)))


def expected(keep: str = "seeds") -> xr.Dataset:
    """What the small study must return: it is not stored, and nothing interrupts it."""
    return _expected(keep)


@functools.cache
def _expected(keep: str) -> xr.Dataset:
    return study(keep=keep)


def bandits(number: int, seed: int = 5) -> px.Game:
    """Games of the sizes of the bandit; more of them begin with the same ones."""
    rewards = np.random.default_rng(seed).uniform(size=(number, 2, 5))
    return px.stack_games(px.games.bandit(u, v) for u, v in rewards)


def assert_same(found: xr.Dataset, wanted: xr.Dataset, folder: Path) -> None:
    """Values, dtypes, coordinates and attributes, and the bytes of a file."""
    xr.testing.assert_identical(found, wanted)
    files = [px.save(dataset, folder / f"{i}.npz") for i, dataset in enumerate((found, wanted))]
    assert files[0].read_bytes() == files[1].read_bytes()


def shards(store: Path) -> dict[str, bytes]:
    """The bytes of all shards, by their place in the store."""
    return {x.relative_to(store).as_posix(): x.read_bytes() for x in store.glob("shards/*/*.npz")}


def runs(store: Path) -> Counter[tuple[Any, ...]]:
    """Cell, game and seed of each run that a shard has."""
    found: Counter[tuple[Any, ...]] = Counter()
    for path in store.glob("shards/*/*.npz"):
        with np.load(path) as archive:
            games = json.loads(str(archive["header"]))["games"]
            for g, seed in zip(archive["game"].tolist(), archive["seed"].tolist(), strict=True):
                found[path.parent.name, games[str(g)], g, seed] += 1
    return found


@contextlib.contextmanager
def full_disk(number: int) -> Iterator[None]:
    """The disk is full as soon as so many shards are written."""
    begun: list[Path] = []
    write, sync = archive.write, os.fsync

    def writing(path, header, arrays):
        begun.append(path)
        write(path, header, arrays)

    def syncing(handle):
        if len(begun) > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "write", writing)
        patch.setattr(archive.os, "fsync", syncing)
        yield
