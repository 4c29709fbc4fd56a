"""Does throughput hold as pairs, episodes, horizon, states, actions and devices grow?

One at a time, from the mid size: epsilon-greedy Q-learning under a fixed contract, by default one
game shared by all pairs (`--no-shared` for one each). A run has about `--steps` steps, whatever
grows, and so fewer episodes if that makes it larger, but at least 50. Stages are short in the first
episodes, which makes these slower; therefore K stays in `pairs-same-K`, and pairs where K grows.

Runs of one sweep are done in turns; `ratio` is to the first row of the sweep. `study` is all of
`px.study`, `blocks` only its compiled blocks, `episodes` the K of a row. On one device, except
where devices grow. A quarter of an hour.
"""

import argparse
import functools
from collections.abc import Iterator
from typing import Any

import harness
import jax
import numpy as np
import subject
from workload import SIZES, Workload

import pajax as px

STATES, ACTIONS, HORIZON = SIZES["mid"]
LEAST_EPISODES = 50
PAIRS = (64, 512, 4096, 32768, 131072)
SWEEPS: dict[str, tuple[int, ...]] = {
    "pairs": PAIRS,
    "pairs-same-K": PAIRS,
    "K": (100, 1000, 10_000, 100_000),
    "H": (5, 10, 20, 40),
    "S": (2, 8, 20, 50),
    "A": (2, 4, 8, 16),
    "devices": (1, 2),
}


def workload_of(args: argparse.Namespace, varies: str, value: int) -> Workload:
    """Mid-sized work, but for what varies."""
    changed = {varies.removesuffix("-same-K"): value}
    size = (changed.get("S", STATES), changed.get("A", ACTIONS), changed.get("H", HORIZON))
    pairs = changed.get("pairs", args.pairs_of_K if varies == "K" else args.pairs)
    episodes = {"K": value, "pairs-same-K": args.same_K}.get(varies)
    steps = args.steps if episodes is None else pairs * episodes * HORIZON
    return harness.workload_of(args, size, pairs, steps, LEAST_EPISODES)


class Point:
    """A value of what varies, and the run with it."""

    def __init__(self, args: argparse.Namespace, varies: str, value: int) -> None:
        self.value, self.workload = value, workload_of(args, varies, value)
        devices = jax.devices()[: value if varies == "devices" else 1]
        self.blocks = subject.Clocked(subject.study(self.workload, "q-learning", devices=devices))
        self.study = harness.Contestant(self.blocks, self.workload)

    @property
    def block_speeds(self) -> np.ndarray:
        """Million steps a second of the compiled blocks, in each round."""
        return self.blocks.speeds(self.workload.num_steps)


def sweep(args: argparse.Namespace, varies: str) -> Iterator[dict[str, Any]]:
    """The rows of what varies."""
    points = [Point(args, varies, value) for value in SWEEPS[varies] if _is_wanted(args, value)]
    harness.interleave({point.value: point.study for point in points}, args.repeats)
    for point in points:
        ratio, low, high, _ = harness.compare(point.study.speeds, points[0].study.speeds)
        yield {
            "varies": varies,
            "value": point.value,
            "pairs": point.workload.num_pairs,
            "episodes": point.workload.num_episodes,
            "study M/s": float(np.median(point.study.speeds)),
            "ratio": ratio,
            "low": low,
            "high": high,
            "blocks M/s": float(np.median(point.block_speeds)),
            "blocks ratio": harness.compare(point.block_speeds, points[0].block_speeds).ratio,
        }


def _is_wanted(args: argparse.Namespace, value: int) -> bool:
    return args.largest is None or value <= args.largest


def main() -> None:
    """Every sweep asked for."""
    parser = harness.options(__doc__)
    parser.set_defaults(shared=True, repeats=5)
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    parser.add_argument("--largest", type=int, help="leave out larger values of what varies")
    add = functools.partial(parser.add_argument, type=int)
    add("--pairs-of-K", default=128, help="pairs where K grows")
    add("--same-K", default=500, help="episodes in pairs-same-K")
    args = harness.parse(parser, sweeps=["pairs", "pairs-same-K", "K", "devices"], largest=1000)
    px.configure(cpu_devices=max(SWEEPS["devices"]))
    rows = [row for varies in args.sweeps for row in sweep(args, varies)]
    harness.report(__doc__.splitlines()[0], rows, options=vars(args))


if __name__ == "__main__":
    main()
