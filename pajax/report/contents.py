"""Datasets to tables of words: how far a study is, its games, and its results.

Of a study of many games, which are a sample, the results are means over games with intervals that
speak of the population they come from; and, as an example, those in the first game.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from pajax import statistics, tables
from pajax.printing import DASH, Table
from pajax.statistics import Estimate
from pajax.studies import kept
from pajax.studies.results import is_moments, was_run

#: Games that still get a table each.
MOST_GAMES = 4


class State(NamedTuple):
    """How far a study is."""

    is_finished: bool
    words: str


def state(ds: xr.Dataset) -> State:
    """How many runs were done, and how many have numbers that are not finite."""
    done = int(statistics.num_runs(ds).sum())
    asked = statistics.num_seeds(ds) * ds.sizes["game"] * ds.sizes["agent"] * ds.sizes["mechanism"]
    number = f"all {asked:,}" if done == asked else f"{done:,} of {asked:,}"
    words = f"{number} runs are done"
    bad = _num_non_finite(ds)
    if bad:
        words += f"; {bad:,} of them ended with numbers that are not finite"
    return State(done == asked, words)


def games(ds: xr.Dataset) -> Table:
    """What is known exactly of each game, or of many, and their range."""
    names = {
        "num_states": "S",
        "num_actions": "A",
        "horizon": "H",
        "optimal_welfare": "W*",
        "agent_value": "rho.V0",
        "laissez_faire_welfare": "laissez-faire welfare",
        "smallest_welfare_gap": "smallest welfare gap",
        "path_coverage": "coverage of the optimal path",
    }
    values = np.array([ds[name].to_numpy() for name in names], np.float64)
    rows, title = _each_game(ds, values), "Games, exactly"
    if ds.sizes["game"] > MOST_GAMES:
        rows, title = _ranges(values), f"{ds.sizes['game']:,} games, exactly"
    note = (
        "W*: the optimal welfare of an episode. rho.V0: what the agent earns by itself. "
        "Laissez-faire: the welfare when nothing is paid and the agent has learned. Coverage: the "
        "least probability that an episode of the welfare optimum visits a (h, s) that matters."
    )
    return Table(title, ["game", *names.values()], rows, 1, [note])


def results(ds: xr.Dataset) -> list[Table]:
    """The numbers a study is judged by, with their intervals."""
    if ds.sizes["game"] <= MOST_GAMES:
        return _of_each_game(ds)
    return [_over_games(ds), *_of_each_game(ds.isel(game=[0]))]


def _num_non_finite(ds: xr.Dataset) -> int:
    if is_moments(ds):
        return round(float((ds["share_non_finite"] * ds["num_runs"]).sum()))
    return int((((ds["status"] & kept.NON_FINITE) > 0) & was_run(ds)).sum())


def _each_game(ds: xr.Dataset, values: np.ndarray) -> list[list[str]]:
    labels = (str(label) for label in ds["game"].to_numpy())
    return [[label, *map(number, row)] for label, row in zip(labels, values.T, strict=True)]


def _ranges(values: np.ndarray) -> list[list[str]]:
    named = {"least": np.min, "median": np.median, "largest": np.max}
    return [[name, *map(number, of(values, axis=1))] for name, of in named.items()]


def _of_each_game(ds: xr.Dataset) -> list[Table]:
    return tables.table(ds).as_tables()


def _over_games(ds: xr.Dataset) -> Table:
    """Means over games of what `pajax.statistics.summary` has."""
    num_episodes = int(ds["episode"][-1])
    last = ds.isel(episode=-1, drop=True).assign(late_share=100.0 * statistics.late_share(ds))
    last = last.assign({name: last[name] / num_episodes for name in _RATES})
    columns = {"growth exponent": statistics.exponent_over_games(ds)}
    columns |= {
        words: statistics.mean_over_games(last, name) for name, words in (_RATES | _ENDS).items()
    }
    note = (
        "[low, high]: 95 % intervals for the mean over the population of games that these are a "
        f"sample of, games being replicates, at K = {num_episodes:,} episodes, each on its own. "
        "Payment and what the principal nets: an episode. Late share: over the last tenth of the "
        f"episodes. {DASH}: does not exist."
    )
    title = f"Means over {ds.sizes['game']:,} games"
    return Table(title, ["agent", "mechanism", *columns], by_cell(columns), 2, [note])


_RATES = {
    "welfare_regret": "regret per episode",
    "payment": "payment",
    "principal_utility": "principal nets",
}
_ENDS = {"late_share": "late share of W*, %", "transfer_error": "transfer error"}


def by_cell(columns: dict[str, Estimate]) -> list[list[str]]:
    """A row for each agent and mechanism, with an interval in each column."""
    parts = {
        name: [part.transpose("agent", "mechanism").to_numpy() for part in estimate]
        for name, estimate in columns.items()
    }
    like = next(iter(columns.values())).value
    return [
        [str(agent), str(mechanism), *(interval(*(p[a, m] for p in x)) for x in parts.values())]
        for a, agent in enumerate(like["agent"].to_numpy())
        for m, mechanism in enumerate(like["mechanism"].to_numpy())
    ]


def interval(value: float, low: float, high: float) -> str:
    """A number and its interval."""
    if not np.isfinite(value):
        return DASH
    return f"{number(value)} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """A number to three digits; whole ones with all of theirs."""
    if not np.isfinite(value):
        return DASH
    is_whole = abs(value) >= 100 or float(value).is_integer()
    return f"{value:,.0f}" if is_whole else f"{value:#.3g}"
