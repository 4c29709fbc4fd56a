"""Errors of estimated transfers against visits, with the theory of a test (T6) beside them."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pajax import _checks
from pajax.plotting import style
from pajax.plotting.axes import legend_beside, prepare, union
from pajax.plotting.cells import choose, names, percent
from pajax.plotting.style import in_style, look

_BINS = 4  # in a tenfold of visits


class _Errors(NamedTuple):
    """Errors of transfers by visits, each [bin]."""

    visits: np.ndarray  # geometric mean of those in the bin
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


@in_style
def transfer_error(
    tables: xr.Dataset,
    *,
    agent: str | None = None,
    constant: float | None = None,
    kappa: float = 0.5,
    share: float = 0.8,
    ax: Axes | None = None,
) -> Axes:
    """Errors of estimated transfers against visits, log-log, one line a mechanism.

    Args:
      tables: from `pajax.examine`; not changed.
      agent: its name; may be left out if there is one agent.
      constant: C of (A1); with it, the curve 2 C N^(kappa - 1) of (T6) is drawn, beyond which a
        test of N visits tells an offer from tau*.
      kappa: of (A1), in [0, 1).
      share: of the cells that the shade holds, in (0, 1): the middle ones.
      ax: where to draw; by default a new Axes with the legend beside it.

    A cell is an (h, s, a) of one seed at one checkpoint that has an estimate; its error is
    |estimate - tau*|, its visits N are those of (h, s). Lines are medians over the cells in bins of
    N, four in a tenfold; the shade is between quantiles and is no interval for the median. What is
    zero has no place on a log axis: such a median is left out, such a quantile cut at the edge.

    Raises:
      ValueError: `agent` is unknown, or `share` or `kappa` is out of its range.
    """
    _checks.require(0 < share < 1, "share", share, "lie strictly between 0 and 1")
    _checks.require(0 <= kappa < 1, "kappa", kappa, "lie in [0, 1)")
    here = choose(tables, "agent", agent)
    found = {name: _errors(here.sel(mechanism=name), share) for name in names(here, "mechanism")}
    ax, previous = prepare(ax, "log", "log")
    heights = [np.empty(0)]
    for place, (name, errors) in enumerate(found.items()):
        shown = np.where(errors.median > 0, errors.median, np.nan)
        label = name if np.isfinite(shown).any() else f"{name} (none to show)"
        ax.plot(errors.visits, shown, label=label, **look(place))
        low = np.fmax(errors.low, shown / 1000)
        ax.fill_between(errors.visits, low, errors.high, color=look(place)["color"], **style.BAND)
        heights += [shown, errors.high]
    if constant is not None:
        visits = np.geomspace(1, max(x.visits.max(initial=1.0) for x in found.values()), 50)
        curve = 2 * constant * visits ** (kappa - 1)
        words = f"2 C N^(kappa - 1) (T6)\nC = {constant:g}, kappa = {kappa:g}"
        ax.plot(visits, curve, label=words, linestyle=":", **style.REFERENCE)
        heights.append(curve)
    known = np.concatenate(heights)
    known = known[np.isfinite(known) & (known > 0)]
    if known.size:
        ax.set_ylim(union((known.min() / 1.6, known.max() * 1.6), previous))
    ax.set_xlabel("visits of (h, s)")
    ax.set_ylabel("error of transfer (reward units)")
    seeds = f"{tables.sizes['seed']:,} seeds"
    about = f"median over cells (h, s, a), {seeds} and checkpoints; shade: the middle"
    return legend_beside(ax, f"{about} {percent(share)} of them")


def _errors(here: xr.Dataset, share: float) -> _Errors:
    """Quantiles of the errors of one mechanism by bins of visits, empty ones left out."""
    error = abs(here["transfer"] - here["minimal_transfer"])
    visits, error = xr.broadcast(here["visits"].sum("action"), error)
    visits, error = (part.to_numpy().ravel() for part in (visits, error))
    is_known = np.isfinite(error) & (visits > 0)
    visits, error = visits[is_known], error[is_known]
    bins = np.floor(_BINS * np.log10(visits) + 1e-9)  # an exact power begins its bin
    levels = (0.5, (1 - share) / 2, (1 + share) / 2)
    rows = [
        (np.exp(np.log(visits[bins == at]).mean()), *np.quantile(error[bins == at], levels))
        for at in np.unique(bins)
    ]
    return _Errors(*np.array(rows, np.float64).reshape(-1, 4).T)
