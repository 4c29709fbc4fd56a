"""Bands that cover whole curves: mean +- c se at every point, with one c for all points."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from pajax import _checks
from pajax.statistics import resampling
from pajax.statistics.estimates import Estimate, check_level, describe

SCALES = ("linear", "log")


def simultaneous_band(
    samples: ArrayLike,
    level: float = 0.95,
    scale: str = "linear",
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean curve over runs, with a band that covers the whole curve at once.

    The band covers the mean curve that infinitely many seeds would give, at all checkpoints
    together, with probability of about `level`: a curve that leaves it anywhere is rejected. It is
    the sup-t band of the studentised bootstrap over whole runs (`pajax.statistics.resampling`), so
    it is wider than pointwise intervals, but less so the more the points of a run are correlated.

    Args:
      samples: [seed, episode].
      level: coverage, in (0, 1).
      scale: "linear" for mean +- c se; "log" for the same of the log of the mean, which suits
        positive curves with a logarithmic axis: the band is then always positive.
      num_resamples: bootstrap resamples, at least 1.
      seed: of the resampling, at least 0; the same seed gives the same band.

    Returns:
      Arrays [episode]. Ends are NaN with a single run, where a run is not finite, and with
      scale="log" where the mean of some n - 1 of the runs is not positive; the band then covers
      the curve at all other points. It has width zero, exactly, where all runs are equal.

    Raises:
      ValueError: `samples` has other axes or no seed, or an option is out of its range.
    """
    check_level(level)
    _checks.choice("scale", scale, SCALES)
    num_resamples = _checks.whole("num_resamples", num_resamples)
    seed = _checks.whole("seed", seed, low=0)
    samples = np.asarray(samples, np.float64)
    is_sample = samples.ndim == 2 and len(samples) > 0
    rule = "be [seed, episode] with at least one seed"
    _checks.require(is_sample, "samples", f"shape {samples.shape}", rule)
    mean = describe(samples, 0).mean
    if len(samples) == 1:
        unknown = np.full_like(mean, np.nan)
        return Estimate(mean, unknown, unknown)
    statistic = mean_curve if scale == "linear" else log_curve
    found = resampling.spread(statistic, samples, num_resamples=num_resamples, seed=seed)
    _, low, high = resampling.symmetric(found, level, is_joint=True)
    return Estimate(mean, low, high) if scale == "linear" else Estimate(mean, *np.exp([low, high]))


def mean_curve(mean: Array) -> Array:
    """The statistic of a linear band."""
    return mean


def log_curve(mean: Array) -> Array:
    """The statistic of a logarithmic band."""
    return jnp.log(mean)
