"""Games as clusters: seeds are replicates within a game, games are drawn from a population.

The mean over a population of games is estimated by the mean over games of the means of each over
its seeds. The means of games are independent, and how far they differ has both parts: between
games, and between the seeds of a game. So an interval needs them alone, however many seeds there
are and however they vary. Seeds pooled over games would give one that is far too short.
"""

import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from pajax import _checks
from pajax.statistics import resampling
from pajax.statistics.estimates import Estimate, check_level, describe

#: Less noise than for runs: games are often skew, and noise hides that.
NOISE = 0.1


def cluster_interval(
    samples: ArrayLike,
    *,
    level: float = 0.95,
    where: ArrayLike = True,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean over a population of games, with an interval from a bootstrap over games.

    Each game has the same weight, however many of its seeds count. The interval covers the mean
    over the population that the games come from, of the mean over the seeds of each: nearly at
    `level` from about 16 games on, less with fewer games or a long tail of them. It is the
    equal-tailed studentised bootstrap (`pajax.statistics.resampling`), since Student's t, which is
    symmetric, misses the long tail too often.

    Args:
      samples: [game, seed, ...]; what follows is treated each on its own.
      level: coverage, in (0, 1).
      where: the runs that count, broadcast against `samples`; a game without any does not count.
      num_resamples: bootstrap resamples, at least 1.
      seed: of the resampling, at least 0; the same seed gives the same interval.

    Returns:
      Arrays [...]. One game has NaN ends, none a NaN mean too; a non-finite number that counts
      makes all three NaN. Equal games give an interval of width zero, exactly.

    Raises:
      ValueError: `samples` has fewer than two axes, or an option is out of its range.
    """
    samples = np.asarray(samples, np.float64)
    is_sample = samples.ndim >= 2
    _checks.require(is_sample, "samples", f"shape {samples.shape}", "be [game, seed, ...]")
    of_games = describe(samples, 1, where)
    return of_means(of_games.mean, of_games.number > 0, level, num_resamples, seed)


def of_means(
    means: np.ndarray, counts: np.ndarray, level: float, num_resamples: int = 1000, seed: int = 0
) -> Estimate:
    """What `cluster_interval` gives from means of games [game, ...], of those that count."""
    check_level(level)
    num_resamples = _checks.whole("num_resamples", num_resamples)
    seed = _checks.whole("seed", seed, low=0)
    columns = means.reshape(len(means), -1)
    value, low, high = found = np.full((3, columns.shape[1]), np.nan)
    # Columns that have the same games are resampled together.
    patterns, which = np.unique(counts.reshape(columns.shape), axis=1, return_inverse=True)
    for at in range(patterns.shape[1]):
        mine, games = which.ravel() == at, patterns[:, at]
        chosen = columns[games][:, mine]
        value[mine] = describe(chosen, 0).mean
        if games.sum() > 1:
            spread = resampling.spread(
                itself, chosen, num_resamples=num_resamples, seed=seed, noise=NOISE
            )
            _, low[mine], high[mine] = resampling.equal_tailed(spread, level)
    return Estimate(*found.reshape(3, *means.shape[1:]))


def itself(mean: Array) -> Array:
    """The statistic: the mean over games."""
    return mean
