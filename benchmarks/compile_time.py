"""How long does compilation take, and on what does it depend?

A row is an agent under a mechanism at a size; the last rows vary K and the pairs. `first - second`
is what the first `px.study` of a process takes longer than the next: before each first one all that
JAX has compiled is forgotten. `trace`, `lower` and `compile` are what JAX says of it, `programs`
the number that it compiled, small ones of the host included. Medians over repeats; runs are short,
on one device. About ten minutes.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import harness
import jax
import numpy as np
import subject
from workload import SIZES, Size, random_workload

import pajax as px

#: Pairs and episodes of Q-learning at the mid size: one of them more than in the first row.
GROWN = ((64, 1_000), (64, 100_000), (4096, 1_000))


def first_and_second(run: Callable[[], Any]) -> dict[str, float]:
    """Seconds of the first call more than of the second, and what they went on."""
    jax.clear_caches()
    with subject.CompileClock() as clock:
        first = _seconds(run)
    return {
        "first - second s": first - _seconds(run),
        **{f"{stage} s": clock.seconds(stage) for stage in clock.STAGES},
        "programs": clock.programs,
    }


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def row(
    size: Size, learner: str, mechanism: str, pairs: int, episodes: int, repeats: int
) -> dict[str, Any]:
    """Medians over repeats."""
    workload = random_workload(size, pairs, 1, episodes)
    parts = subject.learner(workload, learner), subject.mechanism_of(workload, mechanism)
    run = subject.cell(workload, *parts, devices=jax.devices()[:1])
    found = [first_and_second(run) for _ in range(repeats)]
    return {
        "size": size,
        "learner": learner,
        "mechanism": mechanism,
        "pairs": pairs,
        "episodes": episodes,
        **{name: float(np.median([x[name] for x in found])) for name in found[0]},
    }


def main() -> None:
    """Every size, agent and mechanism; then more episodes, and more pairs."""
    parser = harness.options(__doc__, ("pairs", "repeats"))
    parser.set_defaults(pairs=64, repeats=3)
    parser.add_argument("--episodes", type=int, default=300, help="of each run but the last ones")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    names = subject.LEARNERS
    parser.add_argument("--learners", nargs="+", choices=names, default=list(names))
    few = {"sizes": ["small"], "learners": ["q-learning"], "repeats": 1}
    args = harness.parse(parser, **few)
    px.configure(cpu_devices=1)
    jax.config.update("jax_enable_compilation_cache", False)
    of = functools.partial(row, repeats=args.repeats)
    rows = [
        of(size, learner, mechanism, args.pairs, args.episodes)
        for size in args.sizes
        for learner in args.learners
        for mechanism in subject.MECHANISMS
    ]
    rows += [of("mid", "q-learning", "fixed", *grown) for grown in GROWN]
    harness.report(__doc__.splitlines()[0], rows, options=vars(args))


if __name__ == "__main__":
    main()
