"""A study at a glance: many panels on one Figure, which pyplot does not know."""

import io
import textwrap
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pajax.plotting.axes import union
from pajax.plotting.cells import one_game, seeds
from pajax.plotting.curves import NO_SHARES, caption, check_bands, regret_panel, welfare_panel
from pajax.plotting.style import DOTS_PER_INCH, in_style
from pajax.studies.results import is_moments

_PANEL = (3.3, 2.5)  # inches
_ENTRY = 0.75  # inches that an entry of a legend takes, besides its letters
_LETTER = 0.075


class _RichFigure(Figure):
    """A Figure that a notebook shows as the value of a cell, though pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
        return buffer.getvalue()


@in_style
def overview(
    ds: xr.Dataset,
    game: int | str | None = None,
    *,
    level: float = 0.95,
    title: str | None = None,
    band: str = "simultaneous",
) -> Figure:
    """A study at a glance: regret above, share of W* below, one column an agent, shared axes.

    Args:
      ds: from `pajax.study`; not changed.
      game: its label; by default the first.
      level: coverage of the bands, as in `regret`.
      title: what to call the game; by default "Game 0" or as it is labelled.
      band: of regret, as in `regret`; bands of shares are pointwise t intervals.

    A mechanism without positive regret is seen below only, at 100 % or more.

    Returns a Figure that pyplot does not know: save it with `savefig`, or let a notebook show it.
    """
    here = one_game(check_bands(ds, band), game)
    cells = {str(name): here.sel(agent=name) for name in here["agent"].to_numpy()}
    width, height = _PANEL
    size = (width * max(len(cells), 2) + 0.6, 2 * height + 1.3)
    figure = _RichFigure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots(2, len(cells), sharex=True, sharey="row", squeeze=False)
    for row, panel in zip(axes, (partial(regret_panel, band=band), welfare_panel), strict=True):
        _shared_row(row, panel, list(cells.values()), level)
    for ax, agent in zip(axes[0], cells, strict=True):
        ax.set_title(agent)
    for ax in axes.flat:
        ax.label_outer()
    _figure_legend(figure, axes[1], _caption(here, level, band))
    name = f"Game {here['game'].item()}" if title is None else title
    episodes = int(ds["episode"][-1])
    figure.suptitle(f"{name}: {seeds(here)}, {episodes:,} episodes")
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
        limits = union(ax.get_ylim(), limits)
    row[0].set_ylim(limits)


def _caption(here: xr.Dataset, level: float, band: str) -> str:
    """What lines and bands of both rows are."""
    above = f"Lines and bands: {caption(here, level, band)}"
    if is_moments(here):
        return f"{above}; {NO_SHARES}"
    return above if band == "pointwise" else f"{above}; of shares, its pointwise t interval"


def _figure_legend(figure: Figure, row: np.ndarray, title: str) -> None:
    """One legend for all panels, below them, in as few rows as the names allow."""
    of_panels = (zip(*ax.get_legend_handles_labels(), strict=True) for ax in row)
    # the shortest label has no remark that only some panels have
    entries = [min(same, key=lambda entry: len(entry[1])) for same in zip(*of_panels, strict=True)]
    handles, labels = zip(*entries, strict=True)
    inches = [_ENTRY + _LETTER * len(label) for label in labels]
    room = figure.get_figwidth()
    columns = len(labels) if sum(inches) < room else max(1, int(room / max(inches)))
    figure.legend(
        handles,
        labels,
        title=textwrap.fill(title, int(room / _LETTER)),
        loc="outside lower center",
        ncols=columns,
    )
