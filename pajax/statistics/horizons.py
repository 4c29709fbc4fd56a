"""Studies of several lengths as one Dataset, whose `episode` is the length of a run.

A mechanism whose constants depend on the number of episodes K has a rate in K: what it loses in all
of K episodes, as a function of K. The curve of one run does not show it (the run spends a K-th
part of its phase one in each of its episodes, whatever K is); runs of several lengths do.
"""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from pajax import _checks
from pajax.studies.results import is_moments

#: Of runs, without a checkpoint in any Dataset.
_OF_RUNS = ("status", "phase_one_length")
_SAME = ("game", "agent", "mechanism", "seed")


def by_horizon(datasets: Iterable[xr.Dataset]) -> xr.Dataset:
    """The Dataset whose `episode` is K, from studies that differ in K = num_episodes alone.

    Variables have the value that each study ends with. Those of a game and mechanism (such as
    `width`) depend on K and get the dim `episode`; those of a game are the same for all. A run's
    `status` is of all its lengths together: what happened in one has happened, and a run that was
    not done in one was not done. `phase_one_length` is that of the longest; `phase_one` has it for
    each. Attributes are those of the longest study, and `over_horizons` is true.

    Everything that takes curves takes this: `growth_exponent` of it is the exponent in K, and
    intervals are over whole "curves" again, one a seed. Runs of one seed have the same random
    numbers at every K if the studies have the same key, so they depend on each other, which
    resampling them together respects. With other keys they do not, and intervals cover as well.

    Args:
      datasets: from `pajax.study`, at least one, with the same games, agents, mechanisms and seeds,
        in any order, each with another number of episodes.

    Raises:
      ValueError: they do not match, or hold moments: runs that failed or were not done at one
        length could not be told from the others.
    """
    studies = sorted(datasets, key=lambda ds: int(ds["episode"][-1]))
    _check(studies)
    lengths = np.array([int(ds["episode"][-1]) for ds in studies], np.int64)
    longest = studies[-1]
    variables: dict[Any, Any] = {}
    for name, variable in longest.data_vars.items():
        ends = [_at_end(ds[name]) for ds in studies]
        if name in _OF_RUNS or "mechanism" not in variable.dims:
            variables[name] = ends[-1]
        else:
            variables[name] = xr.concat(ends, xr.DataArray(lengths, dims="episode", name="episode"))
            variables[name] = variables[name].transpose(..., "episode")
    statuses = (ds["status"] for ds in studies)
    variables["status"] = functools.reduce(lambda one, other: one | other, statuses)
    attrs = dict(longest.attrs) | {"over_horizons": True}
    return xr.Dataset(variables, attrs=attrs).assign_coords(episode=lengths)


def _at_end(variable: xr.DataArray) -> xr.DataArray:
    return variable.isel(episode=-1, drop=True) if "episode" in variable.dims else variable


def _check(studies: list[xr.Dataset]) -> None:
    """Raise unless the studies differ in their number of episodes alone."""
    _checks.require(studies, "datasets", "none", "hold at least one Dataset")
    first, *others = studies
    for ds in studies:
        _checks.require(not is_moments(ds), "datasets", 'keep="moments"', 'keep runs ("seeds")')
    for ds in others:
        for dim in _SAME:
            is_same = np.array_equal(ds[dim], first[dim])
            got = f"{ds[dim].to_numpy()} and {first[dim].to_numpy()}"
            _checks.require(is_same, "datasets", got, f"have the same {dim}s in the same order")
        rule = "have the same variables"
        _checks.require(set(ds.data_vars) == set(first.data_vars), "datasets", "others", rule)
        for name, variable in first.data_vars.items():
            if variable.dims == ("game",):
                rule = f"have the same {name}"
                is_same = np.array_equal(variable, ds[name], equal_nan=True)
                _checks.require(is_same, "datasets", "different games", rule)
    lengths = [int(ds["episode"][-1]) for ds in studies]
    is_different = len(set(lengths)) == len(lengths)
    _checks.require(is_different, "datasets", lengths, "have another number of episodes each")
