"""The one way to declare data: frozen, keyword-only dataclasses that JAX sees as pytrees.

Every game, agent and mechanism is such a class. Its fields are leaves, hence traced: a sweep over
hyper-parameters compiles once and can be vmapped. A field declared with `static()` is part of the
program instead (sizes, modes), and a new value compiles again. `axes(...)` names the leading axes
of an array field; whatever axes follow are lanes, one entry for each simulated pair.

Nothing is validated here, because JAX rebuilds these objects with placeholder leaves; factories
validate (see `pajax.game.make_game`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

_T = TypeVar("_T")


def static(**kwargs: Any) -> Any:
    """A field that is part of the compiled program; its value must be hashable."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


def axes(*names: str, **kwargs: Any) -> Any:
    """An array field with these leading axes (possibly none: a number), then any lanes."""
    return dataclasses.field(metadata={"rank": len(names)}, **kwargs)


@dataclass_transform(
    frozen_default=True, kw_only_default=True, eq_default=False, field_specifiers=(static, axes)
)
def pytree(cls: type[_T]) -> type[_T]:
    """Class decorator: a frozen keyword-only dataclass, registered as a pytree.

    A field that holds a callable (a schedule of optax, for instance) is wrapped in
    `jax.tree_util.Partial`, which makes the function part of the program and its bound numbers
    leaves.
    """
    cls.__post_init__ = _wrap_callables  # type: ignore[attr-defined]
    cls = dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    meta = [f.name for f in fields if f.metadata.get("static")]
    data = [f.name for f in fields if not f.metadata.get("static")]
    return jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=meta)


def _wrap_callables(self: Any) -> None:
    for field in dataclasses.fields(self):
        value = getattr(self, field.name)
        is_plain_function = callable(value) and not dataclasses.is_dataclass(value)
        is_wrapped = isinstance(value, jax.tree_util.Partial) or field.metadata.get("static")
        if is_plain_function and not is_wrapped:
            object.__setattr__(self, field.name, jax.tree_util.Partial(value))


def map_with_rank(function: Callable[[Any, int], Any], component: Any) -> Any:
    """`component` with each array leaf replaced by `function(leaf, declared rank)`."""
    changes = {}
    for field in dataclasses.fields(component):
        value = getattr(component, field.name)
        if field.metadata.get("static"):
            continue
        if dataclasses.is_dataclass(value):
            changes[field.name] = map_with_rank(function, value)
        else:
            rank = field.metadata.get("rank", 0)
            changes[field.name] = jax.tree.map(lambda leaf, rank=rank: function(leaf, rank), value)
    return dataclasses.replace(component, **changes)


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
