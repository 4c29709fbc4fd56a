"""The table of a study: the numbers of `pajax.statistics.summary`, for people.

One row a cell (an agent under a mechanism), grouped by agent, so that the mechanisms one would
compare stand together; one table a game. A number that does not exist is printed as a dash. Notes
say what the intervals cover, which runs were not done, and which ended badly.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from pajax import printing, statistics
from pajax.printing import DASH
from pajax.studies import results

_FAILURES = {"share_unresolved": "unresolved transfers", "share_non_finite": "non-finite numbers"}


class _Column(NamedTuple):
    """A column: two lines of heading, and its cell from the variables of one summary cell."""

    top: str
    bottom: str
    variable: str
    style: str  # a key of _CELLS


_COLUMNS = (
    _Column("welfare regret", "+- {level}", "welfare_regret", "amounts"),
    _Column("regret per", "episode", "welfare_regret_per_episode", "rate"),
    _Column("growth exponent", "[{level} interval]", "growth_exponent", "exponents"),
    _Column("late share", "of W*", "late_share", "percent"),
    _Column("payment", "per ep.", "payment_per_episode", "rate"),
    _Column("principal", "nets", "principal_utility_per_episode", "rate"),
    _Column("transfer", "error", "transfer_error", "rate"),
    _Column("phase-one", "share", "phase_one_share", "percent"),
)


def table(ds: xr.Dataset, *, level: float = 0.95) -> "StudyTable":
    """The table of a study: regret, growth exponent, late share of W*, payments and more.

    Args:
      ds: from `pajax.study`; not changed.
      level: coverage of the intervals, over seeds, in (0, 1).

    Raises:
      ValueError: `level` is not in (0, 1).
    """
    return StudyTable(statistics.summary(ds, level))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StudyTable:
    """What `table` returns; prints as one table a game, in a terminal and in a notebook.

    Attributes:
      summary: the numbers, from `pajax.statistics.summary`.
    """

    summary: xr.Dataset

    def as_tables(self) -> list[printing.Table]:
        """The words: a table for each game, the last one with notes."""
        found = [_of_game(self.summary, at) for at in range(self.summary.sizes["game"])]
        return [*found[:-1], found[-1]._replace(notes=notes(self.summary))]

    def __repr__(self) -> str:
        return printing.text(self.as_tables())

    def to_markdown(self) -> str:
        """The same in Markdown, for a README."""
        return printing.markdown(self.as_tables())

    def to_html(self) -> str:
        """The same in HTML, as a notebook shows it."""
        return printing.to_html(self.as_tables())

    def _repr_html_(self) -> str:
        return self.to_html()


def notes(summary: xr.Dataset) -> list[str]:
    """What the intervals cover, what the columns mean, what is missing and what failed."""
    done, asked = summary["num_runs"].to_numpy(), int(summary["num_seeds"])
    runs, episodes = statistics.runs_in_words(done, asked), summary.attrs["num_episodes"]
    found = [
        f"+- and [low, high]: {_level(summary)} intervals for the mean over seeds ({runs} here) "
        f"of one agent and mechanism in this one game, at K = {episodes:,} episodes, each on its "
        "own; they say nothing about other games. Regret: Student's t. Growth exponent: slope of "
        "log mean regret on log episodes over the last decade and a half of K, bootstrap over "
        "whole runs. Late share: over the last tenth of the episodes. Principal nets: its rewards "
        "less payments; W* - rho.V0 is the best with the smallest transfers. Transfer error: over "
        f"resolved transfers. {DASH}: does not exist."
    ]
    if results.is_moments(summary):
        found.append(
            "The study kept moments, not runs: how far runs differ in their growth exponent and "
            "late share is not known; the values are those of the mean curve."
        )
    if done.min() < done.max():
        of_asked = lambda number: f"{number:,.0f} of {asked:,}"  # noqa: E731
        fewer = summary["num_runs"].where(summary["num_runs"] < asked)
        found += _listed("Runs done, where not all are", fewer, of_asked)
    for name, what in _FAILURES.items():
        share = summary[name].where(summary[name] > 0)
        found += _listed(f"Seeds that ended with {what}", share, _percent)
    return found


def _of_game(summary: xr.Dataset, game: int) -> printing.Table:
    """A row for each agent and mechanism."""
    here, level = summary.isel(game=game), _level(summary)
    headings = ["agent", "mechanism"]
    headings += [f"{column.top}\n{column.bottom.format(level=level)}" for column in _COLUMNS]
    rows = [
        [agent, mechanism, *_cells(here.sel(agent=agent, mechanism=mechanism))]
        for agent in here["agent"].to_numpy()
        for mechanism in here["mechanism"].to_numpy()
    ]
    return printing.Table(_title(here), headings, rows, num_names=2, is_grouped=True)


def _title(here: xr.Dataset) -> str:
    """What game a table is about, and the scale of its welfare."""
    best, free = float(here["optimal_welfare"]), float(here["laissez_faire_welfare"])
    label, share = here["game"].item(), _percent(free / best)
    coase = best - float(here["agent_value"])
    return (
        f"Game {label}: W* = {best:.4f} an episode, laissez-faire {free:.4f} ({share} of W*), "
        f"W* - rho.V0 = {coase:.4f}"
    )


def _cells(cell: xr.Dataset) -> list[str]:
    """The numbers of one row."""
    ends = ("", "_low", "_high")
    triples = [[float(cell[f"{c.variable}{end}"]) for end in ends] for c in _COLUMNS]
    return [_CELLS[c.style](*triple) for c, triple in zip(_COLUMNS, triples, strict=True)]


def _listed(what: str, values: xr.DataArray, text: Callable[[float], str]) -> list[str]:
    """A note that names the cells that have a value, with that; none if none has."""
    values = values.transpose("game", "agent", "mechanism")
    cells = [values[tuple(at)] for at in np.argwhere(values.notnull().to_numpy())]
    parts = [
        ("" if values.sizes["game"] == 1 else f"game {cell['game'].item()} ")
        + f"{cell['agent'].item()} / {cell['mechanism'].item()} {text(float(cell))}"
        for cell in cells
    ]
    return [f"{what}: {', '.join(parts)}."] if parts else []


def _level(summary: xr.Dataset) -> str:
    return f"{100 * summary.attrs['level']:g} %"


def _number(value: float, text: str) -> str:
    """`text`, or a dash where the value does not exist."""
    return text if math.isfinite(value) else DASH


def _amounts(value: float, low: float, high: float) -> str:
    """An amount and half its interval, which is symmetric, to the same decimals."""
    if not math.isfinite(value):
        return DASH
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    half = 0.5 * (high - low)
    return f"{value:,.{decimals}f} +- {_number(half, format(half, f',.{decimals}f'))}"


def _percent(value: float, *_: float) -> str:
    return _number(value, f"{100 * value:.1f} %")


def _rate(value: float, *_: float) -> str:
    return _number(value, f"{value:.3f}")


def _exponents(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return DASH
    ends = [_number(end, f"{end:.2f}") for end in (low, high)]
    return f"{value:.2f} [{ends[0]}, {ends[1]}]"


_CELLS = {"amounts": _amounts, "rate": _rate, "exponents": _exponents, "percent": _percent}
