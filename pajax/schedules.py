"""Exploration and learning rates: a number, an optax schedule, or `PowerSchedule`.

A schedule is any function from a count (0, 1, 2, ...) to a value. Those of optax are part of the
compiled program; `PowerSchedule` has its numbers as leaves, so that they can be swept.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from pajax._pytree import axes, pytree

Schedule = float | Array | Callable[[Any], Any]


@pytree
class PowerSchedule:
    """scale / (count + 1)^exponent, at most `maximum`.

    Attributes:
      scale: the value at count 0, at least 0.
      exponent: how fast it falls.
      maximum: in [0, 1].
    """

    scale: float | Array = axes(low=0.0, default=1.0)
    exponent: float | Array = axes(default=1.0 / 3.0)
    maximum: float | Array = axes(low=0.0, high=1.0, default=1.0)

    def __call__(self, count: Any) -> Array:
        """The value at a count."""
        count = jnp.asarray(count, float)
        return jnp.minimum(self.maximum, self.scale * (count + 1.0) ** -self.exponent)


def value_at(schedule: Any, count: Array) -> Array:
    """The value of a schedule at a count; a number is constant.

    Args:
      schedule: a number, or a function from a count to a value.
      count: [...], from 0.
    """
    return jnp.asarray(schedule(count) if callable(schedule) else schedule, float)
