"""Look-ups and writes over lanes against NumPy, and `lift` against an agent written over lanes.

Sizes lie on both sides of CHAIN_LIMIT and ONE_HOT_LIMIT, where the implementation changes.
"""

import functools
import re
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
    """Of every step: row (h, s) of a flat table is what indexing the table itself gives."""
    table, states = floats(NUM_STEPS, size, 4, *shape), whole(size, *shape)
    for h in range(NUM_STEPS):
        expected = np.take_along_axis(table[h], states[None, None], 0)[0]
        assert_both_ways(
            lambda x, s, h=h: lanes.row(lanes.flat(x), h, s, (size, 4)),
            shape,
            expected,
            table,
            states,
        )


@over_lanes
@over_axes
def test_cells_and_read(axes, shape):
    table, index = floats(NUM_STEPS, *axes, *shape), indices(axes, shape)
    number = np.ravel_multi_index(
        (np.arange(NUM_STEPS).reshape(-1, *(1,) * len(shape)), *index), (NUM_STEPS, *axes)
    )
    assert_both_ways(lambda *index: lanes.cells(axes, *index), shape, number, *index)
    expected = np.empty(index[0].shape, np.float32)
    for at in np.ndindex(expected.shape):
        expected[at] = table[(at[0], *(i[at] for i in index), *at[1:])]
    flat_table = table.reshape(-1, *shape)
    assert_both_ways(lanes.read, shape, expected, flat_table, number.astype(np.int32))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.uint32, jnp.complex64, bool])
def test_once_is_what_it_is_given(dtype):
    values = jnp.asarray(whole(2**20, 3, 4)).astype(dtype)
    pair = jax.jit(lanes.once)((values, values[0]))
    assert pair[0].dtype == values.dtype
    np.testing.assert_array_equal(pair[0], values)
    np.testing.assert_array_equal(pair[1], values[0])


@pytest.mark.parametrize("condition", [True, False])
def test_when(condition):
    found = jax.jit(lambda yes: lanes.when(yes, lambda x: 2 * x, jnp.arange(3)))(condition)
    np.testing.assert_array_equal(found, np.arange(3) * (2 if condition else 1))


def compiled_text(function, *arguments) -> str:
    return jax.jit(function).lower(*arguments).compile().as_text()


def loops_around(compiled: str, operation: str) -> int:
    """The fewest loop bodies that one enters on the way from ENTRY to an operation."""
    computations = dict(re.findall(r"^(ENTRY|%[\w.-]+)[^\n]*\{\n(.*?)^\}", compiled, re.M | re.S))
    depths, left = {}, [(0, "ENTRY")]
    while left:
        depth, name = left.pop()
        if depth < depths.get(name, depth + 1):
            depths[name] = depth
            called = re.findall(r"(\w+)=(%[\w.-]+)", computations[name])
            left += [(depth + (how == "body"), to) for how, to in called if to in computations]
    return min(depth for name, depth in depths.items() if f" {operation}(" in computations[name])


on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads what XLA makes on a CPU")


@on_cpu
@pytest.mark.parametrize(("is_input", "expected"), [(True, 2), (False, 0)])
def test_when_keeps_the_work_on_its_inputs_inside(is_input, expected):
    """Within both loops, the outer one and that of `when`; from a closure XLA takes it to ENTRY."""

    def run(conditions, x, y):
        def step(i, x):
            if is_input:
                return lanes.when(conditions[i], lambda x, y: x + jnp.sin(y), x, y)
            return lanes.when(conditions[i], lambda x: x + jnp.sin(y), x)

        return jax.lax.fori_loop(0, len(conditions), step, x)

    compiled = compiled_text(run, jnp.ones(5, bool), jnp.zeros(64), jnp.ones(64))
    assert loops_around(compiled, "sine") == expected


@on_cpu
@pytest.mark.parametrize(("make", "expected"), [(lanes.once, 1), (lambda x: x, 2)])
def test_once_is_computed_once(make, expected):
    """Of two readers that XLA does not join; without `once` each counts the bits for itself."""

    def run(x, table):
        count = make(jax.lax.population_count(x))
        return count[::-1], table + count

    compiled = compiled_text(run, jnp.arange(64), jnp.zeros((16, 64), jnp.int32))
    assert compiled.count(" popcnt(") == expected


@over_lanes
def test_dot(shape):
    """Exact for whole numbers, of several tables at once, with and without weights."""
    weights, first, second = (whole(9, 41, *shape, seed=i).astype(np.float32) for i in range(3))
    expected = ((weights * first).sum(0), (weights * second).sum(0))
    assert_both_ways(lanes.dot, shape, expected, weights, (first, second))
    assert_both_ways(lambda x: lanes.dot(None, x), shape, first.sum(0), first)


@over_lanes
@over_sizes
def test_argmax_and_maximum(size, shape):
    # Few different values: ties are frequent, and the first of them wins, as in NumPy.
    values = whole(3, size, *shape).astype(np.float32)
    expected = (values.argmax(0).astype(np.int32), values.max(0))
    assert_both_ways(lanes.argmax, shape, expected, values)
    assert_both_ways(lanes.maximum, shape, expected[1], values)


@over_lanes
@pytest.mark.parametrize("size", [1, 2, 7, 8, lanes.TREE_LIMIT, lanes.TREE_LIMIT + 1])
def test_total(size, shape):
    """Exact for whole numbers; to the rounding of the additions on a term's way otherwise."""
    numbers = whole(1000, size, *shape).astype(np.float32)
    assert_both_ways(lanes.total, shape, numbers.sum(0), numbers)
    values = floats(size, *shape)
    error = np.abs(np.asarray(lanes.total(jnp.asarray(values))) - values.sum(0, dtype=np.float64))
    # a tree has two additions a level at most, as an odd one out is added within its level
    levels = 2 * max(1, int(np.ceil(np.log2(size)))) if size > 1 else 0
    additions = levels if size <= lanes.TREE_LIMIT else size
    assert (error <= additions * 2.0**-24 * np.abs(values).sum(0, dtype=np.float64)).all()


@over_lanes
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_along_an_axis(axis, shape):
    """What reduces an axis, or looks up along it, is the same along each."""
    numbers = whole(1000, 3, 4, 5, *shape).astype(np.float32)
    index = whole(numbers.shape[axis], *np.delete(numbers.shape, axis))
    chosen = np.take_along_axis(numbers, np.expand_dims(index, axis), axis).squeeze(axis)
    np.testing.assert_array_equal(lanes.lookup(numbers, jnp.asarray(index), axis), chosen)
    table = jnp.asarray(numbers)
    np.testing.assert_array_equal(lanes.total(table, axis), numbers.sum(axis))
    np.testing.assert_array_equal(lanes.maximum(table, axis), numbers.max(axis))
    np.testing.assert_array_equal(lanes.argmax(table, axis)[0], numbers.argmax(axis))


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


def indices(axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(whole(size, NUM_STEPS, *shape, seed=i) for i, size in enumerate(axes))


@over_lanes
@over_axes
@pytest.mark.parametrize("is_flat", [True, False])
@pytest.mark.parametrize("function", [lanes.write, lanes.add])
def test_write_and_add(function, is_flat, axes, shape):
    """In one table and in two at once, as it is and flat, against a loop over steps and lanes."""
    index = indices(axes, shape)
    tables, values = (
        tuple(floats(NUM_STEPS, *tail, *shape, seed=seed + i) for i in range(2))
        for seed, tail in ((0, axes), (2, ()))
    )
    expected = tuple(
        numpy_update(table, index, value, function is lanes.add)
        for table, value in zip(tables, values, strict=True)
    )

    def update(tables, values, *index):
        cell = lanes.cells(axes, *index)
        leave = (lambda x: lanes.flat(x, 1 + len(axes))) if is_flat else (lambda x: x)
        updated = function(jax.tree.map(leave, tables), cell, values)
        return jax.tree.map(lambda new, old: new.reshape(old.shape), updated, tables)

    assert_both_ways(update, shape, expected, tables, values, *index)
    assert_both_ways(update, shape, expected[0], tables[0], values[0], *index)


@over_lanes
@pytest.mark.parametrize("how", ["set", "add"])
def test_a_scatter_is_a_loop_over_cells(how, shape):
    """What other backends do for a large table equals what the CPU does."""
    table, value = floats(NUM_STEPS * 50, *shape), floats(NUM_STEPS, *shape, seed=1)
    cell = lanes.cells((50,), jnp.asarray(whole(50, NUM_STEPS, *shape)))
    arguments = (jnp.asarray(table), cell, jnp.asarray(value))
    scattered, looped = (
        jax.jit(functools.partial(update, how=how))(*arguments)
        for update in (lanes._update_by_scatter, lanes._update_by_loop)
    )
    np.testing.assert_array_equal(scattered, looped)


@over_axes
@pytest.mark.parametrize("function", [lanes.write, lanes.add])
def test_writing_in_place_does_not_touch_the_argument(function, axes):
    table = jnp.asarray(floats(NUM_STEPS, *axes))
    before = np.array(table)
    cell = lanes.cells(axes, *(jnp.asarray(index) for index in indices(axes, ())))
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
        lanes.flat(log.agent.q_values), expected.agent.table.q_values, rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(lanes.flat(log.agent.visits), expected.agent.table.visits)
    np.testing.assert_allclose(record.welfare_regret, other.welfare_regret, rtol=1e-12)
