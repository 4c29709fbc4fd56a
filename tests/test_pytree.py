"""Parts of different classes are different to JAX, whatever their fields."""

import itertools

import jax
import jax.numpy as jnp
import pytest

import pajax as px


def make_class(name: str, factor: float) -> type:
    """A class with the fields of any other, that does something else."""

    def apply(self, x):
        return jnp.float32(factor) * self.scale * x

    body = {"__annotations__": {"scale": float}, "scale": 1.0, "apply": apply}
    return px.pytree(type(name, (), body))


def test_classes_with_equal_fields_have_unequal_trees():
    """They must, since jit finds a compiled program by the equality of trees."""
    one, other = (make_class(name, 1.0) for name in ("One", "Other"))
    assert jax.tree.structure(one()) != jax.tree.structure(other())
    assert jax.tree.structure(one(scale=2.0)) == jax.tree.structure(one(scale=3.0))


def test_no_class_runs_the_program_of_another():
    run = jax.jit(lambda part, x: part.apply(x))
    for factor in range(64):
        part = make_class(f"Part{factor}", factor)()
        assert float(run(part, 2.0)) == 2.0 * factor


@pytest.mark.parametrize("module", [px.agents, px.mechanisms])
def test_the_parts_of_the_library_are_told_apart(module):
    def make(name):
        try:
            return getattr(module, name)()
        except TypeError:
            return None  # it needs a game

    parts = {name: part for name in module.__all__ if (part := make(name)) is not None}
    assert len(parts) > 5
    for one, other in itertools.combinations(parts, 2):
        assert jax.tree.structure(parts[one]) != jax.tree.structure(parts[other]), (one, other)


def test_fields_have_their_names_in_paths():
    (path, leaf), *_ = jax.tree_util.tree_leaves_with_path(make_class("Named", 1.0)())
    assert (jax.tree_util.keystr(path), leaf) == (".scale", 1.0)
