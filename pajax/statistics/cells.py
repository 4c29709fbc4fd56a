"""Estimates for the cells of a Dataset: one agent under one mechanism in one game, or in all.

`X_over_runs` has the seeds of a cell as replicates, and says something of that cell alone;
`X_over_games` has games as clusters, and speaks of the population of games. Both give DataArrays.

All that is said of a cell is of those of its runs that were done: the others of an interrupted
study do not count, and a cell without any has NaN everywhere. A Dataset may hold the moments of its
runs instead (keep="moments"). Whatever needs the mean, the standard deviation and the number of
runs alone is the same for both, by `replicates`. What is known only from whole runs is NaN for
moments; its value is that of the mean curve.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from pajax.ledger import PARTIAL
from pajax.statistics import bands, clusters, exponents
from pajax.statistics.estimates import Estimate, Replicates, describe, t_interval
from pajax.studies.results import is_moments, was_run


def replicates(ds: xr.Dataset, name: str) -> Replicates:
    """What is known of a variable in the runs of each cell that were done, as DataArrays.

    A Dataset of moments has NAME, NAME_sd (else the standard deviation is unknown) and NAME_runs
    (else all of `num_runs` have the variable). Errors of transfers are over the runs that have one.

    Args:
      ds: from `pajax.study`.
      name: of the variable.

    Returns:
      Mean, standard deviation and number, with the dims of the variable without `seed`.
    """
    if is_moments(ds):
        sd = ds.get(f"{name}_sd", xr.full_like(ds[name], np.nan))
        return Replicates(ds[name], sd, ds.get(f"{name}_runs", ds["num_runs"]))
    counts = was_run(ds) & (ds[name].notnull() if name in PARTIAL else True)
    return Replicates(
        *xr.apply_ufunc(
            lambda values, counts: describe(values, -1, counts),
            ds[name],
            counts,
            input_core_dims=[["seed"], ["seed"]],
            output_core_dims=[[], [], []],
        )
    )


def mean_over_runs(ds: xr.Dataset, name: str, level: float = 0.95) -> Estimate:
    """Mean of a variable over the runs of each cell and its t interval, by `mean_interval`.

    Each interval covers the mean over all the seeds one might have drawn, for its own cell and
    checkpoint.

    Args:
      ds: from `pajax.study`.
      name: of the variable.
      level: coverage, in (0, 1).

    Returns:
      DataArrays with the dims of the variable without `seed`, in its unit.

    Raises:
      ValueError: `level` is out of its range.
    """
    interval = functools.partial(t_interval, level=level)
    return Estimate(*xr.apply_ufunc(interval, *replicates(ds, name), output_core_dims=[[], [], []]))


def mean_over_games(ds: xr.Dataset, name: str, level: float = 0.95, **options: Any) -> Estimate:
    """Mean of a variable over games and seeds, by `cluster_interval`.

    Each interval covers the mean over the population that the games come from, for its own agent,
    mechanism and checkpoint. A game counts with the mean of its runs, and not if it has none (or
    none that has the variable, for errors of transfers).

    Args:
      ds: from `pajax.study`.
      name: of the variable.
      level: coverage, in (0, 1).
      options: `num_resamples` and `seed` of `cluster_interval`.

    Returns:
      DataArrays with the dims of the variable without `game` and `seed`, in its unit.

    Raises:
      ValueError: an option is out of its range.
    """
    of_games = replicates(ds, name)
    return _over_games(of_games.mean, of_games.number, level, options)


def band_over_runs(
    ds: xr.Dataset, name: str, level: float = 0.95, scale: str = "linear", **options: Any
) -> Estimate:
    """Mean curve of a variable in each cell, with the `simultaneous_band` that covers it whole.

    Each band covers the mean curve of its own cell, over all the seeds one might have drawn.

    Args:
      ds: from `pajax.study`.
      name: of the variable.
      level: coverage, in (0, 1).
      scale: "linear" or "log", as in `simultaneous_band`.
      options: `num_resamples` and `seed` of `simultaneous_band`.

    Returns:
      DataArrays [game, agent, mechanism, episode], in the variable's unit; of moments, and of cells
      with a single run, the ends are NaN.

    Raises:
      ValueError: an option is out of its range.
    """
    band = functools.partial(bands.simultaneous_band, level=level, scale=scale, **options)
    return _of_curves(band, ds, name, ["episode"])


def exponent_over_runs(
    ds: xr.Dataset, name: str = "welfare_regret", level: float = 0.95, **options: Any
) -> Estimate:
    """`growth_exponent` of a variable in each cell.

    Each interval covers the exponent of the mean over all the seeds one might have drawn, for its
    own cell.

    Args:
      ds: from `pajax.study`.
      name: of the variable, one that accumulates over episodes.
      level: coverage, in (0, 1).
      options: `decades`, `num_resamples` and `seed` of `growth_exponent`.

    Returns:
      DataArrays [game, agent, mechanism]; of moments the ends are NaN.

    Raises:
      ValueError: an option is out of its range.
    """
    found = functools.partial(
        exponents.growth_exponent, episodes=ds["episode"].to_numpy(), level=level, **options
    )
    return _of_curves(found, ds, name, [])


def exponent_over_games(
    ds: xr.Dataset,
    name: str = "welfare_regret",
    level: float = 0.95,
    *,
    decades: float = 1.5,
    **options: Any,
) -> Estimate:
    """Mean over games of the `growth_exponent` of a variable, [agent, mechanism].

    Each interval covers the mean exponent over the population that the games come from, at as many
    seeds a game. Games without runs do not count.

    Args:
      ds: from `pajax.study`.
      name: of the variable, one that accumulates over episodes.
      level: coverage, in (0, 1).
      decades: length of the window in powers of ten, above 0, as in `growth_exponent`.
      options: `num_resamples` and `seed` of `cluster_interval`.

    Raises:
      ValueError: an option is out of its range.
    """
    value = functools.partial(
        exponents.exponent_of, episodes=ds["episode"].to_numpy(), decades=decades
    )
    values = xr.apply_ufunc(value, replicates(ds, name).mean, input_core_dims=[["episode"]])
    return _over_games(values, num_runs(ds), level, options)


def local_exponents_over_runs(
    ds: xr.Dataset, name: str = "welfare_regret", level: float = 0.95, **options: Any
) -> Estimate:
    """`local_exponents` of a variable in each cell, [game, agent, mechanism, episode].

    Args:
      ds: from `pajax.study`.
      name: of the variable, one that accumulates over episodes.
      level: coverage, in (0, 1).
      options: `decades`, `simultaneous`, `num_resamples` and `seed` of `local_exponents`, which
        says what the intervals cover.

    Raises:
      ValueError: an option is out of its range.
    """
    found = functools.partial(
        exponents.local_exponents, episodes=ds["episode"].to_numpy(), level=level, **options
    )
    return _of_curves(found, ds, name, ["episode"])


def num_runs(ds: xr.Dataset) -> xr.DataArray:
    """How many runs of each cell were done, [game, agent, mechanism].

    Args:
      ds: from `pajax.study`.
    """
    return ds["num_runs"] if is_moments(ds) else was_run(ds).sum("seed")


def num_seeds(ds: xr.Dataset) -> int:
    """How many runs of each cell the study asked for.

    Args:
      ds: from `pajax.study`.
    """
    return int(ds.attrs["num_seeds"] if is_moments(ds) else ds.sizes["seed"])


def runs_in_words(numbers: ArrayLike, asked: int) -> str:
    """How many runs cells have that have any, such as "64", "40 of 64" or "3 to 40 of 64".

    Args:
      numbers: of runs done, one for each cell, any shape.
      asked: runs of each cell that the study asked for.
    """
    numbers = np.asarray(numbers)
    found = numbers[numbers > 0]
    low, high = (found.min(), found.max()) if found.size else (0, 0)
    if low == high == asked:
        return f"{asked:,}"
    return f"{low:,} of {asked:,}" if low == high else f"{low:,} to {high:,} of {asked:,}"


def _over_games(
    means: xr.DataArray, numbers: xr.DataArray, level: float, options: dict[str, Any]
) -> Estimate:
    """The mean of those of games that have a number of runs, over `game`."""

    def interval(means: np.ndarray, numbers: np.ndarray) -> Estimate:
        means, numbers = (np.moveaxis(x, -1, 0) for x in (means, numbers))
        return clusters.of_means(means, numbers > 0, level, **options)

    return Estimate(
        *xr.apply_ufunc(
            interval,
            *xr.broadcast(means, numbers),
            input_core_dims=[["game"], ["game"]],
            output_core_dims=[[], [], []],
        )
    )


def _of_curves(
    function: Callable[[np.ndarray], Estimate], ds: xr.Dataset, name: str, dims: list[str]
) -> Estimate:
    """An estimate from the runs [seed, episode] of every cell; of moments, of the mean curve."""

    def of_cell(curves: np.ndarray, is_done: np.ndarray) -> Estimate:
        if is_done.any():
            return function(curves[is_done])
        unknown = np.full(curves.shape[1:] if dims else (), np.nan)
        return Estimate(unknown, unknown, unknown)

    curves, are_done = ds[name], was_run(ds)
    if is_moments(ds):
        curves, are_done = curves.expand_dims("seed"), are_done.expand_dims("seed")
    found = xr.apply_ufunc(
        of_cell,
        curves,
        are_done,
        input_core_dims=[["seed", "episode"], ["seed"]],
        output_core_dims=[dims] * 3,
        vectorize=True,
    )
    return Estimate(*(part.assign_coords(ds[dims].coords) if dims else part for part in found))
