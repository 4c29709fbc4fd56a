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

from pajax import lanes

Optimiser = Callable[..., optax.GradientTransformation]
_T = TypeVar("_T")


def start(optimiser: Optimiser, rate: Any, weights: Any, num_lane_axes: int) -> Any:
    """The optimiser's state before its first step, in each lane for its own weights."""
    init = lambda rate, weights: optimiser(rate).init(weights)  # noqa: E731
    return _in_each_lane(init, rate, num_lane_axes, num_others=1)(rate, weights)


def descend(
    optimiser: Optimiser, rate: Any, gradient: _T, state: Any, weights: _T, num_lane_axes: int
) -> tuple[_T, Any]:
    """Weights and the optimiser's state after one step against the gradient of a loss.

    Args:
      optimiser: makes the optimiser from `rate`.
      rate: a number, or an array over lanes.
      gradient: a tree of arrays [..., lanes], like `weights`.
      state: the optimiser's.
      weights: what is learned.
      num_lane_axes: number of trailing axes that are lanes.
    """
    update = lambda rate, *arguments: optimiser(rate).update(*arguments)  # noqa: E731
    update = _in_each_lane(update, rate, num_lane_axes, num_others=3)
    with jax.numpy_dtype_promotion("standard"):  # optax takes powers of whole counts
        steps, state = update(rate, gradient, state, weights)
    # a step is a product, most often: it must be rounded before it is added (see `lanes.product`)
    rounded = jax.tree.map(lambda step: lanes.product(step, jnp.ones_like(step)), steps)
    return jax.tree.map(jnp.add, weights, rounded), state


def _in_each_lane(function: Any, rate: Any, num_lane_axes: int, num_others: int) -> Any:
    """`function(rate, *others)` of one lane, over lanes; a rate that is a number has none."""
    axes = (None if jnp.ndim(rate) == 0 else -1, *(-1,) * num_others)
    for _ in range(num_lane_axes):
        function = jax.vmap(function, axes, -1)
    return function
