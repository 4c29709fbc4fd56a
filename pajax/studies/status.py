"""How far a stored study is: what is finished, who works on it, what failed, how long it will take.

The time left is the pairs left, times what a pair of the same cell took (of any cell, if none of
it is finished), over the processes at work. Shares of shards under way are taken from it.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pajax import printing
from pajax.printing import Table
from pajax.studies import journal
from pajax.studies.forecast import duration
from pajax.studies.outline import Cell
from pajax.studies.store import Store


class CellStatus(NamedTuple):
    """How far a cell is."""

    cell: Cell
    num_runs: int
    num_finished: int
    seconds_a_run: float | None  # what finished runs took


class Status(NamedTuple):
    """How far a stored study is.

    Attributes:
      cells: a `CellStatus` for each agent, mechanism and group of games.
      journals: records of all processes that ever worked on it, the latest last.
    """

    cells: list[CellStatus]
    journals: list[dict[str, Any]]

    @property
    def num_runs(self) -> int:
        """Runs in all cells."""
        return sum(cell.num_runs for cell in self.cells)

    @property
    def num_finished(self) -> int:
        """Runs that need not be computed again."""
        return sum(cell.num_finished for cell in self.cells)

    @property
    def running(self) -> list[dict[str, Any]]:
        """The journals of processes at work."""
        return [entry for entry in self.journals if entry["state"] == "running"]

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The journals of processes that failed or died, if nobody began the same part since."""
        latest = {tuple(entry["worker"]): entry for entry in self.journals}
        return [x for x in latest.values() if x["state"] in ("failed", "lost")]

    @property
    def seconds_left(self) -> float | None:
        """Time left, about, by those at work or else by one process; None if nothing is known."""
        of_cell = {x.cell: x.seconds_a_run for x in self.cells if x.seconds_a_run is not None}
        if not of_cell:
            return None
        usual = sum(of_cell.values()) / len(of_cell)
        left = Counter[Cell]()
        for cell in self.cells:
            left[cell.cell] = cell.num_runs - cell.num_finished
        for now in (entry["now"] for entry in self.running if "now" in entry):
            left[Cell(**now["cell"])] -= now["share"] * now["pairs"]
        # less than none: a shard was finished since, or two processes have the same one
        seconds = sum(max(0, number) * of_cell.get(cell, usual) for cell, number in left.items())
        return seconds / max(1, len(self.running))

    def as_tables(self) -> list[Table]:
        """The words."""
        share = self.num_finished / self.num_runs
        title = f"{self.num_finished:,} of {self.num_runs:,} runs are finished ({share:.1%})"
        rows = [
            [f"  {cell.cell}", f"{cell.num_finished:,} of {cell.num_runs:,}"] for cell in self.cells
        ]
        notes = [
            f"{entry['state']} on {entry['host']} (process {entry['pid']}): {_doing(entry)}"
            for entry in (*self.running, *self.failed)
        ]
        if self.num_finished < self.num_runs:
            notes.append(self._time_left())
        return [Table(title, [], rows, notes=notes)]

    def __repr__(self) -> str:
        return printing.text(self.as_tables())

    def _repr_html_(self) -> str:
        return printing.to_html(self.as_tables())

    def _time_left(self) -> str:
        if self.seconds_left is None:
            return "time left: unknown until a shard is finished"
        who = f"{len(self.running)} at work" if self.running else "none at work; with one process"
        return f"time left: about {duration(self.seconds_left)} ({who})"


def _doing(entry: Mapping[str, Any]) -> str:
    """What a process does, or why it ended."""
    if entry["state"] != "running":
        return entry.get("error") or "ended without a word"
    if "now" not in entry:
        return "between two shards"
    now = entry["now"]
    return f"{Cell(**now['cell'])}, {now['pairs']:,} runs, {now['share']:.0%}"


def status(folder: str | os.PathLike[str]) -> Status:
    """How far a stored study is.

    Args:
      folder: of the store.

    Raises:
      FileNotFoundError: there is no store.
      ValueError: its manifest is damaged.
    """
    store = Store.read(folder)
    cells = [_cell_status(store, cell, number) for cell, number in store.num_runs().items()]
    return Status(cells, journal.read_all(Path(folder)))


def _cell_status(store: Store, cell: Cell, num_runs: int) -> CellStatus:
    about = store.glance(cell)
    finished = sum(number for number, _ in about)
    seconds = sum(header["seconds"] for _, header in about)
    return CellStatus(cell, num_runs, finished, seconds / finished if finished else None)
