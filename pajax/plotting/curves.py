"""Curves against episodes: regret, and the share of W* earned.

A line is a mean over runs; its band is an interval for the mean over all the seeds one might have
drawn, and says nothing about other games. A *simultaneous* band covers the whole curve at once with
the stated probability (`pajax.statistics.band_over_runs`); a *pointwise* t interval covers each
checkpoint on its own, and so misses some part of a long curve more often. Captions say which it is.
A Dataset of moments knows no whole runs: its bands of regret are pointwise, and of shares of W* it
has none.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from pajax import _checks, statistics
from pajax.bounds import Bound, evaluate
from pajax.plotting import style
from pajax.plotting.axes import Limits, legend_beside, markers_at, note, prepare, union
from pajax.plotting.cells import Curve, by_mechanism, cell, check_variable, percent, quantity, seeds
from pajax.plotting.style import in_style, look
from pajax.studies.results import is_moments

BANDS = ("simultaneous", "pointwise")
NO_SHARES = "shares of W* have no interval, as whole runs were not kept"


@in_style
def regret(
    ds: xr.Dataset,
    *,
    agent: str | None = None,
    game: int | str | None = None,
    ax: Axes | None = None,
    level: float = 0.95,
    band: str = "simultaneous",
    bounds: Sequence[Bound] = (),
    variable: str = "welfare_regret",
) -> Axes:
    """Mean welfare regret (T1) against episodes, log-log, one line a mechanism.

    Args:
      ds: from `pajax.study`; not changed.
      agent: its name; may be left out if the Dataset has one agent.
      game: its label; by default the first.
      ax: where to draw; by default a new Axes with the legend beside it.
      level: coverage of the bands, in (0, 1).
      band: "simultaneous", which covers each whole curve, as far as it is drawn, at once, or
        "pointwise", t intervals that cover each checkpoint on its own. Moments have the latter.
      bounds: from `pajax.bounds`, on the variable drawn: thin lines, the mean over runs of each
        right-hand side, in the colour of its mechanism and with its marker, hollow, at the end.
      variable: another regret to draw, such as "agent_regret" or "principal_regret".

    Guide lines rise with slopes 1 (regret that grows with K) and 1/2; beside bounds, which need
    their room, there are none. A log axis has no place for zero: a mean of at most zero is left out
    (and a mechanism with none above says so in the legend), and a band that reaches zero is cut at
    the lower edge.

    Raises:
      ValueError: `agent`, `game`, `band` or `variable` is unknown, or a bound is on another one.
    """
    here = cell(check_bands(ds, band), agent, game)
    check_variable(ds, variable)
    for bound in bounds:
        got, rule = f"{bound.name} of {bound.variable}", f"be of {variable}, which is drawn"
        _checks.require(bound.variable == variable, "bounds", got, rule)
    right_sides = [_right_side(ds, here, bound) for bound in bounds]
    ax = regret_panel(ax, here, level, band, variable, has_guides=not bounds)
    for place, (bound, lines) in enumerate(zip(bounds, right_sides, strict=True)):
        tag = f" ({bound.tag.strip('()')})" if bound.tag else ""
        kind = "floor" if bound.is_floor else "bound"
        _draw_bound(ax, here, place, f"{kind}: {bound.name}{tag}", lines)
    return legend_beside(ax, caption(here, level, band) + _about_bounds(bounds))


@in_style
def welfare(
    ds: xr.Dataset,
    *,
    agent: str | None = None,
    game: int | str | None = None,
    ax: Axes | None = None,
    level: float = 0.95,
) -> Axes:
    """Share of W* earned, in per cent, against episodes (log), one line a mechanism.

    A point is the mean share over the episodes since the checkpoint before it. Reference lines: all
    of the optimal welfare W*, and laissez-faire (an agent that plays its best without transfers).
    Bands are pointwise t intervals.

    Args:
      ds: from `pajax.study`; not changed.
      agent: its name; may be left out if the Dataset has one agent.
      game: its label; by default the first.
      ax: where to draw; by default a new Axes with the legend beside it.
      level: coverage of the bands, in (0, 1).

    Raises:
      ValueError: `agent` or `game` is unknown.
    """
    here = cell(ds, agent, game)
    words = f"mean over {seeds(here)}; {NO_SHARES}"
    about = words if is_moments(ds) else caption(here, level, "pointwise")
    return legend_beside(welfare_panel(ax, here, level), about)


def check_bands(ds: xr.Dataset, band: str) -> xr.Dataset:
    """The same Dataset, if the name of a band is one."""
    _checks.choice("band", band, BANDS)
    return ds


def caption(ds: xr.Dataset, level: float, band: str) -> str:
    """What lines and bands are."""
    interval = f"{percent(level)} t interval"
    if band == "pointwise":
        return f"mean over {seeds(ds)} and its pointwise {interval}"
    if is_moments(ds):
        return f"mean over {seeds(ds)} and its pointwise {interval}, as whole runs were not kept"
    return f"mean over {seeds(ds)} and its simultaneous {percent(level)} band, of whole curves"


# Panels: one agent in one game on an Axes, without a legend


def regret_panel(
    ax: Axes | None,
    here: xr.Dataset,
    level: float,
    band: str = "simultaneous",
    variable: str = "welfare_regret",
    has_guides: bool = True,
) -> Axes:
    """What `regret` draws, but for bounds."""
    if band == "pointwise" or is_moments(here):
        curves = by_mechanism(statistics.mean_over_runs(here, variable, level))
    else:
        curves = by_mechanism(statistics.band_over_runs(here, variable, level, scale="log"))
    ax, previous = prepare(ax, "log", "log")
    limits = _regret_limits(curves)
    floor = limits[0] / 1000  # below the edge, also of Axes that share it
    draw(ax, here, {name: _positive(curve, floor) for name, curve in curves.items()})
    ax.set_ylim(union(limits, previous))
    if previous is None and has_guides:
        _guides(ax, here["episode"].to_numpy(), limits[1])
    _label(ax, quantity(variable).label())
    return ax


def welfare_panel(ax: Axes | None, here: xr.Dataset, level: float) -> Axes:
    """What `welfare` draws."""
    shares = here.assign(share=100 * statistics.welfare_share(here))
    curves = by_mechanism(statistics.mean_over_runs(shares, "share", level))
    ax, previous = prepare(ax, "log", "linear")
    draw(ax, here, curves)
    free = 100 * float(here["laissez_faire_welfare"] / here["optimal_welfare"])
    ax.set_ylim(union(_share_limits(curves, free), previous))
    if previous is None:
        ax.axhline(100.0, linestyle="-", **style.REFERENCE)
        ax.axhline(free, linestyle=":", label="laissez-faire", **style.REFERENCE)
        note(ax, "W*", (0.01, 100.0), (0, 3), xycoords=("axes fraction", "data"))
    ax.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    _label(ax, "share of optimal welfare")
    return ax


# Numbers


def _positive(curve: Curve, floor: float) -> Curve:
    """What a log axis can show: means above zero, bands cut at the floor."""
    mean = np.where(curve.mean > 0, curve.mean, np.nan)
    hidden = np.isnan(mean)
    low, high = (np.where(hidden, np.nan, np.fmax(end, floor)) for end in (curve.low, curve.high))
    has_ends = np.isfinite(curve.low)
    return Curve(mean, np.where(has_ends, low, np.nan), np.where(has_ends, high, np.nan))


def _regret_limits(curves: dict[str, Curve]) -> Limits:
    """Limits of a log axis that hold every positive mean and the upper end of its band."""
    means = np.concatenate([curve.mean for curve in curves.values()])
    highs = np.concatenate([np.fmax(curve.mean, curve.high) for curve in curves.values()])
    shown = (means > 0) & np.isfinite(means)
    if not shown.any():
        return 0.1, 10.0
    return means[shown].min() / 1.6, highs[shown & np.isfinite(highs)].max() * 1.6


def _share_limits(curves: dict[str, Curve], free: float) -> Limits:
    """Limits that hold every mean, the references, and room for a note above 100 %."""
    means = np.concatenate([curve.mean for curve in curves.values()])
    shown = np.append(means[np.isfinite(means)], [free, 100.0])
    span = shown.max() - shown.min()
    return shown.min() - 0.06 * span, shown.max() + 0.09 * span


def _right_side(ds: xr.Dataset, here: xr.Dataset, bound: Bound) -> np.ndarray:
    """Mean of a bound's right-hand side over the runs of a cell, [mechanism, episode]."""
    one = ds.sel(game=[here["game"].item()], agent=[here["agent"].item()])
    values = evaluate(one, bound).isel(game=0, agent=0)
    values = values.mean("seed") if "seed" in values.dims else values
    return values.transpose("mechanism", "episode").to_numpy()


# Drawing


def draw(ax: Axes, here: xr.Dataset, curves: dict[str, Curve]) -> None:
    """Lines and bands against the checkpoints."""
    episodes = here["episode"].to_numpy()
    numbers = statistics.num_runs(here).to_numpy()
    for place, (name, curve) in enumerate(curves.items()):
        remark = " (none to show)" if numbers[place] else " (no runs)"
        label = name if np.isfinite(curve.mean).any() else name + remark
        every = markers_at(place, len(curves), len(episodes))
        ax.plot(episodes, curve.mean, label=label, markevery=every, **look(place))
        ax.fill_between(episodes, curve.low, curve.high, color=look(place)["color"], **style.BAND)


def _draw_bound(ax: Axes, here: xr.Dataset, place: int, label: str, lines: np.ndarray) -> None:
    """One bound: a thin line for each mechanism that has it, with a hollow marker at its end."""
    episodes = here["episode"].to_numpy()
    dashes = style.THIN_DASHES[place % len(style.THIN_DASHES)]
    line: dict[str, Any] = {"linestyle": (0, dashes), "linewidth": 0.9}
    hollow = {"markerfacecolor": "white", "markeredgewidth": 0.9}
    limits = ax.get_ylim()
    for at, values in enumerate(lines):
        shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
        if np.isnan(shown).all():
            continue
        end = int(np.flatnonzero(np.isfinite(shown))[-1])
        ax.plot(episodes, shown, markevery=[end], **look(at) | line | hollow)
        limits = union((np.nanmin(shown) / 1.6, np.nanmax(shown) * 1.6), limits)
    ax.set_ylim(limits)
    ax.add_line(Line2D([], [], color="0.35", label=label, **line))


def _about_bounds(bounds: Sequence[Bound]) -> str:
    """What is said of bounds, if there are any."""
    where = "; thin lines: bounds, as coloured and marked as their mechanism"
    return where if bounds else ""


def _guides(ax: Axes, episodes: np.ndarray, top: float) -> None:
    """Short lines of slopes 1 and 1/2, to compare with, from one foot in the upper left.

    Regret grows at most linearly, so that corner is above every curve.
    """
    span = float(episodes[-1] / episodes[0])
    start, stop = episodes[0] * span**0.04, episodes[0] * span**0.34
    foot = top / 2.5 * start / stop
    for slope, text in ((1.0, "slope 1"), (0.5, "slope 1/2")):
        end = foot * (stop / start) ** slope
        ax.plot([start, stop], [foot, end], **style.GUIDE)
        note(ax, text, (stop, end), (4, 0), va="center")


def _label(ax: Axes, words: str) -> None:
    ax.set_xlabel("episodes")
    ax.set_ylabel(words)
