"""Visits of states and actions before and after learning, beside those of the welfare optimum."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pajax import _checks
from pajax.plotting.axes import legend_beside, prepare, union
from pajax.plotting.cells import one_pair
from pajax.plotting.style import in_style

_GAP = 0.7  # between steps, in pairs of bars
_HATCH = "////"
_EDGE: dict[str, Any] = {"edgecolor": "0.25", "linewidth": 0.5}


class _Window(NamedTuple):
    """Some episodes, and the share of them that played an action at a step and state."""

    first: int
    last: int
    shares: np.ndarray  # [(step, state), action]


@in_style
def visitation(
    tables: xr.Dataset,
    *,
    window: float = 0.1,
    steps: Sequence[int] | None = None,
    agent: str | None = None,
    mechanism: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Which states are visited, and what is played there, before and after learning.

    Args:
      tables: from `pajax.examine`; not changed.
      window: share of the episodes that are early, and that are late, in (0, 1/2].
      steps: those to draw; by default all.
      agent: its name; may be left out if there is one agent.
      mechanism: likewise.
      ax: where to draw; by default a new Axes with the legend beside it.

    For each step h and state s there are two bars: the share of the early episodes that visited
    (h, s), hatched, and of the late ones. Their parts are the actions played, the first below. A
    black line across both is the share under a welfare-optimal policy. Windows end and begin at the
    checkpoints nearest to theirs; means over seeds.

    Raises:
      ValueError: `agent` or `mechanism` is unknown, or `window` or `steps` is out of its range.
    """
    _checks.require(0 < window <= 0.5, "window", window, "lie in (0, 1/2]")
    here = one_pair(tables, agent, mechanism)
    steps = list(range(here.sizes["step"]) if steps is None else steps)
    _checks.require(len(steps) > 0, "steps", "none", "be at least one")
    for step in steps:
        _checks.whole("steps", step, 0, here.sizes["step"] - 1)
    here = here.isel(step=steps)
    early, late = _windows(here, window)
    ax, previous = prepare(ax, "linear", "linear")
    ax.grid(False, axis="x")
    places = _places(len(steps), here.sizes["state"])
    _draw_bars(ax, places - 0.21, early.shares, _HATCH)
    _draw_bars(ax, places + 0.21, late.shares, "")
    best = here["optimal_occupancy"].transpose("step", "state").to_numpy().ravel()
    ax.hlines(best, places - 0.44, places + 0.44, color="black", linewidth=1.8)
    _name_columns(ax, steps, here.sizes["state"], places)
    tallest = max(best.max(), early.shares.sum(-1).max(), late.shares.sum(-1).max())
    ax.set_ylim(union((0.0, 1.06 * tallest), previous))
    ax.set_ylabel("share of episodes")
    entries = _entries(here.sizes["action"], early, late)
    return legend_beside(ax, f"mean over {here.sizes['seed']:,} seeds", handles=entries)


def _windows(here: xr.Dataset, window: float) -> tuple[_Window, _Window]:
    """Shares of visits in the first and the last episodes."""
    visits = here["visits"].transpose("seed", "episode", "step", "state", "action").to_numpy()
    visits = np.concatenate([np.zeros_like(visits[:, :1]), visits], 1).mean(0)
    visits = visits.reshape(len(visits), -1, visits.shape[-1])
    ends = np.concatenate([[0], here["episode"].to_numpy()])
    stop = 1 + int(np.abs(ends[1:] - window * ends[-1]).argmin())
    start = int(np.abs(ends[:-1] - (1 - window) * ends[-1]).argmin())

    def between(a: int, b: int) -> _Window:
        shares = (visits[b] - visits[a]) / (ends[b] - ends[a])
        return _Window(int(ends[a]) + 1, int(ends[b]), shares)

    return between(0, stop), between(start, len(ends) - 1)


def _places(num_steps: int, num_states: int) -> np.ndarray:
    """Where pairs of bars stand, [(step, state)]: a gap between steps."""
    steps = np.arange(num_steps)[:, None] * (num_states + _GAP)
    return (steps + np.arange(num_states)).ravel()


def _draw_bars(ax: Axes, places: np.ndarray, shares: np.ndarray, hatch: str) -> None:
    """Bars of actions on each other; shares are [(step, state), action]."""
    foot = np.zeros(len(places))
    for action, heights in enumerate(shares.T):
        ax.bar(
            places, heights, 0.4, foot, color=_shade(action, shares.shape[1]), hatch=hatch, **_EDGE
        )
        foot = foot + heights


def _shade(action: int, num_actions: int) -> Any:
    """A colour of an action, lighter for later ones."""
    return mpl.colormaps[mpl.rcParams["image.cmap"]](0.4 + 0.6 * action / max(num_actions - 1, 1))


def _name_columns(ax: Axes, steps: list[int], num_states: int, places: np.ndarray) -> None:
    """States below their bars, steps below their states."""
    ax.tick_params(axis="x", length=0)
    ax.set_xticks(places, [str(s) for _ in steps for s in range(num_states)])
    groups = ax.secondary_xaxis("bottom")
    groups.spines["bottom"].set_visible(False)
    middles = places.reshape(len(steps), -1).mean(1)
    groups.set_xticks(middles, [f"\nh = {step}" for step in steps])
    groups.tick_params(length=0)
    groups.set_xlabel("state, by step")


def _entries(num_actions: int, early: _Window, late: _Window) -> list[Any]:
    """What stands in the legend."""
    span = lambda window: f"episodes {window.first:,} to {window.last:,}"  # noqa: E731
    played = [
        Patch(facecolor=_shade(a, num_actions), label=f"action {a}", **_EDGE)
        for a in range(num_actions)
    ]
    return [
        *reversed(played),  # as they stand on each other
        Patch(facecolor="white", hatch=_HATCH, label=span(early), **_EDGE),
        Patch(facecolor="white", label=span(late), **_EDGE),
        Line2D([], [], color="black", linewidth=1.8, label="welfare optimum"),
    ]
