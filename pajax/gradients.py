"""Gradient steps with any optimiser of optax, for each pair by itself.

An optimiser may look at all of its parameters at once (a clip by their norm, for instance), so it
is mapped over lanes: pairs never mix. It is given as a function from a learning rate to an optax
`GradientTransformation`, such as `optax.adam`: the function is part of the compiled program, the
rate is a number that can be swept.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pajax import lanes

Optimiser = Callable[..., optax.GradientTransformation]
_T = TypeVar("_T")


def start(optimiser: Optimiser, rate: Any, values: Any, num_lane_axes: int) -> Any:
    """The optimiser's state for parameters whose last `num_lane_axes` axes are lanes."""
    init = lambda rate, values: optimiser(rate).init(values)  # noqa: E731
    return _over_lanes(init, num_lane_axes)(rate, values)


def descend(
    optimiser: Optimiser, rate: Any, gradient: _T, state: Any, values: _T, num_lane_axes: int
) -> tuple[_T, Any]:
    """One step against a gradient, and the optimiser's next state; trees as in `start`."""

    def step(rate: Array, gradient: Any, state: Any, values: Any) -> Any:
        # optax raises numbers to a counter's power, which a user's strict mode would refuse
        with jax.numpy_dtype_promotion("standard"):
            return optimiser(rate).update(gradient, state, values)

    steps, state = _over_lanes(step, num_lane_axes)(rate, gradient, state, values)
    # rounded before it is added, as `lanes.product` says
    add = lambda value, step: value + lanes.product(step, jnp.ones_like(step))  # noqa: E731
    return jax.tree.map(add, values, steps), state


def _over_lanes(function: Any, num_lane_axes: int) -> Any:
    """`function(rate, *trees)` of one pair, over trailing lanes; a plain rate is shared."""

    def mapped(rate: Any, *trees: Any) -> Any:
        over = function
        for _ in range(num_lane_axes):
            over = jax.vmap(over, (-1 if jnp.ndim(rate) else None, *(-1,) * len(trees)), -1)
        return over(rate, *trees)

    return mapped
