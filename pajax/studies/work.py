"""What is left of a study, cut into shards: some pairs of one cell that are computed together.

All shards of a cell but the last few have the same size, so that they share a compilation; it is
chosen such that a shard takes some ten seconds. Of n workers each has its own pairs, which follow
from the study alone, so that workers need not talk to each other.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from pajax import _checks
from pajax.studies.batch import Layout
from pajax.studies.design import Design, form, rehearse
from pajax.studies.outline import Cell, Outline, Pairs

#: A shard has about so many steps (some ten seconds of a core), and its pairs lie in this range.
SHARD_STEPS, SHARD_PAIRS = 4e8, (128, 16_384)


class Machine(NamedTuple):
    """What a study runs on, and in pieces of which size."""

    shard_pairs: int | None
    chunk_lanes: int | None
    devices: Any  # None for all
    pair_bytes: dict[Cell, int]  # of the state of a run

    @staticmethod
    def of(
        design: Design, shard_pairs: int | None, chunk_lanes: int | None, devices: Any
    ) -> "Machine":
        """The machine for a design, whose cells are traced once, to see that they can run."""
        for name, value in (("shard_pairs", shard_pairs), ("chunk_lanes", chunk_lanes)):
            if value is not None:
                _checks.whole(name, value)
        return Machine(shard_pairs, chunk_lanes, devices, rehearse(design))

    def layout(self, cell: Cell, num_pairs: int) -> Layout:
        """How so many pairs of a cell lie on the devices."""
        return Layout.of(num_pairs, self.pair_bytes[cell], self.chunk_lanes, self.devices)

    def shard_size(self, num_steps: float) -> int:
        """Pairs of a shard, about, if a run has so many steps."""
        if self.shard_pairs is not None:
            return self.shard_pairs
        return int(np.clip(2 ** round(math.log2(SHARD_STEPS / num_steps)), *SHARD_PAIRS))


class Worker(NamedTuple):
    """Part i of n, from 0."""

    number: int = 0
    of: int = 1


class Task(NamedTuple):
    """A shard to be computed."""

    cell: Cell
    pairs: Pairs
    size: int  # of its layout; the pairs may be one fewer


def check_worker(worker: Any, has_store: bool) -> Worker:
    """A worker (i, n); None is this process, of all that share the study.

    Raises:
      ValueError: it is not a pair of whole numbers with 0 <= i < n, or there is no store.
    """
    if worker is None:
        return Worker(jax.process_index(), jax.process_count())
    is_pair = isinstance(worker, tuple | list) and len(worker) == 2
    _checks.require(is_pair, "worker", repr(worker), "be (i, n), the i-th of n from 0")
    _checks.require(has_store, "worker", worker, "come with a store that all workers share")
    number = _checks.whole("worker[1]", worker[1])
    return Worker(_checks.whole("worker[0]", worker[0], 0, number - 1), number)


def list_tasks(
    outline: Outline, machine: Machine, lacking: Mapping[Cell, Pairs], worker: Worker
) -> list[Task]:
    """The shards of a worker's part of the pairs that are lacking."""
    tasks = []
    for cell, pairs in lacking.items():
        size = machine.shard_size(outline.num_episodes * outline.groups[cell.group].horizon)
        shards = cut(cell, owned(outline, cell, pairs, worker, size), size)
        # a shard under way, which a checkpoint has, keeps its layout when those before it are done
        all_mine = cut(cell, owned(outline, cell, outline.pairs(cell), worker, size), size)
        usual = max((task.size for task in all_mine), default=0)
        tasks += [x._replace(size=usual) if x.size == usual - 1 else x for x in shards]
    return tasks


def owned(outline: Outline, cell: Cell, pairs: Pairs, worker: Worker, size: int) -> Pairs:
    """Those of some pairs that a worker computes; whole shards, if there are enough of them."""
    number = len(outline.groups[cell.group]) * outline.num_seeds
    pieces = max(math.ceil(number / size), math.ceil(worker.of / outline.num_cells))
    place = pairs.game.astype(np.int64) * outline.num_seeds + pairs.seed
    piece = place * pieces // number  # of equal sizes, but for one pair
    turn = outline.place(cell) * pieces + piece
    return pairs.take(turn % worker.of == worker.number)


def cut(cell: Cell, pairs: Pairs, size: int) -> list[Task]:
    """Shards of at most `size` pairs, and as nearly equal as can be."""
    number = math.ceil(len(pairs) / size)
    parts = np.array_split(np.arange(len(pairs)), number) if number else []
    return [Task(cell, pairs.take(part), len(parts[0])) for part in parts]


def signature(design: Design, machine: Machine, task: Task) -> Any:
    """What a compilation depends on; equal for tasks that share one."""
    layout = machine.layout(task.cell, task.size)
    return form(design.parts(task.cell)), layout.num_chunks, layout.chunk_lanes
