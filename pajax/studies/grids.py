"""Grids of hyper-parameters: every combination of some values, by name.

    grid(px.agents.UCBVI(), {"bonus": [0.1, 0.5], "memory": ["aware", "blind"]})

maps "bonus=0.1, memory=aware", "bonus=0.1, memory=blind", "bonus=0.5, memory=aware", ... to agents.
Any field can be varied, and any parameter of what makes a part: of a class, of a family of games.

Numbers of one field are Python's and all of one type: float if the field's default is, or if it has
none and one of them is. Numbers are leaves of a pytree, so that a grid compiles once for each
combination of its static fields, whatever its numbers.
"""

import dataclasses
import difflib
import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pajax import _checks, _pytree
from pajax._pytree import is_part

MISSING: Any = dataclasses.MISSING
#: What a value must be where the default is of one of these types.
RULES = {bool: "be true or false", int: "be a whole number", float: "be a number", str: "be text"}
#: So many known names are listed in an error, at most.
LISTED = 30


class Field(NamedTuple):
    """A field of a class made by `pajax.pytree`, or a parameter of any other function."""

    default: Any  # as declared; MISSING if there is none
    value: Any  # what it is unless it is given, likewise
    rules: Mapping[str, Any]  # how it was declared (see `pajax.axes`); {} for a parameter


def grid(
    part: Any, values: Mapping[str, Iterable[Any]], *, name: str | None = None
) -> dict[str, Any]:
    """A part for every combination of values.

    Args:
      part: an object made by `pajax.pytree` (an agent, a mechanism), whose fields are replaced; or
        a class or function that makes one, or a game, which is called with the values by keyword:
        `px.games.pollution`, or `functools.partial(px.games.garnet, key, num_games=8)`. If it also
        needs a `game`, as oracles do, the results are functions of the game, which `pajax.study`
        takes as well.
      values: for each field the values it shall have. A dotted name is a field of a nested part,
        such as "estimator.inflation" of `TwoPhase`.
      name: written before each combination, as in "q(bonus=0.1)".

    Returns:
      Parts by names such as "bonus=0.1, memory=blind"; the last field varies fastest. Numbers are
      written as short as they can be without loss, functions by name.

    Raises:
      ValueError: there is no such field, a value is given twice or breaks the field's rule, or a
        parameter without a default is not given.
    """
    rule = "be an object of a class made by pajax.pytree, or make one"
    _checks.require(is_part(part) or callable(part), "part", repr(part), rule)
    is_named = isinstance(values, Mapping) and len(values) > 0
    _checks.require(is_named, "values", repr(values), "map at least one field to values")
    values = fit_all(part, values)
    check_complete(part, values)
    return combine(part, values, name)


def fit_all(
    part: Any, values: Mapping[str, Iterable[Any]], prefix: str = ""
) -> dict[str, list[Any]]:
    """The values of a grid, checked, as the fields of `part` have them.

    Errors write `prefix` before the name of a field.
    """
    return {
        name: _fit_each(prefix + name, given, find(part, name, prefix))
        for name, given in values.items()
    }


def combine(part: Any, values: Mapping[str, list[Any]], name: str | None = None) -> dict[str, Any]:
    """A part for every combination of checked values, by name."""
    found = {}
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        shown = ", ".join(f"{field}={_shown(value)}" for field, value in chosen.items())
        found[f"{name}({shown})" if name else shown] = make(part, chosen)
    return found


# Fields of what may be varied


def fields(part: Any) -> dict[str, Field]:
    """The fields of an object, or what a class or function can be given by keyword."""
    if isinstance(part, functools.partial):
        left, bound = inspect.signature(part).parameters, part.keywords
        known = {name: field for name, field in fields(part.func).items() if name in left}
        return {n: field._replace(value=bound.get(n, field.value)) for n, field in known.items()}
    if not dataclasses.is_dataclass(part):
        return _parameters(part)
    found = {}
    for field in dataclasses.fields(part):
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        value = getattr(part, field.name) if is_part(part) else default
        found[field.name] = Field(default, value, field.metadata)
    return found


def _parameters(function: Callable[..., Any]) -> dict[str, Field]:
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            default = MISSING if parameter.default is parameter.empty else parameter.default
            found[name] = Field(default, default, {})
    return found


def required(part: Any) -> list[str]:
    """The fields that must be given."""
    return [name for name, field in fields(part).items() if field.value is MISSING]


def find(part: Any, name: str, prefix: str = "") -> Field:
    """The field of a dotted name; errors write `prefix` before it."""
    first, _, rest = name.partition(".")
    known = fields(part)
    check_known(prefix + first, first, known)
    if not rest:
        return known[first]
    if not is_part(known[first].value):
        raise ValueError(f"{prefix}{name}: unknown, {first} has no fields")
    return find(known[first].value, rest, f"{prefix}{first}.")


def check_known(argument: str, name: str, known: Iterable[str]) -> None:
    """Raise `ValueError("argument: unknown, did you mean ...?")` unless `name` is known."""
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        listed = ", ".join(known[:LISTED]) + ", ..." * (len(known) > LISTED)
        hint = f"did you mean {near[0]}?" if near else f"known: {listed or 'nothing'}"
        raise ValueError(f"{argument}: unknown, {hint}")


def check_complete(part: Any, given: Iterable[str], prefix: str = "") -> None:
    """Raise unless these fields, and a game, are all that `part` needs."""
    missing = [name for name in required(part) if name not in (*given, "game")]
    if missing:
        raise ValueError(f"{prefix}{missing[0]}: missing")


# Making a part


def needs_game(part: Any) -> bool:
    """Whether it makes a part for a game that it has not been given."""
    return not is_part(part) and "game" in required(part)


def make(part: Any, arguments: Mapping[str, Any]) -> Any:
    """An object with these fields replaced, or what a class or function makes of them.

    What needs a game that is not among them gives a function of the game.
    """
    if needs_game(part) and "game" not in arguments:
        return lambda game: make(part, {"game": game, **arguments})
    direct = {name: value for name, value in arguments.items() if "." not in name}
    made = dataclasses.replace(part, **direct) if is_part(part) else part(**direct)
    for name, value in arguments.items():
        made = made if name in direct else _replace(made, name, value)
    return made


def _replace(part: Any, name: str, value: Any) -> Any:
    """`part` with the field of a dotted name replaced."""
    first, _, rest = name.partition(".")
    value = _replace(getattr(part, first), rest, value) if rest else value
    return dataclasses.replace(part, **{first: value})


# Values


def fit(name: str, value: Any, field: Field) -> Any:
    """`value` as the field has it: a number of its type, an array where it has axes.

    Raises:
      ValueError: it is not of the field's kind, none of its choices, or out of its range.
    """
    value = _scalar(value)
    if type(value) is int and type(field.default) is float:
        value = float(value)
    if isinstance(value, list | tuple) and field.rules.get("axes"):
        value = _array(name, value)
    is_right, rule = _rule(field)
    _checks.require(is_right(value), name, repr(value), rule)
    _pytree.check_value(name, value, field.rules)
    return value


def _rule(field: Field) -> tuple[Callable[[Any], bool], str]:
    """What a value must be, as a test and in words.

    Arrays, functions (of a count: schedules) and parts may stand for numbers.
    """
    default = field.default
    kind = type(default)
    if kind in RULES:
        return lambda value: type(value) is kind or _is_object(value), RULES[kind]
    if is_part(default) and not callable(default):
        return is_part, "be an object of a class made by pajax.pytree"
    if callable(default) and not is_part(default):
        return callable, "be a function"
    if "axes" in field.rules:
        is_number = lambda value: type(value) in (int, float) or _is_object(value)  # noqa: E731
        return lambda value: is_number(value) or value is default is None, RULES[float]
    return lambda value: True, ""


def _is_object(value: Any) -> bool:
    return is_part(value) or callable(value) or isinstance(value, np.ndarray | jax.Array)


def _fit_each(name: str, values: Any, field: Field) -> list[Any]:
    """The values of one field: different ones, and numbers of one type."""
    is_list = isinstance(values, Iterable) and not isinstance(values, str | Mapping)
    _checks.require(is_list, name, repr(values), "be a list of values")
    values = [_scalar(value) for value in values]
    _checks.require(len(values) > 0, name, "no values", "have at least one")
    if type(field.default) not in RULES and float in map(type, values):
        values = [float(value) if type(value) is int else value for value in values]
    values = [fit(name, value, field) for value in values]
    shown = [_shown(value) for value in values]
    twice = next((value for value in shown if shown.count(value) > 1), None)
    _checks.require(twice is None, name, f"{twice} twice", "have different values")
    return values


def _scalar(value: Any) -> Any:
    """A number of NumPy or JAX as Python's: the shortest that it is rounded from."""
    if not isinstance(value, np.generic | np.ndarray | jax.Array) or jnp.ndim(value) > 0:
        return value
    if jnp.issubdtype(value.dtype, np.floating):
        return float(str(np.asarray(value)))
    is_number = jnp.issubdtype(value.dtype, np.integer) or jnp.issubdtype(value.dtype, np.bool_)
    return value.item() if is_number else value


def _array(name: str, values: Any) -> jax.Array:
    try:
        return jnp.asarray(np.asarray(values))
    except ValueError as error:
        raise ValueError(f"{name}: must have rows of equal lengths") from error


def _shown(value: Any) -> str:
    """A value as it stands in a name: on one line, and the same in every process."""
    if isinstance(value, str):
        return value
    if isinstance(value, functools.partial):  # also jax.tree_util.Partial
        keywords = (f"{name}={_shown(given)}" for name, given in value.keywords.items())
        given = ", ".join([*map(_shown, value.args), *keywords])
        return f"{_shown(value.func)}({given})" if given else _shown(value.func)
    return getattr(value, "__qualname__", None) or " ".join(repr(value).split())
