"""How fast is pajax beside hand-written numba loops, on the same threads?

One learner (epsilon-greedy Q-learning, or UCB-Q) under one fixed contract, in random games, by
default another for each pair. Two competitors: `loops` is written to be as fast as numba gets,
`plain` is what a good researcher writes (see `baselines`). pajax runs through `px.study`, whose
host work counts; n threads are n CPU devices of JAX. Compilation is left out of the speeds. Columns
`busy` say how many cores each kept busy, columns z whether both simulate the same learner (see
`harness.disagreement`).

The default is 1e8 steps a run, a second or two; about ten minutes in all on two idle cores.
"""

import functools
import sys
from typing import Any

import harness
import jax
import subject
from workload import ALGORITHMS, SIZES

import pajax as px

try:
    from baselines import numba_loops, numba_plain
except ImportError as error:
    sys.exit(f"against_numba: {error}; install numba to run this benchmark")

BASELINES = {"loops": numba_loops, "plain": numba_plain}


def contest(args: Any, size: str, algorithm: str) -> list[dict[str, Any]]:
    """Rows of one size and one learner."""
    workload = harness.workload_of(args, size, args.pairs, args.steps)
    pajax, numba = {}, {}
    for threads in args.threads:
        run = subject.study(workload, algorithm, devices=jax.devices()[:threads])
        pajax[threads] = harness.Contestant(run, workload)
        for name in args.baselines:
            simulate = functools.partial(BASELINES[name].simulate, workload, algorithm)
            run = functools.partial(simulate, seed=1, threads=threads)
            numba[name, threads] = harness.Contestant(run, workload)
    harness.interleave(pajax | numba, args.repeats)
    about = {"size": size, "learner": algorithm, "episodes": workload.num_episodes}
    return [
        {**about, "other": name, "threads": threads}
        | harness.duel(pajax[threads], numba[name, threads], pajax[threads].curves)
        for threads in args.threads
        for name in args.baselines
    ]


def main() -> None:
    """Run every size with every learner."""
    parser = harness.options(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--learners", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--baselines", nargs="+", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    args = harness.parse(parser, sizes=["mid"], learners=["q-learning"])
    px.configure(cpu_devices=max(args.threads))
    rows = []
    for size in args.sizes:
        for algorithm in args.learners:
            rows += contest(args, size, algorithm)
    harness.report(__doc__.splitlines()[0], rows, options=vars(args))


if __name__ == "__main__":
    main()
