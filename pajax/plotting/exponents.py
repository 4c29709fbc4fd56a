"""How fast regret grows: the local exponent of the mean curve."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pajax import statistics
from pajax.plotting import style
from pajax.plotting.axes import legend_beside, note, prepare, union
from pajax.plotting.cells import by_mechanism, cell, check_variable, percent, quantity, seeds
from pajax.plotting.curves import draw
from pajax.plotting.style import in_style
from pajax.studies.results import is_moments

#: Slopes that theory speaks of: of (T8), and of regret that does not slow down.
_REFERENCES = {"1/2": 1 / 2, "2/3": 2 / 3, "3/4": 3 / 4, "1": 1.0}


@in_style
def local_exponent(
    ds: xr.Dataset,
    *,
    agent: str | None = None,
    game: int | str | None = None,
    ax: Axes | None = None,
    level: float = 0.95,
    decades: float = 0.5,
    variable: str = "welfare_regret",
) -> Axes:
    """Local growth exponent of mean regret against episodes, one line a mechanism.

    Args:
      ds: from `pajax.study`; not changed.
      agent: its name; may be left out if the Dataset has one agent.
      game: its label; by default the first.
      ax: where to draw; by default a new Axes with the legend beside it.
      level: coverage of the bands, in (0, 1).
      decades: length of the windows over which slopes are taken, in powers of ten, above 0.
      variable: another regret, such as "principal_regret".

    A point is the slope of log mean regret on log episodes over the window that ends there
    (`pajax.statistics.local_exponents`); its band covers the slope at that checkpoint alone, by a
    bootstrap of whole runs. There is no point where the window has no positive mean, and no
    band for moments. Reference lines: 1/2, 2/3, 3/4 (T8), and 1, regret that does not slow down.

    Raises:
      ValueError: `agent`, `game` or `variable` is unknown, or `decades` is out of its range.
    """
    here = cell(ds, agent, game)
    check_variable(ds, variable)
    found = statistics.local_exponents_over_runs(here, variable, level, decades=decades)
    curves = by_mechanism(found)
    ax, previous = prepare(ax, "log", "linear")
    draw(ax, here, curves)
    shown = np.append([curve.mean for curve in curves.values()], [0.0, 1.0])
    ax.set_ylim(union((np.nanmin(shown) - 0.05, np.nanmax(shown) + 0.12), previous))
    if previous is None:
        _references(ax)
    ax.set_xlabel("episodes")
    ax.set_ylabel(f"local exponent of {quantity(variable).words}")
    return legend_beside(ax, _caption(here, level, decades))


def _references(ax: Axes) -> None:
    """Horizontal lines at the slopes, named inside the right edge."""
    for text, slope in _REFERENCES.items():
        ax.axhline(slope, linestyle=":", **style.REFERENCE)
        note(ax, text, (1.0, slope), (-2, 2), xycoords=("axes fraction", "data"), ha="right")


def _caption(here: xr.Dataset, level: float, decades: float) -> str:
    """What lines and bands are."""
    line = f"slope of the mean over {seeds(here)} in windows [t / 10^{decades:g}, t]"
    if is_moments(here):
        return f"{line}; no interval, as whole runs were not kept"
    return f"{line}, and its pointwise {percent(level)} bootstrap interval"
