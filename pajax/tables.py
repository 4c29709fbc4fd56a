"""The table of a study, as plain text and as Markdown, from `pajax.statistics.summary`.

One row a cell (an agent under a mechanism), grouped by agent, so that the mechanisms one would
compare stand together; one block a game. A number that does not exist is printed as a dash. Notes
say what the intervals cover, which runs were not done, and which ended badly.
"""

import math
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from pajax import results, statistics

WIDTH = 130  # columns of text
DASH = "-"
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


def format_summary(summary: xr.Dataset) -> str:
    """The table of a study as aligned plain text, at most about 130 columns wide.

    Args:
      summary: from `pajax.statistics.summary`.
    """
    blocks = [f"{_title(summary, at)}\n\n{_aligned(summary, at)}" for at in _games(summary)]
    notes = [textwrap.fill(note, WIDTH) for note in _notes(summary)]
    return "\n\n".join([*blocks, "\n".join(notes)])


def to_markdown(summary: xr.Dataset) -> str:
    """The same table in Markdown: headings, rows, and notes, for a README or a notebook."""
    blocks = [f"**{_title(summary, at)}**\n\n{_piped(summary, at)}" for at in _games(summary)]
    return "\n\n".join([*blocks, *_notes(summary)])


def _games(summary: xr.Dataset) -> range:
    return range(summary.sizes["game"])


def _title(summary: xr.Dataset, game: int) -> str:
    """What game a block is about, and the scale of its welfare."""
    here = summary.isel(game=game)
    best, free = float(here["optimal_welfare"]), float(here["laissez_faire_welfare"])
    label, share = here["game"].item(), _percent(free / best)
    coase = best - float(here["agent_value"])
    return (
        f"Game {label}: W* = {best:.4f} an episode, laissez-faire {free:.4f} ({share} of W*), "
        f"W* - rho.V0 = {coase:.4f}"
    )


def _headings(summary: xr.Dataset) -> list[tuple[str, str]]:
    """Two lines a column."""
    level = _level(summary)
    numbers = [(column.top, column.bottom.format(level=level)) for column in _COLUMNS]
    return [("agent", ""), ("mechanism", ""), *numbers]


def _rows(summary: xr.Dataset, game: int) -> list[list[list[str]]]:
    """The cells of one block: agents, then mechanisms, then columns."""
    here = summary.isel(game=game)
    return [
        [
            [agent, mechanism, *_cells(here.sel(agent=agent, mechanism=mechanism))]
            for mechanism in here["mechanism"].to_numpy()
        ]
        for agent in here["agent"].to_numpy()
    ]


def _cells(cell: xr.Dataset) -> list[str]:
    """The numbers of one row."""
    ends = ("", "_low", "_high")
    triples = [[float(cell[f"{c.variable}{end}"]) for end in ends] for c in _COLUMNS]
    return [_CELLS[c.style](*triple) for c, triple in zip(_COLUMNS, triples, strict=True)]


def _aligned(summary: xr.Dataset, game: int) -> str:
    """A block of text: names to the left, numbers to the right, a blank line between agents."""
    headings, groups = _headings(summary), _rows(summary, game)
    tops, bottoms = ([line[i] for line in headings] for i in range(2))
    lines = [tops, bottoms, *(row for group in groups for row in group)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def text(cells: list[str]) -> str:
        names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return "  ".join(names + numbers).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    body = "\n\n".join("\n".join(map(text, group)) for group in groups)
    return "\n".join([text(tops), text(bottoms), rule, body, rule])


def _piped(summary: xr.Dataset, game: int) -> str:
    """A block of Markdown."""
    headings = [" ".join(lines).strip() for lines in _headings(summary)]
    marks = [":---"] * 2 + ["---:"] * len(_COLUMNS)
    rows = [row for group in _rows(summary, game) for row in group]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [headings, marks, *escaped])


def _notes(summary: xr.Dataset) -> list[str]:
    """What the intervals cover, what the columns mean, what is missing and what failed."""
    done, asked = summary["num_runs"].to_numpy(), int(summary["num_seeds"])
    runs, episodes = statistics.runs_in_words(done, asked), summary.attrs["num_episodes"]
    notes = [
        f"+- and [low, high]: {_level(summary)} intervals for the mean over seeds ({runs} here) "
        f"of one agent and mechanism in this one game, at K = {episodes:,} episodes, each on its "
        "own; they say nothing about other games. Regret: Student's t. Growth exponent: slope of "
        "log mean regret on log episodes over the last decade and a half of K, bootstrap over "
        "whole runs. Late share: over the last tenth of the episodes. Principal nets: its rewards "
        "less payments; W* - rho.V0 is the best with the smallest transfers. Transfer error: over "
        f"resolved transfers. {DASH}: does not exist."
    ]
    if results.is_moments(summary):
        notes.append(
            "The study kept moments, not runs: how far runs differ in their growth exponent and "
            "late share is not known; the values are those of the mean curve."
        )
    if done.min() < done.max():
        of_asked = lambda number: f"{number:,.0f} of {asked:,}"  # noqa: E731
        fewer = summary["num_runs"].where(summary["num_runs"] < asked)
        notes += _listed("Runs done, where not all are", fewer, of_asked)
    for name, what in _FAILURES.items():
        share = summary[name].where(summary[name] > 0)
        notes += _listed(f"Seeds that ended with {what}", share, _percent)
    return notes


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
