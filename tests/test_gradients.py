"""Gradient steps of optax over lanes: every pair is stepped as if it were alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pajax import gradients

LANES = ((), (5,), (2, 3))
LIMIT, RATE, STEPS = 1.0, 0.1, 3


def clipped(rate):
    """Plain steps, clipped by the norm of all parameters together."""
    return optax.chain(optax.clip_by_global_norm(LIMIT), optax.sgd(rate))


def clipped_adam(rate):
    """The same before Adam, which keeps a state."""
    return optax.chain(optax.clip_by_global_norm(LIMIT), optax.adam(rate))


def tree(rng, *lead):
    """Parameters of two shapes, and a gradient of a size of its own for each lane."""
    lanes = lead[-1]
    size = 10.0 ** rng.uniform(-2, 2, size=lanes)  # far below the limit in some, far above in some
    draw = lambda *shape: jnp.asarray(rng.normal(size=(*lead[:-1], *shape, *lanes)) * size)  # noqa: E731
    return {"a": draw(3), "b": draw(2, 2)}


def lane(tree, at):
    """One lane of a tree; `at` has an index for each of the trailing axes."""
    return jax.tree.map(lambda x: x[(..., *at)], tree)


@functools.partial(jax.jit, static_argnames=("optimiser", "num_lane_axes"))
def descended(optimiser, rate, slopes, values, num_lane_axes):
    """After one step for each gradient of `slopes`, [STEPS, ...]."""
    state = gradients.start(optimiser, rate, values, num_lane_axes)
    for i in range(STEPS):
        slope = jax.tree.map(lambda x, i=i: x[i], slopes)
        values, state = gradients.descend(optimiser, rate, slope, state, values, num_lane_axes)
    return values, state


def by_hand(slopes, values, rate):
    """Clipped plain steps of one pair, in float64 NumPy."""
    values = {name: np.asarray(x, np.float64) for name, x in values.items()}
    for i in range(STEPS):
        slope = {name: np.asarray(x[i], np.float64) for name, x in slopes.items()}
        norm = np.sqrt(sum((x**2).sum() for x in slope.values()))
        for name, x in slope.items():
            values[name] = values[name] - rate * x * min(1.0, LIMIT / norm)
    return values


def drawn(lanes, seed):
    rng = np.random.default_rng(seed)
    return tree(rng, STEPS, lanes), tree(rng, lanes)


@pytest.mark.parametrize("lanes", LANES)
def test_a_clip_by_norm_sees_one_pair(lanes):
    """Were the lanes clipped together, the small gradients would vanish beside the large ones."""
    slopes, values = drawn(lanes, 0)
    found, _ = descended(clipped, RATE, slopes, values, len(lanes))
    for at in np.ndindex(*lanes):
        wanted = by_hand(lane(slopes, at), lane(values, at), RATE)
        for name, x in wanted.items():
            # a float32 sum rounds by 2^-24 of itself, and a step of at most 0.1 by a few of that:
            # 3 steps stay below 1e-6 of the number and 1e-7 beside it
            np.testing.assert_allclose(lane(found, at)[name], x, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("lanes", LANES[1:])
def test_each_lane_is_what_it_is_alone(lanes):
    """Parameters and the optimiser's state, with a rate for each lane."""
    slopes, values = drawn(lanes, 1)
    rates = jnp.asarray(np.random.default_rng(2).uniform(0.01, 0.2, size=lanes), jnp.float32)
    found = descended(clipped_adam, rates, slopes, values, len(lanes))
    for at in np.ndindex(*lanes):
        alone = descended(clipped_adam, rates[at], lane(slopes, at), lane(values, at), 0)
        # a norm's sum may be ordered by the batch, and a product fused: a few roundings of 2^-24
        # in each of 3 steps, relative to numbers above 1e-2 of which none is nearly cancelled
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
        jax.tree.map(close, lane(found, at), alone)


def test_lanes_may_differ_in_rate_alone():
    slopes, values = (jax.tree.map(lambda x: x[..., :1], x) for x in drawn((5,), 3))
    same = jax.tree.map(lambda x: jnp.repeat(x, 3, -1), (slopes, values))
    found, _ = descended(clipped, jnp.asarray([0.0, 0.1, 0.2]), *same, 1)
    moved = found["a"] - same[1]["a"]
    np.testing.assert_array_equal(moved[:, 0], 0.0)
    # both are differences of numbers up to 1e2, rounded to 2^-24 of these
    np.testing.assert_allclose(moved[:, 2], 2.0 * moved[:, 1], rtol=0, atol=1e2 * 2.0**-22)
    assert jnp.abs(moved[:, 1]).max() > 1e-3


def test_a_rate_is_a_number_that_compiles_once():
    slopes, values = drawn((5,), 4)
    traces = []

    @jax.jit
    def step(rate):
        traces.append(rate)
        state = gradients.start(clipped, rate, values, 1)
        slope = jax.tree.map(lambda x: x[0], slopes)
        return gradients.descend(clipped, rate, slope, state, values, 1)[0]["a"]

    slow, fast = step(0.01), step(0.1)
    assert len(traces) == 1
    assert (slow != fast).any()
