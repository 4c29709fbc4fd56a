"""The market: its tables, its figures, and that no stateless contract is enough."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from game_figures import assert_figures, assert_tables
from oracles import exact
from scipy.optimize import linprog

import pajax as px
from pajax.games.market import ACTIONS, STATES, market
from pajax.testing import check_game

pytestmark = pytest.mark.usefixtures("x64")

CAREFUL, _, MILK = range(3)
POOR_SCARCE, GOOD_AMPLE = 0, 5
STATED = {"W*": 3.4702, "rho . V0": 2.4743, "laissez-faire": 2.5961, "W* - rho . V0": 0.9959}


def oracle(scarce_supply: float = 0.1, trust: float = 0.9, horizon: int = 5) -> exact.NumpyGame:
    """The same game, a cell and a successor at a time."""
    kernel, (u, v) = np.zeros((6, 3, 6)), np.zeros((2, 6, 3))
    for s, a in itertools.product(range(6), range(3)):
        r, ample = s // 2, s % 2 == 1
        effort, price, share = [(1.0, 0.3, 1.0), (0.5, 0.5, 0.75), (0.0, 0.8, 0.5)][a]
        sales = [0.5, 0.75, 1.0][r] * share * (1.0 if ample else scarce_supply)
        u[s, a] = price * sales + 0.3 * (1.0 - effort)
        v[s, a] = (1.0 - trust) * sales + trust * sales * effort
        rises = 0.1 + 0.6 * sales * effort if r < 2 else 0.0
        falls = 0.1 + 0.6 * sales * (1.0 - effort) if r > 0 else 0.0
        scarce_next = 0.8 * sales if ample else 0.3
        for move, odds in ((1, rises), (-1, falls), (0, 1.0 - rises - falls)):
            if odds > 0.0:
                kernel[s, a, 2 * (r + move)] += odds * scarce_next
                kernel[s, a, 2 * (r + move) + 1] += odds * (1.0 - scarce_next)
    return exact.stationary_game(kernel, u, v, np.full(6, 1 / 6), horizon)


def optimal_policy(game: exact.NumpyGame) -> np.ndarray:
    return exact.greedy(exact.backward_induction(game, exact.welfare_rewards(game))[1])


@pytest.mark.parametrize(
    "changes", [{}, {"scarce_supply": 0.0, "trust": 1.0}, {"scarce_supply": 1.0, "trust": 0.0}]
)
def test_tables(changes):
    assert_tables(market(**changes), oracle(**changes))
    assert (len(STATES), len(ACTIONS)) == (6, 3)


def test_figures():
    assert_figures(market(), oracle(), STATED, share=74.8)


def test_policies():
    game = market()
    plan = px.planning.greedy(px.planning.welfare_values(game).q_values)
    np.testing.assert_array_equal(plan, [[MILK, CAREFUL] * 3] * 5)
    np.testing.assert_array_equal(px.planning.best_response(game), np.full((5, 6), MILK))


# No stateless contract reaches W*


class Programme(NamedTuple):
    gain: float
    paid: np.ndarray  # [A]


def least_gain(game: exact.NumpyGame, steps: range) -> Programme:
    """The least, over x >= 0, of the most that the agent gains by one step off the welfare optimum.

    Under x on actions the optimum pi earns the agent V_u + N . x, N[a] the expected plays of a. It
    is a best response only if no single step away from it gains at a cell that it reaches:
    u(s, a) + x[a] + (P V)(h + 1, a) - V(h, s) <= 0, linear in x. The programme makes the largest
    gain least. Losses of more than 1 are not sought: they have no bound where x can have none.
    """
    pi, size = optimal_policy(game), game.num_actions
    visited = exact.occupancy(game, pi)
    own = exact.policy_evaluation(game, pi, exact.agent_rewards(game))
    ones = np.ones(pi.shape)
    units = [exact.on_target(np.full(pi.shape, a), ones, size) for a in range(size)]
    plays = np.stack([exact.policy_evaluation(game, pi, unit) for unit in units], axis=-1)
    rows, bounds = [], []
    for h, s, a in game.cells:
        if h in steps and visited[h, s] > 0.0 and a != pi[h, s]:
            onward = exact.at_step(game.transition, h)[s, a]
            more_plays = np.eye(size)[a] + onward @ plays[h + 1] - plays[h, s]
            more_own = exact.at_step(game.agent_reward, h)[s, a] + onward @ own[h + 1] - own[h, s]
            rows.append([*more_plays, -1.0])  # more_own + more_plays . x <= gain
            bounds.append(-more_own)
    limits = [(0.0, None)] * size + [(-1.0, None)]
    found = linprog([0.0] * size + [1.0], rows, bounds, bounds=limits)
    assert found.status == 0, found.message
    return Programme(found.fun, found.x[:-1])


def largest_gain(game: exact.NumpyGame, paid: np.ndarray) -> float:
    """The same gain under given payments, from the agent's values under them."""
    reward = exact.agent_rewards(game, np.broadcast_to(paid, game.shape))
    pi = optimal_policy(game)
    values = exact.policy_evaluation(game, pi, reward)
    gains = [
        reward[h, s, a] + exact.at_step(game.transition, h)[s, a] @ values[h + 1] - values[h, s]
        for h, s, a in game.cells
        if a != pi[h, s]
    ]
    return max(gains)


def test_the_optimum_is_unique_and_meets_every_state():
    game = oracle()
    q_values = np.sort(exact.backward_induction(game, exact.welfare_rewards(game))[1], axis=2)
    # So that `least_gain` speaks of every welfare-optimal policy; both are far above rounding.
    assert (q_values[:, :, -1] - q_values[:, :, -2]).min() >= 0.1
    assert exact.occupancy(game, optimal_policy(game)).min() >= 0.06


def test_the_last_step_alone_contradicts_itself():
    u = oracle().agent_reward[0]
    needed = u[GOOD_AMPLE, MILK] - u[GOOD_AMPLE, CAREFUL]
    allowed = u[POOR_SCARCE, MILK] - u[POOR_SCARCE, CAREFUL]
    # The decimals of the docstring, each a few operations on numbers up to 1.
    np.testing.assert_allclose([needed, allowed], [0.400, 0.305], atol=8 * exact.EPSILON)
    # The solver's own tolerance is 1e-7.
    assert abs(least_gain(oracle(), range(4, 5)).gain - 0.0475) <= 1e-6


@pytest.mark.parametrize("state", [POOR_SCARCE, GOOD_AMPLE])
def test_every_policy_reaches_the_contradicting_states(state):
    game = oracle()
    reach = np.eye(6)[state]
    for _ in range(game.horizon - 1):
        reach = (game.transition[0] @ reach).min(axis=1)  # by the worst policy
    assert exact.expected(game, reach[None]) > 0.005


def test_no_stateless_contract_implements_the_optimum():
    # The solver's own tolerance is 1e-7; the figure is given to four places.
    assert abs(least_gain(oracle(), range(5)).gain - 0.1157) <= 0.5e-4 + 1e-6


@pytest.mark.parametrize("horizon", [1, 2, 8])
def test_nor_at_another_horizon(horizon):
    assert least_gain(oracle(horizon=horizon), range(horizon)).gain >= 0.0475 - 1e-6


def test_the_programme_finds_contracts_where_they_are_enough():
    """With these numbers welfare wants care in every state, and enough for it is enough."""
    game = oracle(scarce_supply=1.0, trust=1.0)
    found = least_gain(game, range(5))
    assert found.gain == pytest.approx(-1.0)  # the most that it seeks
    response = exact.best_response(game, np.broadcast_to(found.paid, game.shape))
    np.testing.assert_array_equal(response, optimal_policy(game))


@pytest.mark.parametrize("supply", [0.1, 1.0])
def test_the_programme_tells_the_gain_under_its_payments(supply):
    game = oracle(scarce_supply=supply, trust=1.0)
    found = least_gain(game, range(5))
    # The solver's own tolerance is 1e-7.
    assert abs(found.gain - largest_gain(game, found.paid)) <= 1e-5


def stateless_welfare(game: exact.NumpyGame, paid: np.ndarray) -> np.ndarray:
    """Best-response welfare, [N], under payments [3, N] for the three actions."""
    kernel, u = game.transition[0], game.agent_reward[0]
    welfare = u + game.principal_reward[0].max(axis=2)
    own, both = np.zeros((2, 6, paid.shape[1]))
    for _ in range(game.horizon):
        own_q = [u[:, [a]] + paid[a] + kernel[:, a] @ own for a in range(3)]
        both_q = [welfare[:, [a]] + kernel[:, a] @ both for a in range(3)]
        response = np.argmax(own_q, axis=0)
        own, both = np.max(own_q, axis=0), np.choose(response, both_q)
    return game.initial @ both


def test_the_best_stateless_contract():
    """A grid of .01 over differences of payments up to .6; a common addition changes nothing."""
    differences = np.arange(-60, 61) / 100.0
    grid = np.array([(c, s, 0.0) for c, s in itertools.product(differences, repeat=2)])
    paid = (grid - grid.min(axis=1, keepdims=True)).T
    share = stateless_welfare(oracle(), paid) / exact.optimal_welfare(oracle())
    assert abs(100.0 * share.max() - 85.0) <= 0.05
    always_careful = exact.policy_welfare(oracle(), np.full((5, 6), CAREFUL))
    assert abs(share.max() * exact.optimal_welfare(oracle()) - always_careful) <= 1e-9


def test_stateless_welfare_is_best_response_welfare():
    game, paid = oracle(), np.array([0.35, 0.10, 0.0])
    expected = exact.best_response_welfare(game, np.broadcast_to(paid, game.shape))
    found = stateless_welfare(game, paid[:, None])[0]
    assert abs(found - expected) <= exact.rounding(game, 2.0)


REFUSED = {
    "half a step": ("horizon", {"horizon": 2.5}),
    "no step": ("horizon", {"horizon": 0}),
    "supply over 1": ("scarce_supply", {"scarce_supply": 1.1}),
    "negative supply": ("scarce_supply", {"scarce_supply": -0.1}),
    "trust over 1": ("trust", {"trust": 1.5}),
    "trust of NaN": ("trust", {"trust": np.nan}),
    "an unknown noise": ("noise", {"noise": "cauchy"}),
}


@pytest.mark.parametrize(("name", "change"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(name, change):
    with pytest.raises(ValueError, match=name) as caught:
        market(**change)
    assert "\n" not in str(caught.value)


def test_check_game():
    check_game(market())
