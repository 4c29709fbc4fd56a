"""Paired comparisons on common random numbers.

Runs of a study that share a game and a seed share their random numbers, whatever the agent and the
mechanism. So two mechanisms are compared by the differences d_i of such pairs of runs, which vary
less than the runs do.

- Test. If the two were alike, each d_i were as likely to have the other sign. The p-value is the
  share of the sign flips of all d_i whose |sum| is at least the one found; of all 2^n flips, or of
  so many at random, the identity among them (Phipson and Smyth 2010, "Permutation p-values should
  never be zero"). It is exact if differences are symmetric about 0, as those of alike mechanisms
  are. As a test of a zero mean alone it rejects too often where differences are few and skew.
- Over games the differences are those of the means of games: all runs of a game flip together.
- Holm (1979). Of m p-values the k-th smallest is multiplied by m - k + 1, and made no less than
  those before it. Rejecting where this is below alpha rejects any true hypothesis of the family
  with probability of at most alpha, however they depend on each other.
- Effect sizes. Hedges' g of pairs, J(n - 1) mean(d) / sd(d), with
  J(m) = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)), which makes it unbiased for normal d. And
  the share of pairs in which the first has less, ties left out, by `clopper_pearson`.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.special
import xarray as xr
from numpy.typing import ArrayLike

from pajax import _checks
from pajax.statistics import clusters
from pajax.statistics.estimates import (
    Estimate,
    check_level,
    clopper_pearson,
    describe,
    mean_interval,
)
from pajax.studies.results import is_moments, was_run

#: What the column `game` has of comparisons over all games.
ALL_GAMES = "all"
#: Flips that are made at once.
BLOCK = 2**10


class _Names(NamedTuple):
    """What is compared: two of one kind, beside one of the other."""

    fixed: str
    first: str
    second: str


def compare(
    ds: xr.Dataset,
    *,
    variable: str = "welfare_regret",
    of: str = "mechanism",
    agents: Sequence[str] | None = None,
    mechanisms: Sequence[str] | None = None,
    episode: int | None = None,
    level: float = 0.95,
    num_permutations: int = 2**14,
    seed: int = 0,
) -> pd.DataFrame:
    """Differences between every two mechanisms (or agents) in a variable, pair of runs by pair.

    Args:
      ds: from `pajax.study`.
      variable: one with the dims game, agent, mechanism and seed.
      of: "mechanism" compares mechanisms under each agent, "agent" agents under each mechanism.
      agents: those to take, in this order; all by default.
      mechanisms: likewise.
      episode: the checkpoint; the last by default.
      level: coverage of intervals, in (0, 1).
      num_permutations: all sign flips are made if there are no more, else so many at random; at
        least 2.
      seed: of flips and resamples; the same seed gives the same table.

    Returns:
      A row for each agent (mechanism), two mechanisms (agents), and game; and, if there are several
      games, one over "all" games. Columns:

      - `agent` or `mechanism`, `first`, `second`, `game`
      - `num_pairs`: pairs of runs of which both were done; over games, number of games.
      - `mean_first`, `mean_second`
      - `difference`, `difference_low`, `difference_high`: mean of first less second. In a game the
        t interval of the pairs: it covers the difference of means over seeds, in this game. Over
        games, by `cluster_interval`, the mean difference over the population of games.
      - `p_value`: of no difference, by sign flips.
      - `p_holm`: Holm's correction over all rows with a single game, or over all rows over games:
        two families, each with its own error rate.
      - `effect_size`: Hedges' g of the pairs; infinite if all differ by the same.
      - `share_less`, `share_less_low`, `share_less_high`: share of the pairs (games) in which the
        first has less; that of all that might have been drawn is covered by Clopper and Pearson's.
      - `variance_ratio`: variance of the difference if runs were not paired, over that of the
        pairs: how many times as many unpaired runs would tell as much. Of games likewise; NaN if
        pairs do not vary.

      What too few pairs cannot tell is NaN: interval and variance ratio of one, effect size of two.
      Of moments there are no pairs: in a game the means and their difference are known, and nothing
      else; over games all is known. A number that is not finite makes its rows NaN.

    Raises:
      ValueError: `episode` is no checkpoint, there is nothing to compare, or an option is out of
        its range.
    """
    check_level(level)
    _checks.choice("of", of, ("agent", "mechanism"))
    num_permutations = _checks.whole("num_permutations", num_permutations, low=2)
    last = int(ds["episode"][-1]) if episode is None else episode
    _checks.require(last in ds["episode"], "episode", episode, "be a checkpoint of the Dataset")
    chosen = ds.sel(episode=last)
    for dim, names in (("agent", agents), ("mechanism", mechanisms)):
        chosen = chosen if names is None else chosen.sel({dim: list(names)})
    rule = f"have at least two names along {of!r}"
    _checks.require(chosen.sizes[of] > 1, "ds", f"{chosen.sizes[of]}", rule)
    pairs = _Pairs.of(chosen, variable, of)
    seeds = pairs.in_games(level, num_permutations, seed)
    tables = [seeds.assign(p_holm=holm(seeds["p_value"]))]
    if pairs.games.size > 1:
        games = pairs.over_games(level, num_permutations, seed)
        tables.append(games.assign(p_holm=holm(games["p_value"])))
    return pd.concat(tables, ignore_index=True).reindex(columns=[pairs.fixed, *_COLUMNS])


_COLUMNS = (
    *("first", "second", "game", "num_pairs", "mean_first", "mean_second"),
    *("difference", "difference_low", "difference_high", "p_value", "p_holm", "effect_size"),
    *("share_less", "share_less_low", "share_less_high", "variance_ratio"),
)


def sign_flip_test(
    differences: ArrayLike, *, num_permutations: int = 2**14, seed: int = 0
) -> np.ndarray:
    """Two-sided p-values of a mean of zero, by flipping signs along the first axis.

    Under differences that are independent and symmetric about 0, P(p <= alpha) <= alpha (Phipson
    and Smyth, 2010).

    Args:
      differences: [replicate, ...]; what follows is tested each on its own, with the same flips.
      num_permutations: all flips are made if there are no more (that of all signs changes nothing,
        so 2^(n-1) are enough), else so many at random, the identity among them.
      seed: of random flips.

    Returns:
      [...], at least 1 / (number of flips); NaN where a difference is not finite.

    Raises:
      ValueError: `differences` has no replicate.
    """
    differences = np.asarray(differences, np.float64)
    is_sample = differences.ndim > 0 and len(differences) > 0
    rule = "be [replicate, ...] with at least one replicate"
    _checks.require(is_sample, "differences", f"shape {differences.shape}", rule)
    columns = differences.reshape(len(differences), -1)
    # A flip whose sum is the same but for rounding counts as one at least as large.
    slack = len(columns) * np.finfo(np.float64).eps * np.abs(columns).sum(0)
    least = np.abs(columns.sum(0)) - slack
    larger, number = np.zeros(columns.shape[1]), 0
    for flips in _flips(len(columns), num_permutations, seed):
        larger += (np.abs(flips @ columns) >= least).sum(0)
        number += len(flips)
    found = np.where(np.isfinite(least), larger / number, np.nan)
    return found.reshape(differences.shape[1:])


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's correction (1979) of a family of p-values; NaN counts as no test.

    Where the result is at most alpha, the hypothesis is rejected; with probability of at least
    1 - alpha none that is true is.

    Args:
      p_values: in [0, 1] or NaN, any shape; all are one family.

    Returns:
      Corrected p-values of the same shape, in [0, 1], NaN where they were.
    """
    p_values = np.asarray(p_values, np.float64)
    known = np.isfinite(p_values)
    order = np.argsort(p_values[known], kind="stable")
    factors = np.arange(known.sum(), 0, -1)
    stepped = np.maximum.accumulate(p_values[known][order] * factors)
    found = np.empty(known.sum())
    found[order] = np.minimum(stepped, 1.0)
    corrected = np.full(p_values.shape, np.nan)
    corrected[known] = found
    return corrected


def _flips(number: int, at_most: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of signs [flip, replicate], the identity first; all that differ, or random ones."""
    if 2 ** (number - 1) <= at_most:
        codes = np.arange(2 ** (number - 1))
        for start in range(0, len(codes), BLOCK):
            bits = codes[start : start + BLOCK, None] >> np.arange(number)
            yield 1.0 - 2.0 * (bits & 1)
        return
    rng = np.random.default_rng(seed)
    yield np.ones((1, number))
    for start in range(1, at_most, BLOCK):
        size = min(BLOCK, at_most - start), number
        yield 1.0 - 2.0 * rng.integers(0, 2, size)


class _Pairs(NamedTuple):
    """Runs of the first and of the second of each row, [row, game, seed]; and which are pairs."""

    fixed: str
    names: list[_Names]
    games: np.ndarray
    first: np.ndarray
    second: np.ndarray
    is_pair: np.ndarray
    has_runs: bool  # else each "run" is the mean of a game

    @staticmethod
    def of(ds: xr.Dataset, variable: str, of: str) -> "_Pairs":
        """Every two along a dim, beside each of the other."""
        fixed = "agent" if of == "mechanism" else "mechanism"
        values, was_done = ds[variable], was_run(ds)
        has_runs = not is_moments(ds)
        if not has_runs:
            values, was_done = values.expand_dims("seed"), was_done.expand_dims("seed")
        values, was_done = (
            x.transpose(fixed, of, "game", "seed").to_numpy() for x in (values, was_done)
        )
        one, other = np.array([*itertools.combinations(range(ds.sizes[of]), 2)]).T
        labels = ds[of].to_numpy().tolist()
        names = [
            _Names(beside, labels[i], labels[j])
            for beside in ds[fixed].to_numpy().tolist()
            for i, j in zip(one, other, strict=True)
        ]
        shape = (len(names), *values.shape[2:])
        is_pair = (was_done[:, one] & was_done[:, other]).reshape(shape)
        first, second = (
            np.where(is_pair, values[:, at].reshape(shape), 0.0) for at in (one, other)
        )
        return _Pairs(fixed, names, ds["game"].to_numpy(), first, second, is_pair, has_runs)

    def in_games(self, level: float, num_permutations: int, seed: int) -> pd.DataFrame:
        """Rows of single games: seeds are the replicates."""
        means = [describe(x, -1, self.is_pair).mean for x in (self.first, self.second)]
        interval = mean_interval(self.first - self.second, -1, level, self.is_pair)
        table = _compared(
            self.first, self.second, self.is_pair, interval, level, num_permutations, seed
        )
        if not self.has_runs:
            unknown = np.full(self.is_pair.shape[:-1], np.nan)
            table = dict.fromkeys(table, unknown) | {"difference": interval.value}
            table["num_pairs"] = np.zeros(unknown.shape, int)
        return self._framed(self.games, means, table)

    def over_games(self, level: float, num_permutations: int, seed: int) -> pd.DataFrame:
        """Rows over games: the means of games are the replicates."""
        first, second = (describe(x, -1, self.is_pair).mean for x in (self.first, self.second))
        counts = np.any(self.is_pair, axis=-1, keepdims=False)
        first, second = (np.where(counts, x, 0.0) for x in (first, second))
        means = [describe(x, -1, counts).mean[:, None] for x in (first, second)]
        interval = clusters.of_means((first - second).T, counts.T, level, seed=seed)
        table = _compared(first, second, counts, interval, level, num_permutations, seed)
        table = {name: values[:, None] for name, values in table.items()}
        return self._framed(np.array([ALL_GAMES]), means, table)

    def _framed(
        self, games: np.ndarray, means: list[np.ndarray], table: dict[str, np.ndarray]
    ) -> pd.DataFrame:
        """Arrays [row, game] as columns, beside the names of their rows."""
        columns: dict[str, Any] = {
            self.fixed: [names.fixed for names in self.names for _ in games],
            "first": [names.first for names in self.names for _ in games],
            "second": [names.second for names in self.names for _ in games],
            "game": np.tile(games.astype(object), len(self.names)),
            "mean_first": means[0].ravel(),
            "mean_second": means[1].ravel(),
        }
        return pd.DataFrame(columns | {name: values.ravel() for name, values in table.items()})


def _compared(
    first: np.ndarray,
    second: np.ndarray,
    counts: np.ndarray,
    interval: Estimate,
    level: float,
    num_permutations: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """What replicates along the last axis tell of a difference, those that count."""
    differences = first - second  # 0 for those that do not count: a flip of it changes nothing
    number = counts.sum(-1)
    p_value = sign_flip_test(
        np.moveaxis(differences, -1, 0), num_permutations=num_permutations, seed=seed
    )
    less, differ = ((sign & counts).sum(-1) for sign in (first < second, first != second))
    share = clopper_pearson(less, differ, level)
    is_known = np.isfinite(interval.value)
    unpaired = sum(describe(x, -1, counts).sd ** 2 for x in (first, second))
    spread = describe(differences, -1, counts).sd
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(spread > 0, unpaired / spread**2, np.nan)
        effect = _unbiased(number) * (interval.value / spread)
    found = {
        **dict(zip(("difference", "difference_low", "difference_high"), interval, strict=True)),
        "p_value": p_value,
        "effect_size": effect,
        **dict(zip(("share_less", "share_less_low", "share_less_high"), share, strict=True)),
        "variance_ratio": ratio,
    }
    known = {name: np.where(is_known, values, np.nan) for name, values in found.items()}
    return known | {"num_pairs": number}


def _unbiased(number: np.ndarray) -> np.ndarray:
    """Hedges' J of n - 1 degrees of freedom; NaN for a single pair."""
    freedom = np.where(number > 2, number - 1.0, np.nan)
    logs = scipy.special.gammaln(freedom / 2) - scipy.special.gammaln((freedom - 1) / 2)
    return np.exp(logs) / np.sqrt(freedom / 2)
