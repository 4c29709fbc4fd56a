"""The `xarray.Dataset` of a study.

Dimensions are `game, agent, mechanism, seed, episode`; `game` has a number or, in studies of
several named games, a label; `episode` holds the checkpoints. Variables are cumulative from the
first episode to the checkpoint, in float64, unless said:

- `welfare_regret`: (T1), along the trajectory: exact mean, no reward noise, never decreasing
- `realised_regret`: episodes times W*, less the welfare drawn
- `principal_regret`: the principal's regret against W* - rho . V0 (T3), along the trajectory:
  welfare regret and payments beyond tau*, exact mean, no reward noise
- `agent_regret`: the agent's regret under the contracts it was posted (T1)
- `payment`: from the principal to the agent
- `principal_utility`: v as drawn, less payments
- `off_target`: steps whose contract had a target that was not played
- `phase_one`: episodes in which the mechanism was estimating
- `contracts`: that came into force outside phase one, the unchanged ones not again
- `phase_one_length`: at the end, without the episode dimension
- `status`: at the end: 0, or the sum of 1 (numbers not finite), 2 (unresolved transfers) and 4 (not
  run yet)

and, not cumulative, at the checkpoint:

- `contract_age`: episodes since the contract in force was posted
- `contract_regret`: the agent's regret in them
- `coverage`: least share of the episodes so far that visited a (h, s) which the welfare optimum
  visits with probability 0.01 at least (A2)
- `transfer_error`: mean |estimate - tau*| over resolved transfers; NaN if there are none
- `worst_transfer_error`: the largest of them
- `unresolved`: number of transfers not resolved

For each game, exact: optimal_welfare W*, agent_value rho . V0 and laissez_faire_welfare, the
welfare of the agent's optimum without transfers; smallest_welfare_gap, path_coverage and
laissez_faire_coverage, as in `pajax.hardness`; and the sizes horizon, num_states, num_actions. For
each game and mechanism, the `terms` that a mechanism has for the bounds on it, such as `width`; NaN
for a mechanism that has none. All are in reward units; an episode has at most 2 H of welfare.

With keep="moments" there is no `seed`: NAME is the mean over the runs of a game, NAME_sd their
standard deviation (n - 1), NAME_quantile their quantiles (`pajax.studies.moments` says how
exactly), and in place of the status there are `num_runs`, `share_non_finite` and
`share_unresolved`. A mean that a run without a finite number would enter is NaN, but for the two
errors of transfers, which are over the NAME_runs that have one.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from pajax.studies import kept
from pajax.studies.kept import Shard
from pajax.studies.outline import OF_GAMES, SIZES, Cell, Outline

DIMENSIONS = ("game", "agent", "mechanism", "seed", "episode")


class Shelf(Protocol):
    """Where the finished shards of a study are."""

    def shards(self, cell: Cell) -> Iterator[Shard]:
        """Those of a cell."""
        ...


def make_dataset(outline: Outline, shelf: Shelf) -> xr.Dataset:
    """The Dataset of all that a shelf has of a study."""
    way, made_with = kept.WAYS[outline.keep], Made()
    cells = {}
    for cell in outline.cells:
        shape = len(outline.groups[cell.group]), outline.num_seeds, len(outline.record)
        cells[cell] = way.join(made_with.look(shelf.shards(cell)), shape)
    names = next(iter(cells.values()))
    variables: dict[str, Any] = {
        name: (("game", "agent", "mechanism", *way.dims(name)), _gathered(outline, cells, name))
        for name in names
    }
    for name in OF_GAMES:
        of_groups = [getattr(group, name) for group in outline.groups.values()]
        variables[name] = ("game", np.concatenate(of_groups))
    for name in SIZES:
        of_groups = [np.full(len(x), getattr(x, name)) for x in outline.groups.values()]
        variables[name] = ("game", np.concatenate(of_groups))
    for name, values in _terms(outline).items():
        variables[name] = (("game", "mechanism"), values)
    coordinates = {
        "game": outline.labels,
        "agent": np.array([*outline.agents], str),
        "mechanism": np.array([*outline.mechanisms], str),
        "episode": np.array(outline.record, np.int64),
    }
    if outline.keep == "seeds":
        coordinates["seed"] = np.arange(outline.num_seeds)
    else:
        coordinates["quantile"] = np.array(kept.QUANTILES)
    return xr.Dataset(variables, coordinates, attributes(outline) | made_with.summary())


def _gathered(outline: Outline, cells: Mapping[Cell, kept.Arrays], name: str) -> np.ndarray:
    """A variable of all cells, [game, agent, mechanism, ...]."""
    of = lambda *cell: cells[Cell(*cell)][name]  # noqa: E731
    return np.concatenate(
        [
            np.stack(
                [np.stack([of(g, a, m) for m in outline.mechanisms], 1) for a in outline.agents], 1
            )
            for g in outline.groups
        ]
    )


def _terms(outline: Outline) -> dict[str, np.ndarray]:
    """The terms of mechanisms by name, [game, mechanism], NaN where one has none."""
    found = {
        name: np.full((len(outline.labels), len(outline.mechanisms)), np.nan)
        for of_group in outline.terms.values()
        for terms in of_group.values()
        for name in terms
    }
    ends = np.cumsum([len(group) for group in outline.groups.values()])
    for m, mechanism in enumerate(outline.mechanisms):
        for (group, games), end in zip(outline.groups.items(), ends, strict=True):
            for name, values in outline.terms.get(mechanism, {}).get(group, {}).items():
                found[name][end - len(games) : end, m] = values
    return found


class Made:
    """With what shards were made."""

    def __init__(self) -> None:
        self._found: dict[str, set[str]] = {name: set() for name in ("device", "jax", "pajax")}

    def look(self, shards: Iterator[Shard]) -> Iterator[Shard]:
        """The same shards, noted."""
        for shard in shards:
            for name, values in self._found.items():
                values.add(shard.about[name])
            yield shard

    def summary(self) -> dict[str, str]:
        """Versions and devices, all that there were."""
        return {name: ", ".join(sorted(values)) for name, values in self._found.items()}


def attributes(outline: Outline) -> dict[str, Any]:
    """What a Dataset says of its study: the spec as JSON, and numbers of it."""
    games = {name: group.text for name, group in outline.groups.items()}
    horizons = sorted({group.horizon for group in outline.groups.values()})
    spec = {
        "game": games.get("", games),
        "agents": outline.agents,
        "mechanisms": outline.mechanisms,
        "num_episodes": outline.num_episodes,
        "num_seeds": outline.num_seeds,
        "key": outline.key,
    }
    return {
        "spec": json.dumps(spec),
        "keep": outline.keep,
        "num_episodes": outline.num_episodes,
        "num_seeds": outline.num_seeds,
        "horizon": horizons[0] if len(horizons) == 1 else horizons,
    }


def to_dataframe(dataset: xr.Dataset) -> pd.DataFrame:
    """A Dataset as a tidy table: a row for each run and checkpoint, a column for each variable.

    With keep="moments" a row is a game, agent, mechanism and checkpoint, and a quantile of NAME is
    a column such as `NAME_quantile_0.05`. Coordinates are the first columns. What does not depend
    on the checkpoint (`status`, `optimal_welfare`) is repeated. Runs that were not done have no
    row.

    Args:
      dataset: from `pajax.study`; `pajax.studies.results` has its variables and their units.
    """
    spread = {
        f"{name}_{level:g}": variable.sel(quantile=level, drop=True)
        for name, variable in dataset.data_vars.items()
        if "quantile" in variable.dims
        for level in variable["quantile"].to_numpy()
    }
    spread["is_done"] = was_run(dataset)
    flat = dataset.drop_dims("quantile", errors="ignore").assign(spread)
    order = [name for name in DIMENSIONS if name in flat.dims]
    table = flat.to_dataframe(dim_order=order).reset_index()
    return table.loc[table.pop("is_done")].reset_index(drop=True)


def is_moments(dataset: xr.Dataset) -> bool:
    """Whether the Dataset holds moments of its runs, not the runs."""
    return dataset.attrs.get("keep") == "moments"


def was_run(dataset: xr.Dataset) -> xr.DataArray:
    """Which runs were done, [game, agent, mechanism, seed]; of moments, which cells had any run."""
    if is_moments(dataset):
        return dataset["num_runs"] > 0
    return (dataset["status"] & kept.NOT_RUN) == 0
