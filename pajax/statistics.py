"""Intervals, growth exponents and the summary of a study.

What an interval speaks about. The seeds of a study are independent replicates of one cell: one
agent under one mechanism in one game. Every interval here covers a parameter of that cell (a mean
over all the seeds one might have drawn, or the exponent of that mean) with about the stated
probability. Each is for one number: none is simultaneous over checkpoints, cells or columns. None
says anything about other games, however many games a Dataset holds.

All functions are pure; a number that does not exist is NaN, not an exception. A Dataset is what
`pajax.study` returns; it is read and never changed. All that is said of a cell is of those of its
runs that were done: the others of an interrupted study do not count, and a cell without any has
NaN everywhere.

A Dataset may hold the moments of its runs instead (keep="moments"). Whatever needs the mean, the
standard deviation and the number of runs alone is the same for both, by `replicates`. What is known
only from whole runs (how far they differ over a part of their episodes, and so intervals of a share
of W* and of a growth exponent) is NaN for moments; its value is that of the mean curve.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import xarray as xr
from numpy.typing import ArrayLike

from pajax import _checks
from pajax.kept import NON_FINITE, UNRESOLVED
from pajax.results import is_moments, was_run

#: Variables that some runs have no number for, and then do not count.
_PARTIAL = ("transfer_error",)


class Replicates(NamedTuple):
    """What is known of some replicates: float64 each, or arrays if many; NaN where unknown."""

    mean: Any
    sd: Any  # standard deviation, with n - 1
    number: Any


class Estimate(NamedTuple):
    """A number and the two ends of its interval: float64, or arrays if many; NaN where unknown."""

    value: Any
    low: Any
    high: Any


def mean_interval(
    samples: ArrayLike, axis: int = -1, level: float = 0.95, where: ArrayLike = True
) -> Estimate:
    """Mean over replicates, with Student's t interval: mean +- t sd / sqrt(n).

    It covers the mean of the distribution that the replicates come from: exactly at `level` for
    independent normal replicates, nearly so for many replicates with finite variance.

    Args:
      samples: replicates along `axis`; anything along the others, each treated on its own.
      axis: the axis of replicates.
      level: coverage, in (0, 1).
      where: the replicates that count, broadcast against `samples`; all by default.

    One replicate has NaN ends, none a NaN mean too; a non-finite replicate that counts makes all
    three NaN. Equal replicates give an interval of width zero, exactly.
    """
    return t_interval(*_replicates(samples, axis, where), level)


def t_interval(mean: ArrayLike, sd: ArrayLike, number: ArrayLike, level: float = 0.95) -> Estimate:
    """What `mean_interval` gives for replicates of which only these are known."""
    _check_level(level)
    mean, number = np.asarray(mean), np.asarray(number)
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = scipy.stats.t.ppf((1 + level) / 2, np.maximum(number - 1, 0))
        half = quantile * (np.asarray(sd) / np.sqrt(number))
    return Estimate(mean, mean - half, mean + half)


def _replicates(samples: ArrayLike, axis: int, where: ArrayLike) -> Replicates:
    """Those along an axis that count."""
    samples = np.asarray(samples, np.float64)
    counted = np.broadcast_to(np.asarray(where, bool), samples.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Deviations from one of the replicates: exactly 0 where all are equal.
        origin = np.fmax.reduce(
            np.where(counted, samples, np.nan), axis, keepdims=True, initial=np.nan
        )
        shifted = samples - origin
        number = np.sum(counted, axis)
        shift = np.sum(shifted, axis, where=counted) / number
        squares = np.square(shifted - np.expand_dims(shift, axis))
        variance = np.sum(squares, axis, where=counted) / np.where(number > 1, number - 1, np.nan)
        return Replicates(np.squeeze(origin, axis) + shift, np.sqrt(variance), number)


def growth_exponent(
    regret: ArrayLike,
    episodes: ArrayLike,
    *,
    decades: float = 1.5,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Slope of log mean regret on log episodes late in a run, with a bootstrap interval.

    Least squares over the checkpoints in [K / 10**decades, K], each with the same weight. The curve
    is that of the mean regret, because bounds are on expected regret; a mean of logs would answer
    for the typical run, weigh lucky runs most, and not exist if one run has no regret.

    The interval is the percentile bootstrap over whole runs: seeds are drawn again with
    replacement, all checkpoints of a run together, so the correlation along a curve is respected.
    Its percentiles are widened for the number of seeds as Student's t widens the normal (Hesterberg
    2015, "What teachers should know about the bootstrap"). It covers the slope that infinitely many
    seeds would give over the same window, nearly at `level`; less with few seeds of skewed regret.
    It is not about how well a power law fits the mean curve, nor about the slope beyond K.

    Args:
      regret: [seed, episode], cumulative, in reward units.
      episodes: [episode], the checkpoints: positive and increasing; the last is K.
      decades: length of the window in powers of ten, above 0.
      level: coverage, in (0, 1).
      num_resamples: bootstrap replicates.
      seed: of the resampling; the same seed gives the same interval.

    All three numbers are NaN if the mean regret is not positive and finite throughout the window
    (an oracle may have none) or the window holds fewer than two checkpoints. The ends alone are NaN
    with a single seed, or if some resampled mean is not positive.
    """
    regret, episodes = _check_curves(regret, episodes)
    _checks.require(decades > 0, "decades", decades, "be above 0")
    _check_level(level)
    num_resamples = _checks.whole("num_resamples", num_resamples)
    unknown = np.float64(np.nan)
    late = episodes >= episodes[-1] / 10**decades
    regret, log_episodes = regret[:, late], np.log(episodes[late])
    mean = regret.mean(0)
    if late.sum() < 2 or not np.all((mean > 0) & np.isfinite(mean)):
        return Estimate(unknown, unknown, unknown)
    value = _slope(mean, log_episodes)
    if len(regret) == 1:
        return Estimate(value, unknown, unknown)
    weights = _resampling_weights(len(regret), num_resamples, int(seed))
    slopes = _slope(weights @ regret, log_episodes)
    outside = _expanded_tail(len(regret), level)
    low, high = np.quantile(slopes, [outside, 1 - outside])
    return Estimate(value, low, high)


def replicates(ds: xr.Dataset, name: str) -> Replicates:
    """What is known of a variable in the runs of each cell that were done, as DataArrays.

    The dims are those of the variable without `seed`. A Dataset of moments has NAME, NAME_sd (else
    the standard deviation is unknown) and NAME_runs (else all of `num_runs` have the variable).
    The transfer error is over the runs that have one.
    """
    if is_moments(ds):
        sd = ds.get(f"{name}_sd", xr.full_like(ds[name], np.nan))
        return Replicates(ds[name], sd, ds.get(f"{name}_runs", ds["num_runs"]))
    counts = was_run(ds) & (ds[name].notnull() if name in _PARTIAL else True)
    return Replicates(
        *xr.apply_ufunc(
            lambda values, counts: _replicates(values, -1, counts),
            ds[name],
            counts,
            input_core_dims=[["seed"], ["seed"]],
            output_core_dims=[[], [], []],
        )
    )


def mean_over_runs(ds: xr.Dataset, name: str, level: float = 0.95) -> Estimate:
    """Mean of a variable over the runs of each cell and its t interval, as DataArrays."""
    interval = functools.partial(t_interval, level=level)
    return Estimate(*xr.apply_ufunc(interval, *replicates(ds, name), output_core_dims=[[], [], []]))


def welfare_share(ds: xr.Dataset) -> xr.DataArray:
    """Share of W* earned between one checkpoint and the next: 1 - d regret / (W* d episodes).

    Dims [game, agent, mechanism, seed, episode], a share labelled by the checkpoint that ends its
    interval; the first interval starts at episode 0. At most 1, up to rounding. Of moments, that of
    the mean over runs, without the dim `seed`.
    """
    regret = ds["welfare_regret"]
    earlier = regret.shift(episode=1, fill_value=0.0)
    length = xr.DataArray(np.diff(_checkpoints(ds), prepend=0), dims="episode")
    return 1.0 - (regret - earlier) / (length * ds["optimal_welfare"])


def late_share(ds: xr.Dataset, share: float = 0.1) -> xr.DataArray:
    """Share of W* earned over the last `share` of the episodes, [game, agent, mechanism, seed].

    That is 1 - (regret in them / their number) / W*. They start at the checkpoint (or episode 0)
    nearest to (1 - share) K, the earlier of two equally near. Of moments, that of the mean over
    runs, without the dim `seed`.
    """
    _checks.require(0 < share <= 1, "share", share, "lie in (0, 1]")
    episodes = _checkpoints(ds)
    starts = np.concatenate([[0], episodes[:-1]])
    at = int(np.abs(starts - (1 - share) * episodes[-1]).argmin())
    regret = ds["welfare_regret"]
    before = regret.isel(episode=at - 1, drop=True) if at else 0.0
    lost = regret.isel(episode=-1, drop=True) - before
    return 1.0 - lost / ((episodes[-1] - starts[at]) * ds["optimal_welfare"])


def summary(ds: xr.Dataset, level: float = 0.95) -> xr.Dataset:
    """The numbers a study is judged by, at its last checkpoint K: dims [game, agent, mechanism].

    Each of the following is a variable, with the ends of its interval in `NAME_low`, `NAME_high`:

      welfare_regret                    (T1), cumulative, in reward units
      welfare_regret_per_episode        the same over K
      growth_exponent                   over the last decade and a half of K
      late_share                        share of W* earned over the last tenth of the episodes
      payment_per_episode               paid by the principal, in reward units
      principal_utility_per_episode     its rewards less its payments
      transfer_error                    mean |estimate - tau*| over resolved transfers
      phase_one_share                   share of the episodes spent estimating

    Each interval covers the mean over seeds of its own cell (one game, agent and mechanism) at
    `level`, by `mean_over_runs`; that of the exponent is by `growth_exponent`. Besides: `num_runs`,
    those done in each cell, of `num_seeds`; `share_unresolved` and `share_non_finite`, the share of
    runs whose status says so; and, by game, what the Dataset says of the game.
    """
    _check_level(level)
    num_episodes = int(_checkpoints(ds)[-1])
    last = ds.isel(episode=-1, drop=True).assign(late_share=late_share(ds))
    columns = _triple("growth_exponent", _exponents(ds, level))
    for name in ("welfare_regret", "late_share", "transfer_error"):
        columns |= _triple(name, mean_over_runs(last, name, level))
    per_episode = {
        "welfare_regret_per_episode": "welfare_regret",
        "payment_per_episode": "payment",
        "principal_utility_per_episode": "principal_utility",
        "phase_one_share": "phase_one_length",
    }
    for name, total in per_episode.items():
        estimate = mean_over_runs(last, total, level)
        columns |= _triple(name, Estimate(*(number / num_episodes for number in estimate)))
    for name, bit in (("share_unresolved", UNRESOLVED), ("share_non_finite", NON_FINITE)):
        columns[name] = ds[name] if is_moments(ds) else _share_of_runs(ds, bit)
    columns["num_runs"], columns["num_seeds"] = num_runs(ds), xr.DataArray(num_seeds(ds))
    for name in ("optimal_welfare", "agent_value", "laissez_faire_welfare"):
        columns[name] = ds[name]
    attrs = dict(ds.attrs) | {"level": float(level), "num_episodes": num_episodes}
    return xr.Dataset(columns, attrs=attrs)


def num_runs(ds: xr.Dataset) -> xr.DataArray:
    """How many runs of each cell were done, [game, agent, mechanism]."""
    return ds["num_runs"] if is_moments(ds) else was_run(ds).sum("seed")


def num_seeds(ds: xr.Dataset) -> int:
    """How many runs of each cell the study asked for."""
    return int(ds.attrs["num_seeds"] if is_moments(ds) else ds.sizes["seed"])


def runs_in_words(numbers: ArrayLike, asked: int) -> str:
    """How many runs cells have that have any, such as "64", "40 of 64" or "3 to 40 of 64"."""
    numbers = np.asarray(numbers)
    found = numbers[numbers > 0]
    low, high = (found.min(), found.max()) if found.size else (0, 0)
    if low == high == asked:
        return f"{asked:,}"
    return f"{low:,} of {asked:,}" if low == high else f"{low:,} to {high:,} of {asked:,}"


def _share_of_runs(ds: xr.Dataset, bit: int) -> xr.DataArray:
    """Share of the runs done whose status has a bit."""
    return ((ds["status"] & bit) > 0).where(was_run(ds)).mean("seed")


def _exponents(ds: xr.Dataset, level: float) -> Estimate:
    """`growth_exponent` of every cell; of moments, the mean curve is the only run."""
    episodes = _checkpoints(ds)

    def exponent(regret: np.ndarray, is_done: np.ndarray) -> Estimate:
        if not is_done.any():
            return Estimate(np.nan, np.nan, np.nan)
        return growth_exponent(regret[is_done], episodes, level=level)

    curves, are_done = ds["welfare_regret"], was_run(ds)
    if is_moments(ds):
        curves, are_done = curves.expand_dims("seed"), are_done.expand_dims("seed")
    return Estimate(
        *xr.apply_ufunc(
            exponent,
            curves,
            are_done,
            input_core_dims=[["seed", "episode"], ["seed"]],
            output_core_dims=[[], [], []],
            vectorize=True,
        )
    )


def _triple(name: str, parts: Estimate) -> dict[str, xr.DataArray]:
    """An estimate as three named variables."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), parts, strict=True))


def _checkpoints(ds: xr.Dataset) -> np.ndarray:
    """The episode coordinate, as numbers."""
    return ds["episode"].to_numpy()


def _slope(curves: np.ndarray, log_episodes: np.ndarray) -> np.ndarray:
    """Least-squares slope of log curves [..., episode]; NaN where one is not positive."""
    centred = log_episodes - log_episodes.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(curves > 0, curves, np.nan))
    return logs @ centred / (centred @ centred)


def _expanded_tail(number: int, level: float) -> float:
    """Percentile at which a bootstrap of a mean of this many has the width of Student's t."""
    quantile = scipy.stats.t.ppf((1 - level) / 2, number - 1)
    return float(scipy.stats.norm.cdf(quantile * np.sqrt(number / (number - 1))))


@functools.lru_cache(maxsize=2)  # the cells of a study share one matrix
def _resampling_weights(number: int, num_resamples: int, seed: int) -> np.ndarray:
    """Shares of each run in each bootstrap sample, [resample, run]."""
    counts = np.random.default_rng(seed).multinomial(
        number, np.full(number, 1 / number), size=num_resamples
    )
    weights = counts / number
    weights.flags.writeable = False
    return weights


def _check_level(level: float) -> None:
    _checks.require(0 < level < 1, "level", level, "lie strictly between 0 and 1")


def _check_curves(regret: ArrayLike, episodes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, of shapes [seed, episode] and [episode]."""
    regret, episodes = np.asarray(regret, np.float64), np.asarray(episodes, np.float64)
    is_axis = episodes.ndim == 1 and episodes.size > 0
    _checks.require(is_axis, "episodes", f"shape {episodes.shape}", "be a non-empty vector")
    is_increasing = episodes[0] > 0 and bool(np.all(np.diff(episodes) > 0))
    _checks.require(is_increasing, "episodes", episodes, "be positive and increasing")
    is_matching = regret.ndim == 2 and len(regret) > 0 and regret.shape[1] == len(episodes)
    rule = f"be [seed, episode] with {len(episodes)} episodes and at least one seed"
    _checks.require(is_matching, "regret", f"shape {regret.shape}", rule)
    return regret, episodes
