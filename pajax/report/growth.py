"""What studies of several lengths K say together: how regret grows with K.

A mechanism that is made for its K has a rate in K, which no curve of one run shows; see
`pajax.statistics.horizons`.
"""

import math

import xarray as xr

from pajax import statistics
from pajax.printing import Table
from pajax.report.contents import MOST_GAMES, by_cell

_REGRETS = {"welfare_regret": "welfare regret", "principal_regret": "principal's regret"}


def exponents(ds: xr.Dataset) -> Table:
    """Growth exponents in K of final regrets, of a Dataset from `pajax.statistics.by_horizon`.

    In each cell of the first game, with an interval over seeds; or means over many games.
    """
    lengths = ds["episode"].to_numpy()
    decades = math.log10(lengths[-1] / lengths[0]) + 1e-9
    if ds.sizes["game"] > MOST_GAMES:
        of, about = statistics.exponent_over_games, "the mean over the population of games"
        title = f"means over {ds.sizes['game']} games"
        columns = {words: of(ds, name, decades=decades) for name, words in _REGRETS.items()}
    else:
        first, about = ds.isel(game=0), "the exponent of the mean over seeds, in this one game"
        title = f"game {first['game'].item()}"
        of = statistics.exponent_over_runs
        columns = {words: of(first, name, decades=decades) for name, words in _REGRETS.items()}
    note = (
        f"Slope of log mean final regret on log K, K = {', '.join(f'{k:,}' for k in lengths)}. "
        f"[low, high]: 95 % intervals for {about}, each on its own. The rates of (T8) are 1/2, 2/3 "
        "and 3/4, up to logarithms."
    )
    return Table(
        f"Growth exponents in K, {title}",
        ["agent", "mechanism", *columns],
        by_cell(columns),
        2,
        [note],
    )
