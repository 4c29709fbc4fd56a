"""What a part of a study is, by value: descriptions that can be stored, compared and hashed.

Two parts with equal descriptions do the same computation. A description is a tree of JSON values:
numbers and strings as they are, arrays by a hash of their bytes (small ones by their values),
objects by their class and fields, functions by their name, the values they close over, and a hash
of their compiled code. The code of pajax itself is left out, since its version stands for it; of
a class from elsewhere the methods and constants are part of the description, and so are the
globals that they read, so that a learner that was edited in a notebook is not taken for what it
was. Code of installed libraries is looked at where a part holds it, but not what it calls in turn.

An array field may have lanes, one entry for each game. Those are described game by game, in
`each_game`, so that more games leave the description of the first ones as it was.
"""

import dataclasses
import dis
import functools
import hashlib
import inspect
import json
import math
import pickle
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

#: Arrays with at most so many entries are described by their values.
SMALL = 16
#: Hexadecimal digits of a hash: 64 bits tell apart what differs by accident.
DIGITS = 16


def digest(value: Any) -> str:
    """A hash of a JSON value, the same for equal values in every process."""
    return _hash(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def describe(value: Any) -> Any:
    """A JSON value that says what `value` is."""
    return _describe(value, (), by_game=True)


def each_game(part: Any, num_games: int) -> list[str | None]:
    """A hash of what each game has of the laned arrays of a part; None if none is laned."""
    laned = [np.moveaxis(array, -1, 0) for array, rank in _arrays(part) if array.ndim > rank]
    if not laned:
        return [None] * num_games
    of_game = lambda g: _hash(*(_bytes(array[g]) for array in laned))  # noqa: E731
    return [of_game(g) for g in range(num_games)]


def difference(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Lines that say where two descriptions differ, such as `agents['q'].bonus: 0.1, now 0.2`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            here = f"{path}.{name}" if path else str(name)
            yield from difference(old.get(name), new.get(name), here)
    elif digest(old) != digest(new):  # 1 equals 1.0 and True, but does not compute the same
        yield f"{path}: {_shown(old)}, now {_shown(new)}"


def _shown(value: Any) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _describe(value: Any, above: tuple[int, ...], by_game: bool = False) -> Any:
    """`above` holds the ids of what this value is inside of, since closures can be circular.

    `by_game` says whether `each_game` will look at this value, too.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if _is_key(value):
        return {"key": str(jax.random.key_impl(value)), "data": _key_data(value).tolist()}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _describe_array(_canonical(value))
    if id(value) in above:
        return "itself"
    inside = functools.partial(_describe, above=(*above, id(value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _named_class(value, inside) | _fields(value, inside, by_game)
    if isinstance(value, functools.partial):  # also jax.tree_util.Partial
        return {
            "function": inside(value.func),
            "arguments": inside(value.args),
            "keywords": inside(value.keywords),
        }
    if isinstance(value, types.MethodType):
        return {"method": inside(value.__func__), "of": inside(value.__self__)}
    if isinstance(value, types.FunctionType):
        return _function(value, inside)
    if isinstance(value, Mapping):
        return {str(name): inside(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((inside(item) for item in value), key=json.dumps)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [inside(item) for item in value]
    if isinstance(value, type | types.ModuleType):
        return _name(value)
    if wrapped := getattr(value, "__wrapped__", None):  # of jit and its like
        return {"class": _name(type(value)), "of": inside(wrapped)}
    if state := getattr(value, "__dict__", None):
        return _named_class(value, inside) | {name: inside(item) for name, item in state.items()}
    return _named_class(value, inside) | {"pickled": _hash(_pickled(value))}


def _pickled(value: Any) -> bytes:
    """What has no parts to look at, such as a built-in function or a fraction."""
    try:
        return pickle.dumps(value, protocol=4)
    except Exception as error:
        rule = f"be a function, an array, or an object that can be pickled ({error})"
        raise ValueError(f"part: got {value!r} in it, must {rule}") from error


def _fields(value: Any, inside: Any, by_game: bool) -> dict[str, Any]:
    """The fields of a dataclass; if `by_game`, of a laned array what all games share."""

    def of_field(field: dataclasses.Field[Any]) -> Any:
        item = getattr(value, field.name)
        if dataclasses.is_dataclass(item):
            return inside(item, by_game=by_game)
        if not _is_array_field(field, item):
            return inside(item)
        array = _canonical(item)
        if by_game and array.ndim > len(field.metadata["axes"]):
            return {"dtype": array.dtype.name, "shape": [*array.shape[:-1], "game"]}
        return _describe_array(array)

    return {field.name: of_field(field) for field in dataclasses.fields(value)}


def _arrays(part: Any) -> Iterator[tuple[np.ndarray, int]]:
    """The arrays of a part, and of the parts in it, with their numbers of declared axes."""
    for field in dataclasses.fields(part):
        item = getattr(part, field.name)
        if dataclasses.is_dataclass(item):
            yield from _arrays(item)
        elif _is_array_field(field, item):
            yield _canonical(item), len(field.metadata["axes"])


def _is_array_field(field: dataclasses.Field[Any], item: Any) -> bool:
    numbers = (int, float, np.ndarray, np.generic, jax.Array)
    return "axes" in field.metadata and isinstance(item, numbers) and not _is_key(item)


def _is_key(value: Any) -> bool:
    is_array = isinstance(value, jax.Array)
    return is_array and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _key_data(value: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(value))


def _canonical(value: Any) -> np.ndarray:
    """As JAX will hold it: a Python number has the default type."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value, jax.dtypes.canonicalize_dtype(value.dtype))
    return np.asarray(value if isinstance(value, jax.Array) else jnp.asarray(value))


def _describe_array(array: np.ndarray) -> Any:
    if array.ndim == 0:
        # as short as it can be in its own precision: 0.1 in float32 is 0.1; nan equals nan as text
        is_short = array.dtype.kind == "f" and np.isfinite(array)
        return float(str(array)) if is_short else _json(array.item())
    form = {"dtype": array.dtype.name, "shape": list(array.shape)}
    if array.size <= SMALL:
        return form | {"values": [str(x) for x in array.ravel()]}
    return form | {"sha256": _hash(_bytes(array))}


def _named_class(value: Any, inside: Any) -> dict[str, Any]:
    """The name of an object's class and, unless it is ours, its code and constants."""
    found = {"class": _name(type(value))}
    of_fields = {field.name for field in getattr(value, "__dataclass_fields__", {}).values()}
    own: dict[str, Any] = {}
    for cls in type(value).__mro__[::-1]:  # the last one counts
        for name, item in () if _is_known(cls) else vars(cls).items():
            bare = inspect.unwrap(getattr(item, "fget", getattr(item, "__func__", item)))
            is_own = name == "__call__" or not (name.startswith("__") or name in of_fields)
            if is_own and isinstance(bare, types.FunctionType):
                own[name] = _function(bare, inside)
            elif is_own and isinstance(item, _CONSTANTS):
                own[name] = inside(item)
    return found | ({"methods": digest(own)} if own else {})


_CONSTANTS = (bool, int, float, str, tuple, list, dict, np.ndarray, np.generic, jax.Array)


def _is_known(cls: type) -> bool:
    """Whether a version number stands for the code of a class."""
    return cls.__module__.partition(".")[0] in ("pajax", "builtins", "typing")


def _function(value: types.FunctionType, inside: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"function": _name(value)}
    if not value.__module__.startswith("pajax."):
        found["code"] = _hash(repr(_code(value.__code__)).encode())
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    found["values"] = inside([cells, value.__defaults__, value.__kwdefaults__])
    if not _is_installed(value):
        names = sorted(_globals(value.__code__) & value.__globals__.keys())
        found["globals"] = {name: inside(value.__globals__[name]) for name in names}
    return found


def _is_installed(function: types.FunctionType) -> bool:
    """Whether a function is of a library, whose globals do not change from day to day."""
    root = function.__module__.partition(".")[0]
    places = ("site-packages", "dist-packages", "<frozen")
    is_library = any(place in function.__code__.co_filename for place in places)
    return is_library or root == "pajax" or root in sys.stdlib_module_names - {"__main__"}


def _globals(code: types.CodeType) -> set[str]:
    """Names of the globals that code reads, that of functions in it included."""
    own = {x.argval for x in dis.get_instructions(code) if x.opname == "LOAD_GLOBAL"}
    inner = (_globals(x) for x in code.co_consts if isinstance(x, types.CodeType))
    return own.union(*inner)


def _code(code: types.CodeType) -> tuple[Any, ...]:
    """What a function does, without where it was written."""

    def constant(value: Any) -> Any:
        if isinstance(value, types.CodeType):
            return _code(value)
        return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)

    return code.co_code, code.co_names, code.co_varnames, [constant(x) for x in code.co_consts]


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", repr(value))
    return f"{module}.{name}" if module else name


def _json(value: Any) -> Any:
    return value if isinstance(value, bool | int) else str(value)


def _bytes(array: np.ndarray) -> bytes:
    return f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


def _hash(*chunks: bytes) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()[:DIGITS]
