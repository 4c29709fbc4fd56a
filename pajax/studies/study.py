"""Studies: games x agents x mechanisms x seeds, on all devices, with progress.

The pairs of each cell (`design`) are cut into shards (`work`); a shard is one batch (`batch`), and
what is kept of it (`kept`) goes to a store, on disk (`store`) or in memory. What the store has is
not computed again; when it has all, its shards are put together. How pairs are cut, and by whom
they are computed, changes no number.
"""

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
import xarray as xr
from jax import Array
from tqdm.auto import tqdm

from pajax.config import warn_unless_hoisting
from pajax.game import Game
from pajax.simulate import World
from pajax.studies import batch, forecast, identity, kept, processes, results
from pajax.studies.batch import Checkpoint
from pajax.studies.design import Design, entries, make_design
from pajax.studies.journal import Journal
from pajax.studies.kept import Shard
from pajax.studies.manifest import versions
from pajax.studies.outline import Cell, Outline, Pairs
from pajax.studies.processes import Crew
from pajax.studies.store import Store
from pajax.studies.work import Machine, Task, Worker, check_worker, cut, list_tasks

#: How often shards are computed anew because they were found damaged at the end.
MOST_ATTEMPTS = 4


class StudyInterrupted(KeyboardInterrupt):
    """A study was interrupted; `dataset` holds its finished runs, or None if there are none."""

    def __init__(self, dataset: xr.Dataset | None, finished: int, total: int) -> None:
        super().__init__(f"study interrupted: {finished:,} of {total:,} runs are finished")
        self.dataset, self.finished, self.total = dataset, finished, total


def study(
    key: Array,
    game: Game | Mapping[str, Game],
    *,
    agents: Mapping[str, Any],
    mechanisms: Mapping[str, Any],
    num_episodes: int,
    num_seeds: int,
    record: Any = None,
    keep: str = "seeds",
    store: Any = None,
    worker: tuple[int, int] | None = None,
    shard_pairs: int | None = None,
    chunk_lanes: int | None = None,
    devices: Any = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Simulate every agent under every mechanism, on every game, for every seed.

    Args:
      key: typed threefry key of the whole study.
      game: one game, or a batch on one lane axis; or several of these by name, whose sizes may
        differ.
      agents: by name. An array field may end in a lane axis with one entry for each game. A
        function of the game is called with each of them.
      mechanisms: by name, likewise.
      num_episodes: K, episodes of each run.
      num_seeds: runs of each game in each cell.
      record: increasing episode counts that end with K; by default log-spaced.
      keep: "seeds" for every run, or "moments" for means, deviations and quantiles over the runs
        of each game, in memory that does not grow with their number.
      store: a folder. Finished shards are kept there; the same call goes on where it stopped, and
        one with more seeds, games, agents or mechanisms computes only what is new.
      worker: (i, n), to compute only the i-th of n parts, i from 0; the others are left to other
        processes with the same store.
      shard_pairs: runs in a shard; by default such that it takes some ten seconds.
      chunk_lanes: pairs simulated side by side; by default 64 or 128 on a CPU, by the size of a
        pair, and on an accelerator all that fit its memory.
      devices: by default all local devices. Of processes that `jax.distributed.initialize` has
        joined, each computes its part on its own, and all return the whole Dataset.
      progress: show a bar; by default when standard error is a terminal or in a notebook.

    Returns:
      The Dataset described in `pajax.studies.results`. Runs that others have yet to compute are
      missing.

    Raises:
      ValueError: an argument breaks a rule, or the store holds a different study; said before
        anything runs.
      OSError: the store cannot be written, or does not keep what is written.
      MemoryError: even a single run does not fit.
      StudyInterrupted: on Ctrl-C, with the finished runs.
    """
    design = make_design(
        key,
        game,
        agents=agents,
        mechanisms=mechanisms,
        num_episodes=num_episodes,
        num_seeds=num_seeds,
        record=record,
        keep=keep,
    )
    forecast.refuse_too_many(design.outline)
    worker = check_worker(worker, store is not None)
    machine = Machine.of(design, shard_pairs, chunk_lanes, devices)
    with processes.together() as crew:
        if crew.size > 1:
            crew.wait(f"study {identity.digest(entries(design))} of {num_seeds} seeds")
        shelf = Memory(design.outline) if store is None else Store.open(store, design)
        journal = Journal(
            None if store is None else Path(store), {"worker": worker, "versions": versions()}
        )
        runner = Runner(design, machine, shelf, worker, crew, journal, progress)
        planned = forecast.count(design, machine, runner.lacking(), runner.tasks(), store)
        forecast.refuse_what_cannot_fit(planned, design.outline)
        try:
            return runner.run()
        except KeyboardInterrupt:
            total = design.outline.num_pairs
            finished = total - sum(map(len, runner.lacking().values()))
            dataset = runner.dataset() if finished else None
            raise StudyInterrupted(dataset, finished, total) from None


class Shelf(results.Shelf, Protocol):
    """Where finished shards go: a `Store`, or `Memory`."""

    num_damaged: int  # files found so far

    def missing(self, cell: Cell) -> Pairs:
        """The pairs of a cell that no shard has."""
        ...

    def write(self, cell: Cell, shard: Shard) -> None:
        """Add a shard."""
        ...

    def meet(self, crew: Crew) -> None:
        """Wait until all processes of the study have added theirs."""
        ...

    def checkpoint(self, cell: Cell, pairs: Pairs) -> Checkpoint | None:
        """Where a shard under way saves itself."""
        ...


class Memory:
    """A shelf that ends with the study."""

    num_damaged = 0

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._shards: dict[Cell, list[Shard]] = defaultdict(list)

    def missing(self, cell: Cell) -> Pairs:
        """The pairs of a cell that no shard has."""
        return self._outline.pairs(cell).without(shard.pairs for shard in self._shards[cell])

    def shards(self, cell: Cell) -> Iterator[Shard]:
        """The finished shards of a cell."""
        return iter(self._shards[cell])

    def write(self, cell: Cell, shard: Shard) -> None:
        """Add a shard."""
        way = kept.WAYS[self._outline.keep]
        self._shards[cell] = way.pack([*self._shards[cell], shard])

    def meet(self, crew: Crew) -> None:
        """Give all processes the shards of each."""
        for cell in self._outline.cells:
            shards = [x for mine in crew.share(self._shards[cell]) for x in mine]
            self._shards[cell] = kept.WAYS[self._outline.keep].pack(shards)

    def checkpoint(self, cell: Cell, pairs: Pairs) -> None:
        """Nothing would be left of it."""


class Runner:
    """Computes what a shelf lacks of a design."""

    def __init__(
        self,
        design: Design,
        machine: Machine,
        shelf: Shelf,
        worker: Worker,
        crew: Crew,
        journal: Journal,
        progress: bool | None,
    ) -> None:
        self._design, self._machine, self._shelf = design, machine, shelf
        self._worker, self._crew, self._journal = worker, crew, journal
        # one bar, of one part, says enough
        self._hide = True if crew.number else None if progress is None else not progress
        self._worlds: dict[str, World] = {}

    def lacking(self) -> dict[Cell, Pairs]:
        """The pairs that the shelf lacks."""
        return {cell: self._shelf.missing(cell) for cell in self._design.outline.cells}

    def tasks(self) -> list[Task]:
        """The shards that are left to this worker."""
        return list_tasks(self._design.outline, self._machine, self.lacking(), self._worker)

    def run(self) -> xr.Dataset:
        """Compute this worker's part, and put together all that there is."""
        try:
            tasks = self.tasks()
            for _ in range(MOST_ATTEMPTS):
                self._compute(tasks)
                self._shelf.meet(self._crew)
                damaged = self._shelf.num_damaged
                dataset = self.dataset()
                tasks = self.tasks()  # what was found damaged just now
                if not any(self._crew.share(self._shelf.num_damaged > damaged)):
                    break
            else:
                raise OSError(f"shards were damaged when read again, {MOST_ATTEMPTS} times over")
        except BaseException as error:
            is_stopped = isinstance(error, KeyboardInterrupt)
            self._journal.end("interrupted" if is_stopped else "failed", repr(error))
            raise
        self._journal.end("finished")
        return dataset

    def dataset(self) -> xr.Dataset:
        """All that the shelf has, as a Dataset."""
        return results.make_dataset(self._design.outline, self._shelf)

    def _compute(self, tasks: list[Task]) -> None:
        """Compute shards; one for which the memory does not suffice is cut in two."""
        total = sum(len(task.pairs) for task in tasks) * self._design.outline.num_episodes
        with tqdm(total=total, disable=self._hide, unit="ep", unit_scale=True) as bar:
            left = tasks[::-1]
            while left:
                task = left.pop()
                bar.set_description(str(task.cell))
                try:
                    self._compute_shard(task, bar.update)
                except (MemoryError, jax.errors.JaxRuntimeError) as error:
                    if not _is_out_of_memory(error):
                        raise
                    half = len(task.pairs) // 2
                    if not half:
                        raise MemoryError(f"not even one run of {task.cell} fits") from error
                    warnings.warn(
                        f"memory ran out with {len(task.pairs)} runs of {task.cell} in a shard; "
                        f"going on with {half}",
                        stacklevel=4,
                    )
                    left = [part for one in left for part in _as_small(one, task.cell, half)]
                    left += cut(task.cell, task.pairs, half)[::-1]

    def _compute_shard(self, task: Task, update: Callable[[int], Any]) -> None:
        cell, pairs, size = task
        design, outline = self._design, self._design.outline
        shelf, begun = self._shelf, time.perf_counter()
        layout = self._machine.layout(cell, size)._replace(num_pairs=len(pairs))
        if layout.platform == "cpu":
            warn_unless_hoisting()
        self._journal.begin(cell, len(pairs))
        done = 0

        def report(episodes: int) -> None:
            nonlocal done
            done += episodes
            update(episodes * len(pairs))
            self._crew.look()
            self._journal.progress(done / outline.num_episodes)

        record = np.array(outline.record)
        checkpoint = shelf.checkpoint(cell, pairs)
        world = self._world(cell.group)
        loaded = batch.make_batch(design.key, design.parts(cell), world, pairs, layout)
        variables = batch.run(loaded, record, layout, report=report, checkpoint=checkpoint)
        optimal = np.array(outline.groups[cell.group].optimal_welfare)[pairs.game]
        arrays = kept.WAYS[outline.keep].reduce(pairs, kept.with_regret(variables, record, optimal))
        seconds = time.perf_counter() - begun
        about = versions() | {"device": layout.device_kind, "seconds": seconds}
        shelf.write(cell, Shard(pairs, arrays, about))
        self._journal.finish(seconds)

    def _world(self, group: str) -> World:
        """What the engine needs of the games of a group, made once."""
        if group not in self._worlds:
            self._worlds[group] = jax.tree.map(np.asarray, batch.survey(self._design.groups[group]))
        return self._worlds[group]


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _as_small(task: Task, cell: Cell, size: int) -> list[Task]:
    """Shards of at most `size` pairs, if they are of this cell; the next ones come last."""
    return cut(cell, task.pairs, size)[::-1] if task.cell == cell else [task]
