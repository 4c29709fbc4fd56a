"""The commons: its tables, its optimum in closed form, and by enumeration of small instances."""

import itertools
import math

import numpy as np
import pytest
from game_figures import assert_figures, assert_tables
from oracles import exact

import pajax as px
from pajax.games.commons import commons
from pajax.testing import check_game

pytestmark = pytest.mark.usefixtures("x64")

DEFAULT = {
    "num_states": 5,
    "num_actions": 5,
    "horizon": 5,
    "growth": 4.0,
    "survival": 0.5,
    "conservation": 1.0,
}
TINY = {"num_states": 3, "num_actions": 2, "horizon": 3, "growth": 2.0, "survival": 0.6}
LARGE = {"num_states": 12, "num_actions": 4, "horizon": 8, "growth": 0.9, "conservation": 0.3}
STATED = {"W*": 4.0193, "rho . V0": 1.7, "laissez-faire": 3.1, "W* - rho . V0": 2.3193}
INSTANCES = {"default": {}, "tiny": TINY, "large": LARGE}


def recruits(left: int, sizes: dict) -> int:
    """G(k)."""
    capacity = sizes["num_states"] - 1
    law = sizes["growth"] * left * (1.0 - left / capacity)
    return min(capacity - left, math.floor(law + 0.5))


def worth(left: int, sizes: dict) -> float:
    """v(k)."""
    share = left / (sizes["num_states"] - 1)
    return sizes["conservation"] * share * (2.0 - share)


def oracle(**changes) -> exact.NumpyGame:
    """The same game; each recruit lives or dies by itself, all outcomes are told one by one."""
    sizes = DEFAULT | changes
    num_states, num_actions = sizes["num_states"], sizes["num_actions"]
    kernel = np.zeros((num_states, num_actions, num_states))
    u, v = np.zeros((2, num_states, num_actions))
    for s, a in itertools.product(range(num_states), range(num_actions)):
        harvest = a if a < s else s
        left = s - harvest
        u[s, a] = harvest / (num_actions - 1)
        v[s, a] = worth(left, sizes)
        for fates in itertools.product((0, 1), repeat=recruits(left, sizes)):
            odds = [sizes["survival"] if lives else 1.0 - sizes["survival"] for lives in fates]
            kernel[s, a, left + sum(fates)] += math.prod(odds)
    uniform = np.full(num_states, 1.0 / num_states)
    return exact.stationary_game(kernel, u, v, uniform, sizes["horizon"])


def welfare_values(**changes) -> np.ndarray:
    """VW of pajax, [H + 1, S]."""
    return np.asarray(px.planning.welfare_values(commons(**changes)).values)


@pytest.mark.parametrize("changes", INSTANCES.values(), ids=INSTANCES.keys())
def test_tables(changes):
    assert_tables(commons(**changes), oracle(**changes))


def test_figures():
    assert_figures(commons(), oracle(), STATED, share=77.1)


def test_optimal_harvests_leave_a_constant_stock():
    stock, game = np.arange(5), commons()
    plan = px.planning.greedy(px.planning.welfare_values(game).q_values)
    alone = px.planning.best_response(game)
    for h in range(5):
        spared, taken = (3, 1) if h < 4 else (2, 0)
        np.testing.assert_array_equal(plan[h], np.maximum(stock - spared, 0))
        np.testing.assert_array_equal(alone[h], np.maximum(stock - taken, 0))


CLOSED = {
    "default": {},
    "long": {"horizon": 12},
    "one step": {"horizon": 1},
    "slow": {"num_states": 9, "num_actions": 9, "growth": 0.7, "survival": 0.8},
    "little valued": {"num_states": 7, "num_actions": 7, "growth": 1.1, "conservation": 0.4},
    "no growth": {"num_states": 6, "num_actions": 6, "growth": 0.0, "conservation": 0.6},
    "sure growth": {"num_states": 8, "num_actions": 8, "growth": 1.0, "survival": 1.0},
}


@pytest.mark.parametrize("changes", CLOSED.values(), ids=CLOSED.keys())
def test_closed_form(changes):
    sizes = DEFAULT | changes
    stocks, horizon = range(sizes["num_states"]), sizes["horizon"]
    capacity = sizes["num_states"] - 1
    born = [sizes["survival"] * recruits(k, sizes) / capacity for k in stocks]
    phi = [worth(k, sizes) + born[k] for k in stocks]
    phi_last = [worth(k, sizes) - k / capacity for k in stocks]
    best = max(stocks, key=phi.__getitem__)
    best_last = max(stocks, key=phi_last.__getitem__)
    assert best_last <= best
    values, alone = welfare_values(**changes), px.planning.agent_values(commons(**changes)).values
    start = best if horizon > 1 else best_last
    atol = exact.rounding(oracle(**changes), 2.0)
    for s in stocks:
        bound = s / capacity + (horizon - 1) * phi[best] + phi_last[best_last]
        assert values[0, s] <= bound + atol
        if s >= start:
            assert abs(values[0, s] - bound) <= atol
        if s >= max(stocks, key=born.__getitem__):
            expected = s / capacity + (horizon - 1) * max(born)
            assert abs(alone[0, s] - expected) <= atol


def test_enumeration_of_all_policies():
    oracle_game = oracle(**TINY)
    welfare = [exact.policy_welfare(oracle_game, pi) for pi in exact.all_policies(oracle_game)]
    assert len(welfare) == 2**9
    game, atol = commons(**TINY), exact.rounding(oracle_game, 2.0)
    best = px.planning.greedy(px.planning.welfare_values(game).q_values)
    assert abs(float(px.planning.expected(game, welfare_values(**TINY))) - max(welfare)) <= atol
    assert abs(float(px.planning.policy_welfare(game, best)) - max(welfare)) <= atol
    assert abs(exact.policy_welfare(oracle_game, np.asarray(best)) - max(welfare)) <= atol


SURE = {
    "every recruit lives": {"survival": 1.0, "growth": 1.3},
    "none lives": {"survival": 0.0, "conservation": 0.7},
}


@pytest.mark.parametrize("changes", SURE.values(), ids=SURE.keys())
def test_enumeration_of_all_harvests_without_chance(changes):
    changes = {"num_states": 6, "num_actions": 3, "horizon": 5} | changes
    sizes, values = DEFAULT | changes, welfare_values(**changes)

    def welfare(stock: int, harvests: tuple[int, ...]) -> float:
        total = 0.0
        for wanted in harvests:
            taken = min(wanted, stock)
            stock = stock - taken
            total += taken / 2 + worth(stock, sizes)
            stock += recruits(stock, sizes) if sizes["survival"] == 1.0 else 0
        return total

    for s in range(6):
        best = max(welfare(s, plan) for plan in itertools.product(range(3), repeat=5))
        assert abs(values[0, s] - best) <= exact.rounding(oracle(**changes), 2.0)


def test_an_empty_stock_stays_empty():
    game = commons()
    np.testing.assert_array_equal(game.transition[0, 0], np.eye(5)[[0] * 5])
    assert not np.any(game.agent_reward[0, 0]) and not np.any(game.principal_reward[0, 0])


REFUSED = {
    "one stock": ("num_states", {"num_states": 1}),
    "too many stocks": ("num_states", {"num_states": 257}),
    "no harvest": ("num_actions", {"num_actions": 1}),
    "harvests over the stock": ("num_actions", {"num_actions": 6}),
    "half a step": ("horizon", {"horizon": 2.5}),
    "shrinking": ("growth", {"growth": -0.1}),
    "boundless growth": ("growth", {"growth": np.inf}),
    "a survival over 1": ("survival", {"survival": 1.1}),
    "negative survival": ("survival", {"survival": -0.1}),
    "conservation over 1": ("conservation", {"conservation": 1.5}),
    "conservation of NaN": ("conservation", {"conservation": np.nan}),
    "an unknown noise": ("noise", {"noise": "cauchy"}),
}


@pytest.mark.parametrize(("name", "change"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(name, change):
    with pytest.raises(ValueError, match=name) as caught:
        commons(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_check_game():
    check_game(commons())
