"""Timing that means something on a shared machine, and the report of it.

Contestants run in turns, A B C A B C ..., so that whatever else the machine does falls on all of
them. The ratio quoted of two is the median over rounds of their ratio within a round, with its
least and largest value; the ratio of their median speeds stands beside it.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from workload import Curves, Size, Workload, random_workload, sizes_of

import pajax

#: What most scripts may be told.
OPTIONS: dict[str, dict[str, Any]] = {
    "pairs": {"type": int, "default": 1024},
    "steps": {"type": float, "default": 1e8, "help": "of a run, all pairs together"},
    "repeats": {"type": int, "default": 7, "help": "rounds"},
    "seed": {"type": int, "default": 0, "help": "of the games"},
    "shared": {
        "action": argparse.BooleanOptionalAction,
        "default": False,
        "help": "one game for all pairs, instead of one for each",
    },
}
#: What `--quick` changes.
QUICK = {"pairs": 64, "steps": 1e6, "repeats": 2}


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after one call of each as a warm-up."""
    for candidate in candidates.values():
        candidate()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            start = clock()
            candidate()
            seconds[name].append(clock() - start)
    return seconds


class Contestant:
    """A run of a workload, to be interleaved, that remembers how its calls went."""

    def __init__(self, run: Callable[[], Curves], workload: Workload) -> None:
        self._run, self.workload = run, workload
        self._wall: list[float] = []
        self._processor: list[float] = []

    def __call__(self) -> None:
        """Run once."""
        wall, processor = time.perf_counter(), time.process_time()
        self.curves = self._run()
        self._wall.append(time.perf_counter() - wall)
        self._processor.append(time.process_time() - processor)

    @property
    def speeds(self) -> np.ndarray:
        """Million environment steps a second, in each round; the warm-up is left out."""
        return self.workload.num_steps / np.array(self._wall[1:]) / 1e6

    @property
    def busy_cores(self) -> float:
        """Processor seconds a second."""
        return float(np.median(np.divide(self._processor, self._wall)[1:]))

    @property
    def compile_seconds(self) -> float:
        """What the warm-up took longer than the other calls."""
        return self._wall[0] - float(np.median(self._wall[1:]))


class Comparison(NamedTuple):
    """How many times as fast one contestant is as another."""

    ratio: float  # median over rounds of the ratio within a round
    low: float  # least over rounds
    high: float  # largest over rounds
    of_medians: float  # ratio of median speeds


def compare(speeds: np.ndarray, others: np.ndarray) -> Comparison:
    """The first's speeds over the second's."""
    ratios = speeds / others
    found = (np.median(ratios), ratios.min(), ratios.max(), np.median(speeds) / np.median(others))
    return Comparison(*(float(x) for x in found))


def disagreement(curves: Curves, others: Curves) -> dict[str, float]:
    """Agreement of two contestants: z of the mean difference of final values, pair by pair.

    The pairs of both play the same games with other random numbers. If both are the same learner, z
    is standard normal: beyond 3.3 once in a thousand. Differences within a pair leave out what
    games differ by.
    """
    z = {}
    for name in Curves._fields:
        difference = getattr(curves, name)[:, -1] - getattr(others, name)[:, -1]
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        z[f"z {name}"] = float(difference.mean() / error)
    return z


def duel(pajax: Contestant, other: Contestant, curves: Curves) -> dict[str, Any]:
    """A row: speeds, their ratio, and whether `curves` of pajax agree with the other's."""
    return {
        "pajax M/s": float(np.median(pajax.speeds)),
        "other M/s": float(np.median(other.speeds)),
        **compare(pajax.speeds, other.speeds)._asdict(),
        "pajax busy": pajax.busy_cores,
        "other busy": other.busy_cores,
        "pajax compile s": pajax.compile_seconds,
        "other compile s": other.compile_seconds,
        **disagreement(curves, other.curves),
    }


MEGABYTE = 2**20


def peak_megabytes() -> float:
    """Most memory that this process has held, in MB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (MEGABYTE if sys.platform == "darwin" else 1024)


def row_elsewhere(*only: object) -> dict[str, Any]:
    """A row that this script prints as JSON, if told to make `only` that, in a new process.

    This process must stay small, since a child starts as large as that.
    """
    told = [*sys.argv, "--only", *map(str, only)]
    done = subprocess.run([sys.executable, *told], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def options(doc: str, names: Iterable[str] = tuple(OPTIONS)) -> argparse.ArgumentParser:
    """A parser of what scripts may be told: of these names in `OPTIONS`, by default of all."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name in names:
        parser.add_argument(f"--{name}", **OPTIONS[name])
    quick = "a smoke run, whose figures mean nothing"
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def parse(parser: argparse.ArgumentParser, **quick: Any) -> argparse.Namespace:
    """The options given; with `--quick` little work, and the script's own changes."""
    given = vars(parser.parse_args())
    if given["quick"]:
        given |= {name: value for name, value in QUICK.items() if name in given} | quick
    return argparse.Namespace(**given)


def workload_of(
    args: argparse.Namespace, size: Size, pairs: int, steps: float, least_episodes: int = 1
) -> Workload:
    """A workload of about so many steps, and of at least so many episodes."""
    games, seeds = (1, pairs) if args.shared else (pairs, 1)
    episodes = max(least_episodes, round(steps / (pairs * sizes_of(size)[2])))
    return random_workload(size, games, seeds, episodes, args.seed)


def report(question: str, rows: Sequence[Mapping[str, Any]], **facts: Any) -> None:
    """Print a table of the rows, and one line of JSON with all there is to know of the run."""
    print(f"\n{question}\n\n{_table(rows)}\n")
    rounded = [{name: _rounded(value) for name, value in row.items()} for row in rows]
    print(json.dumps({"question": question, **_circumstances(), **facts, "rows": rounded}))


def _circumstances() -> dict[str, Any]:
    """When, where and with what a benchmark ran."""
    packages = ("jax", "jaxlib", "numpy", "numba")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load": [round(x, 2) for x in os.getloadavg()],
        "versions": {
            "python": platform.python_version(),
            "pajax": pajax.__version__,  # of the code that ran, installed or not
            **{name: _version(name) for name in packages},
        },
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [list(rows[0]), *([str(_rounded(value)) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(x.rjust(w) for x, w in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(lines)


def _rounded(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value
