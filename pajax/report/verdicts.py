"""Bounds and audits to tables of words, from `pajax.bounds.check_bounds`."""

import math
from typing import Any, NamedTuple

import xarray as xr

from pajax.bounds import Checks, check_bounds
from pajax.bounds.verdicts import CONSISTENT, INCONCLUSIVE, NOT_APPLICABLE, VERDICTS, VIOLATED
from pajax.printing import Table
from pajax.report.contents import number
from pajax.studies.results import is_moments

#: What each verdict says.
MEANINGS = {
    CONSISTENT: "the data agree with the bound, as far as they go",
    VIOLATED: "the data contradict the bound",
    INCONCLUSIVE: "the data cannot tell",
    NOT_APPLICABLE: "an assumption of the bound fails, or there is nothing that it bounds",
}
_MOST_REASONS = 40
_REASONS = ["game", "agent", "mechanism", "bound", "reason"]


class Mark(NamedTuple):
    """How many games have a verdict; of one game, the verdict."""

    verdict: str
    words: str


class Cell(NamedTuple):
    """The verdicts on a bound under a mechanism, and the number behind them."""

    marks: list[Mark]
    number: str


class Row(NamedTuple):
    """The verdicts on a bound, mechanism by mechanism."""

    bound: str
    tag: str
    cells: list[Cell]


class Grid(NamedTuple):
    """The verdicts on the learning of one agent: a row for each bound, a column a mechanism."""

    agent: str
    mechanisms: list[str]
    rows: list[Row]


class Verdicts(NamedTuple):
    """All that was checked."""

    grids: list[Grid]
    violated: Table | None
    details: str  # HTML: audits, and each check with its reason


def verdicts(ds: xr.Dataset | list[xr.Dataset]) -> Verdicts | None:
    """The theory on a study, or on those of several K; None if it has moments only, or no runs."""
    if any(map(is_moments, ds if isinstance(ds, list) else [ds])):
        return None
    checks = check_bounds(ds)
    if checks.table.empty:
        return None
    return Verdicts(_grids(checks), _violated(checks), checks.to_html())


def _grids(checks: Checks) -> list[Grid]:
    is_one, tags = len(set(checks.table["game"])) == 1, _tags(checks.table)
    return [_grid(str(agent), rows, tags, is_one) for agent, rows in _by(checks.counts(), "agent")]


def _tags(table: Any) -> dict[str, str]:
    """Of each bound."""
    return dict(zip(table["bound"], table["tag"], strict=True))


def _grid(agent: str, counts: Any, tags: dict[str, str], is_one: bool) -> Grid:
    mechanisms = [str(name) for name in counts["mechanism"].unique()]
    rows = [
        Row(bound, tags[bound], [_cell(row, is_one) for row in of_bound.to_dict("records")])
        for bound, of_bound in _by(counts, "bound")
    ]
    return Grid(agent, mechanisms, rows)


def _cell(row: dict[str, Any], is_one: bool) -> Cell:
    """The counts of a bound under a mechanism; those of one game need no numbers."""
    counts = {verdict: row[verdict] for verdict in VERDICTS if row[verdict]}
    marks = [Mark(x, x if is_one else f"{count:,} {x}") for x, count in counts.items()]
    slope, slack = row["median_exponent"], row["median_slack"]
    if math.isfinite(slope):
        return Cell(marks, f"exponent {slope:.2f}")
    return Cell(marks, f"slack {number(slack)}" if math.isfinite(slack) else "")


def _violated(checks: Checks) -> Table | None:
    """The checks that failed, with their reasons; None if there are none."""
    failed: Any = checks.table[checks.table["verdict"] == VIOLATED]
    if failed.empty:
        return None
    rows = [[str(row[name]) for name in _REASONS] for row in failed.to_dict("records")]
    notes = [f"The first {_MOST_REASONS} of {len(rows):,}."] if len(rows) > _MOST_REASONS else []
    return Table("Violated", _REASONS, rows[:_MOST_REASONS], len(_REASONS), notes)


def _by(table: Any, name: str) -> Any:
    return table.groupby(name, sort=False)
