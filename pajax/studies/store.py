"""A study on disk: finished shards, checkpoints of shards under way, and who works on them.

    DIR/manifest.json                what the study is (`pajax.studies.manifest`)
    DIR/shards/CELL/PAIRS.npz        some pairs of a cell, finished
    DIR/shards/CELL/PAIRS.resume     the same pairs, under way
    DIR/journals/HOST-PID.json       what a process does (`pajax.studies.journal`)
    DIR/aside/                       damaged files, kept for whoever wants to look

Every file is written under another name and then renamed, so it is whole or not there; archives
carry a checksum. CELL is a hash of all that the results of a cell depend on
(`pajax.studies.identity`), so a shard is never taken for another study's, with or without its
manifest. A shard says itself which pairs it has; a pair is done if a shard has it. Of shards that
share pairs, which workers that cut differently may make, the first by name counts. Any number of
processes may write: the same pair has the same numbers whoever computes it, and each file has one
writer or many that write the same.
"""

import contextlib
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pajax import _checks
from pajax.studies import archive, identity, journal, manifest
from pajax.studies.batch import Snapshot
from pajax.studies.design import Design
from pajax.studies.kept import Shard
from pajax.studies.manifest import Manifest, versions
from pajax.studies.outline import Cell, Outline, Pairs
from pajax.studies.processes import Crew

#: Seconds between two checkpoints of a shard, at least; and how many times what one takes.
CHECKPOINT_SECONDS, CHECKPOINT_RATIO = 60.0, 100.0
_SHARDS, _ASIDE, _RESUME = "shards", "aside", ".resume"


class Store:
    """The folder of one study; see the module's text."""

    def __init__(self, folder: Path, content: Manifest, is_open: bool = False) -> None:
        self.folder, self._files, self._is_open = folder, content.files, is_open
        self.outline: Outline = content.outline
        self.num_damaged = 0  # files found so far
        self._peeked: dict[Path, Any] = {}  # headers and pairs of shards

    @staticmethod
    def read(folder: str | os.PathLike[str]) -> "Store":
        """A store by what its manifest says, to look at its shards.

        Raises:
          ValueError: the manifest is damaged, or of another format.
          FileNotFoundError: there is none.
        """
        return Store(Path(folder), Manifest.read(Path(folder)))

    @staticmethod
    def look(folder: str | os.PathLike[str], design: Design) -> "Store":
        """The store of a design, to look at its shards; it need not be there.

        Raises:
          ValueError: it holds a different study.
        """
        folder, new = Path(folder), Manifest.of(design)
        if (folder / manifest.NAME).exists():
            _refuse(Manifest.read(folder), new, folder)
        return Store(folder, new)

    @staticmethod
    def open(folder: str | os.PathLike[str], design: Design) -> "Store":
        """The store of a design, made if need be, extended if the design extends what is there.

        Raises:
          ValueError: it holds a different study; the message says what differs.
          OSError: it cannot be written.
        """
        folder, new = Path(folder), Manifest.of(design)
        store = Store(folder, new, is_open=True)
        _make_folders(folder)
        had_manifest = (folder / manifest.NAME).exists()
        old = store._try(lambda path: Manifest.read(path.parent), folder / manifest.NAME)
        if old is None:
            if not had_manifest and any((folder / _SHARDS).iterdir()):
                _warn(f"{folder} has shards but no {manifest.NAME}, which is written again")
            new.write(folder)
        else:
            _refuse(old, new, folder)
            if (extended := old.extended(new)) != old:
                extended.write(folder)
        return store

    # Shards

    def missing(self, cell: Cell) -> Pairs:
        """The pairs of a cell that no shard has."""
        return self.outline.pairs(cell).without(pairs for *_, pairs in self._found(cell))

    def shards(self, cell: Cell) -> Iterator[Shard]:
        """The finished shards of a cell, checked; damaged ones are set aside, with a warning."""
        for path, _, pairs in self._found(cell):
            content = self._try(archive.read, path)
            if content is not None:
                header, arrays = content
                yield Shard(pairs, arrays, header["about"])

    def num_runs(self) -> dict[Cell, int]:
        """How many runs of each cell were ever asked for."""
        return {cell: len(of.games) * of.num_seeds for cell, of in self._files.items()}

    def glance(self, cell: Cell) -> list[tuple[int, dict[str, Any]]]:
        """Of each finished shard the number of its pairs, and versions, device and seconds."""
        return [(len(pairs), header["about"]) for _, header, pairs in self._found(cell)]

    def write(self, cell: Cell, shard: Shard) -> None:
        """Add a shard, whole or not at all."""
        games = self._games(cell, shard.pairs)
        header = {"cell": cell, "games": games, "about": shard.about}
        path = self._path(cell, shard.pairs)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {"game": shard.pairs.game, "seed": shard.pairs.seed, **shard.arrays}
        archive.write(path, header, arrays)
        path.with_suffix(_RESUME).unlink(missing_ok=True)

    def checkpoint(self, cell: Cell, pairs: Pairs) -> "ShardCheckpoint":
        """Where a shard under way saves itself."""
        path = self._path(cell, pairs).with_suffix(_RESUME)
        path.parent.mkdir(parents=True, exist_ok=True)
        device = jax.devices()[0].device_kind
        digest = identity.digest([self._files[cell].digest, versions(), device])
        return ShardCheckpoint(path, digest)

    def meet(self, crew: Crew) -> None:
        """Wait until all processes of the study have added their shards, and tidy up."""
        crew.wait("end")
        for cell in self.outline.cells:
            if not len(self.missing(cell)):
                for path in self._folder(cell).glob(f"*{_RESUME}"):  # of shards cut otherwise
                    path.unlink(missing_ok=True)

    def _path(self, cell: Cell, pairs: Pairs) -> Path:
        """A name that says which games and seeds there are, at most, and tells apart all."""
        (g, last_g), (i, last_i) = ((int(x.min()), int(x.max())) for x in pairs)
        text = identity.digest([*(x.tolist() for x in pairs), self._games(cell, pairs)])[:8]
        return self._folder(cell) / f"g{g}-{last_g}_s{i}-{last_i}_{text}.npz"

    def _games(self, cell: Cell, pairs: Pairs) -> dict[int, str]:
        """What each game of some pairs has of its own, as a hash."""
        of_game = self._files[cell].games
        return {g: of_game[g] for g in np.unique(pairs.game).tolist()}

    def _folder(self, cell: Cell) -> Path:
        return self.folder / _SHARDS / self._files[cell].digest

    def _found(self, cell: Cell) -> Iterator[tuple[Path, dict[str, Any], Pairs]]:
        """The shards of a cell that share no pairs, by their names: headers and pairs."""
        if cell not in self._files:  # of all cells of an extended store some may never be asked for
            return
        is_taken = np.zeros((0, 0), bool)
        for path in sorted(self._folder(cell).glob("*.npz")):
            if path not in self._peeked:
                self._peeked[path] = self._try(_peek, path)
            if self._peeked[path] is None:
                del self._peeked[path]
                continue
            header, pairs = self._peeked[path]
            if not self._has_games(cell, header["games"]):
                continue
            self._refuse_more_seeds(path, pairs)
            is_taken = _grown(is_taken, pairs)
            if not is_taken[pairs.game, pairs.seed].any():
                is_taken[pairs.game, pairs.seed] = True
                yield path, header, pairs

    def _refuse_more_seeds(self, path: Path, pairs: Pairs) -> None:
        """Raise if a shard is of more seeds than are asked for, and cannot be taken apart."""
        number, least = self.outline.num_seeds, int(pairs.seed.max()) + 1
        rule = f"be at least {least}, as {path} keeps moments of them"
        fits = self.outline.keep != "moments" or number >= least
        _checks.require(fits, "num_seeds", number, rule)

    def _has_games(self, cell: Cell, games: Mapping[str, str]) -> bool:
        """Whether a shard's games are those of a cell, and not of a group of the same sizes."""
        known = self._files[cell].games
        return all(int(g) >= len(known) or known[int(g)] == of_game for g, of_game in games.items())

    def _try(self, read: Callable[[Path], Any], path: Path) -> Any:
        """What `read` makes of a file; None if it is not there, or damaged: then it is set aside.

        Unless nobody asked for more than a look.
        """
        try:
            return read(path)
        except FileNotFoundError:
            return None
        except archive.DamagedError as error:
            if self._is_open:
                place = _set_aside(self.folder, path)
                self.num_damaged += 1
                _warn(f"set aside as {place}, and made again: {error}")
            else:
                _warn(f"left out: {error}")
            return None


def merge(folder: str | os.PathLike[str], *others: str | os.PathLike[str]) -> Store:
    """Copy the shards of other stores of the same study into one, which need not be there.

    Args:
      folder: of the store that gets the shards.
      others: folders of stores, at least one.

    Returns:
      The store with all shards.

    Raises:
      ValueError: they are of different studies; then nothing is copied.
      FileNotFoundError: one of the others is no store.
      OSError: the folder cannot be written.
    """
    folder, sources = Path(folder), [Path(other) for other in others]
    found = [Manifest.read(source) for source in sources]
    if (folder / manifest.NAME).exists():
        found.insert(0, Manifest.read(folder))
    _checks.require(len(found) > 0, "others", "none", "name at least one store")
    merged = found[0]
    for other in found[1:]:
        merged.refuse_changes(other, folder)
        merged = merged.extended(other)
    _make_folders(folder)
    merged.write(folder)
    for source in sources:
        for path in sorted((source / _SHARDS).glob("*/*.npz")):
            _copy(path, folder / path.relative_to(source))
    return Store(folder, merged)


def _copy(path: Path, place: Path) -> None:
    """Copy a shard that is whole, unless it is there already."""
    with contextlib.suppress(FileNotFoundError, archive.DamagedError):
        archive.read(place)
        return
    try:
        archive.read(path)
    except archive.DamagedError as error:
        _warn(f"not copied: {error}")
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.atomic_file(place) as file, path.open("rb") as content:
        shutil.copyfileobj(content, file)


class ShardCheckpoint:
    """A shard under way on disk (`pajax.studies.batch.Checkpoint`)."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest = path, digest
        self._due = time.monotonic() + CHECKPOINT_SECONDS

    def read(self) -> Snapshot | None:
        """What was saved last; None if there is nothing, or it is damaged or of other versions."""
        try:
            header, arrays = archive.read(self._path)
        except (FileNotFoundError, archive.DamagedError):
            return None
        if header.get("digest") != self._digest:
            return None
        state, sums = ([arrays[f"{x}{i}"] for i in range(header[x])] for x in ("state", "sums"))
        return Snapshot(header["num_blocks"], state, sums)

    def offer(self, take: Callable[[], Snapshot]) -> None:
        """Save, if the last time was long ago and saving takes a small share of the time."""
        begun = time.monotonic()
        if begun < self._due:
            return
        snapshot = take()
        lists = {"state": snapshot.state, "sums": snapshot.sums}
        header = {"digest": self._digest, "num_blocks": snapshot.num_blocks}
        header |= {part: len(arrays) for part, arrays in lists.items()}
        arrays = {f"{part}{i}": x for part, found in lists.items() for i, x in enumerate(found)}
        try:
            archive.write(self._path, header, arrays)
        except OSError as error:  # the shard itself may yet find room
            _warn(f"no checkpoint was saved: {error}")
        ended = time.monotonic()
        self._due = ended + max(CHECKPOINT_SECONDS, CHECKPOINT_RATIO * (ended - begun))


def _make_folders(folder: Path) -> None:
    """The folders of a store, after trying to write in them."""
    try:
        for name in (_SHARDS, journal.FOLDER):
            (folder / name).mkdir(parents=True, exist_ok=True)
        archive.remove_parts(folder)
        with archive.atomic_file(folder / ".probe"):
            pass
        (folder / ".probe").unlink(missing_ok=True)
    except OSError as error:
        rule = f"be a folder that can be written ({error.strerror or error})"
        _checks.require(False, "store", folder, rule)


def _refuse(old: Manifest, new: Manifest, folder: Path) -> None:
    old.refuse_changes(new, folder)
    old.refuse_fewer_seeds(new, folder)


def _grown(table: np.ndarray, pairs: Pairs) -> np.ndarray:
    """A table [game, seed] that has room for some pairs."""
    shape = pairs.game.max() + 1, pairs.seed.max() + 1
    missing = [(0, max(0, int(new - old))) for old, new in zip(table.shape, shape, strict=True)]
    return np.pad(table, missing)


def _peek(path: Path) -> tuple[dict[str, Any], Pairs]:
    header, arrays = archive.peek(path, Pairs._fields)
    return header, Pairs(**arrays)


def _set_aside(folder: Path, path: Path) -> Path:
    """Move a damaged file out of the way, and say where it is now."""
    (folder / _ASIDE).mkdir(exist_ok=True)
    place = folder / _ASIDE / f"{path.parent.name}_{path.name}.{time.time_ns()}"
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        os.replace(path, place)
    return place


def _warn(message: str) -> None:
    warnings.warn(f"store: {message}", stacklevel=4)
