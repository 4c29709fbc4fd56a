"""Records as an `xarray.Dataset`, and the Dataset on disk.

Dimensions are `game, agent, mechanism, seed, episode`; `episode` holds the checkpoints. Variables
are cumulative from the first episode to the checkpoint, in float64, unless said:

    welfare_regret     (T1), along the trajectory: exact mean, no reward noise, never decreasing
    realised_regret    episodes times W*, less the welfare drawn
    agent_regret       the agent's regret under the contracts it was posted (T1)
    payment            from the principal to the agent
    principal_utility  v as drawn, less payments
    off_target         steps whose contract had a target that was not played
    phase_one          episodes in which the mechanism was estimating
    transfer_error     at the checkpoint: mean |estimate - tau*| over resolved transfers, or NaN
    unresolved         at the checkpoint: number of transfers not resolved
    phase_one_length   at the end, without the episode dimension
    status             at the end: 0, or the sum of 1 (numbers not finite), 2 (unresolved transfers)
                       and 4 (not run: the study was interrupted)

and for each game: optimal_welfare W*, agent_value rho . V0 and laissez_faire_welfare, the welfare
of the agent's optimum without transfers. All are in reward units; an episode has at most 2 H of
welfare.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from pajax import _checks, planning
from pajax.game import Game
from pajax.ledger import Record

NON_FINITE, UNRESOLVED, NOT_RUN = 1, 2, 4
DIMENSIONS = ("game", "agent", "mechanism", "seed", "episode")
_AT_CHECKPOINT = ("transfer_error", "unresolved")
_SUMMED = (
    "welfare_regret",
    "agent_regret",
    "payment",
    "principal_utility",
    "off_target",
    "phase_one",
)
_FORMAT = 1
#: What a damaged or foreign file raises when it is read.
_UNREADABLE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def cumulate(record: Record, ends: np.ndarray, checkpoints: np.ndarray) -> dict[str, np.ndarray]:
    """Variables [..., episode] of a record whose arrays are [I, ...] sums over intervals.

    Args:
      record: from `simulate`, or the same as NumPy arrays.
      ends: [I], the episode at which each interval ends.
      checkpoints: some of `ends`; the others are only summed over.
    """
    chosen = np.searchsorted(ends, checkpoints)
    fields = {name: np.asarray(value, np.float64) for name, value in record._asdict().items()}
    at_end = {name: fields.pop(name) for name in _AT_CHECKPOINT}
    sums = {name: value.cumsum(0) for name, value in fields.items()}
    return {name: np.moveaxis(value[chosen], 0, -1) for name, value in {**sums, **at_end}.items()}


def make_dataset(
    cells: Mapping[tuple[str, str], dict[str, np.ndarray]],
    game: Game,
    *,
    agents: Sequence[str],
    mechanisms: Sequence[str],
    num_seeds: int,
    checkpoints: np.ndarray,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """The Dataset of a study.

    Args:
      cells: variables [G, seed, episode] by (agent, mechanism); a missing cell becomes NaN.
      game: the games, G of them on lanes, or one.
      agents: names, in order.
      mechanisms: names, in order.
      num_seeds: replicates of each game.
      checkpoints: episode counts.
      attributes: strings and numbers that say how the study was run.
    """
    optimal, own, left_alone = (np.atleast_1d(_float64(x)) for x in _reference_values(game))
    shape = (len(optimal), len(agents), len(mechanisms), num_seeds, len(checkpoints))
    names = (*_SUMMED, "realised_welfare", *_AT_CHECKPOINT)
    values = {name: np.full(shape, np.nan) for name in names}
    was_run = np.zeros(shape[:-1], bool)
    for (agent, mechanism), variables in cells.items():
        at = (slice(None), list(agents).index(agent), list(mechanisms).index(mechanism))
        was_run[at] = True
        for name in names:
            values[name][at] = variables[name]
    welfare = values.pop("realised_welfare")
    values["realised_regret"] = checkpoints * optimal[:, None, None, None, None] - welfare
    variables: dict[str, Any] = {name: (DIMENSIONS, value) for name, value in values.items()}
    variables["phase_one_length"] = (DIMENSIONS[:-1], values["phase_one"][..., -1])
    variables["status"] = (DIMENSIONS[:-1], _status(values, was_run))
    per_game = {"optimal_welfare": optimal, "agent_value": own, "laissez_faire_welfare": left_alone}
    variables |= {name: (("game",), value) for name, value in per_game.items()}
    coordinates = {
        "game": np.arange(shape[0]),
        "agent": np.array(agents, str),
        "mechanism": np.array(mechanisms, str),
        "seed": np.arange(num_seeds),
        "episode": np.asarray(checkpoints, np.int64),
    }
    return xr.Dataset(variables, coordinates, dict(attributes))


@jax.jit
def _reference_values(game: Game) -> tuple[Array, Array, Array]:
    """W*, rho . V0, and the welfare of the agent's optimum without transfers."""
    return (
        planning.expected(game, planning.welfare_values(game)),
        planning.expected(game, planning.agent_values(game)),
        planning.policy_welfare(game, planning.best_response(game)),
    )


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a Dataset to one `.npz` file without pickles, whole or not at all.

    Raises:
      ValueError: the name does not end in `.npz`.
      OSError: the place cannot be written.
    """
    path = _npz(path)
    arrays = {f"data/{name}": np.asarray(v.values) for name, v in dataset.data_vars.items()}
    arrays |= {f"coordinate/{name}": np.asarray(v.values) for name, v in dataset.coords.items()}
    header = {
        "format": _FORMAT,
        "dimensions": {str(name): list(v.dims) for name, v in dataset.variables.items()},
        "attributes": dict(dataset.attrs),
    }
    _checks.require(
        not any(array.dtype.hasobject for array in arrays.values()),
        "dataset",
        "objects",
        "be plain",
    )
    arrays["header"] = np.array(json.dumps(header, default=_as_plain))
    with atomic_file(path) as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a Dataset that `save` wrote.

    Raises:
      ValueError: the file is not one of these, or of a newer format.
      FileNotFoundError: there is no such file.
    """
    path = _npz(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            is_known = header["format"] <= _FORMAT
            found: dict[str, dict[str, Any]] = {"data": {}, "coordinate": {}}
            for full_name in [name for name in archive.files if name != "header"]:
                kind, name = full_name.split("/", 1)
                found[kind][name] = (header["dimensions"][name], archive[full_name])
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise ValueError(f"path: got {path}, must be a file written by pajax.save") from error
    _checks.require(is_known, "path", path, f"have format at most {_FORMAT}")
    return xr.Dataset(found["data"], found["coordinate"], header["attributes"])


class atomic_file:  # noqa: N801, used as a function
    """A binary file that appears at `path` when the block ends, and not at all if it raises."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        self._file = open(self._path.with_name(f"{self._path.name}.{os.getpid()}.part"), "wb")
        return self._file

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            os.replace(self._file.name, self._path)
        else:
            os.unlink(self._file.name)


def _status(values: Mapping[str, np.ndarray], was_run: np.ndarray) -> np.ndarray:
    names = (*_SUMMED, "realised_regret")
    is_finite = np.all([np.isfinite(values[name]).all(-1) for name in names], axis=0)
    has_unresolved = values["unresolved"][..., -1] > 0
    status = NON_FINITE * (was_run & ~is_finite) + UNRESOLVED * has_unresolved
    return (status + NOT_RUN * ~was_run).astype(np.int8)


def _as_plain(value: Any) -> Any:
    """NumPy values as JSON can hold them."""
    return np.asarray(value).tolist()


def _npz(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    _checks.require(path.suffix == ".npz", "path", path, "end in .npz")
    return path


def _float64(value: Any) -> np.ndarray:
    return np.asarray(value, np.float64)
