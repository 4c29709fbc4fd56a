"""Intervals, growth exponents and the summary of a study.

What an interval speaks about. The seeds of a study are independent replicates of one cell: one
agent under one mechanism in one game. Every interval here covers a parameter of that cell (a mean
over all the seeds one might have drawn, or the exponent of that mean) with about the stated
probability. Each is for one number: none is simultaneous over checkpoints, cells or columns. None
says anything about other games, however many games a Dataset holds.

All functions are pure; a number that does not exist is NaN, not an exception. A Dataset is what
`pajax.study` returns; it is read and never changed.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import xarray as xr
from numpy.typing import ArrayLike

from pajax import _checks
from pajax.results import NON_FINITE, UNRESOLVED


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
    _check_level(level)
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
        variance = np.sum(squares, axis, where=counted) / (number - 1)
        quantile = scipy.stats.t.ppf((1 + level) / 2, np.maximum(number - 1, 0))
        half = quantile * np.sqrt(variance / number)
        value = np.squeeze(origin, axis) + shift
    return Estimate(value, value - half, value + half)


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


def welfare_share(ds: xr.Dataset) -> xr.DataArray:
    """Share of W* earned between one checkpoint and the next: 1 - d regret / (W* d episodes).

    Dims [game, agent, mechanism, seed, episode], a share labelled by the checkpoint that ends its
    interval; the first interval starts at episode 0. At most 1, up to rounding.
    """
    regret = ds["welfare_regret"]
    earlier = regret.shift(episode=1, fill_value=0.0)
    length = xr.DataArray(np.diff(_checkpoints(ds), prepend=0), dims="episode")
    return 1.0 - (regret - earlier) / (length * ds["optimal_welfare"])


def late_share(ds: xr.Dataset, share: float = 0.1) -> xr.DataArray:
    """Share of W* earned over the last `share` of the episodes, [game, agent, mechanism, seed].

    That is 1 - (regret in them / their number) / W*. They start at the checkpoint (or episode 0)
    nearest to (1 - share) K, the earlier of two equally near.
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
    `level`, by `mean_interval`; that of the exponent is by `growth_exponent`. The transfer error is
    over the seeds that have one. Besides: `num_seeds`; `share_unresolved` and `share_non_finite`,
    the share of seeds whose status says so; and, by game, what the Dataset says of the game.
    """
    _check_level(level)
    last = ds.isel(episode=-1, drop=True)
    num_episodes = int(_checkpoints(ds)[-1])
    samples = {
        "welfare_regret": last["welfare_regret"],
        "welfare_regret_per_episode": last["welfare_regret"] / num_episodes,
        "late_share": late_share(ds),
        "payment_per_episode": last["payment"] / num_episodes,
        "principal_utility_per_episode": last["principal_utility"] / num_episodes,
        "transfer_error": last["transfer_error"],
        "phase_one_share": ds["phase_one_length"] / num_episodes,
    }
    columns = _triple("growth_exponent", _exponents(ds, level))
    for name, values in samples.items():
        columns |= _triple(name, _means(values, level, name == "transfer_error"))
    columns["num_seeds"] = xr.DataArray(ds.sizes["seed"])
    for name, bit in (("share_unresolved", UNRESOLVED), ("share_non_finite", NON_FINITE)):
        columns[name] = ((ds["status"] & bit) > 0).mean("seed")
    for name in ("optimal_welfare", "agent_value", "laissez_faire_welfare"):
        columns[name] = ds[name]
    attrs = dict(ds.attrs) | {"level": float(level), "num_episodes": num_episodes}
    return xr.Dataset(columns, attrs=attrs)


def _means(samples: xr.DataArray, level: float, is_partial: bool) -> tuple[xr.DataArray, ...]:
    """`mean_interval` over the dim `seed`; if partial, over those that are not NaN."""

    def interval(values: np.ndarray) -> Estimate:
        return mean_interval(values, -1, level, ~np.isnan(values) if is_partial else True)

    return xr.apply_ufunc(
        interval, samples, input_core_dims=[["seed"]], output_core_dims=[[], [], []]
    )


def _exponents(ds: xr.Dataset, level: float) -> tuple[xr.DataArray, ...]:
    """`growth_exponent` of every cell."""
    episodes = _checkpoints(ds)
    return xr.apply_ufunc(
        lambda regret: growth_exponent(regret, episodes, level=level),
        ds["welfare_regret"],
        input_core_dims=[["seed", "episode"]],
        output_core_dims=[[], [], []],
        vectorize=True,
    )


def _triple(name: str, parts: tuple[xr.DataArray, ...]) -> dict[str, xr.DataArray]:
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
