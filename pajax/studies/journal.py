"""Who works on a store: one small file for each call of a study, which it alone writes.

A file says with what a process computes, which shard it has under way and how far it is, how long
its finished shards took, and how it ended. `pajax status` reads them all.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pajax.studies import archive
from pajax.studies.outline import Cell

#: Seconds between two reports of progress, at least; and how old the last one of a running process
#: of another machine may be.
REPORT_SECONDS, SILENT_SECONDS = 10.0, 600.0
FOLDER = "journals"


class Journal:
    """What this process does for a store; without a folder nobody reads it."""

    def __init__(self, folder: Path | None, about: Mapping[str, Any]) -> None:
        host, pid = socket.gethostname(), os.getpid()
        # two calls of one process are two entries
        name = f"{host}-{pid}-{time.time_ns() // 1_000_000}.json"
        self._path = None if folder is None else folder / FOLDER / name
        self._entry: dict[str, Any] = {"host": host, "pid": pid, **about}
        self._entry |= {"started": time.time(), "updated": 0.0, "state": "running"}
        self._entry |= {"num_shards": 0, "num_pairs": 0, "seconds": 0.0}  # finished

    def begin(self, cell: Cell, num_pairs: int) -> None:
        """A shard is begun."""
        self._entry["now"] = {"cell": cell._asdict(), "pairs": num_pairs, "share": 0.0}
        self._write()

    def progress(self, share: float) -> None:
        """So much of it is done."""
        self._entry["now"]["share"] = share
        if time.time() - self._entry["updated"] > REPORT_SECONDS:
            self._write()

    def finish(self, seconds: float) -> None:
        """It is finished, after so long."""
        self._entry["num_pairs"] += self._entry.pop("now")["pairs"]
        self._entry["num_shards"] += 1
        self._entry["seconds"] += seconds
        self._write()

    def end(self, state: str, error: str | None = None) -> None:
        """The process stops working on the store: "finished", "interrupted" or "failed"."""
        self._entry |= {"state": state, "error": error}
        if self._entry["updated"]:  # there was anything to do
            self._write()

    def _write(self) -> None:
        self._entry["updated"] = time.time()
        if self._path is not None:
            with contextlib.suppress(OSError):  # a full disk stops what is worth more than this
                archive.write_json(self._path, self._entry)


def read_all(folder: Path) -> list[dict[str, Any]]:
    """The journals of a store, the latest last; a running process that died is "lost"."""
    found = []
    for path in (folder / FOLDER).glob("*.json"):
        try:
            entry = archive.read_json(path)
        except (archive.DamagedError, FileNotFoundError):
            continue
        if not (isinstance(entry, dict) and "state" in entry):
            continue
        if entry["state"] == "running" and not _is_running(entry):
            entry["state"] = "lost"
        found.append(entry)
    return sorted(found, key=lambda entry: entry["started"])


def _is_running(entry: Mapping[str, Any]) -> bool:
    is_here = archive.is_alive(entry["host"], entry["pid"])
    return time.time() - entry["updated"] < SILENT_SECONDS if is_here is None else is_here
