"""Specs: a study written in TOML, the same as the call of `pajax.study`.

    [study]
    seed = 0                          # of the key; 0 if left out
    num_episodes = 100_000            # 1e5 is as good
    num_seeds = 64
    keep = "moments"                  # optional, as is
    record = [1_000, 100_000]

    [game]                            # one family of games ...
    family = "garnet"
    key = 3                           # stands for jax.random.key(3)
    num_games = 8
    grid.horizon = [3, 5]             # ... here two groups, "horizon=3" and "horizon=5"

    [agents]
    q = "QLearning"                   # as it is by default

    [agents.ucbvi]
    class = "UCBVI"
    memory = "blind"
    grid.bonus = [0.1, 0.2]           # "ucbvi(bonus=0.1)" and "ucbvi(bonus=0.2)"

    [mechanisms]
    oracle = "FixedTransfers.oracle"  # what needs the game gets that of each group

    [mechanisms.two-phase]
    class = "TwoPhase"
    estimator = { class = "DiscreteChoice", burn = 0.2 }
    steering.bonus = 0.05             # of the part that it has by default
    grid.estimator.repeats = [2, 4]

Several groups of games are tables `[game.NAME]`, each with its `family`. Names are those that are
public in `pajax.games`, `pajax.agents` and `pajax.mechanisms`, and `PowerSchedule`; anything else
is "package.module:name", a module beside the spec included, as a class, a family, or a value that
is a function: `optimiser = "optax:sgd"`. Whole numbers become floats where a field has floats.
"""

import contextlib
import difflib
import functools
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax

from pajax import _checks, agents, games, mechanisms, schedules, stages
from pajax._pytree import is_part
from pajax.game import Game
from pajax.studies import grids
from pajax.studies.design import KEEPS

STUDY = ("seed", "num_episodes", "num_seeds", "keep", "record")

Names = Mapping[str, Callable[..., Any]]


class Kind(NamedTuple):
    """What a table can describe."""

    key: str  # where a table names what makes it
    names: Names  # what the name may be
    parts: Names  # what the names of parts in it may be
    prepare: Callable[[Any], Any] = lambda maker: maker  # done to what the name stands for


def load_spec(path: str | Path) -> dict[str, Any]:
    """The arguments of `pajax.study` and `pajax.plan` that a TOML file says.

    `pajax.studies.specs` has all that a file may say. Games are made, so this starts JAX; call
    `pajax.configure` before.

    Args:
      path: of the file.

    Returns:
      key, game, agents, mechanisms, num_episodes, num_seeds and, where given, record and keep, so
      that `pajax.study(**load_spec(path))` is the study.

    Raises:
      OSError: there is no such file (`FileNotFoundError`), or it cannot be read.
      ValueError: the file is not TOML, or something in it is unknown, missing or breaks a rule; one
        line with the path, the name of the key and, if it is unknown, the nearest one.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        with _importable(path.parent):
            return _arguments(tomllib.loads(content.decode()))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _arguments(document: Mapping[str, Any]) -> dict[str, Any]:
    readers = {
        "study": _study,
        "game": _game,
        "agents": lambda table: {"agents": _parts("agents", table, agents)},
        "mechanisms": lambda table: {"mechanisms": _parts("mechanisms", table, mechanisms)},
    }
    for name in document:
        grids.check_known(name, name, readers)
    _check_has("", document, readers)
    found = {}
    for name, table in document.items():
        found |= readers[name](table)
    return found


# The four tables


def _study(table: Any) -> dict[str, Any]:
    table = _table("study", table)
    for name in table:
        grids.check_known(f"study.{name}", name, STUDY)
    _check_has("study.", table, ("num_episodes", "num_seeds"))
    found = {
        "key": jax.random.key(_whole("study.seed", table.get("seed", 0), 0)),
        "num_episodes": _whole("study.num_episodes", table["num_episodes"]),
        "num_seeds": _whole("study.num_seeds", table["num_seeds"]),
    }
    if "keep" in table:
        found["keep"] = _checks.choice("study.keep", table["keep"], KEEPS)
    if "record" in table:
        counts = _list("study.record", table["record"])
        found["record"] = [_whole("study.record", count) for count in counts]
    with _inside("study"):
        default = stages.checkpoints(found["num_episodes"])
        stages.make_schedule(found["num_episodes"], found.get("record", default))
    return found


def _game(table: Any) -> dict[str, Any]:
    kind = Kind("family", _families(), {}, _seeded)
    if isinstance(table, str) or not _has_groups(_table("game", table)):
        found = _games("game", table, kind)
        return {"game": found.get("", found)}
    found = {}
    for name, entry in table.items():
        found |= _games(f"game.{name}", entry, kind, name)
    return {"game": found}


def _has_groups(table: Mapping[str, Any]) -> bool:
    """Whether it holds tables of families, and is not one itself."""
    return "grid" not in table and all(isinstance(entry, dict) for entry in table.values())


def _games(where: str, entry: Any, kind: Kind, name: str = "") -> dict[str, Game]:
    found = _read(where, entry, kind, name)
    for game in found.values():
        _checks.require(isinstance(game, Game), where, repr(game), "be a pajax.Game")
    return found


def _parts(where: str, table: Any, module: ModuleType) -> dict[str, Any]:
    """Agents or mechanisms by name."""
    names = _constructors(module)
    kind = Kind("class", names, {**names, "PowerSchedule": schedules.PowerSchedule})
    found = {}
    for name, entry in _table(where, table).items():
        found |= _read(f"{where}.{name}", entry, kind, name)
    return found


# One part


def _read(where: str, entry: Any, kind: Kind, name: str) -> dict[str, Any]:
    """What an entry describes, by name: one part, or a grid. Errors call the entry `where`."""
    table = {kind.key: entry} if isinstance(entry, str) else _table(where, entry)
    part = kind.prepare(_named(where, table, kind.key, kind.names))
    given = _fields(where, part, table, kind.parts, (kind.key, "grid"))
    part = grids.make(part, given) if is_part(part) else functools.partial(part, **given)
    values = _grid(f"{where}.grid", part, table["grid"], kind.parts) if "grid" in table else {}
    for field in values.keys() & given.keys():
        raise ValueError(f"{where}.{field}: given twice, here and in the grid")
    grids.check_complete(part, values, f"{where}.")
    with _inside(where):
        found = grids.combine(part, values, name) if values else {name: grids.make(part, {})}
    return {title: _guarded(where, made) for title, made in found.items()}


def _fields(
    where: str, part: Any, table: Mapping[str, Any], parts: Names, others: tuple[str, ...]
) -> dict[str, Any]:
    """The fields of a part that a table gives, beside `others`."""
    known = _known(part)
    found = {}
    for name in table:
        full = f"{where}.{name}"
        grids.check_known(full, name, [*known, *others])
        if name not in others:
            value = _value(full, table[name], known[name], parts)
            found[name] = grids.fit(full, value, known[name])
    return found


def _known(part: Any) -> dict[str, grids.Field]:
    """The fields that a table can give; the game is given by the study."""
    return {name: field for name, field in grids.fields(part).items() if name != "game"}


def _grid(where: str, part: Any, table: Any, parts: Names) -> dict[str, list[Any]]:
    """The checked values of a grid, by dotted names."""
    found = {}
    for name, values in _dotted(_table(where, table)):
        full = f"{where}.{name}"
        grids.check_known(full, name.partition(".")[0], _known(part))
        field = grids.find(part, name, f"{where}.")
        found[name] = [_value(full, value, field, parts) for value in _list(full, values)]
    return grids.fit_all(part, found, f"{where}.")


def _value(where: str, value: Any, field: grids.Field, parts: Names) -> Any:
    """A value of a field: a nested part for a table, an object for its name."""
    if isinstance(value, dict):
        return _nested(where, value, field, parts)
    is_name = isinstance(value, str) and _IMPORTED.fullmatch(value)
    return _imported(where, value) if is_name and type(field.default) is not str else value


def _nested(where: str, table: Mapping[str, Any], field: grids.Field, parts: Names) -> Any:
    """A part within a part, or the one that is there by default with some fields replaced."""
    is_default = "class" not in table and is_part(field.value)
    part = field.value if is_default else _named(where, table, "class", parts)
    given = _fields(where, part, table, parts, ("class",))
    _checks.require(not grids.needs_game(part), where, table.get("class"), "not need the game")
    grids.check_complete(part, given, f"{where}.")
    with _inside(where):
        return grids.make(part, given)


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of a table and of the tables in it, by dotted names."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


# Names


_IMPORTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _families() -> Names:
    """The public functions of `pajax.games` that return a game."""
    public = {name: getattr(games, name) for name in games.__all__}
    return {
        name: function
        for name, function in public.items()
        if inspect.isfunction(function) and inspect.signature(function).return_annotation is Game
    }


def _constructors(module: ModuleType) -> Names:
    """The public classes of a module, and their own static constructors by dotted name."""
    classes = {name: getattr(module, name) for name in module.__all__}
    return classes | {
        f"{name}.{constructor}": getattr(cls, constructor)
        for name, cls in classes.items()
        for constructor, kind in vars(cls).items()
        if isinstance(kind, staticmethod | classmethod) and not constructor.startswith("_")
    }


def _named(where: str, table: Mapping[str, Any], key: str, names: Names) -> Any:
    """What makes a part, by the name that a table has of it."""
    for name in difflib.get_close_matches(key, table, 1):
        grids.check_known(f"{where}.{name}", name, [key])
    _check_has(f"{where}.", table, [key])
    name, where = table[key], f"{where}.{key}"
    _checks.require(isinstance(name, str), where, repr(name), "be a name")
    if not _IMPORTED.fullmatch(name):
        grids.check_known(f"{where} = {name!r}", name, names)
        return names[name]
    found = _imported(where, name)
    with _inside(where):
        grids.fields(found)  # raises if it has none, and cannot be called
    return found


def _imported(where: str, name: str) -> Any:
    """What "package.module:name" stands for."""
    module, _, attributes = name.partition(":")
    where = f"{where} = {name!r}"
    with _inside(where):
        found = importlib.import_module(module)
    for attribute in attributes.split("."):
        grids.check_known(where, attribute, [x for x in dir(found) if not x.startswith("_")])
        found = getattr(found, attribute)
    return found


def _seeded(family: Callable[..., Any]) -> Callable[..., Any]:
    """A family of games whose key, if it takes one, is given as a whole number."""
    if "key" not in grids.fields(family):
        return family

    @functools.wraps(family)
    def seeded(*, key: int, **arguments: Any) -> Any:
        return family(key=jax.random.key(_checks.whole("key", key, 0)), **arguments)

    return seeded


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules in this folder can be imported, after all others."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


# Rules and errors


def _table(where: str, value: Any) -> dict[str, Any]:
    is_table = isinstance(value, dict) and len(value) > 0
    _checks.require(is_table, where, repr(value), "be a table, and not empty")
    return value


def _list(where: str, value: Any) -> list[Any]:
    _checks.require(isinstance(value, list), where, repr(value), "be a list")
    return value


def _check_has(prefix: str, table: Mapping[str, Any], required: Iterable[str]) -> None:
    for name in required:
        if name not in table:
            raise ValueError(f"{prefix}{name}: missing")


def _whole(where: str, value: Any, low: int = 1) -> int:
    """A whole number; 1e5 is one too."""
    is_float = isinstance(value, float) and value.is_integer()
    return _checks.whole(where, int(value) if is_float else value, low)


def _guarded(where: str, part: Any) -> Any:
    """A function of the game with errors that say where it was written; a part as it is."""
    if is_part(part) or not callable(part):
        return part

    def guarded(game: Game) -> Any:
        with _inside(where):
            return part(game)

    return guarded


@contextlib.contextmanager
def _inside(where: str) -> Iterator[None]:
    """Whatever fails in a constructor is a `ValueError` in one line, which says where."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{where}: {' '.join(str(error).split())}") from error
