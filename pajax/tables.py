"""The table of a study, as plain text and as Markdown, from `pajax.statistics.summary`.

One row a cell (an agent under a mechanism), grouped by agent, so that the mechanisms one would
compare stand together; one block a game. A number that does not exist is printed as a dash. Notes
say what the intervals cover, which runs were not done, and which ended badly.
"""

import html
import math
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from pajax import statistics
from pajax.studies import results

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
    found = [f"{_title(summary, at)}\n\n{_aligned(summary, at)}" for at in _games(summary)]
    about = [textwrap.fill(note, WIDTH) for note in notes(summary)]
    return "\n\n".join([*found, "\n".join(about)])


def to_markdown(summary: xr.Dataset) -> str:
    """The same table in Markdown: headings, rows, and notes, for a README or a notebook."""
    found = [
        f"**{title}**\n\n{_markdown(headings, rows, 2)}"
        for title, headings, rows in blocks(summary)
    ]
    return "\n\n".join([*found, *notes(summary)])


def blocks(summary: xr.Dataset) -> list[tuple[str, list[str], list[list[str]]]]:
    """The same table as words: title, headings and rows of each game; two columns are names."""
    headings = [" ".join(lines).strip() for lines in _headings(summary)]
    of_games = ([row for group in _rows(summary, at) for row in group] for at in _games(summary))
    titles = (_title(summary, at) for at in _games(summary))
    return [(title, headings, rows) for title, rows in zip(titles, of_games, strict=True)]


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
    """A block of text, agents apart."""
    tops, bottoms = zip(*_headings(summary), strict=True)
    return _text([list(tops), list(bottoms)], _rows(summary, game), 2)


def lay_out(title: str, headings: list[str], rows: list[list[str]]) -> str:
    """A table of words as aligned plain text, under its title."""
    return f"{title}\n\n{_text([headings], [rows], len(headings))}"


def pipe(title: str, headings: list[str], rows: list[list[str]]) -> str:
    """The same in Markdown."""
    return f"**{title}**\n\n{_markdown(headings, rows, len(headings))}"


def to_html(title: str, headings: list[str], rows: list[list[str]]) -> str:
    """The same in HTML."""
    table = pd.DataFrame(rows, columns=pd.Index(headings)).to_html(index=False, border=0)
    return f"<h4>{html.escape(title)}</h4>\n{table}"


def _text(headings: list[list[str]], groups: list[list[list[str]]], num_names: int) -> str:
    """Names to the left, numbers to the right, a blank line between groups of rows."""
    lines = [*headings, *(row for group in groups for row in group)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def text(cells: list[str]) -> str:
        at = zip(cells, widths, range(len(cells)), strict=True)
        aligned = (x.ljust(width) if i < num_names else x.rjust(width) for x, width, i in at)
        return "  ".join(aligned).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    body = "\n\n".join("\n".join(map(text, group)) for group in groups)
    return "\n".join([*map(text, headings), rule, body, rule])


def _markdown(headings: list[str], rows: list[list[str]], num_names: int) -> str:
    """Rows between pipes, names to the left and numbers to the right."""
    marks = [":---"] * num_names + ["---:"] * (len(headings) - num_names)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [headings, marks, *escaped])


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
