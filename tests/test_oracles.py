"""The NumPy oracles against closed forms, enumeration and one another: pajax is not imported."""

import numpy as np
import pytest
from oracles import exact
from oracles.exact import Shape

TINY = {
    "2 states, 2 actions, 3 steps": Shape(2, 2, 1, 3),
    "2 states, 3 actions, 2 steps": Shape(2, 3, 2, 2, (False, False, False)),
    "3 states, 2 actions, 2 steps": Shape(3, 2, 1, 2, (False, True, False)),
    "1 state, 4 actions, 3 steps": Shape(1, 4, 2, 3, (True, False, True)),
}
SEEDS = range(5)

tiny_games = pytest.mark.parametrize("shape", TINY.values(), ids=TINY.keys())
seeds = pytest.mark.parametrize("seed", SEEDS)


@tiny_games
@seeds
def test_optimal_welfare_is_the_best_of_all_policies(shape, seed):
    game = exact.random_game(np.random.default_rng(seed), shape)
    best = max(exact.policy_welfare(game, policy) for policy in exact.all_policies(game))
    assert abs(best - exact.optimal_welfare(game)) <= exact.rounding(game, 2.0)


@tiny_games
@seeds
def test_a_return_is_the_same_backwards_forwards_and_over_paths(shape, seed):
    rng = np.random.default_rng(seed)
    game = exact.random_game(rng, shape)
    policy = exact.random_policy(rng, game)
    reward = exact.welfare_rewards(game)
    returns = [
        evaluate(game, policy, reward)
        for evaluate in (exact.policy_return, exact.occupancy_return, exact.trajectory_return)
    ]
    # The paths add S^H <= 9 terms, fewer than the H (S + 3) roundings already allowed.
    assert np.ptp(returns) <= exact.rounding(game, 2.0)


@tiny_games
@seeds
def test_the_coase_value_is_the_best_net_value_over_all_policies(shape, seed):
    game = exact.random_game(np.random.default_rng(seed), shape)
    net = exact.principal_rewards(game) - exact.minimal_transfers(game)
    best = max(exact.policy_return(game, policy, net) for policy in exact.all_policies(game))
    # tau* carries one evaluation and the net value another, on rewards of size <= H.
    assert abs(best - exact.coase_value(game)) <= 2 * exact.rounding(game, game.horizon)


@tiny_games
@seeds
def test_every_policy_costs_its_minimal_payment_in_minimal_transfers(shape, seed):
    game = exact.random_game(np.random.default_rng(seed), shape)
    tau = exact.minimal_transfers(game)
    for policy in exact.all_policies(game):
        paid = exact.trajectory_return(game, policy, tau)
        least = exact.minimal_payment(game, policy)
        assert abs(paid - least) <= 2 * exact.rounding(game, game.horizon)


def test_random_games_are_diverse_and_proper():
    rng = np.random.default_rng(0)
    games = [exact.random_game(rng) for _ in range(300)]
    for game in games:
        # A row of S <= 5 entries, each rounded once by the division: S eps / 2 in all.
        assert np.allclose(game.transition.sum(axis=-1), 1.0, rtol=0.0, atol=3 * exact.EPSILON)
        for reward in (game.agent_reward, game.principal_reward):
            assert reward.min() >= 0.0
            assert reward.max() <= 1.0
    assert {game.num_states for game in games} == set(range(1, 6))
    assert {game.num_actions for game in games} == set(range(2, 5))
    assert {game.horizon for game in games} == set(range(1, 7))
    assert {game.principal_reward.shape[-1] for game in games} == {1, 2}
    assert any(game.transition.min() == 0.0 for game in games)
    assert any(game.transition.shape[0] > 1 for game in games)


def test_ties_go_to_the_lowest_action():
    assert exact.greedy(np.array([[[1.0, 2.0, 2.0], [3.0, 3.0, 1.0]]])).tolist() == [[1, 0]]


def test_a_charge_is_the_first_level_that_leaves_the_margin():
    tau = np.array([[[0.0, 0.3, 0.9]]])
    # Levels 0, .5, 1 for a margin of .1: .3 + .1 needs .5, .9 + .1 needs the top, 0 is free.
    assert exact.quantised_charge(tau, 3, 0.1).tolist() == [[[0.0, 0.5, 1.0]]]
