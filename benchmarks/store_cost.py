"""What does keeping a study on disk cost?

The same study without a store and with one, in turns: Q-learning under no transfers in the
pollution game. `wall` is whole calls of `px.study`, with and
without; it has the noise of the machine. `share` is what the store's own functions (reading,
writing, journals, checkpoints, which come as often as they can) took of the run, clocked inside;
that is the figure to go by.
"""

import argparse
import functools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import jax
import numpy as np

import pajax as px
from pajax.studies import journal, store

#: Functions of a store that a study calls.
CALLS = ("open", "missing", "shards", "write", "checkpoint", "meet")


class Clock:
    """Seconds spent in the functions of a store, not counting one inside another twice."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed; one that yields is drained."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun, self._depth = time.perf_counter(), self._depth + 1
            result = function(*args, **kwargs)
            if function.__name__ == "shards":
                result = iter(list(result))
            self._depth -= 1
            if self._depth == 0:
                self.seconds += time.perf_counter() - begun
            return result

        return timed


def study(args: argparse.Namespace, folder: Path | None) -> Any:
    """One call; a store begins empty."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return px.study(
        jax.random.key(0),
        px.games.pollution(),
        agents={"q-learning": px.agents.QLearning()},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=args.episodes,
        num_seeds=args.pairs * args.shards,
        shard_pairs=args.pairs,
        store=folder,
        progress=False,
    )


def contest(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The row."""
    clock, shares = Clock(), []

    def clocked() -> None:
        clock.seconds, begun = 0.0, time.perf_counter()
        timed = {name: clock(getattr(store.Store, name)) for name in CALLS}
        timed["open"] = staticmethod(timed["open"])
        offer = clock(store.ShardCheckpoint.offer)
        note = clock(journal.Journal._write)
        with (
            mock.patch.multiple(store.Store, **timed),
            mock.patch.object(store.ShardCheckpoint, "offer", offer),
            mock.patch.object(journal.Journal, "_write", note),
        ):
            study(args, folder)
        shares.append(clock.seconds / (time.perf_counter() - begun))

    calls = {"without": lambda: study(args, None), "with": clocked}
    seconds = {name: np.array(x) for name, x in harness.interleave(calls, args.repeats).items()}
    wall = harness.compare(1 / seconds["without"], 1 / seconds["with"])
    return {
        "shards": args.shards,
        "seconds a shard": float(np.median(seconds["with"])) / args.shards,
        "share": float(np.median(shares[1:])),
        "largest share": max(shares[1:]),
        **{f"wall {name}": value for name, value in wall._asdict().items()},
    }


def main() -> None:
    """The comparison."""
    parser = harness.options(__doc__, names=("repeats",))
    parser.set_defaults(repeats=3)
    parser.add_argument("--episodes", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=512, help="in a shard")
    parser.add_argument("--shards", type=int, default=4)
    args = harness.parse(parser, repeats=1, episodes=2_000, pairs=32, shards=2)
    px.configure()
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(store, "CHECKPOINT_SECONDS", 0):
        row = contest(args, Path(folder) / "store")
    harness.report(__doc__.splitlines()[0], [row], options=vars(args))


if __name__ == "__main__":
    main()
