"""How many bytes does a pair take, and what is the peak of a run?

`cell` and `state` are the arrays that a study keeps for a pair, inputs and what changes; they grow
with the pairs. `temporary` is what a compiled block asks for besides, in all; a block works on one
chunk of lanes after another. `start` and `peak` are the most memory that a fresh process ever held,
before its study and in all; the compiler is in the second. Each row is a process of its own, on one
device. Some three minutes.
"""

import argparse
import json
import math
from typing import Any

import harness
import jax
import subject
from workload import SIZES, random_workload

import pajax as px
from pajax.studies import batch


class Witness:
    """Stands in for `pajax.studies.batch._advance`: does what it does, and looks at its memory."""

    def __init__(self) -> None:
        self._advance = batch._advance
        self._compiled: Any = None

    def __call__(self, cell: Any, state: Any, schedule: Any, *, mesh: Any) -> Any:
        """One block."""
        if self._compiled is None:
            program = self._advance.lower(cell, state, schedule, mesh=mesh)
            self._compiled = program.compile()
            self.lanes = math.prod(cell.keys.shape)
            self.chunk_lanes = cell.keys.shape[-1]
            self.cell, self.state = _num_bytes(cell), _num_bytes(state)
        return self._compiled(cell, state, schedule)

    @property
    def temporary(self) -> int:
        """Bytes that the compiled block asks for besides its arguments and results."""
        return self._compiled.memory_analysis().temp_size_in_bytes


def _num_bytes(arrays: Any) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(arrays))


def measure(args: argparse.Namespace, learner: str, mechanism: str, pairs: int) -> dict[str, Any]:
    """A row, from a process that has done nothing else."""
    px.configure(cpu_devices=1)
    workload = random_workload(args.size, 1, pairs, args.episodes)
    parts = subject.learner(workload, learner), subject.mechanism_of(workload, mechanism)
    start, witness = harness.peak_megabytes(), Witness()
    with subject.replaced((batch, "_advance", witness)):
        subject.cell(workload, *parts)()
    return {
        "learner": learner,
        "mechanism": mechanism,
        "pairs": pairs,
        "chunk": witness.chunk_lanes,
        "cell B/pair": witness.cell / witness.lanes,
        "state B/pair": witness.state / witness.lanes,
        "temporary MB": witness.temporary / harness.MEGABYTE,
        "start MB": start,
        "peak MB": harness.peak_megabytes(),
    }


def main() -> None:
    """Every agent, mechanism and number of pairs."""
    parser = harness.options(__doc__, names=())
    parser.add_argument("--size", choices=SIZES, default="mid")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--pairs", nargs="+", type=int, default=[64, 1024, 8192])
    some = ["q-learning", "ucbvi"]
    parser.add_argument("--learners", nargs="+", choices=subject.LEARNERS, default=some)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    args = harness.parse(parser, size="small", pairs=[64, 1024], learners=["q-learning"])
    if args.only:
        learner, mechanism, pairs = args.only
        print(json.dumps(measure(args, learner, mechanism, int(pairs))))
        return
    rows = [
        harness.row_elsewhere(learner, mechanism, pairs)
        for learner in args.learners
        for mechanism in subject.MECHANISMS
        for pairs in args.pairs
    ]
    harness.report(__doc__.splitlines()[0], rows, options=vars(args))


if __name__ == "__main__":
    main()
