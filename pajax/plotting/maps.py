"""A heat map of transfers over steps, states and actions: estimated, exact, or their difference."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle

from pajax import _checks
from pajax.plotting import style
from pajax.plotting.axes import caption_above, new_axes
from pajax.plotting.cells import one_pair
from pajax.plotting.style import in_style

_SHOWN = {
    "estimated": "estimated transfer (reward units)",
    "exact": "minimal transfer (reward units)",
    "error": "estimated less minimal transfer (reward units)",
}
_ROW = 0.19  # inches of a row of a new heat map
_HEIGHTS = (4.2, 9.0)  # inches of a new heat map, at least and at most
_OPEN: dict[str, Any] = {"edgecolor": "0.35", "linewidth": 0.0}
_NUMBER = (0.34, 0.14)  # inches that a number needs


@in_style
def transfers(
    tables: xr.Dataset,
    *,
    show: str = "estimated",
    agent: str | None = None,
    mechanism: str | None = None,
    episode: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Transfers as a heat map: a row for each state and action, a column for each step.

    Args:
      tables: from `pajax.examine`; not changed.
      show: "estimated", the mean over seeds; "exact", tau* (T2); or "error", the first less the
        second.
      agent: its name; may be left out if there is one agent.
      mechanism: likewise.
      episode: one of the checkpoints; by default the last.
      ax: where to draw, with a colour bar beside it; by default a new Axes.

    Numbers stand in the cells if they fit. Cells that most seeds have not resolved are hatched;
    those without an estimate are left white. Larger transfers are lighter, larger errors darker,
    also in grey; the sign of an error is by its number, and by colour alone where it does not fit.

    Raises:
      ValueError: `show`, `agent`, `mechanism` or `episode` is unknown.
    """
    _checks.choice("show", show, _SHOWN)
    here = _at(one_pair(tables, agent, mechanism), episode)
    values = _by_row(_values(here, show))
    low, high = _HEIGHTS
    ax = new_axes(min(high, max(low, 1.2 + _ROW * len(values)))) if ax is None else ax
    mesh = _heat_map(ax, values, is_signed=show == "error")
    ax.figure.colorbar(mesh, ax=ax, label=_SHOWN[show])
    _name_rows(ax, here.sizes["state"], here.sizes["action"])
    ax.set_xlabel("step h")
    if show == "exact":
        return ax
    _hatch(ax, _by_row((here["is_resolved"] == 0).mean("seed") > 0.5))
    about = f"mean over {here.sizes['seed']:,} seeds at episode {here['episode'].item():,}"
    return caption_above(ax, f"{about}; hatched: most seeds have not resolved it")


def _at(here: xr.Dataset, episode: int | None) -> xr.Dataset:
    """Tables at a checkpoint, by default the last."""
    known = here["episode"].to_numpy().tolist()
    episode = known[-1] if episode is None else episode
    rule = f"be one of the {len(known)} checkpoints from {known[0]} to {known[-1]}"
    _checks.require(episode in known, "episode", episode, rule)
    return here.sel(episode=episode)


def _values(here: xr.Dataset, show: str) -> xr.DataArray:
    """What is shown, dims [step, state, action]."""
    exact, estimated = here["minimal_transfer"], here["transfer"].mean("seed")
    return {"estimated": estimated, "exact": exact, "error": estimated - exact}[show]


def _by_row(values: xr.DataArray) -> np.ndarray:
    """Values as they are drawn, [(state, action), step]."""
    ordered = values.transpose("state", "action", "step").to_numpy()
    return ordered.reshape(-1, ordered.shape[-1])


def _heat_map(ax: Axes, values: np.ndarray, is_signed: bool) -> QuadMesh:
    """Coloured cells, the first row above, with their numbers if they fit."""
    finite = np.abs(values[np.isfinite(values)])
    top = max(finite.max(initial=0.0), 1e-9)
    colours = "PuOr" if is_signed else mpl.rcParams["image.cmap"]
    mesh = ax.pcolormesh(values, cmap=colours, vmin=-top if is_signed else 0.0, vmax=top)
    ax.grid(False)
    ax.set_xlim(0, values.shape[1])
    ax.set_ylim(len(values), 0)
    ax.set_xticks(np.arange(values.shape[1]) + 0.5, [str(h) for h in range(values.shape[1])])
    box = ax.get_window_extent()
    room = np.array([box.width / values.shape[1], box.height / len(values)]) / ax.figure.dpi
    if (room >= _NUMBER).all():
        _write_numbers(ax, mesh, values, "+.2f" if is_signed else ".2f")
    return mesh


def _write_numbers(ax: Axes, mesh: QuadMesh, values: np.ndarray, form: str) -> None:
    """Numbers in their cells, dark on light and light on dark."""
    lightness = mesh.to_rgba(values)[..., :3] @ (0.3, 0.59, 0.11)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "black" if lightness[row, column] > 0.5 else "white"
            ax.text(column + 0.5, row + 0.5, format(value, form), color=colour, **style.CELL)


def _hatch(ax: Axes, is_open: np.ndarray) -> None:
    """Hatches over cells."""
    for row, column in zip(*np.nonzero(is_open), strict=True):
        ax.add_patch(Rectangle((column, row), 1, 1, fill=False, hatch="////", **_OPEN))


def _name_rows(ax: Axes, num_states: int, num_actions: int) -> None:
    """States and, if there is room, their actions; a line between states."""
    ax.hlines(np.arange(1, num_states) * num_actions, *ax.get_xlim(), color="white", linewidth=2.0)
    ax.tick_params(axis="y", length=0)
    rows = num_states * num_actions
    if ax.get_window_extent().height / ax.figure.dpi / rows >= _NUMBER[1]:
        names = [f"s {s}, a {a}" for s in range(num_states) for a in range(num_actions)]
        ax.set_yticks(np.arange(rows) + 0.5, names)
    else:
        middles = (np.arange(num_states) + 0.5) * num_actions
        ax.set_yticks(middles, [f"s {s}" for s in range(num_states)])
