"""Intervals, growth exponents, comparisons and the summary of a study.

What an interval speaks about. The seeds of a study are independent replicates of one cell: one
agent under one mechanism in one game. The games of a study may be a sample of a population of
games: they are clusters of runs. So there are two kinds of intervals,

- over seeds, `mean_interval`, `growth_exponent`, `local_exponents`, `simultaneous_band`, and
  `X_over_runs` of a Dataset: a parameter of one cell, over all the seeds one might have drawn; it
  says nothing about other games
- over games, `cluster_interval`, and `X_over_games`: a mean over the population of games

each covering its parameter with about the stated probability. Each is for one number, on its own,
unless its docstring says that it is simultaneous. How well each covers, by simulation, is in
`benchmarks/statistics_calibration.py`.

All functions are pure; a number that does not exist is NaN, not an exception. A Dataset is what
`pajax.study` returns (`pajax.statistics.cells` says which of its runs count, and what becomes of
moments); it is read and never changed.
"""

from pajax.statistics.bands import simultaneous_band
from pajax.statistics.cells import (
    band_over_runs,
    exponent_over_games,
    exponent_over_runs,
    local_exponents_over_runs,
    mean_over_games,
    mean_over_runs,
    num_runs,
    num_seeds,
    replicates,
    runs_in_words,
)
from pajax.statistics.clusters import cluster_interval
from pajax.statistics.comparisons import compare, holm, sign_flip_test
from pajax.statistics.estimates import (
    Estimate,
    Replicates,
    clopper_pearson,
    mean_interval,
    t_interval,
)
from pajax.statistics.exponents import growth_exponent, local_exponents
from pajax.statistics.horizons import by_horizon
from pajax.statistics.shares import late_share, welfare_share
from pajax.statistics.summaries import summary

__all__ = [
    "Estimate",
    "Replicates",
    "band_over_runs",
    "by_horizon",
    "clopper_pearson",
    "cluster_interval",
    "compare",
    "exponent_over_games",
    "exponent_over_runs",
    "growth_exponent",
    "holm",
    "late_share",
    "local_exponents",
    "local_exponents_over_runs",
    "mean_interval",
    "mean_over_games",
    "mean_over_runs",
    "num_runs",
    "num_seeds",
    "replicates",
    "runs_in_words",
    "sign_flip_test",
    "simultaneous_band",
    "summary",
    "t_interval",
    "welfare_share",
]
