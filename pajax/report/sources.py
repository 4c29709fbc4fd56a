"""What a page is made of: Datasets, and what the stores that they come from know besides."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from pajax import _checks
from pajax.studies import files, manifest
from pajax.studies.manifest import Manifest

Given = xr.Dataset | str | os.PathLike[str]

PAGE = "report.html"
_FILES = (".npz", ".nc", ".zarr")


class Source(NamedTuple):
    """A study, and where it was found."""

    name: str  # for people
    dataset: xr.Dataset
    manifest: Manifest | None  # of its store


def read(given: Given) -> Source:
    """A Dataset, a file of `pajax.save` or the folder of a store, finished or not.

    Raises:
      FileNotFoundError, NotADirectoryError: there is none of these.
      ValueError: it is damaged.
    """
    if isinstance(given, xr.Dataset):
        return _checked(Source("Study", given, None))
    path = Path(given).absolute()
    if is_store(path):
        content = Manifest.read(Path(given))
        return Source(path.name, files.load(path), content)
    return _checked(Source(f"{path.parent.name}/{path.name}", files.load(path), None))


def place(given: Sequence[Given]) -> Path:
    """Where a page belongs: in the folder of its store, or beside its file; else here."""
    if len(given) > 1 or isinstance(given[0], xr.Dataset):
        return Path(PAGE)
    path = Path(given[0])
    return path / PAGE if is_store(path) else path.with_suffix(".html")


def _checked(source: Source) -> Source:
    """The same, if it is of a study."""
    is_of_study = {"spec", "num_episodes", "pajax"} <= set(source.dataset.attrs)
    rule = "have the attributes that pajax.study gives a Dataset"
    _checks.require(is_of_study, "ds_or_path", source.name, rule)
    return source


def is_store(path: Path) -> bool:
    """Whether a place can only be that of a store: it has a manifest, or no name of a file."""
    return (path / manifest.NAME).exists() or path.suffix not in _FILES
