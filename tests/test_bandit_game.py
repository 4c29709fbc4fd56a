"""Bandits with own actions of the principal: upstream and downstream."""

import itertools

import jax
import numpy as np
import pytest
from game_figures import assert_figures, assert_tables
from oracles import exact

import pajax as px
from pajax.games.bandit import (
    DOWNSTREAM_ACTIONS,
    UPSTREAM_ACTIONS,
    bandit,
    two_player_bandit,
)
from pajax.testing import check_game

pytestmark = pytest.mark.usefixtures("x64")

U = np.array([0.25, 0.40, 0.65, 0.80])
V = np.array([[0.30, 0.60, 0.55], [0.30, 0.45, 0.95], [0.25, 0.30, 0.20], [0.20, 0.10, 0.00]])
IDLE, FILTERED, PARTIAL, FULL = range(4)
HOLD_BACK, FISH, FARM = range(3)
STATED = {"W*": 1.35, "rho . V0": 0.80, "laissez-faire": 1.00, "W* - rho . V0": 0.55}


def oracle() -> exact.NumpyGame:
    return exact.NumpyGame(np.ones((1, 1, 4, 1)), U[None, None], V[None, None], np.ones(1), 1)


def test_tables():
    assert_tables(two_player_bandit(), oracle())
    assert (len(UPSTREAM_ACTIONS), len(DOWNSTREAM_ACTIONS)) == V.shape


def test_figures():
    assert_figures(two_player_bandit(), oracle(), STATED, share=74.1)


def test_minimal_transfers():
    found = px.transfers.minimal_transfers(two_player_bandit())
    # One difference of numbers up to 1.
    np.testing.assert_allclose(found[0, 0], U.max() - U, rtol=0.0, atol=exact.EPSILON)


def test_welfare_of_every_pair_of_actions():
    welfare = {(a, b): U[a] + V[a, b] for a, b in itertools.product(range(4), range(3))}
    assert max(welfare, key=welfare.get) == (FILTERED, FARM)
    game = two_player_bandit()
    plan = px.planning.greedy(px.planning.welfare_values(game).q_values)
    assert (plan[0, 0], px.planning.best_own_action(game, plan)[0, 0]) == (FILTERED, FARM)
    alone = px.planning.best_response(game)
    assert (alone[0, 0], px.planning.best_own_action(game, alone)[0, 0]) == (FULL, HOLD_BACK)


def test_the_efficient_arm_needs_its_own_action():
    welfare, net = U[:, None] + V, V - (U.max() - U)[:, None]
    left_alone = welfare[FULL, HOLD_BACK]
    assert max(welfare[FILTERED, HOLD_BACK], welfare[FILTERED, FISH]) < left_alone
    # no single change improves on it, neither in welfare nor for a principal that pays tau*
    assert welfare[:, HOLD_BACK].argmax() == net[:, HOLD_BACK].argmax() == FULL
    assert V[FULL].argmax() == HOLD_BACK


def test_played_under_the_oracle_contract():
    game = two_player_bandit(noise="deterministic")
    contract = px.mechanisms.FixedTransfers.oracle(game)
    agent = px.agents.BestResponse(game=game)
    record = px.simulate(jax.random.key(0), game, agent, contract, num_episodes=16, record=(16,))
    # Sixteen additions of 1.35.
    assert abs(float(record.realised_welfare[-1]) / 16 - 1.35) <= 16 * 1.35 * exact.EPSILON
    assert float(record.welfare_regret[-1]) <= 16 * exact.EPSILON


def test_own_actions_by_arm():
    game = bandit([0.1, 0.6], [[0.2, 0.3, 0.4], [0.5, 0.6, 0.7]])
    assert (game.num_states, game.num_actions, game.num_own_actions, game.horizon) == (1, 2, 3, 1)
    np.testing.assert_array_equal(game.principal_reward[0, 0], [[0.2, 0.3, 0.4], [0.5, 0.6, 0.7]])


def test_one_own_action_is_no_own_action():
    for axes in ((5,), (5, 1)):
        v = np.reshape([0.55, 0.9, 0.5, 0.3, 0.1], axes)
        given = bandit([0.2, 0.35, 0.5, 0.65, 0.8], v)
        for found, expected in zip(jax.tree.leaves(given), jax.tree.leaves(bandit()), strict=True):
            np.testing.assert_array_equal(found, expected)


REFUSED = {
    "other arms": ("principal_reward", [0.1, 0.2], [0.1, 0.2, 0.3]),
    "other arms by own action": ("principal_reward", [0.1, 0.2], [[0.1, 0.2, 0.3]]),
    "too many axes": ("principal_reward", [0.1, 0.2], [[[0.1]], [[0.2]]]),
    "no own action": ("principal_reward", [0.1, 0.2], [[], []]),
    "a number": ("agent_reward", 0.3, 0.3),
    "a table of the agent's": ("agent_reward", [[0.1, 0.2]], [0.1, 0.2]),
    "no arm": ("agent_reward", [], []),
    "a reward over 1": ("principal_reward", [0.1, 0.2], [[0.1, 1.2], [0.3, 0.4]]),
}


@pytest.mark.parametrize(("name", "u", "v"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(name, u, v):
    with pytest.raises(ValueError, match=name) as caught:
        bandit(u, v)
    assert "\n" not in str(caught.value)


def test_a_refusal_shows_the_shape_and_the_rule():
    with pytest.raises(ValueError, match=r"principal_reward.*\(3,\).*\[A\] or \[A, B\], A = 2"):
        bandit([0.1, 0.2], [0.1, 0.2, 0.3])


def test_check_game():
    check_game(two_player_bandit())
