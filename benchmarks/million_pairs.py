"""Does a study of a million pairs run in bounded memory?

UCBVI under the two-phase mechanism in the pollution game, through `px.study` with `keep="moments"`
and a store on disk, for more and more seeds. Each row is a process of its own; `peak` is the most
memory that it ever held, and `start` what it held before the study. Runs kept one by one would need
`as seeds`. Some minutes.
"""

import argparse
import json
import tempfile
import time
from typing import Any

import harness
import jax

import pajax as px


def measure(args: argparse.Namespace, pairs: int) -> dict[str, Any]:
    """A row, from a process that has done nothing else."""
    px.configure()
    design: dict[str, Any] = {
        "key": jax.random.key(0),
        "game": px.games.pollution(),
        "agents": {"ucbvi": px.agents.UCBVI()},
        "mechanisms": {"two-phase": px.mechanisms.TwoPhase()},
        "num_episodes": args.episodes,
        "num_seeds": pairs,
    }
    as_seeds = px.plan(**design, measure=False).memory_bytes
    start, begun = harness.peak_megabytes(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = px.study(**design, keep="moments", store=folder, progress=False)
        disk = px.plan(**design, keep="moments", store=folder, measure=False).disk_bytes
    seconds = time.perf_counter() - begun
    last = found.isel(episode=-1, game=0, agent=0, mechanism=0)
    return {
        "pairs": int(last["num_runs"]),
        "seconds": seconds,
        "M steps/s": pairs * args.episodes * 5 / seconds / 1e6,
        "start MB": start,
        "peak MB": harness.peak_megabytes(),
        "as seeds MB": as_seeds / harness.MEGABYTE,
        "planned disk MB": disk / harness.MEGABYTE,
        "regret": float(last["welfare_regret"]),
        "sd": float(last["welfare_regret_sd"]),
    }


def main() -> None:
    """Every number of pairs."""
    parser = harness.options(__doc__, names=())
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    args = harness.parse(parser, pairs=[1_000, 4_000], episodes=50)
    if args.only:
        print(json.dumps(measure(args, args.only)))
        return
    rows = [harness.row_elsewhere(pairs) for pairs in args.pairs]
    harness.report(__doc__.splitlines()[0], rows, options=vars(args))


if __name__ == "__main__":
    main()
