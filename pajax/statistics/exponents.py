"""Growth exponents: slopes of log mean regret on log episodes.

Over the checkpoints t_j of a window, each with the same weight, the slope of the mean curve m is

    sum_j c_j log m_j,    c_j = (l_j - l) / sum_i (l_i - l)^2,    l_j = log t_j, l their mean.

The curve is that of the mean regret, because bounds are on expected regret; a mean of logs would
answer for the typical run, weigh lucky runs most, and not exist if one run has no regret.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from pajax import _checks
from pajax.statistics import clusters, resampling
from pajax.statistics.estimates import Estimate, check_level, describe


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

    Least squares over the checkpoints in [K / 10^decades, K], each with the same weight.

    Of one game: the interval is value +- c se, with the jackknife's standard error and c from the
    studentised bootstrap over whole runs (`pajax.statistics.resampling`), all checkpoints of a run
    together. It covers the slope that infinitely many seeds would give over the same window, at
    nearly `level` from 5 seeds on; less if a rare kind of run, which few seeds may miss, matters.

    Of several games: the value is the mean of their exponents, and the interval, by
    `cluster_interval`, covers the mean exponent over the population of games, at as many seeds a
    game. (The exponent of the mean over games would answer for the game with the most regret.)

    Neither is about how well a power law fits the mean curve, nor about the slope beyond K.

    Args:
      regret: [seed, episode] or [game, seed, episode], cumulative, in reward units.
      episodes: [episode], the checkpoints: positive and increasing; the last is K.
      decades: length of the window in powers of ten, above 0.
      level: coverage, in (0, 1).
      num_resamples: bootstrap resamples, at least 1.
      seed: of the resampling, at least 0; the same seed gives the same interval.

    Returns:
      Three numbers. All are NaN if the mean regret of a game is not positive and finite throughout
      the window (an oracle may have none) or the window holds fewer than two checkpoints. The ends
      alone are NaN with a single seed (or game, of games), or if without one of the seeds the mean
      is not positive.

    Raises:
      ValueError: shapes do not go together, or an option is out of its range.
    """
    regret, episodes = _check_curves(regret, episodes)
    _check_options(decades, level)
    weights = _late_weights(episodes, decades)
    if regret.ndim == 2:
        return Estimate(*(x[0] for x in _slopes(regret, weights, level, num_resamples, seed)))
    values = _values(describe(regret, 1).mean, weights)[:, 0]
    return clusters.of_means(values, np.ones(len(values), bool), level, num_resamples, seed)


def local_exponents(
    regret: ArrayLike,
    episodes: ArrayLike,
    *,
    decades: float = 0.5,
    level: float = 0.95,
    simultaneous: bool = False,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Slope of log mean regret over the window that ends at each checkpoint, with intervals.

    At checkpoint t it is the `growth_exponent` over [t / 10^decades, t]: what a study with K = t
    would have found. Intervals are as of `growth_exponent`, each for its own checkpoint; or, with
    `simultaneous`, a band that covers the whole curve of slopes at once, as `simultaneous_band`
    does a mean; with fewer than some 64 seeds of very skew regret it covers less often, as slopes
    over short windows are far from linear in the runs.

    Args:
      regret: [seed, episode], cumulative, in reward units.
      episodes: [episode], the checkpoints: positive and increasing.
      decades: length of the windows in powers of ten, above 0.
      level: coverage, in (0, 1).
      simultaneous: whether intervals cover together, instead of each on its own.
      num_resamples: bootstrap resamples, at least 1.
      seed: of the resampling, at least 0; the same seed gives the same intervals.

    Returns:
      Arrays [episode]. NaN where the window begins before the first checkpoint, holds fewer than
      two, or has a mean that is not positive and finite; ends as of `growth_exponent`.

    Raises:
      ValueError: shapes do not go together, or an option is out of its range.
    """
    regret, episodes = _check_curves(regret, episodes)
    is_one = regret.ndim == 2
    _checks.require(is_one, "regret", f"shape {regret.shape}", "be [seed, episode], of one game")
    _check_options(decades, level)
    starts = episodes / 10**decades
    weights = np.stack(
        [
            slope_weights(episodes, (episodes >= start) & (episodes <= end))
            for start, end in zip(starts, episodes, strict=True)
        ]
    )
    weights[starts < episodes[0]] = np.nan
    return _slopes(regret, weights, level, num_resamples, seed, is_joint=simultaneous)


def weighted_log(mean: Array, weights: Array) -> Array:
    """The statistic: slopes [P] of a mean curve [J], by weights [P, J] that are 0 outside."""
    return jnp.sum(jnp.where(weights == 0.0, 0.0, weights * jnp.log(mean)), -1)


def _slopes(
    regret: np.ndarray,
    weights: np.ndarray,
    level: float,
    num_resamples: int,
    seed: int,
    is_joint: bool = False,
) -> Estimate:
    """Slopes [P] of the mean of runs [seed, episode], by weights [P, episode]."""
    num_resamples = _checks.whole("num_resamples", num_resamples)
    seed = _checks.whole("seed", seed, low=0)
    value = _values(describe(regret, 0).mean, weights)
    unknown = np.full_like(value, np.nan)
    if len(regret) == 1 or np.isnan(value).all():
        return Estimate(value, unknown, unknown)
    found = resampling.spread(weighted_log, regret, weights, num_resamples=num_resamples, seed=seed)
    _, low, high = resampling.symmetric(found._replace(value=value), level, is_joint=is_joint)
    return Estimate(value, low, high)


def exponent_of(mean: np.ndarray, episodes: np.ndarray, decades: float) -> np.ndarray:
    """The value of `growth_exponent` for mean curves [..., episode], [...]."""
    return _values(mean, _late_weights(episodes, decades))[..., 0]


def _values(mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Slopes [..., P] of mean curves; NaN without a window, or where a mean is not positive."""
    is_usable = (mean > 0) & np.isfinite(mean)
    logs = np.log(mean, where=is_usable, out=np.full_like(mean, np.nan))[..., None, :]
    return np.sum(np.where(weights == 0, 0.0, weights * logs), -1)


def _late_weights(episodes: np.ndarray, decades: float) -> np.ndarray:
    """`slope_weights` [1, episode] of the last decades."""
    return slope_weights(episodes, episodes >= episodes[-1] / 10**decades)[None]


def slope_weights(episodes: np.ndarray, is_inside: np.ndarray) -> np.ndarray:
    """What each checkpoint's log counts for in the slope, 0 outside; NaN if there is no slope."""
    if is_inside.sum() < 2:
        return np.full(len(episodes), np.nan)
    logs = np.log(episodes)
    centred = np.where(is_inside, logs - logs[is_inside].mean(), 0.0)
    return centred / (centred @ centred)


def _check_options(decades: float, level: float) -> None:
    _checks.require(decades > 0, "decades", decades, "be above 0")
    check_level(level)


def _check_curves(regret: ArrayLike, episodes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, of shapes [(game,) seed, episode] and [episode]."""
    regret, episodes = np.asarray(regret, np.float64), np.asarray(episodes, np.float64)
    is_axis = episodes.ndim == 1 and episodes.size > 0
    _checks.require(is_axis, "episodes", f"shape {episodes.shape}", "be a non-empty vector")
    is_increasing = episodes[0] > 0 and bool(np.all(np.diff(episodes) > 0))
    _checks.require(is_increasing, "episodes", episodes, "be positive and increasing")
    is_curves = regret.ndim in (2, 3) and regret.size > 0 and regret.shape[-1] == len(episodes)
    rule = f"be [seed, episode] with {len(episodes)} episodes and at least one seed, or of games"
    _checks.require(is_curves, "regret", f"shape {regret.shape}", rule)
    return regret, episodes
