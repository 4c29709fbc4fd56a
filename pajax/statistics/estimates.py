"""Numbers with an interval: means of normal replicates, and shares of trials.

    mean of n replicates      mean +- t sd / sqrt(n)                Student
    share of n trials         the p that k successes do not reject  Clopper and Pearson (1934)

An interval at `level` covers the parameter that its docstring names with about this probability,
over all the data one might have had. A number that does not exist is NaN, not an exception.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from pajax import _checks


class Replicates(NamedTuple):
    """What is known of some replicates: float64 each, or arrays if many; NaN where unknown.

    Attributes:
      mean: of the replicates, in their unit.
      sd: their standard deviation, with n - 1.
      number: n.
    """

    mean: Any
    sd: Any
    number: Any


class Estimate(NamedTuple):
    """A number and the two ends of its interval: float64, or arrays if many; NaN where unknown.

    Attributes:
      value: the number.
      low: lower end, in the same unit.
      high: upper end.
    """

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

    Returns:
      Arrays without `axis`. One replicate has NaN ends, none a NaN mean too; a non-finite replicate
      that counts makes all three NaN. Equal replicates give an interval of width zero, exactly.

    Raises:
      ValueError: `level` is out of its range.
    """
    return t_interval(*describe(samples, axis, where), level)


def t_interval(mean: ArrayLike, sd: ArrayLike, number: ArrayLike, level: float = 0.95) -> Estimate:
    """What `mean_interval` gives for replicates of which only these are known.

    Args:
      mean: of the replicates, any shape.
      sd: their standard deviation, with n - 1, broadcast against `mean`.
      number: n, likewise.
      level: coverage, in (0, 1).

    Raises:
      ValueError: `level` is out of its range.
    """
    check_level(level)
    mean, number = np.asarray(mean), np.asarray(number)
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = scipy.stats.t.ppf((1 + level) / 2, np.maximum(number - 1, 0))
        half = quantile * (np.asarray(sd) / np.sqrt(number))
    return Estimate(mean, mean - half, mean + half)


def describe(samples: ArrayLike, axis: int = -1, where: ArrayLike = True) -> Replicates:
    """Mean, standard deviation and number of the replicates along an axis that count."""
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


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> Estimate:
    """Share of successes, with the exact binomial interval of Clopper and Pearson (1934).

    It covers the probability of a success, for independent trials that share it, at `level` or
    more, whatever that probability is; often clearly more when there are few trials.

    Args:
      successes: how many, whole numbers in 0..trials, any shape.
      trials: how many, whole numbers of at least 0, broadcast against `successes`.
      level: coverage, in (0, 1).

    Returns:
      Arrays of the broadcast shape, in [0, 1]. No trials have a NaN share and the interval [0, 1].

    Raises:
      ValueError: counts are not whole or do not fit, or `level` is out of its range.
    """
    check_level(level)
    wins, number = np.broadcast_arrays(
        _checks.finite("successes", successes), _checks.finite("trials", trials)
    )
    for name, counts in (("successes", wins), ("trials", number)):
        _checks.require(np.all(counts == np.rint(counts)), name, counts, "be whole numbers")
    rule = "lie between 0 and the number of trials"
    _checks.require(np.all((wins >= 0) & (wins <= number)), "successes", wins, rule)
    tail, losses = (1 - level) / 2, number - wins
    with np.errstate(invalid="ignore"):
        share = wins / np.where(number > 0, number, np.nan)
    low = np.where(wins > 0, scipy.stats.beta.ppf(tail, np.maximum(wins, 1), losses + 1), 0.0)
    high = np.where(losses > 0, scipy.stats.beta.isf(tail, wins + 1, np.maximum(losses, 1)), 1.0)
    return Estimate(*(end[()] for end in (share, low, high)))  # numbers rather than 0-d arrays


def check_level(level: float) -> None:
    """Raise unless this can be the level of an interval."""
    _checks.require(0 < level < 1, "level", level, "lie strictly between 0 and 1")
