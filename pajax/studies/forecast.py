"""What a study will take, before it runs: runs, shards, compilations, memory, disk, time.

Numbers of runs and bytes follow from the design; free memory and disk are asked of the machine.
Time is measured: the first shard of each compilation runs for about a second, and its pace is
taken for all of them. What is compiled for that need not be compiled again in this process.
"""

import contextlib
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from pajax import _checks, printing
from pajax.game import Game
from pajax.printing import Table
from pajax.simulate import make_world
from pajax.studies import batch, kept
from pajax.studies.batch import Layout
from pajax.studies.design import Design, make_design
from pajax.studies.outline import Cell, Outline, Pairs
from pajax.studies.store import Store
from pajax.studies.work import Machine, Task, check_worker, list_tasks, signature

#: Seconds for which a shard runs to learn its pace.
SAMPLE_SECONDS = 1.0
#: Bytes of a number, and how many times a number is held while a Dataset is put together.
_NUMBER, _COPIES = 8, 3
#: Bytes of a run in lists of those that are there, and of those that are lacking.
_LISTED = 32
#: Bytes of what moments keep of an entry: limbs, counts, and bins, of which some 60 are in use.
_MOMENTS_ENTRY = (12 + 2 * 60) * _NUMBER
#: How many times the numbers of a shard are held while it runs and is reduced.
_SHARD_COPIES = 6


class Plan(NamedTuple):
    """What a study will take. Free memory and disk are None where the machine does not say.

    Attributes:
      num_runs: runs of the study.
      num_finished: of them those in the store already.
      num_shards: to be computed.
      num_compilations: programs to be compiled.
      memory_bytes: at most, about.
      memory_free: bytes.
      disk_bytes: of the whole store.
      disk_free: bytes.
      compile_seconds: None unless time was measured.
      run_seconds: likewise.
    """

    num_runs: int
    num_finished: int
    num_shards: int
    num_compilations: int
    memory_bytes: int
    memory_free: int | None
    disk_bytes: int
    disk_free: int | None
    compile_seconds: float | None = None
    run_seconds: float | None = None

    @property
    def disk_bytes_left(self) -> float:
        """Of the store, what is to be written yet."""
        return self.disk_bytes * (1 - self.num_finished / self.num_runs)

    @property
    def fits(self) -> bool:
        """Whether memory and disk suffice, as far as the machine says."""
        needs = (self.memory_bytes, self.memory_free), (self.disk_bytes_left, self.disk_free)
        return all(free is None or needed <= free for needed, free in needs)

    def as_tables(self) -> list[Table]:
        """The words."""
        free = lambda number: "" if number is None else f", {_bytes(number)} free"  # noqa: E731
        rows = [
            ["runs", f"{self.num_runs:,}, of which {self.num_finished:,} are finished"],
            ["shards", f"{self.num_shards:,} to be computed"],
            ["compilations", f"{self.num_compilations:,}"],
            ["memory", f"{_bytes(self.memory_bytes)}{free(self.memory_free)}"],
            ["disk", f"{_bytes(self.disk_bytes)}{free(self.disk_free)}"],
        ]
        if self.compile_seconds is not None and self.run_seconds is not None:
            total = duration(self.compile_seconds + self.run_seconds)
            rows.append(["time", f"{total}, {duration(self.compile_seconds)} of it compiling"])
        notes = [] if self.fits else ["it does not fit, and would be refused"]
        return [Table("", [], rows, notes=notes)]

    def __repr__(self) -> str:
        return printing.text(self.as_tables())

    def _repr_html_(self) -> str:
        return printing.to_html(self.as_tables())


def plan(
    key: Array,
    game: Game | Mapping[str, Game],
    *,
    store: Any = None,
    worker: tuple[int, int] | None = None,
    shard_pairs: int | None = None,
    chunk_lanes: int | None = None,
    devices: Any = None,
    measure: bool = True,
    **design: Any,
) -> Plan:
    """What a study will take, before it runs; nothing is written.

    Args:
      key: as in `pajax.study`, like all others but `measure`.
      game: likewise.
      store: likewise; what it has is not counted as work.
      worker: likewise.
      shard_pairs: likewise.
      chunk_lanes: likewise.
      devices: likewise.
      measure: run each compilation for about a second, to estimate the time, if all fits.
      **design: `agents`, `mechanisms`, `num_episodes`, `num_seeds`, `record`, `keep`.

    Raises:
      ValueError: an argument breaks a rule, or the store holds a different study.
    """
    checked = make_design(key, game, **design)
    refuse_too_many(checked.outline)
    part = check_worker(worker, store is not None)
    machine = Machine.of(checked, shard_pairs, chunk_lanes, devices)
    shelf = None if store is None else Store.look(store, checked)
    missing = checked.outline.pairs if shelf is None else shelf.missing
    lacking = {cell: missing(cell) for cell in checked.outline.cells}
    tasks = list_tasks(checked.outline, machine, lacking, part)
    planned = count(checked, machine, lacking, tasks, store)
    return _with_time(planned, checked, machine, tasks) if measure and planned.fits else planned


def count(
    design: Design,
    machine: Machine,
    lacking: Mapping[Cell, Pairs],
    tasks: list[Task],
    store: Any,
) -> Plan:
    """A plan without time, of tasks that are some of the pairs that are lacking."""
    kept_bytes, num_pairs = _kept_bytes(design.outline), design.outline.num_pairs
    kinds = list({(task.cell, task.size): task for task in tasks}.values())
    return Plan(
        num_runs=num_pairs,
        num_finished=num_pairs - sum(map(len, lacking.values())),
        num_shards=len(tasks),
        num_compilations=len({signature(design, machine, task) for task in kinds}),
        memory_bytes=_COPIES * kept_bytes + _shard_bytes(design, machine, kinds),
        memory_free=free_memory(),
        disk_bytes=_disk_bytes(design.outline, machine) if store is not None else 0,
        disk_free=None if store is None else _free_disk(Path(store)),
    )


def refuse_too_many(outline: Outline) -> None:
    """Raise if there are more runs than can be counted one by one in the free memory.

    Raises:
      ValueError: with the numbers.
    """
    what = f"{outline.num_pairs:,} runs, whose numbers alone need"
    refuse_without_room("study", what, _LISTED * outline.num_pairs)


def refuse_without_room(argument: str, what: str, needed: int) -> None:
    """Raise if so many bytes of memory are not free.

    Raises:
      ValueError: with the numbers.
    """
    free, value = free_memory(), f"{what} {_bytes(needed)} of memory"
    rule = f"fit in the {_bytes(free or 0)} that are free"
    _checks.require(free is None or needed <= free, argument, value, rule)


def refuse_what_cannot_fit(planned: Plan, outline: Outline) -> None:
    """Raise if a study needs more memory or disk than there is.

    Raises:
      ValueError: with the numbers.
    """
    for what, needed, free, copies in (
        ("memory", planned.memory_bytes, planned.memory_free, _COPIES),
        ("disk", planned.disk_bytes_left, planned.disk_free, 1),
    ):
        value = f"{planned.num_runs:,} runs that need {_bytes(needed)} of {what}"
        rule = f"fit in the {_bytes(free or 0)} that are free"
        smaller = copies * _kept_bytes(outline._replace(keep="moments"))
        if outline.keep == "seeds" and smaller < needed:
            rule += f" (keep='moments' needs about {_bytes(smaller)})"
        _checks.require(free is None or needed <= free, "study", value, rule)


def _kept_bytes(outline: Outline) -> int:
    """Bytes of all that is kept of a study."""
    entries = len(kept.VARIABLES) * len(outline.record)
    if outline.keep == "seeds":
        return outline.num_pairs * entries * _NUMBER
    return outline.num_pairs // outline.num_seeds * entries * _MOMENTS_ENTRY


def _disk_bytes(outline: Outline, machine: Machine) -> int:
    """Bytes of all shards; those of moments hold each of their games apart."""
    if outline.keep == "seeds":
        return _kept_bytes(outline)
    entries, found = len(kept.VARIABLES) * len(outline.record), 0
    for cell in outline.cells:
        group = outline.groups[cell.group]
        size = machine.shard_size(outline.num_episodes * group.horizon)
        found += len(group) * math.ceil(outline.num_seeds / size) * entries * _MOMENTS_ENTRY
    return found


def _shard_bytes(design: Design, machine: Machine, tasks: list[Task]) -> int:
    """Bytes of the largest shard while it is computed."""
    return max((_task_bytes(design, machine, task) for task in tasks), default=0)


def _task_bytes(design: Design, machine: Machine, task: Task) -> int:
    layout = machine.layout(task.cell, task.size)
    lanes = layout.num_chunks * layout.chunk_lanes
    game = design.groups[task.cell.group]
    world = jax.eval_shape(make_world, game)
    num_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((game, world)))
    of_lane = machine.pair_bytes[task.cell] + num_bytes // game.lanes[0]
    of_record = len(batch.refine(np.array(design.outline.record))) * len(kept.VARIABLES) * _NUMBER
    # the host has a copy of what the devices hold
    return lanes * (2 * of_lane + _SHARD_COPIES * of_record)


def free_memory() -> int | None:
    """Bytes that this process may still take, by the system and by its control group."""
    limits = []
    with contextlib.suppress(OSError, ValueError, KeyError):  # not Linux
        sizes = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(1024 * int(sizes["MemAvailable"].split()[0]))
    with contextlib.suppress(OSError, ValueError):  # no limit
        group = Path("/sys/fs/cgroup")
        used = int((group / "memory.current").read_text())
        limits.append(int((group / "memory.max").read_text()) - used)
    return max(0, min(limits)) if limits else None


def _free_disk(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


class _EnoughError(Exception):
    """A shard has run for long enough to know its pace."""


def _with_time(planned: Plan, design: Design, machine: Machine, tasks: list[Task]) -> Plan:
    """The plan with an estimate of its time."""
    alike: dict[Any, list[Task]] = {}
    for task in tasks:
        alike.setdefault(signature(design, machine, task), []).append(task)
    paces = [_pace(design, machine, same[0]) for same in alike.values()]
    running = (pace[1] * len(same) for pace, same in zip(paces, alike.values(), strict=True))
    return planned._replace(
        compile_seconds=sum(pace[0] for pace in paces), run_seconds=sum(running)
    )


def _pace(design: Design, machine: Machine, task: Task) -> tuple[float, float]:
    """Seconds that a shard takes to compile, and to run."""
    layout = machine.layout(task.cell, task.size)
    clock = [time.perf_counter()]
    done = [0]

    def report(episodes: int) -> None:
        clock.append(time.perf_counter())
        done.append(done[-1] + episodes)
        if clock[-1] - clock[1] > SAMPLE_SECONDS:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        _run(design, task, layout, report)
    compiling = clock[1] - clock[0]
    # the first block is short, and most of its time is compiling
    episodes = done[-1] - done[1]
    pace = (clock[-1] - clock[1]) / episodes if episodes else 0.0
    return compiling, pace * design.outline.num_episodes


def _run(design: Design, task: Task, layout: Layout, report: Any) -> None:
    parts = design.parts(task.cell)
    world = jax.tree.map(np.asarray, batch.survey(parts.game))
    loaded = batch.make_batch(design.key, parts, world, task.pairs, layout)
    batch.run(loaded, np.array(design.outline.record), layout, report=report)


def _bytes(number: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def duration(seconds: float) -> str:
    """A duration for people."""
    if seconds < 99.5:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
