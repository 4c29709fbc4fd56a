"""pajax.planning against the float64 oracle on 1,000 random games, and against QuantEcon."""

import functools
import warnings

import exact_batches as batches
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_batches import NAMES, SHAPES, oracle_lanes, pajax_analysis
from oracles import exact
from oracles.exact import rounding

import pajax as px
from pajax.lanes import TREE_LIMIT

pytestmark = pytest.mark.usefixtures("x64")

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=NAMES)


def selfish(game, policy, transfer):
    return exact.backward_induction(game, exact.agent_rewards(game))


def paid(game, policy, transfer):
    return exact.backward_induction(game, exact.agent_rewards(game, transfer))


def social(game, policy, transfer):
    return exact.backward_induction(game, exact.welfare_rewards(game))


# name in `exact_batches.analyse`: the oracle's quantity, and the bound on the reward it adds up
QUANTITIES = {
    "values": (lambda *lane: selfish(*lane)[0], 1.0),
    "q_values": (lambda *lane: selfish(*lane)[1], 1.0),
    "paid_values": (lambda *lane: paid(*lane)[0], 2.0),
    "paid_q_values": (lambda *lane: paid(*lane)[1], 2.0),
    "welfare_values": (lambda *lane: social(*lane)[0], 2.0),
    "welfare_q_values": (lambda *lane: social(*lane)[1], 2.0),
    "optimal_welfare": (lambda game, *_: exact.optimal_welfare(game), 2.0),
    "policy_values": (
        lambda game, policy, _: exact.policy_evaluation(game, policy, exact.agent_rewards(game)),
        1.0,
    ),
    "policy_transfer_values": (exact.policy_evaluation, 1.0),
    "policy_welfare": (lambda game, policy, _: exact.policy_welfare(game, policy), 2.0),
    # Probabilities: H steps of the same recursion on a total of 1, so well inside the bound.
    "occupancy": (lambda game, policy, _: exact.occupancy(game, policy), 1.0),
}


@each_shape
@pytest.mark.parametrize("name", QUANTITIES)
def test_agrees_with_the_oracle(shape, name):
    quantity, reward_bound = QUANTITIES[name]
    expected, found = oracle_lanes(shape, quantity), pajax_analysis(shape)[name]
    assert found.dtype == np.float64
    assert found.shape == expected.shape
    # Both sides are float64 recursions; exact.rounding derives 4 H (S+3) eps H |reward|.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=rounding(shape, reward_bound))


@each_shape
def test_welfare_reward_takes_the_best_own_action(shape):
    found = pajax_analysis(shape)["welfare_reward"]
    expected = oracle_lanes(shape, lambda game, *_: exact.welfare_rewards(game))
    found = np.broadcast_to(found, expected.shape)  # T is 1 or H
    # One addition of numbers up to 1: half a unit in the last place of 2, on either side.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=2 * exact.EPSILON)


@each_shape
def test_best_response_is_greedy_and_the_oracles_where_no_tie_is_in_reach(shape):
    found = pajax_analysis(shape)
    q_values = oracle_lanes(shape, lambda *lane: paid(*lane)[1])
    ordered = np.sort(q_values, axis=2)
    # A lead of more than twice the error of a q-value cannot be turned by rounding.
    clear = ordered[:, :, -1] - ordered[:, :, -2] > 2 * rounding(shape, 2.0)
    expected = oracle_lanes(shape, lambda game, _, transfer: exact.best_response(game, transfer))
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found["best_response"][clear], expected[clear])
    np.testing.assert_array_equal(found["best_response"], found["greedy"])
    assert np.issubdtype(found["best_response"].dtype, np.integer)


@each_shape
def test_values_are_zero_at_the_horizon(shape):
    for name in ("values", "paid_values", "welfare_values", "policy_values"):
        found = pajax_analysis(shape)[name]
        assert found.shape[0] == shape.horizon + 1
        assert not found[-1].any()


@each_shape
def test_occupancy_sums_to_one_at_every_step(shape):
    visited = pajax_analysis(shape)["occupancy"]
    assert visited.min() >= 0.0
    np.testing.assert_allclose(visited.sum(axis=1), 1.0, rtol=0.0, atol=rounding(shape, 1.0))


@each_shape
def test_occupancy_reproduces_the_value_of_the_policy(shape):
    visited = pajax_analysis(shape)["occupancy"]
    earned = oracle_lanes(
        shape, lambda game, policy, _: exact.along(policy, exact.agent_rewards(game))
    )
    values = pajax_analysis(shape)["policy_values"]
    initial = oracle_lanes(shape, lambda game, *_: game.initial)
    forward, backward = (visited * earned).sum(axis=(0, 1)), (initial * values[0]).sum(axis=0)
    # A forward and a backward recursion of one return, each within half of the bound.
    np.testing.assert_allclose(forward, backward, rtol=0.0, atol=rounding(shape, 1.0))


@pytest.mark.parametrize("shape", SHAPES[3:5], ids=NAMES[3:5])
def test_a_lane_is_what_the_game_alone_would_be(shape):
    lanes = pajax_analysis(shape)
    single = jax.jit(batches.analyse)
    for i in (0, 7, 124):
        game = batches.to_pajax(batches.oracle_games(shape)[i])
        assert game.lanes == ()
        policy, transfer = batches.oracle_policies(shape)[i], batches.oracle_transfers(shape)[i]
        alone = single(game, policy, transfer)
        for name, array in alone.items():
            # Same sums, perhaps in another order: the bound of two float64 evaluations.
            atol = rounding(shape, 2.0 * shape.horizon if "tau" in name else 2.0)
            np.testing.assert_allclose(array, lanes[name][..., i], rtol=0.0, atol=atol)


def test_two_lane_axes_are_two_lane_axes():
    shape = SHAPES[4]
    game, policy, transfer = (
        jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., :6], part)
        for part in batches.analysis_inputs(shape)
    )
    folded = jax.tree.map(
        lambda leaf: leaf.reshape(*leaf.shape[:-1], 2, 3), (game, policy, transfer)
    )
    assert folded[0].lanes == (2, 3)
    for name, array in jax.jit(batches.analyse)(*folded).items():
        flat = np.asarray(array).reshape(*array.shape[:-2], 6)
        atol = rounding(shape, 2.0 * shape.horizon if "tau" in name else 2.0)
        expected = pajax_analysis(shape)[name][..., :6]
        np.testing.assert_allclose(flat, expected, rtol=0.0, atol=atol)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("size", [1, TREE_LIMIT, TREE_LIMIT + 1, 50])
def test_expectation_adds_rounded_products_from_the_first_successor_on(size, shape):
    """To the last bit, whether the sum is written out or, above the limit, a loop."""
    rng = np.random.default_rng([3, size, *shape])
    transition = np.moveaxis(rng.dirichlet(np.ones(size), (4, 2, *shape)), -1, 2)
    values = rng.normal(size=(size, *shape))
    expected = np.zeros((4, 2, *shape))
    for s, a, *lane in np.ndindex(expected.shape):
        for successor in range(size):
            at = (successor, *lane)
            expected[s, a, *lane] += transition[s, a, *at] * values[at]
    arguments = jnp.asarray(transition), jnp.asarray(values)
    np.testing.assert_array_equal(jax.jit(px.planning.expectation)(*arguments), expected)


def test_ties_go_to_the_lowest_action():
    q_values = jnp.array([[[1.0, 2.0, 2.0], [3.0, 3.0, 1.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]])
    np.testing.assert_array_equal(px.planning.greedy(q_values), [[1, 0], [0, 1]])


def test_an_indifferent_agent_plays_its_lowest_action():
    # All numbers are dyadic, so the ties are exact: 1/4 + 1/2 = 3/4 at every step.
    game = px.make_game(
        transition=np.full((2, 3, 2), 0.5),
        agent_reward=np.array([[0.25, 0.75, 0.5], [0.5, 0.25, 0.5]]),
        principal_reward=np.zeros((2, 3)),
        initial=np.array([0.5, 0.5]),
        horizon=3,
    )
    transfer = np.zeros((3, 2, 3))
    transfer[:, 0, 0] = 0.5
    np.testing.assert_array_equal(px.planning.best_response(game), [[1, 0]] * 3)
    np.testing.assert_array_equal(px.planning.best_response(game, transfer), [[0, 0]] * 3)


def test_no_transfer_is_a_transfer_of_zero():
    game = px.games.pollution()
    without = px.planning.agent_values(game)
    zero = px.planning.agent_values(game, jnp.zeros((5, 3, 3)))
    np.testing.assert_array_equal(without.q_values, zero.q_values)
    np.testing.assert_array_equal(without.values, zero.values)


# Closed figures of THEORY.md, section 5


@functools.cache
def welfare_figures() -> dict[str, float]:
    pollution, bandit = px.games.pollution(), px.games.bandit()
    plan = px.planning
    return {
        "pollution, W*": plan.expected(pollution, plan.welfare_values(pollution).values),
        "pollution, rho . V0": plan.expected(pollution, plan.agent_values(pollution).values),
        "pollution, laissez-faire": plan.policy_welfare(pollution, plan.best_response(pollution)),
        "bandit, W*": plan.expected(bandit, plan.welfare_values(bandit).values),
        "bandit, laissez-faire": plan.policy_welfare(bandit, plan.best_response(bandit)),
    }


FIGURES = {
    "pollution, W*": 6.5279,
    "pollution, rho . V0": 3.6873,
    "pollution, laissez-faire": 4.8350,
    "bandit, W*": 1.25,
    "bandit, laissez-faire": 0.90,
}


@pytest.mark.parametrize("name", FIGURES)
def test_closed_figures(name):
    # Half a unit in the last place printed.
    assert abs(float(welfare_figures()[name]) - FIGURES[name]) <= 0.5e-4


def test_welfare_optimal_policy_of_pollution():
    policy = px.planning.greedy(px.planning.welfare_values(px.games.pollution()).q_values)
    clean, dirty, very_dirty = range(3)
    early, last = [dirty, clean, clean], [dirty, dirty, very_dirty]
    np.testing.assert_array_equal(policy, [early] * 4 + [last])


# QuantEcon's textbook backward induction

STATIONARY = [shape for shape in SHAPES if all(shape.stationary)]
STATIONARY_NAMES = [name for name, shape in zip(NAMES, SHAPES, strict=True) if shape in STATIONARY]


def quantecon_values(quantecon, reward, kernel, horizon):
    """Values [H+1, S] of a stationary reward [S, A], undiscounted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that beta = 1 has no infinite horizon: true
        model = quantecon.markov.DiscreteDP(reward, kernel, 1.0)
        return quantecon.markov.backward_induction(model, horizon)[0]


@pytest.mark.parametrize("shape", STATIONARY, ids=STATIONARY_NAMES)
@pytest.mark.parametrize("name", ["values", "welfare_values"])
def test_agrees_with_quantecon(shape, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations at its import are not ours
        quantecon = pytest.importorskip("quantecon")
    found = pajax_analysis(shape)[name]
    for i, game in enumerate(batches.oracle_games(shape)[:20]):
        reward = exact.agent_rewards if name == "values" else exact.welfare_rewards
        kernel = game.transition[0]
        expected = quantecon_values(quantecon, reward(game)[0], kernel, game.horizon)
        atol = rounding(shape, 2.0)  # two float64 recursions on rewards up to 2
        np.testing.assert_allclose(found[..., i], expected, rtol=0.0, atol=atol)
