"""Files that are whole or not there: named arrays with a JSON header and a checksum.

An archive is a plain `.npz` without pickles. Its member `header` is JSON text; the entry `checksum`
in it is the SHA-256 of everything else, so that a flipped bit is noticed, not only a truncated
file. Equal content gives equal bytes.
"""

import errno
import hashlib
import json
import os
import secrets
import socket
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pajax import _checks

#: What a damaged or foreign file raises when it is read.
_UNREADABLE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
_PART = ".part"


class DamagedError(ValueError):
    """A file is not what was written, or not an archive at all."""


def write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive, whole or not at all.

    Raises:
      ValueError: an array holds Python objects.
      OSError: it cannot be written; what was at `path` is as it was.
    """
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # NumPy before 2.2 takes `savez(allow_pickle=False)` for an array of that name
    objects = [name for name, array in plain.items() if array.dtype.hasobject]
    _checks.require(not objects, "arrays", ", ".join(objects), "hold no Python objects")
    as_read = json.loads(json.dumps(dict(header)))
    text = json.dumps(as_read | {"checksum": _checksum(as_read, plain)}, sort_keys=True)
    members: dict[str, Any] = {"header": np.array(text), **plain}
    with atomic_file(path) as file:
        np.savez(file, **members)


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of an archive, checked.

    Raises:
      DamagedError: the file is damaged.
      OSError: it is not there, or cannot be read.
    """
    header, arrays = _read(path, None)
    if header.pop("checksum", None) != _checksum(header, arrays):
        raise DamagedError(f"{path}: the checksum does not match")
    return header, arrays


def peek(path: Path, names: Iterable[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and some arrays, without reading the rest; raises as `read` but for the checksum."""
    return _read(path, list(names))


def _read(path: Path, names: list[str] | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            chosen = [name for name in archive.files if name != "header"]
            arrays = {name: archive[name] for name in (chosen if names is None else names)}
    except (*_UNREADABLE, OSError) as error:
        # a damaged directory may send the reader to a place before the file
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise DamagedError(f"{path}: not an archive ({error})") from error
    if not isinstance(header, dict):
        raise DamagedError(f"{path}: not an archive (no header)")
    return header, arrays


def _checksum(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value as text for people, whole or not at all."""
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """A JSON value.

    Raises:
      DamagedError: the file is not JSON.
      OSError: it is not there, or cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedError(f"{path}: not JSON ({error})") from error


class atomic_file:  # noqa: N801, used as a function
    """A binary file that appears at `path` when the block ends, and not at all if it raises."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        self._file = open(self._path.with_name(self._path.name + _suffix()), "wb")
        return self._file

    def __exit__(self, kind: Any, *_: Any) -> None:
        part = Path(self._file.name)
        try:
            with self._file:  # closed also if the disk is full
                if kind is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            if kind is None:
                os.replace(part, self._path)
        finally:
            part.unlink(missing_ok=True)


def _suffix() -> str:
    """What tells an unfinished file from any other, and whose it is."""
    return f".{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}{_PART}"


def remove_parts(folder: Path) -> None:
    """Remove unfinished files in a folder that processes of this machine left when they died."""
    for path in folder.rglob(f"*.{socket.gethostname()}.*{_PART}"):
        if not _is_alive(path.name.split(".")[-3]):
            path.unlink(missing_ok=True)


def is_alive(host: str, pid: int) -> bool | None:
    """Whether a process is running; None if it is of another machine."""
    return _is_alive(str(pid)) if host == socket.gethostname() else None


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True
    return True
