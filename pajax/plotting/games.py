"""What was played in runs that were logged, and how well a calibrated game fits its data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, PercentFormatter

from pajax.games.rand_hie import CLASSES, RandFit
from pajax.plotting.axes import legend_beside, markers_at, new_axes, prepare, tidy
from pajax.plotting.style import in_style, look
from pajax.stages import checkpoints


@in_style
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
    ax, _ = prepare(ax, "log", "linear")
    for a, name in enumerate(names or [f"action {a}" for a in range(num_actions)]):
        every = markers_at(a, num_actions, len(ends))
        ax.plot(ends, shares[:, a], label=name, markevery=every, **look(a))
    ax.set_ylim(-3, 103)
    ax.yaxis.set_major_formatter(PercentFormatter())
    ax.set_xlabel("episodes")
    ax.set_ylabel("share of plays")
    return legend_beside(ax, "")


@in_style
def insurance_fit(fit: RandFit, ax: Axes | None = None) -> Axes:
    """Visits a year by health class and co-insurance rate: data (markers) and model (lines).

    Args:
      fit: from `pajax.games.fit_rand`.
      ax: where to draw; by default a new Axes with the legend beside it.

    Bars are normal 95 % intervals of the data's means, clustered by person, each on its own. The
    axis is logarithmic: a bar that reaches zero is cut at the lower edge, and a mean of zero is
    left out. Classes stand a little beside their rate, so that no bar hides another.
    """
    ax = new_axes() if ax is None else ax
    cells = fit.moments
    rates, floor = 100 * cells.coinsurance, np.nanmin(cells.visits_model) / 4
    ax.set_yscale("log")
    entries = {}
    for place, name in enumerate(CLASSES):
        shown = look(place)
        beside = rates + 2.2 * (place - (len(CLASSES) - 1) / 2)
        visits = np.where(cells.visits[place] > 0, cells.visits[place], np.nan)
        reach = 1.96 * cells.visits_error[place]
        below = visits - np.fmax(visits - reach, floor)
        data = {"fmt": shown["marker"], "markersize": 6.5, "elinewidth": 1.1, "capsize": 0}
        bars = ax.errorbar(beside, visits, (below, reach), color=shown["color"], **data)
        model = {"linestyle": shown["linestyle"], "linewidth": 1.1}
        line = ax.plot(beside, cells.visits_model[place], color=shown["color"], **model)[0]
        entries[f"{name} (n = {cells.num_rows[place].sum():,})"] = line, bars
    ax.set_xticks(rates, [f"{rate:.0f} %" for rate in rates])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    tidy(ax, "y")
    ax.set_xlabel("co-insurance rate")
    ax.set_ylabel("visits a year")
    about = "health at enrolment\nmarkers: data, 95 % intervals\nlines: model"
    return legend_beside(ax, about, handles=list(entries.values()), labels=list(entries))
