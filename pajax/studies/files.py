"""Datasets in files, whole or not at all, and back as they were."""

import contextlib
import errno
import importlib.util
import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pajax import _checks
from pajax.studies import archive, manifest
from pajax.studies.results import make_dataset
from pajax.studies.store import Store

_FORMAT = 1
#: The attribute of a netCDF file or Zarr folder that says how to have the Dataset back.
_HEADER = "pajax_save"
#: What a damaged or foreign file raises when it is read.
_UNREADABLE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a Dataset, whole or not at all; the end of the name says in which format.

    - `.npz`: one NumPy archive, without pickles.
    - `.nc`: one netCDF 4 file, compressed, for other programs too; needs the extra `io`.
    - `.zarr`: a folder in Zarr 2, for other programs too; needs the extra `io`.

    Values, dtypes, coordinates and attributes come back as they were; an attribute that is neither
    text nor a number is JSON text in the last two. Equal Datasets in the same order give the same
    bytes, with the same versions of the libraries. A file is replaced in one step; a folder cannot
    be, and is not.

    Args:
      dataset: of plain numbers and text.
      path: where, ending in .npz, .nc or .zarr.

    Returns:
      The path.

    Raises:
      ValueError: the name ends otherwise, or the Dataset holds Python objects.
      ImportError: what the format needs is not installed.
      FileExistsError: there is such a folder already.
      OSError: the place cannot be written.
    """
    path = Path(path)
    form = _form(path)
    is_plain = not any(v.dtype.hasobject for v in dataset.variables.values())
    _checks.require(is_plain, "dataset", "objects", "be plain")
    form.write(dataset, path)
    return path


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a Dataset that `save` wrote, or all that the store of a study has finished.

    Args:
      path: a file, or the folder of a store.

    Raises:
      ValueError: it is not one of these, or damaged, or of a newer format.
      ImportError: what the format needs is not installed.
      FileNotFoundError: there is nothing of that name.
    """
    path = Path(path)
    if (path / manifest.NAME).exists():
        store = Store.read(path)
        return make_dataset(store.outline, store)
    form = _form(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        number, dataset = form.read(path)
    except PermissionError:
        raise
    except _UNREADABLE as error:
        rule = "be undamaged and written by pajax.save"
        raise ValueError(f"path: got {path}, must {rule}") from error
    _checks.require(number <= _FORMAT, "path", path, f"have format at most {_FORMAT}")
    return dataset


class _Form(NamedTuple):
    """A format of files."""

    write: Callable[[xr.Dataset, Path], None]
    read: Callable[[Path], tuple[int, xr.Dataset]]  # the number of the format, and what it holds
    packages: tuple[str, ...]  # of the extra `io`


def _form(path: Path) -> _Form:
    """The format that a name asks for."""
    forms = {
        ".npz": _Form(_write_npz, _read_npz, ()),
        ".nc": _Form(_write_netcdf, _read_netcdf, ("h5netcdf", "h5py")),
        ".zarr": _Form(_write_zarr, _read_zarr, ("zarr",)),
    }
    _checks.require(path.suffix in forms, "path", path, "end in .npz, .nc or .zarr")
    form = forms[path.suffix]
    for package in form.packages:
        if importlib.util.find_spec(package) is None:
            need = f"{path.suffix} needs {package}, not installed"
            raise ImportError(f"{need}: pip install 'pajax[io]'")
    return form


def _write_npz(dataset: xr.Dataset, path: Path) -> None:
    # in C order, so that the layout in memory does not show
    in_order = lambda variable: np.asarray(variable.values, order="C")  # noqa: E731
    arrays = {f"data/{name}": in_order(v) for name, v in dataset.data_vars.items()}
    arrays |= {f"coordinate/{name}": in_order(v) for name, v in dataset.coords.items()}
    header = {
        "format": _FORMAT,
        "dimensions": {str(name): list(v.dims) for name, v in dataset.variables.items()},
        "attributes": dict(dataset.attrs),
    }
    arrays["header"] = np.array(json.dumps(header, default=_as_plain))
    with archive.atomic_file(path) as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def _read_npz(path: Path) -> tuple[int, xr.Dataset]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as members:
        header = json.loads(str(members["header"]))
        found: dict[str, dict[str, Any]] = {"data": {}, "coordinate": {}}
        for full_name in [name for name in members.files if name != "header"]:
            kind, name = full_name.split("/", 1)
            found[kind][name] = (header["dimensions"][name], members[full_name])
    dataset = xr.Dataset(found["data"], found["coordinate"], header["attributes"])
    return header["format"], dataset


def _write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    encoding = _encoding(dataset)
    for name, variable in dataset.variables.items():
        if variable.ndim and variable.dtype.kind in "fiu":
            encoding.setdefault(name, {}).update(zlib=True, complevel=4, shuffle=True)
    # in memory first, because HDF5 brings the process down when the disk is full
    image = io.BytesIO()
    _packed(dataset).to_netcdf(image, engine="h5netcdf", encoding=encoding)
    with archive.atomic_file(path) as file:
        file.write(image.getbuffer())


def _read_netcdf(path: Path) -> tuple[int, xr.Dataset]:
    return _unpacked(xr.load_dataset(path, engine="h5netcdf"))


def _write_zarr(dataset: xr.Dataset, path: Path) -> None:
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with _atomic_folder(path) as folder:
        # the third format of Zarr has no text of fixed length yet
        options = {"zarr_format": 2, "consolidated": True, "encoding": _encoding(dataset)}
        _packed(dataset).to_zarr(folder, **options)


def _read_zarr(path: Path) -> tuple[int, xr.Dataset]:
    return _unpacked(xr.load_dataset(path, engine="zarr", consolidated=True))


def _encoding(dataset: xr.Dataset) -> dict[Hashable, dict[str, Any]]:
    """No number stands for a missing one, so that every bit comes back."""
    variables = dataset.variables.items()
    return {name: {"_FillValue": None} for name, v in variables if v.dtype.kind == "f"}


def _packed(dataset: xr.Dataset) -> xr.Dataset:
    """With attributes that netCDF has types for, and one that says how to have it back."""
    packed = dataset.drop_encoding()
    packed.attrs.pop(_HEADER, None)  # of a file that was read by others
    others = {
        name: json.dumps(value, default=_as_plain)
        for name, value in packed.attrs.items()
        if type(value) not in (str, int, float)
    }
    header = {"format": _FORMAT, "json": list(others), "checksum": _checksum(packed)}
    packed.attrs |= others | {_HEADER: json.dumps(header)}
    return packed


def _unpacked(packed: xr.Dataset) -> tuple[int, xr.Dataset]:
    """What was packed, and the number of the format."""
    dataset = packed.drop_encoding()
    attributes = {name: _as_plain(value) for name, value in packed.attrs.items()}
    header = json.loads(attributes.pop(_HEADER))
    dataset.attrs = attributes | {name: json.loads(attributes[name]) for name in header["json"]}
    if header["format"] <= _FORMAT and header["checksum"] != _checksum(dataset):
        raise ValueError("the checksum does not match")
    return header["format"], dataset


def _checksum(dataset: xr.Dataset) -> int:
    """CRC-32 of all that is kept; neither HDF5 nor Zarr would notice every changed bit."""
    found = zlib.crc32(json.dumps(dataset.attrs, default=_as_plain, sort_keys=True).encode())
    for name in sorted(map(str, dataset.variables)):
        variable = dataset[name]
        is_text = variable.dtype.kind == "U"  # whose width is not kept
        values = variable.to_numpy()
        content = json.dumps(values.tolist()).encode() if is_text else values.tobytes()
        about = [name, variable.dims, variable.shape, "U" if is_text else variable.dtype.str]
        found = zlib.crc32(content, zlib.crc32(json.dumps(about).encode(), found))
    return found


@contextlib.contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path` when the block ends, and not at all if it raises."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        for name in part.rglob("*"):
            if name.is_file():
                with open(name, "rb") as file:
                    os.fsync(file.fileno())
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _as_plain(value: Any) -> Any:
    """NumPy values as JSON can hold them."""
    return np.asarray(value).tolist()
