"""The one way to declare data: frozen, keyword-only dataclasses that JAX sees as pytrees.

Every game, agent and mechanism is such a class. Its fields are leaves, hence traced: a sweep over
hyper-parameters compiles once and can be vmapped. A field declared with `static()` is part of the
program instead (sizes, modes), and a new value compiles again. `axes(...)` names the leading axes
of an array field; whatever axes follow are lanes, one entry for each simulated pair.

JAX rebuilds these objects with placeholder leaves, so arrays are not validated when an object is
made but where a run begins, by `check`: shapes against the sizes of the game, values against the
range that the field declares. Static choices are checked at once.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pajax import _checks, printing

_T = TypeVar("_T")


def static(*, choices: Iterable[str] | None = None, **kwargs: Any) -> Any:
    """A field that is part of the compiled program; its value must be hashable.

    Args:
      choices: the values it may have; None for any.
      kwargs: of `dataclasses.field`, such as `default`.
    """
    return dataclasses.field(metadata={"static": True, "choices": choices}, **kwargs)


def axes(*names: str, low: float = -np.inf, high: float = np.inf, **kwargs: Any) -> Any:
    """An array field with these leading axes (possibly none: a number), then any lanes.

    Args:
      names: of the axes, such as "h", "s", "a".
      low: least value of an entry.
      high: largest value; entries must be finite if either is given.
      kwargs: of `dataclasses.field`, such as `default`.
    """
    return dataclasses.field(metadata={"axes": names, "low": low, "high": high}, **kwargs)


@dataclass_transform(
    frozen_default=True, kw_only_default=True, eq_default=False, field_specifiers=(static, axes)
)
def pytree(cls: type[_T]) -> type[_T]:
    """Class decorator: a frozen keyword-only dataclass, registered as a pytree.

    A field that holds a callable (a schedule of optax, for instance) is wrapped in
    `jax.tree_util.Partial`, which makes the function part of the program.

    Args:
      cls: a class with annotated fields, as of a dataclass.

    Raises:
      TypeError: the class has a `__post_init__`.
    """
    if "__post_init__" in cls.__dict__:
        raise TypeError(f"{cls.__name__}: a pytree has no __post_init__; validate in a factory")
    cls.__post_init__ = _finish  # type: ignore[attr-defined]
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _repr  # type: ignore[method-assign]
    cls = dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    meta = [f.name for f in fields if f.metadata.get("static")]
    data = [f.name for f in fields if not f.metadata.get("static")]
    _register(cls, data, meta)
    return cls


def _register(cls: type, data: list[str], meta: list[str]) -> None:
    """Register a class as a pytree.

    Not by `register_dataclass`: of that, JAX takes the trees of any two classes with equal fields
    for equal, and so now and then runs what it compiled for one with the other.
    """

    def flatten(x: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return [getattr(x, name) for name in data], tuple(getattr(x, name) for name in meta)

    def flatten_with_keys(x: Any) -> tuple[list[Any], tuple[Any, ...]]:
        leaves, aux = flatten(x)
        return [*zip(map(jax.tree_util.GetAttrKey, data), leaves, strict=True)], aux

    def unflatten(aux: Iterable[Any], leaves: Iterable[Any]) -> Any:
        return cls(**dict(zip(data, leaves, strict=True)), **dict(zip(meta, aux, strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def _finish(self: Any) -> None:
    """Check static choices, and wrap plain functions."""
    for field in dataclasses.fields(self):
        value = getattr(self, field.name)
        if field.metadata.get("static"):
            check_value(field.name, value, field.metadata)
        elif callable(value) and not _is_node(value):
            object.__setattr__(self, field.name, jax.tree_util.Partial(value))


def _repr(self: Any) -> str:
    """As a dataclass shows itself, with functions by name and large arrays in short."""
    return printing.on_one_line(self, (field.name for field in dataclasses.fields(self)))


def _is_node(value: Any) -> bool:
    return dataclasses.is_dataclass(value) or isinstance(value, jax.tree_util.Partial)


def map_with_rank(function: Callable[[Any, int], Any], component: Any) -> Any:
    """`component` with each array leaf replaced by `function(leaf, number of declared axes)`."""
    return _map(lambda leaf, field, _: function(leaf, len(field.get("axes", ()))), component, "")


def with_lanes(component: Any, lanes: tuple[int, ...]) -> Any:
    """`component` with every array of declared rank >= 1 broadcast to the trailing shape `lanes`.

    Numbers stay numbers: they broadcast by themselves.
    """

    def expand(leaf: Any, rank: int) -> Any:
        leaf = jnp.asarray(leaf)
        if rank == 0 or leaf.ndim > rank:
            return leaf
        return jnp.broadcast_to(leaf.reshape(leaf.shape + (1,) * len(lanes)), leaf.shape + lanes)

    return map_with_rank(expand, component)


def check(
    component: Any, argument: str, sizes: Mapping[str, int], lanes: Iterable[tuple[int, ...]]
) -> None:
    """Check the arrays of a component against sizes, lanes and the ranges of its fields.

    Args:
      component: a game, agent or mechanism.
      argument: what to call it in an error.
      sizes: length of each axis by name; an axis of another name may have any length.
      lanes: trailing shapes that are allowed.

    Raises:
      ValueError: a shape or value breaks its field's rule.
    """
    rule = "be an object of a class made by pajax.pytree"
    _checks.require(is_part(component), argument, repr(component), rule)
    allowed = [(), *lanes]

    def check_leaf(leaf: Any, field: Mapping[str, Any], name: str) -> Any:
        names = field.get("axes", ())
        shape = jnp.shape(leaf)
        fits = len(shape) >= len(names) and all(
            size == sizes.get(axis, size) for axis, size in zip(names, shape, strict=False)
        )
        wanted = ", ".join(f"{axis} = {sizes[axis]}" if axis in sizes else axis for axis in names)
        trailing = " or ".join(str(x) for x in dict.fromkeys(allowed))
        rule = f"have axes [{wanted}] and then lanes {trailing}"
        _checks.require(fits and shape[len(names) :] in allowed, name, f"shape {shape}", rule)
        return _check_range(name, leaf, field)

    _map(check_leaf, component, argument)


def check_value(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    """Check a value for a field with these `rules`, its metadata, as far as no sizes are needed.

    Raises:
      ValueError: it is none of the field's choices, or an entry is out of range.
    """
    if rules.get("static"):
        if rules.get("choices"):
            _checks.choice(name, value, rules["choices"])
    elif is_part(value):
        _map(lambda leaf, field, full: _check_range(full, leaf, field), value, name)
    elif not callable(value):
        for leaf in jax.tree.leaves(value):
            _check_range(name, leaf, rules)


def is_part(value: Any) -> bool:
    """Whether it is an object of a class made by `pytree`, and not such a class."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _check_range(name: str, leaf: Any, rules: Mapping[str, Any]) -> Any:
    low, high = rules.get("low", -np.inf), rules.get("high", np.inf)
    if not isinstance(leaf, Tracer) and (low, high) != (-np.inf, np.inf):
        _checks.in_range(name, leaf, low, high)
    return leaf


def _map(function: Callable[[Any, Mapping[str, Any], str], Any], node: Any, name: str) -> Any:
    """Map `function(leaf, field's metadata, name)` over the array leaves of a component."""
    changes = {}
    for field in dataclasses.fields(node):
        value, full = getattr(node, field.name), f"{name}.{field.name}"
        if field.metadata.get("static"):
            continue
        if dataclasses.is_dataclass(value):
            changes[field.name] = _map(function, value, full)
        else:
            leaf_function = lambda leaf, field=field, full=full: function(  # noqa: E731
                leaf, field.metadata, full
            )
            changes[field.name] = jax.tree.map(leaf_function, value)
    return dataclasses.replace(node, **changes)
