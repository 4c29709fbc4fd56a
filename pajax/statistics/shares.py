"""Shares of the optimal welfare W* that were earned over a part of the episodes.

A Dataset of `by_horizon` has none: what lies between two of its numbers is no part of any run.
"""

import numpy as np
import xarray as xr

from pajax import _checks


def welfare_share(ds: xr.Dataset) -> xr.DataArray:
    """Share of W* earned between one checkpoint and the next: 1 - d regret / (W* d episodes).

    Args:
      ds: from `pajax.study`.

    Returns:
      [game, agent, mechanism, seed, episode], a share labelled by the checkpoint that ends its
      interval; the first interval starts at episode 0. At most 1, up to rounding. Of moments, that
      of the mean over runs, without the dim `seed`.

    Raises:
      ValueError: the Dataset is one of `by_horizon`.
    """
    episodes, regret = _checkpoints(ds), ds["welfare_regret"]
    earlier = regret.shift(episode=1, fill_value=0.0)
    length = xr.DataArray(np.diff(episodes, prepend=0), dims="episode")
    return 1.0 - (regret - earlier) / (length * ds["optimal_welfare"])


def late_share(ds: xr.Dataset, share: float = 0.1) -> xr.DataArray:
    """Share of W* earned over the last episodes: 1 - (regret in them / their number) / W*.

    They start at the checkpoint (or episode 0) nearest to (1 - share) K, the earlier of two equally
    near.

    Args:
      ds: from `pajax.study`.
      share: of the episodes, in (0, 1].

    Returns:
      [game, agent, mechanism, seed]; of moments, that of the mean over runs, without `seed`.

    Raises:
      ValueError: `share` is out of its range, or the Dataset is one of `by_horizon`.
    """
    _checks.require(0 < share <= 1, "share", share, "lie in (0, 1]")
    episodes = _checkpoints(ds)
    starts = np.concatenate([[0], episodes[:-1]])
    at = int(np.abs(starts - (1 - share) * episodes[-1]).argmin())
    regret = ds["welfare_regret"]
    before = regret.isel(episode=at - 1, drop=True) if at else 0.0
    lost = regret.isel(episode=-1, drop=True) - before
    return 1.0 - lost / ((episodes[-1] - starts[at]) * ds["optimal_welfare"])


def _checkpoints(ds: xr.Dataset) -> np.ndarray:
    """The episode coordinate, as numbers, of one set of runs."""
    rule = "hold one horizon, not several, for shares over a part of a run"
    _checks.require(not ds.attrs.get("over_horizons"), "ds", "a Dataset of by_horizon", rule)
    return ds["episode"].to_numpy()
