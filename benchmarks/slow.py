"""Contests with baselines too slow for the work that pajax gets.

pajax runs as many episodes as make its run last a second; the others run fewer, and some of them
fewer pairs. What is compared is environment steps a second, on one device. Whether both simulate
the same learner is judged by another run of pajax, on just the other's work.
"""

import argparse
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import harness
import subject
from workload import ALGORITHMS, SIZES

import pajax as px


class Slow(NamedTuple):
    """A baseline module, and the most that it is asked to do."""

    module: Any
    pairs: int
    steps: float  # of all pairs together


def contest(doc: str, baselines: Mapping[str, Slow]) -> None:
    """A script: pajax against each baseline with every learner, and the report."""
    parser = harness.options(doc)
    parser.add_argument("--size", choices=SIZES, default="mid")
    args = harness.parse(parser)
    px.configure(cpu_devices=1)
    rows = [row for algorithm in ALGORITHMS for row in _rows(args, algorithm, baselines)]
    harness.report(doc.splitlines()[0], rows, options=vars(args))


def _rows(
    args: argparse.Namespace, algorithm: str, baselines: Mapping[str, Slow]
) -> list[dict[str, Any]]:
    """One row for each baseline."""
    work = harness.workload_of(args, args.size, args.pairs, args.steps)
    pajax = harness.Contestant(subject.study(work, algorithm), work)
    others = {name: _contestant(args, algorithm, slow) for name, slow in baselines.items()}
    harness.interleave({"pajax": pajax, **others}, args.repeats)
    about = {"size": args.size, "learner": algorithm}
    return [
        {**about, "other": name, "other pairs": other.workload.num_pairs}
        | {"other episodes": other.workload.num_episodes}
        | harness.duel(pajax, other, subject.study(other.workload, algorithm)())
        for name, other in others.items()
    ]


def _contestant(args: argparse.Namespace, algorithm: str, slow: Slow) -> harness.Contestant:
    pairs, steps = min(slow.pairs, args.pairs), min(slow.steps, args.steps)
    work = harness.workload_of(args, args.size, pairs, steps)
    run = functools.partial(slow.module.simulate, work, algorithm, seed=1)
    return harness.Contestant(run, work)
