"""Final values against a swept parameter, and against each other.

A point is a mean over the runs of a cell with Student's t interval, which covers the mean over all
the seeds one might have drawn, each point on its own. Where several games share a number, a point
is the mean over these games, and its interval, over their means, speaks of further such games.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pajax import _checks, statistics
from pajax.plotting.axes import legend_beside, mark_numbers, note, prepare, room, scale_of, union
from pajax.plotting.cells import (
    cell,
    check_variable,
    choose,
    names,
    one_game,
    percent,
    quantity,
    seeds,
)
from pajax.plotting.style import in_style, look
from pajax.plotting.sweeps import Over, Sweep, read

#: How far apart points have to be for a label each, as a share of an axis.
_APART = 0.07


class Points(NamedTuple):
    """What one line draws, each [point], in the order of the numbers."""

    label: str
    numbers: np.ndarray
    values: statistics.Estimate


@in_style
def scaling(
    ds: xr.Dataset,
    over: Over,
    *,
    variable: str = "welfare_regret",
    agent: str | None = None,
    mechanism: str | None = None,
    game: int | str | None = None,
    is_total: bool = False,
    ax: Axes | None = None,
    level: float = 0.95,
) -> Axes:
    """A final value against a swept parameter, one line for each other agent or mechanism.

    Args:
      ds: from `pajax.study`, or `pajax.statistics.by_horizon`; not changed.
      over: what is swept (see `pajax.plotting.sweeps`): numbers by label, such as
        {"fine": 0.1, "coarse": 0.5}; a variable of games or mechanisms, such as "margin"; a field
        in the labels of `pajax.grid`; or "episode": the horizons K of `by_horizon`, or else the
        checkpoints.
      variable: what is drawn, at the last checkpoint: an episode if it adds up over episodes.
      agent: one of them; by default each has its line.
      mechanism: likewise.
      game: its label; by default the first, unless games are swept.
      is_total: whether to draw the total over the episodes in place of the value an episode.
      ax: where to draw; by default a new Axes with the legend beside it.
      level: coverage of the t interval of each point, in (0, 1).

    An axis is logarithmic if its numbers are positive and differ by more than a factor of eight;
    the vertical one also if the other is, so that a power of it is a line.

    Raises:
      ValueError: `agent`, `mechanism`, `game` or `variable` is unknown, or `over` is no sweep.
    """
    check_variable(ds, variable)
    here = _selected(ds, over, agent, mechanism, game)
    sweep, is_rate = read(here, over), not is_total
    lines = list(_lines(here, sweep, variable, is_rate, level))
    xscale = scale_of(np.concatenate([line.numbers for line in lines]))
    ends = np.concatenate([np.ravel(line.values) for line in lines])
    values = np.concatenate([line.values.value for line in lines])
    is_power = xscale == "log" and not np.any(values <= 0)  # a power law is to be a line
    yscale = "log" if is_power else scale_of(values)
    ax, previous = prepare(ax, xscale, yscale)
    for place, line in enumerate(lines):
        _draw(ax, place, line, yscale)
    ax.set_ylim(union(room(ends, yscale), previous))
    mark_numbers(ax, np.concatenate([line.numbers for line in lines]))
    ax.set_xlabel(sweep.name.replace("_", " "))
    ax.set_ylabel(quantity(variable).label(is_rate))
    return legend_beside(ax, _caption(here, sweep, level))


@in_style
def frontier(
    ds: xr.Dataset,
    *,
    over: Over = "margin",
    variable: str = "payment",
    agent: str | None = None,
    game: int | str | None = None,
    ax: Axes | None = None,
    level: float = 0.95,
) -> Axes:
    """What the principal gives up against what welfare loses, as a parameter of mechanisms varies.

    Args:
      ds: from `pajax.study`; not changed.
      over: a sweep over mechanisms, as in `scaling`; by default of the margin gamma (T4).
      variable: the vertical axis, an episode: "payment", or "principal_regret" (T3).
      agent: its name; may be left out if the Dataset has one agent.
      game: its label; by default the first.
      ax: where to draw; by default a new Axes with the legend beside it.
      level: coverage of each t interval, in (0, 1): each covers its own mean.

    Points are joined in the order of the parameter and labelled by it, close neighbours by the
    ends of their range. The star at (0, 0) stands
    for the best of both: no welfare lost and, by "principal_regret", none of the surplus of (T3);
    payments of zero with it are out of reach wherever transfers are needed.

    Raises:
      ValueError: `agent` or `game` is unknown, or `over` is no sweep over mechanisms.
    """
    check_variable(ds, variable)
    here = cell(ds, agent, game)
    sweep = read(here, over)
    _checks.require(sweep.dim == "mechanism", "over", repr(over), "be swept over mechanisms")
    across = list(_lines(here, sweep, "welfare_regret", True, level))
    upward = list(_lines(here, sweep, variable, True, level))
    ax, _ = prepare(ax, "linear", "linear")
    for place, (x, y) in enumerate(zip(across, upward, strict=True)):
        _draw_path(ax, place, x, y)
    ax.plot([0], [0], "*", color="0.35", markersize=11, label="best of both", zorder=3)
    for x, y in zip(across, upward, strict=True):
        _number_path(ax, x, y)
    ax.set_xlabel(quantity("welfare_regret").label(is_rate=True))
    ax.set_ylabel(quantity(variable).label(is_rate=True))
    about = f"{_caption(here, sweep, level)}, both ways; numbers: {sweep.name.replace('_', ' ')}"
    return legend_beside(ax, about)


# Numbers


def _selected(
    ds: xr.Dataset,
    over: Over,
    agent: str | None,
    mechanism: str | None,
    game: int | str | None,
) -> xr.Dataset:
    """The agents, mechanisms and game that are drawn; all games if they are swept."""
    for dim, label in (("agent", agent), ("mechanism", mechanism)):
        ds = ds if label is None else choose(ds, dim, label)
    is_over_games = game is None and read(ds, over).dim == "game"
    return ds if is_over_games else one_game(ds, game)


def _lines(
    here: xr.Dataset, sweep: Sweep, variable: str, is_rate: bool, level: float
) -> Iterator[Points]:
    """The points of each line that has any."""
    last = here if sweep.dim == "episode" else here.isel(episode=-1)
    estimate = statistics.mean_over_runs(last, variable, level)
    rule = f"depend on {sweep.dim}, which is swept"
    _checks.require(sweep.dim in estimate.value.dims, "variable", variable, rule)
    if is_rate and quantity(variable).is_total:
        estimate = statistics.Estimate(*(part / last["episode"] for part in estimate))
    others = [str(dim) for dim in estimate.value.dims if dim != sweep.dim]
    for labels in itertools.product(*(names(last, dim) for dim in others)):
        chosen = dict(zip(others, labels, strict=True))
        parts = [part.sel(chosen).to_numpy() for part in estimate]
        shown = [label for dim, label in chosen.items() if last.sizes[dim] > 1]
        for line in dict.fromkeys(sweep.lines):
            is_on = np.isfinite(sweep.numbers) & (np.array(sweep.lines) == line)
            if is_on.any():
                found = statistics.Estimate(*(part[is_on] for part in parts))
                label = ", ".join(word for word in (*shown, line) if word)
                yield _in_order(label or "mean", sweep.numbers[is_on], found, level)


def _in_order(label: str, numbers: np.ndarray, values: statistics.Estimate, level: float) -> Points:
    """Points by number; labels that share one are replicates of it."""
    ordered, counts = np.unique(numbers, return_counts=True)
    found = []
    for number, count in zip(ordered, counts, strict=True):
        same = [part[numbers == number] for part in values]
        whole = statistics.mean_interval(same[0], level=level)
        found.append(whole if count > 1 else [part[0] for part in same])
    return Points(label, ordered, statistics.Estimate(*np.array(found, np.float64).T))


# Drawing


def _draw(ax: Axes, place: int, line: Points, yscale: str) -> None:
    """Points with their intervals, joined; on a log axis, what is above zero."""
    value, low, high = line.values
    if yscale == "log":
        low = np.fmax(low, value / 1000)  # below the edge
    bars = (value - low, high - value)
    ax.errorbar(line.numbers, value, bars, label=line.label, elinewidth=1.0, **look(place))


def _draw_path(ax: Axes, place: int, x: Points, y: Points) -> None:
    """Points with intervals both ways, joined, and their numbers beside them."""
    across, upward = ((v - low, high - v) for v, low, high in (x.values, y.values))
    centre = x.values.value, y.values.value
    ax.errorbar(*centre, upward, across, label=x.label, elinewidth=1.0, **look(place))


def _number_path(ax: Axes, x: Points, y: Points) -> None:
    """The numbers beside points; neighbours that would cover one another have one label."""
    points = np.column_stack([x.values.value, y.values.value])
    inside = ax.transLimits.transform(points)
    first = 0
    for at in range(1, len(points) + 1):
        if at == len(points) or np.abs(inside[at] - inside[first]).max() > _APART:
            ends = dict.fromkeys(f"{x.numbers[i]:g}" for i in (first, at - 1))
            note(ax, " to ".join(ends), tuple(points[at - 1]), (5, 4))
            first = at


def _caption(here: xr.Dataset, sweep: Sweep, level: float) -> str:
    """What points and bars are."""
    known = sweep.numbers[np.isfinite(sweep.numbers)]
    is_shared = sweep.dim == "game" and len(set(known)) < len(known)
    shared = "; where games share a number, over their means" if is_shared else ""
    return f"mean over {seeds(here)} and its {percent(level)} t interval at each point{shared}"
