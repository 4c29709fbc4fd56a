"""What a study swept: which labels of a Dataset stand for which numbers of a parameter.

A sweep can be told in three ways. A mapping gives numbers to labels of agents, mechanisms or games,
whichever has them. A name is that of a variable of the Dataset that depends on games or mechanisms
alone, such as `margin` or `num_states`; or that of a field in the labels that `pajax.grid` makes,
such as "two-phase(margin=0.1)" or "margin=0.1, memory=blind"; or "episode". What is left of a label
without the field ("two-phase", "memory=blind") names the line to which it belongs.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from pajax import _checks
from pajax.plotting.cells import names

Over = str | Mapping[str, float]

_SWEPT = ("mechanism", "agent", "game")


class Sweep(NamedTuple):
    """A parameter, and where it has which number."""

    name: str
    dim: str  # whose labels have the numbers
    numbers: np.ndarray  # [label], NaN where it has none
    lines: list[str]  # [label], to which line it belongs


def read(ds: xr.Dataset, over: Over) -> Sweep:
    """The sweep of a Dataset; numbers of mechanisms in several games are those in the first.

    Raises:
      ValueError: nothing in the Dataset has the name, or no dimension has the labels.
    """
    if not isinstance(over, str):
        return _of_mapping(ds, over)
    if over == "episode":
        return Sweep("episodes", "episode", ds["episode"].to_numpy(), [""] * ds.sizes["episode"])
    found = _of_variable(ds, over) if over in ds else _of_labels(ds, over)
    rule = "name a variable of games or mechanisms, a field in the labels of a grid, or episode"
    _checks.require(found is not None, "over", repr(over), rule)
    assert found is not None  # for the type
    return found


def _of_mapping(ds: xr.Dataset, numbers: Mapping[str, float]) -> Sweep:
    """Numbers of labels as they are given."""
    dims = [dim for dim in _SWEPT if dim in ds.dims and set(numbers) <= set(ds[dim].to_numpy())]
    rule = "map labels of agents, mechanisms or games to numbers"
    _checks.require(len(dims) > 0 and len(numbers) > 0, "over", list(numbers), rule)
    labels = ds[dims[0]].to_numpy()
    found = np.array([numbers.get(label, np.nan) for label in labels], np.float64)
    return Sweep(dims[0], dims[0], found, [""] * len(labels))


def _of_variable(ds: xr.Dataset, name: str) -> Sweep | None:
    """Numbers that the Dataset has for each mechanism or game."""
    values = ds[name].isel(episode=-1, missing_dims="ignore")
    if "mechanism" in values.dims:
        values = values.isel(game=0, missing_dims="ignore")
    if len(values.dims) != 1 or values.dims[0] not in _SWEPT:
        return None
    dim = str(values.dims[0])
    lines = [_without(label, name) for label in names(ds, dim)]
    numbers = values.to_numpy().astype(np.float64)
    return Sweep(name, dim, numbers, [""] * len(lines) if dim == "game" else lines)


def _of_labels(ds: xr.Dataset, field: str) -> Sweep | None:
    """Numbers that stand in labels."""
    for dim in (dim for dim in _SWEPT if dim in ds.dims):
        numbers = [_number_in(label, field) for label in names(ds, dim)]
        if np.isfinite(numbers).any():
            lines = [_without(label, field) for label in names(ds, dim)]
            return Sweep(field, dim, np.array(numbers), lines)
    return None


def _pattern(field: str) -> str:
    """A field and its value in a label; that of a game may be followed by the number of a game."""
    return rf"(?<![\w.]){re.escape(field)}=([^,()/]+)(?:/\d+)?"


def _number_in(label: str, field: str) -> float:
    """The number of a field, NaN if the label has none."""
    found = re.search(_pattern(field), label)
    try:
        return float(found.group(1)) if found else np.nan
    except ValueError:
        return np.nan


def _without(label: str, field: str) -> str:
    """A label without a field."""
    left = re.sub(_pattern(field) + r"(,\s*)?", "", label)
    return re.sub(r",?\s*\)", ")", left).replace("()", "").strip(", ")
