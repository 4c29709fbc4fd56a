"""Figures of a study, from the Dataset that `pajax.study` returns.

`regret` and `welfare` draw one agent in one game on an Axes and return it; `overview` draws every
agent on a Figure; `actions` draws what was played in runs that were logged. Bands are pointwise
Student t intervals over seeds: at each checkpoint, on its own, the band covers the mean over all
seeds one might have drawn (see `pajax.statistics`); it does not cover the whole curve at once, and
it says nothing about other games. Runs that were not done do not count; captions say how many were.
With keep="moments" there are bands of regret, but none of shares of W*, which need whole runs.

A mechanism has one colour, dash and marker wherever it appears in the figures of a Dataset, from
its place in the coordinate `mechanism`. Colours are those of Okabe and Ito (2008), legible to
colour-blind readers; dashes and markers carry the same information in grey.

This is the only module that imports matplotlib. It sets no global state, and imports pyplot only to
make an Axes where none is given, so that a notebook shows it; a Figure is made without pyplot.
"""

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter

from pajax import _checks, statistics
from pajax.games.rand_hie import CLASSES, RandFit
from pajax.results import is_moments
from pajax.stages import checkpoints

_STYLE: dict[str, Any] = {
    "colours": ("#000000", "#E69F00", "#56B4E9", "#CC79A7", "#0072B2", "#D55E00", "#009E73"),
    "dashes": ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (10, 1.5))),
    "markers": ("o", "s", "^", "D", "v", "X", "P", "<", ">"),
    "line": {"linewidth": 1.5, "markersize": 4.6, "markeredgewidth": 0.0},
    "band": {"alpha": 0.16, "linewidth": 0.0},
    "guide": {"color": "0.6", "linewidth": 0.9},
    "reference": {"color": "0.35", "linewidth": 1.0, "zorder": 1.5},
    "note": {"color": "0.35", "fontsize": 8.5},
    "grid": {"color": "0.92", "linewidth": 0.6},
    "legend": {"frameon": False, "fontsize": 9.5, "title_fontsize": 8.5, "handlelength": 3.4},
    "label": {"fontsize": 10},
    "title": {"fontsize": 11},
    "headline": {"fontsize": 12},
    "entry": 0.75,  # inches that an entry of a legend takes, besides its letters
    "letter": 0.075,
    "num_markers": 7,  # a line
    "single": (6.8, 4.2),  # inches, with the legend beside the Axes
    "panel": (3.3, 2.5),  # inches, one panel of an overview
    "dots_per_inch": 150,
}
_NO_SHARES = "shares of W* have no interval, as whole runs were not kept"


class _Curve(NamedTuple):
    """What one mechanism draws, each [episode]."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class _RichFigure(Figure):
    """A Figure that a notebook shows as the value of a cell, though pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_STYLE["dots_per_inch"])
        return buffer.getvalue()


def regret(
    ds: xr.Dataset,
    *,
    agent: str | None = None,
    game: int | str | None = None,
    ax: Axes | None = None,
    level: float = 0.95,
) -> Axes:
    """Mean welfare regret (T1) against episodes, log-log, one line a mechanism.

    Args:
      ds: from `pajax.study`; not changed.
      agent: its name; may be left out if the Dataset has one agent.
      game: its label; by default the first.
      ax: where to draw; by default a new Axes with the legend beside it.
      level: coverage of the pointwise t intervals over seeds (bands), in (0, 1).

    Guide lines rise with slopes 1 (regret that grows with K) and 1/2. A log axis has no place for
    zero: a mean of at most zero is left out (and a mechanism with none above says so in the
    legend), and a band that reaches zero is cut at the lower edge.
    """
    cell = _cell(ds, agent, game)
    return _with_legend(_regret_panel(ax, cell, level), _caption(cell, level))


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
    Arguments and bands as in `regret`.
    """
    cell = _cell(ds, agent, game)
    return _with_legend(_welfare_panel(ax, cell, level), _caption(cell, level, is_share=True))


def actions(
    played: Any,
    num_actions: int,
    *,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
    per_decade: int = 6,
) -> Axes:
    """Share of each action, in per cent, against episodes (log), over all runs and steps.

    Args:
      played: int [episode, ...], such as `episodes.actions` of the log of
        `pajax.testing.trajectories`.
      num_actions: A.
      names: of the actions; by default their numbers.
      ax: where to draw; by default a new Axes with the legend beside it.
      per_decade: points in a tenfold of episodes; one is the share in the episodes since the last.
    """
    played = np.asarray(played)
    played = played.reshape(len(played), -1)
    ends = checkpoints(len(played), per_decade)
    counts = np.stack([(played == a).sum(1) for a in range(num_actions)], -1)
    sums = np.diff(counts.cumsum(0)[ends - 1], axis=0, prepend=0)
    shares = 100 * sums / sums.sum(1, keepdims=True)
    ax, _ = _prepare(ax, "linear")
    for a, name in enumerate(names or [f"action {a}" for a in range(num_actions)]):
        every = _markers_at(a, num_actions, len(ends))
        ax.plot(ends, shares[:, a], label=name, markevery=every, **_look(a), **_STYLE["line"])
    ax.set_ylim(-3, 103)
    ax.yaxis.set_major_formatter(PercentFormatter())
    ax.set_xlabel("episodes", **_STYLE["label"])
    ax.set_ylabel("share of plays", **_STYLE["label"])
    legend = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    ax.legend(**legend, **_STYLE["legend"])
    return ax


def overview(
    ds: xr.Dataset,
    game: int | str | None = None,
    *,
    level: float = 0.95,
    title: str | None = None,
) -> Figure:
    """A study at a glance: regret above, share of W* below, one column an agent, shared axes.

    Args:
      ds: from `pajax.study`; not changed.
      game: its label; by default the first.
      level: coverage of the bands, as in `regret`.
      title: what to call the game; by default "Game 0" or as it is labelled.

    A mechanism without positive regret is seen below only, at 100 % or more.

    Returns a Figure that pyplot does not know: save it with `savefig`, or let a notebook show it.
    """
    here = _of_game(ds, game)
    cells = {str(name): here.sel(agent=name) for name in here["agent"].to_numpy()}
    width, height = _STYLE["panel"]
    size = (width * max(len(cells), 2) + 0.6, 2 * height + 1.3)
    figure = _RichFigure(figsize=size, layout="constrained", dpi=_STYLE["dots_per_inch"])
    axes = figure.subplots(2, len(cells), sharex=True, sharey="row", squeeze=False)
    for row, panel in zip(axes, (_regret_panel, _welfare_panel), strict=True):
        _shared_row(row, panel, list(cells.values()), level)
    for ax, agent in zip(axes[0], cells, strict=True):
        ax.set_title(agent, **_STYLE["title"])
    for ax in axes.flat:
        ax.label_outer()
    without = f"; {_NO_SHARES}" if is_moments(ds) else ""
    _figure_legend(figure, axes[1], f"Lines and bands: {_caption(here, level)}{without}")
    name = f"Game {here['game'].item()}" if title is None else title
    episodes = int(ds["episode"][-1])
    headline = f"{name}: {_seeds(here)}, {episodes:,} episodes"
    figure.suptitle(headline, **_STYLE["headline"])
    return figure


def _shared_row(
    row: np.ndarray,
    panel: Callable[[Axes | None, xr.Dataset, float], Axes],
    cells: list[xr.Dataset],
    level: float,
) -> None:
    """One row of an overview; its panels share limits that hold every agent."""
    limits = None
    for ax, cell in zip(row, cells, strict=True):
        panel(ax, cell, level)
        limits = _union(ax.get_ylim(), limits)
    row[0].set_ylim(limits)


# Panels: one agent in one game on an Axes, without a legend


def _regret_panel(ax: Axes | None, cell: xr.Dataset, level: float) -> Axes:
    """What `regret` draws."""
    curves = _curves(cell, "welfare_regret", level)
    ax, previous = _prepare(ax, "log")
    limits = _regret_limits(curves)
    floor = limits[0] / 1000  # below the edge, also of Axes that share it
    _draw(ax, cell, {name: _positive(curve, floor) for name, curve in curves.items()})
    ax.set_ylim(_union(limits, previous))
    if previous is None:
        _guides(ax, cell["episode"].to_numpy(), limits[1])
    _label(ax, "welfare regret (reward units)")
    return ax


def _welfare_panel(ax: Axes | None, cell: xr.Dataset, level: float) -> Axes:
    """What `welfare` draws."""
    shares = cell.assign(share=100 * statistics.welfare_share(cell))
    curves = _curves(shares, "share", level)
    ax, previous = _prepare(ax, "linear")
    _draw(ax, cell, curves)
    free = 100 * float(cell["laissez_faire_welfare"] / cell["optimal_welfare"])
    ax.set_ylim(_union(_share_limits(curves, free), previous))
    if previous is None:
        ax.axhline(100.0, linestyle="-", **_STYLE["reference"])
        ax.axhline(free, linestyle=":", label="laissez-faire", **_STYLE["reference"])
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate("W*", (0.01, 100.0), (0, 3), **at, **_STYLE["note"])
    ax.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    _label(ax, "share of optimal welfare")
    return ax


# Data


def _cell(ds: xr.Dataset, agent: str | None, game: int | str | None) -> xr.Dataset:
    """One game and agent, dims [mechanism, seed, episode], or without seed."""
    agents = [str(name) for name in ds["agent"].to_numpy()]
    if agent is None:
        rule = f"be one of {', '.join(agents)} (the Dataset has {len(agents)} agents)"
        _checks.require(len(agents) == 1, "agent", None, rule)
        agent = agents[0]
    return _of_game(ds, game).sel(agent=_checks.choice("agent", agent, agents))


def _of_game(ds: xr.Dataset, game: int | str | None) -> xr.Dataset:
    """One game, by default the first."""
    labels = ds["game"].to_numpy().tolist()
    game = labels[0] if game is None else game
    rule = f"be one of the {len(labels)} labels from {labels[0]} to {labels[-1]}"
    _checks.require(game in labels, "game", game, rule)
    return ds.sel(game=game)


def _curves(cell: xr.Dataset, variable: str, level: float) -> dict[str, _Curve]:
    """Mean of a variable and its interval by mechanism."""
    estimate = statistics.mean_over_runs(cell, variable, level)
    parts = (part.transpose("mechanism", "episode").to_numpy() for part in estimate)
    names = [str(name) for name in cell["mechanism"].to_numpy()]
    return {name: _Curve(*part) for name, *part in zip(names, *parts, strict=True)}


def _positive(curve: _Curve, floor: float) -> _Curve:
    """What a log axis can show: means above zero, bands cut at the floor."""
    mean = np.where(curve.mean > 0, curve.mean, np.nan)
    hidden = np.isnan(mean)
    low, high = (np.where(hidden, np.nan, np.fmax(end, floor)) for end in (curve.low, curve.high))
    has_ends = np.isfinite(curve.low)
    return _Curve(mean, np.where(has_ends, low, np.nan), np.where(has_ends, high, np.nan))


def _regret_limits(curves: dict[str, _Curve]) -> tuple[float, float]:
    """Limits of a log axis that hold every positive mean and the upper end of its band."""
    means = np.concatenate([curve.mean for curve in curves.values()])
    highs = np.concatenate([np.fmax(curve.mean, curve.high) for curve in curves.values()])
    shown = (means > 0) & np.isfinite(means)
    if not shown.any():
        return 0.1, 10.0
    return means[shown].min() / 1.6, highs[shown & np.isfinite(highs)].max() * 1.6


def _share_limits(curves: dict[str, _Curve], free: float) -> tuple[float, float]:
    """Limits that hold every mean, the references, and room for a note above 100 %."""
    means = np.concatenate([curve.mean for curve in curves.values()])
    shown = np.append(means[np.isfinite(means)], [free, 100.0])
    span = shown.max() - shown.min()
    return shown.min() - 0.06 * span, shown.max() + 0.09 * span


def _union(limits: tuple[float, float], others: tuple[float, float] | None) -> tuple[float, float]:
    """The smallest interval that holds both."""
    if others is None:
        return limits
    return min(limits[0], others[0]), max(limits[1], others[1])


# Drawing


def _new_axes() -> Axes:
    """An Axes that a notebook shows: of a figure that pyplot knows, unlike a bare Figure."""
    from matplotlib import pyplot

    return pyplot.subplots(figsize=_STYLE["single"], layout="constrained")[1]


def _prepare(ax: Axes | None, yscale: str) -> tuple[Axes, tuple[float, float] | None]:
    """An Axes with our scales, and the limits of what was drawn before, None if nothing was."""
    ax = _new_axes() if ax is None else ax
    ax.set_xscale("log")
    ax.set_yscale(yscale)
    previous = ax.get_ylim() if ax.has_data() else None
    ax.grid(True, which="major", **_STYLE["grid"])
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax, previous


def _draw(ax: Axes, cell: xr.Dataset, curves: dict[str, _Curve]) -> None:
    """Lines and bands against the checkpoints."""
    episodes = cell["episode"].to_numpy()
    numbers = statistics.num_runs(cell).to_numpy()
    for place, (name, curve) in enumerate(curves.items()):
        look = _look(place)
        remark = " (none to show)" if numbers[place] else " (no runs)"
        label = name if np.isfinite(curve.mean).any() else name + remark
        every = _markers_at(place, len(curves), len(episodes))
        ax.plot(episodes, curve.mean, label=label, markevery=every, **look, **_STYLE["line"])
        ax.fill_between(episodes, curve.low, curve.high, color=look["color"], **_STYLE["band"])


def _look(place: int) -> dict[str, Any]:
    """Colour, dash and marker of the mechanism at this place; periods 7, 5 and 9."""
    parts = {"color": "colours", "linestyle": "dashes", "marker": "markers"}
    return {key: _STYLE[part][place % len(_STYLE[part])] for key, part in parts.items()}


def _markers_at(place: int, number: int, num_points: int) -> tuple[int, int]:
    """First marker and the step between them, staggered so that lines that coincide both show."""
    step = max(1, num_points // _STYLE["num_markers"])
    return place * step // number, step


def _guides(ax: Axes, episodes: np.ndarray, top: float) -> None:
    """Short lines of slopes 1 and 1/2, to compare with, from one foot in the upper left.

    Regret grows at most linearly, so that corner is above every curve.
    """
    span = float(episodes[-1] / episodes[0])
    start, stop = episodes[0] * span**0.04, episodes[0] * span**0.34
    foot = top / 2.5 * start / stop
    for slope, text in ((1.0, "slope 1"), (0.5, "slope 1/2")):
        end = foot * (stop / start) ** slope
        ax.plot([start, stop], [foot, end], **_STYLE["guide"])
        ax.annotate(
            text, (stop, end), (4, 0), textcoords="offset points", va="center", **_STYLE["note"]
        )


def _label(ax: Axes, quantity: str) -> None:
    ax.set_xlabel("episodes", **_STYLE["label"])
    ax.set_ylabel(quantity, **_STYLE["label"])


def _seeds(ds: xr.Dataset) -> str:
    """How many runs the lines are means of."""
    numbers, asked = statistics.num_runs(ds), statistics.num_seeds(ds)
    return f"{statistics.runs_in_words(numbers, asked)} seeds"


def _caption(ds: xr.Dataset, level: float, is_share: bool = False) -> str:
    """What lines and bands are."""
    if is_share and is_moments(ds):
        return f"mean over {_seeds(ds)}; {_NO_SHARES}"
    return f"mean over {_seeds(ds)} and its pointwise {100 * level:g} % t interval"


def _with_legend(ax: Axes, caption: str) -> Axes:
    """Mechanisms in their order, beside the data, and what the bands are."""
    ax.legend(
        title=textwrap.fill(caption, 28),
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        alignment="left",
        **_STYLE["legend"],
    )
    return ax


def _figure_legend(figure: Figure, row: np.ndarray, title: str) -> None:
    """One legend for all panels, below them, in as few rows as the names allow."""
    of_panels = (zip(*ax.get_legend_handles_labels(), strict=True) for ax in row)
    # the shortest label has no remark that only some panels have
    entries = [min(same, key=lambda entry: len(entry[1])) for same in zip(*of_panels, strict=True)]
    handles, labels = zip(*entries, strict=True)
    inches = [_STYLE["entry"] + _STYLE["letter"] * len(label) for label in labels]
    room = figure.get_figwidth()
    columns = len(labels) if sum(inches) < room else max(1, int(room / max(inches)))
    figure.legend(
        handles,
        labels,
        title=textwrap.fill(title, int(room / _STYLE["letter"])),
        loc="outside lower center",
        ncols=columns,
        **_STYLE["legend"],
    )


# The fit of a game


def insurance_fit(fit: RandFit, ax: Axes | None = None) -> Axes:
    """Visits a year by health class and co-insurance rate: data (markers) and model (lines).

    Args:
      fit: from `pajax.games.fit_rand`.
      ax: where to draw; by default a new Axes with the legend beside it.

    Bars are normal 95 % intervals of the data's means, clustered by person, each on its own. The
    axis is logarithmic: a bar that reaches zero is cut at the lower edge, and a mean of zero is
    left out. Classes stand a little beside their rate, so that no bar hides another.
    """
    ax = _new_axes() if ax is None else ax
    cells = fit.moments
    rates, floor = 100 * cells.coinsurance, np.nanmin(cells.visits_model) / 4
    ax.set_yscale("log")
    entries = {}
    for place, name in enumerate(CLASSES):
        look = _look(place)
        beside = rates + 2.2 * (place - (len(CLASSES) - 1) / 2)
        visits = np.where(cells.visits[place] > 0, cells.visits[place], np.nan)
        reach = 1.96 * cells.visits_error[place]
        below = visits - np.fmax(visits - reach, floor)
        data = {"fmt": look["marker"], "markersize": 6.5, "elinewidth": 1.1}
        bars = ax.errorbar(beside, visits, (below, reach), color=look["color"], **data)
        model = {"linestyle": look["linestyle"], "linewidth": 1.1}
        line = ax.plot(beside, cells.visits_model[place], color=look["color"], **model)[0]
        entries[f"{name} (n = {cells.num_rows[place].sum():,})"] = line, bars
    ax.set_xticks(rates, [f"{rate:.0f} %" for rate in rates])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.grid(True, axis="y", **_STYLE["grid"])
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("co-insurance rate", **_STYLE["label"])
    ax.set_ylabel("visits a year", **_STYLE["label"])
    ax.legend(
        entries.values(),
        entries.keys(),
        title="health at enrolment\nmarkers: data, 95 % intervals\nlines: model",
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        alignment="left",
        **_STYLE["legend"],
    )
    return ax
