"""What a store holds, by value: the file `manifest.json`.

Its `entries` describe all that results depend on (`pajax.studies.identity`), each part by the name
that the study gives it. A study whose entries agree with those of a store, where both have them,
extends the store; else it is another study. The outline and the files are those of all studies that
ever extended it, so that a Dataset can be made of the folder alone.
"""

import datetime
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from pajax import _checks
from pajax.studies import archive, identity
from pajax.studies.design import Design, entries, identities
from pajax.studies.outline import Cell, Outline

FORMAT, NAME = 2, "manifest.json"
_MAX_LINES = 20


class Files(NamedTuple):
    """What the shards of a cell depend on, as hashes, and how many were asked for."""

    digest: str  # of all that its games share; the name of its folder
    games: list[str]  # of what each game has of its own
    num_seeds: int  # asked for


class Manifest(NamedTuple):
    """What a store holds, and with what it began."""

    outline: Outline
    files: dict[Cell, Files]
    entries: dict[str, Any]
    versions: dict[str, str]
    device: str
    created: str

    @staticmethod
    def of(design: Design) -> "Manifest":
        """That of a store which begins now."""
        number = design.outline.num_seeds
        files = {cell: Files(*of, number) for cell, of in identities(design).items()}
        device = jax.devices()[0].device_kind
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return Manifest(design.outline, files, entries(design), versions(), device, now)

    @staticmethod
    def read(folder: Path) -> "Manifest":
        """That of a folder.

        Raises:
          DamagedError: it is not what was written.
          ValueError: it is of another format.
          FileNotFoundError: there is none.
        """
        found = archive.read_json(folder / NAME)
        number = found.get("format") if isinstance(found, dict) else None
        rule = f"have a {NAME} of format {FORMAT}, that of this version of pajax"
        _checks.require(number == FORMAT, "store", folder, rule)
        if found.pop("digest", None) != identity.digest(found):
            raise archive.DamagedError(f"{folder / NAME}: the digest does not match")
        found["outline"] = Outline.of_json(found["outline"])
        found["files"] = {Cell(*cell): Files(*of_cell) for cell, of_cell in found["files"]}
        return Manifest(**{name: found[name] for name in Manifest._fields})

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        value = self._asdict() | {
            "format": FORMAT,
            "outline": self.outline.to_json(),
            "files": list(self.files.items()),
        }
        archive.write_json(folder / NAME, value | {"digest": identity.digest(value)})

    def extended(self, other: "Manifest") -> "Manifest":
        """With what another has, which it does not contradict."""
        files = {**other.files, **self.files}
        for cell, of_cell in other.files.items():
            digest, games, number = files[cell]
            games = max(games, of_cell.games, key=len)
            files[cell] = Files(digest, games, max(number, of_cell.num_seeds))
        return self._replace(
            outline=self.outline.union(other.outline),
            files=files,
            entries={**self.entries, **other.entries},
        )

    def refuse_changes(self, new: "Manifest", folder: Path) -> None:
        """Raise if a new manifest contradicts this one, which `folder` has.

        Raises:
          ValueError: with what differs.
        """
        common = [name for name in new.entries if name in self.entries]
        old_entries, new_entries = (
            {name: manifest.entries[name] for name in common} for manifest in (self, new)
        )
        changed = list(identity.difference(old_entries, new_entries))
        lines = [f"\n  {line}" for line in changed[:_MAX_LINES]]
        if len(changed) > _MAX_LINES:
            lines.append(f"\n  and {len(changed) - _MAX_LINES} more")
        rule = (
            "hold the same study, but for more seeds, games, agents or mechanisms. "
            f"What the store has, and what is asked now:{''.join(lines)}"
        )
        _checks.require(not changed, "store", folder, rule)

    def refuse_fewer_seeds(self, new: "Manifest", folder: Path) -> None:
        """Raise if fewer runs are asked for than a store of moments has put together."""
        number, least = new.outline.num_seeds, self.outline.num_seeds
        rule = f"be at least the {least} of the store {folder}, which keeps moments"
        fits = self.outline.keep != "moments" or number >= least
        _checks.require(fits, "num_seeds", number, rule)


def versions() -> dict[str, str]:
    """What computes here."""
    from pajax import __version__

    return {
        "pajax": __version__,
        "jax": jax.__version__,
        "jaxlib": metadata.version("jaxlib"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
