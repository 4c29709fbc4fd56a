"""Look-ups and writes over lanes against NumPy, and `lift` against an agent written over lanes.

Sizes lie on both sides of CHAIN_LIMIT and ONE_HOT_LIMIT, where the implementation changes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pajax as px
from pajax import draws, lanes
from pajax.testing import trajectories

LANES = ((), (5,), (2, 3))
SIZES = (1, 2, lanes.CHAIN_LIMIT, lanes.CHAIN_LIMIT + 1)
# axes behind the step, of 1, the limit, and more than the limit cells in all
AXES = ((1,), (lanes.ONE_HOT_LIMIT,), (lanes.ONE_HOT_LIMIT + 1,), (3, 4), (3, 4, 5))
NUM_STEPS = 3

over_lanes = pytest.mark.parametrize("shape", LANES, ids=str)
over_sizes = pytest.mark.parametrize("size", SIZES)
over_axes = pytest.mark.parametrize("axes", AXES, ids=str)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def whole(high: int, *shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, high, *shape])
    index = rng.integers(0, high, shape).astype(np.int32)
    if index.size > 1:  # both ends are met
        index.flat[0], index.flat[-1] = 0, high - 1
    return index


def mapped(function, num_lane_axes: int):
    """`function` without lanes, mapped over the trailing ones."""
    for _ in range(num_lane_axes):
        function = jax.vmap(function, in_axes=-1, out_axes=-1)
    return function


def assert_both_ways(function, shape, expected, *arguments):
    """Over lanes and mapped over them, jitted; equal to what NumPy has, bit by bit."""
    for found in (jax.jit(function), jax.jit(mapped(function, len(shape)))):
        result = found(*jax.tree.map(jnp.asarray, arguments))
        jax.tree.map(np.testing.assert_array_equal, result, expected)


@over_lanes
@over_sizes
def test_lookup(size, shape):
    table, index = floats(size, *shape), whole(size, *shape)
    expected = np.take_along_axis(table, index[None], 0)[0]
    assert_both_ways(lanes.lookup, shape, expected, table, index)


@over_lanes
@over_sizes
def test_row(size, shape):
    table, index = floats(size, 4, *shape), whole(size, *shape)
    expected = np.take_along_axis(table, index[None, None], 0)[0]
    assert_both_ways(lanes.row, shape, expected, table, index)


@over_lanes
@over_sizes
def test_argmax_and_maximum(size, shape):
    # Few different values: ties are frequent, and the first of them wins, as in NumPy.
    values = whole(3, size, *shape).astype(np.float32)
    expected = (values.argmax(0).astype(np.int32), values.max(0))
    assert_both_ways(lanes.argmax, shape, expected, values)
    assert_both_ways(lanes.maximum, shape, expected[1], values)


@over_lanes
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 40, 41])
def test_total(size, shape):
    """Exact for whole numbers; to the rounding of ceil(log2 n) levels of additions otherwise."""
    numbers = whole(1000, size, *shape).astype(np.float32)
    assert_both_ways(lanes.total, shape, numbers.sum(0), numbers)
    values = floats(size, *shape)
    error = np.abs(np.asarray(lanes.total(jnp.asarray(values))) - values.sum(0, dtype=np.float64))
    # an odd one out is added within its level: two additions a level at most
    levels = 2 * max(1, int(np.ceil(np.log2(size)))) if size > 1 else 0
    assert (error <= levels * 2.0**-24 * np.abs(values).sum(0, dtype=np.float64)).all()


@over_lanes
@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_total_over_several_axes(num_axes, shape):
    numbers = whole(1000, 3, 4, 5, *shape).astype(np.float32)
    expected = numbers.sum(tuple(range(num_axes)))
    found = lanes.total(jnp.asarray(numbers), num_axes)
    np.testing.assert_array_equal(found, expected)


@over_lanes
def test_total_of_a_lane_is_that_of_the_lane_alone(shape):
    values = floats(37, *shape)
    together = np.asarray(jax.jit(lanes.total)(values))
    for at in np.ndindex(shape):
        alone = jax.jit(lanes.total)(values[(slice(None), *at)])
        assert together[at] == alone


def numpy_update(table, cell, value, is_added):
    table = table.copy()
    for at in np.ndindex(value.shape):
        place = (at[0], *(index[at] for index in cell), *at[1:])
        table[place] = table[place] + value[at] if is_added else value[at]
    return table


def cells(axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(whole(size, NUM_STEPS, *shape, seed=i) for i, size in enumerate(axes))


@over_lanes
@over_axes
@pytest.mark.parametrize("function", [lanes.write, lanes.add])
def test_write_and_add(function, axes, shape):
    table, value = floats(NUM_STEPS, *axes, *shape), floats(NUM_STEPS, *shape, seed=1)
    cell = cells(axes, shape)
    expected = numpy_update(table, cell, value, function is lanes.add)
    assert_both_ways(function, shape, expected, table, cell, value)


@over_axes
@pytest.mark.parametrize("function", [lanes.write, lanes.add])
def test_writing_in_place_does_not_touch_the_argument(function, axes):
    table = jnp.asarray(floats(NUM_STEPS, *axes))
    before = np.array(table)
    cell = jax.tree.map(jnp.asarray, cells(axes, ()))
    function(table, cell, jnp.ones(NUM_STEPS))
    np.testing.assert_array_equal(table, before)


@over_lanes
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_hot(axis, shape):
    index = whole(4, 2, 3, *shape)
    expected = np.moveaxis(np.eye(4, dtype=bool)[index], -1, axis)
    np.testing.assert_array_equal(lanes.one_hot(jnp.asarray(index), 4, axis), expected)


def test_one_hot_of_no_action_is_false_everywhere():
    assert not lanes.one_hot(jnp.full((2, 3), -1, jnp.int32), 4, 2).any()


def test_at_step_repeats_a_stationary_table():
    table = jnp.asarray(floats(4, 2))
    np.testing.assert_array_equal(lanes.at_step(table, jnp.int32(3)), table[3])
    np.testing.assert_array_equal(lanes.at_step(table[:1], jnp.int32(3)), table[0])


def test_product_is_the_rounded_product():
    x, y = floats(1000), floats(1000, seed=1)
    np.testing.assert_array_equal(lanes.product(jnp.asarray(x), jnp.asarray(y)), x * y)


# lift


class PlainState(NamedTuple):
    q_values: Any  # [H, S, A]
    visits: Any  # [H, S, A]
    transfer: Any  # [H, S, A]


@px.pytree
class PlainQLearning:
    """Tabular Q-learning as a user would write it for one pair, with ordinary indexing."""

    epsilon: Any = px.axes(default=0.2)

    num_words = 1

    def init(self, spec):
        zeros = jnp.zeros((spec.horizon, spec.num_states, spec.num_actions))
        return PlainState(zeros, zeros, zeros)

    def begin(self, state, contract):
        q_values = state.q_values + (contract.transfer - state.transfer)
        return PlainState(q_values, state.visits, contract.transfer)

    def act(self, state, h, s, words):
        values = state.q_values[h, s]
        f = draws.uniform(words[0])
        random = jnp.minimum((f * (values.size / self.epsilon)).astype(int), values.size - 1)
        action = jnp.where(f < self.epsilon, random, jnp.argmax(values)).astype(jnp.int32)
        return action, values

    def update(self, state, episode, memo):
        q_values, visits, _ = state
        horizon = len(episode.actions)
        for h in range(horizon):
            s, a = episode.states[h], episode.actions[h]
            n = visits[h, s, a] + 1.0
            later = memo[h + 1].max() if h + 1 < horizon else 0.0
            goal = episode.rewards[h] + episode.payments[h] + later
            rate = (horizon + 1.0) / (horizon + n)
            q_values = q_values.at[h, s, a].add(rate * (goal - memo[h, a]))
            visits = visits.at[h, s, a].set(n)
        return state._replace(q_values=q_values, visits=visits)


@pytest.mark.parametrize("num_seeds", [pytest.param(None, marks=pytest.mark.slow), 4])
def test_a_lifted_agent_learns_what_the_lane_agent_learns(x64, num_seeds):
    """Actions equal; values to the rounding of 200 updates that forget: 1e-12 is 10^4 roundings.

    Both sides multiply and add the same numbers, but the compiler may round the product with the
    rate before the addition in one and not in the other.
    """
    key = jax.random.key(5)
    keys = key if num_seeds is None else jax.random.split(key, num_seeds)
    game = px.games.pollution(horizon=3)
    mechanism = px.mechanisms.TwoPhase(min_visits=4.0, width=0.5)

    def run(agent):
        return trajectories(keys, game, agent, mechanism, num_episodes=200)

    (log, record), (expected, other) = (
        run(px.lift(PlainQLearning())),
        run(px.agents.QLearning(epsilon=0.2)),
    )
    for name in ("states", "actions", "rewards", "payments"):
        got, want = getattr(log.episodes, name), getattr(expected.episodes, name)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12, err_msg=name)
    assert np.unique(np.asarray(log.episodes.actions)).size == 3
    np.testing.assert_allclose(
        log.agent.q_values, expected.agent.table.q_values, rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(log.agent.visits, expected.agent.table.visits)
    np.testing.assert_allclose(record.welfare_regret, other.welfare_regret, rtol=1e-12)
