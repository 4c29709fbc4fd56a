"""(T5), robust subsidies: brute force over contracts, linear programs, and the mechanism.

The worst case of a contract is found here in two ways that know nothing of (T5): a linear program
over occupancy measures, and a search over all mixtures of two deterministic policies, which is
exact since one constraint cuts the hull of the deterministic returns.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_batches import lanes_last, to_pajax
from oracles import exact
from oracles.exact import NumpyGame, Shape, rounding
from scipy.optimize import linprog

import pajax as px
from pajax.mechanisms.static import RobustSubsidy

pytestmark = pytest.mark.usefixtures("x64")


# Oracles


class Returns(NamedTuple):
    """What every deterministic policy brings in an episode; each [policies]."""

    agent: np.ndarray
    principal: np.ndarray
    visits: np.ndarray  # [policies, H, S, A], expected plays


def returns(game: NumpyGame) -> Returns:
    agent, principal, visits = [], [], []
    for policy in exact.all_policies(game):
        visited = exact.occupancy(game, policy)
        plays = exact.on_target(policy, visited, game.num_actions)
        agent.append((plays * exact.agent_rewards(game)).sum())
        principal.append((plays * exact.principal_rewards(game)).sum())
        visits.append(plays)
    return Returns(np.array(agent), np.array(principal), np.array(visits))


def worst_net(game: NumpyGame, transfer: np.ndarray, epsilon: float) -> float | np.ndarray:
    """The principal's least net value over the mixed policies within epsilon of the agent's best.

    transfer may have further axes in front, [..., H, S, A]; they remain.
    """
    known = returns(game)
    paid = np.tensordot(transfer, known.visits, axes=((-3, -2, -1), (1, 2, 3)))  # [..., policies]
    agent, net = known.agent + paid, known.principal - paid
    least = agent.max(axis=-1, keepdims=True) - epsilon
    may = agent >= least
    worst = np.where(may, net, np.inf).min(axis=-1)
    for i, j in itertools.permutations(range(agent.shape[-1]), 2):
        is_mixture = may[..., i] & ~may[..., j]  # as much of j as the agent will bear
        apart = np.where(is_mixture, agent[..., i] - agent[..., j], 1.0)
        weight = (least[..., 0] - agent[..., j]) / apart
        mixed = weight * net[..., i] + (1.0 - weight) * net[..., j]
        worst = np.where(is_mixture, np.minimum(worst, mixed), worst)
    return worst


def worst_net_by_program(game: NumpyGame, transfer: np.ndarray, epsilon: float) -> float:
    """The same as a linear program over occupancy measures q[h, s, a]."""
    H, S, A = game.shape
    flows, totals = np.zeros((H, S, H, S, A)), np.zeros((H, S))
    totals[0] = game.initial
    for h, s in np.ndindex(H, S):
        flows[h, s, h, s] = 1.0
        if h > 0:
            flows[h, s, h - 1] -= exact.at_step(game.transition, h - 1)[:, :, s]
    rewards = exact.agent_rewards(game, transfer)
    best = exact.expected(game, exact.backward_induction(game, rewards)[0])
    found = linprog(
        (exact.principal_rewards(game) - transfer).ravel(),
        A_ub=-rewards.reshape(1, -1),
        b_ub=[epsilon - best],
        A_eq=flows.reshape(H * S, -1),
        b_eq=totals.ravel(),
    )
    assert found.status == 0
    return found.fun


def guarantee(game: NumpyGame, epsilon: float, share: float) -> float:
    """f(x) of (T5)."""
    mixed = share * exact.welfare_rewards(game) - exact.principal_rewards(game)
    best = exact.expected(game, exact.backward_induction(game, mixed)[0])
    return share * exact.optimal_welfare(game) - best - share / (1.0 - share) * epsilon


TINY = Shape(2, 2, 2, 2, (False, False, False))
EPSILONS = (0.02, 0.1, 0.5)
NUM_TINY = 8
solve = jax.jit(px.transfers.robust_subsidy)


@functools.cache
def tiny_games() -> list[NumpyGame]:
    rng = np.random.default_rng(7)
    return [exact.random_game(rng, TINY) for _ in range(NUM_TINY)]


def solve_all(games: list[NumpyGame], epsilons: tuple) -> "px.transfers.RobustContract":
    """Of every game and epsilon, [..., games, epsilons], in one call."""
    stacked = px.stack_games([to_pajax(game) for game in games])
    stacked = px.stack_games([stacked] * len(epsilons))
    epsilon = jnp.broadcast_to(jnp.array(epsilons), stacked.lanes)
    return jax.tree.map(np.asarray, solve(stacked, epsilon))


@functools.cache
def subsidies() -> "px.transfers.RobustContract":
    """For the tiny games; behind EPSILONS comes epsilon = 0."""
    return solve_all(tiny_games(), (*EPSILONS, 0.0))


def accuracy(sizes: NumpyGame | Shape, share: float) -> float:
    """Of a guarantee and of the worst case of its contract.

    Bisection to the last of 52 bits, on a slope of 2 H at most; and recursions on rewards up to
    2 H, the transfers. An error in what the agent may forgo counts x / (1 - x) times.
    """
    return 2 * sizes.horizon * 2.0**-52 + rounding(sizes, 2 * sizes.horizon) / (1.0 - share)


# Tiny games

each = pytest.mark.parametrize(
    ("i", "j"), [(i, j) for i in range(NUM_TINY) for j in range(len(EPSILONS))]
)


@each
def test_the_worst_case_of_the_contract_is_its_value(i, j):
    found, game, epsilon = subsidies(), tiny_games()[i], EPSILONS[j]
    transfer, share, value = found.transfer[..., i, j], found.share[i, j], found.value[i, j]
    assert transfer.min() >= 0.0
    assert 0.0 <= share < 1.0
    bound = accuracy(game, share)
    assert abs(worst_net(game, transfer, epsilon) - value) <= bound
    assert abs(guarantee(game, epsilon, share) - value) <= bound
    # HiGHS lets each of H S + 1 constraints be violated by 1e-7, on multipliers of at most the
    # values, 2 H (H + 1), and of x / (1 - x).
    slack = 1e-7 * (4 * 2 * 2 * 3 + share / (1.0 - share))
    assert abs(worst_net_by_program(game, transfer, epsilon) - value) <= slack


def test_the_oracles_agree_on_other_contracts_too():
    rng = np.random.default_rng(8)
    for game in tiny_games():
        transfer = rng.uniform(size=game.shape) * (rng.uniform(size=game.shape) < 0.5)
        by_search = worst_net(game, transfer, 0.1)
        # As above; the agent's values may be as close as they like, so a multiplier is not bounded
        # beforehand. Those of these eight games are under 100.
        assert abs(worst_net_by_program(game, transfer, 0.1) - by_search) <= 1e-7 * (48 + 100)


@each
def test_no_other_contract_does_better(i, j):
    game, epsilon = tiny_games()[i], EPSILONS[j]
    best, value = subsidies().transfer[..., i, j], subsidies().value[i, j]
    rng = np.random.default_rng([9, i, j])
    shape = (500, *game.shape)
    sparse = rng.uniform(size=shape) * (rng.uniform(size=shape) < 0.5)
    near = np.maximum(best + rng.normal(scale=0.05, size=shape), 0.0)
    target = exact.greedy(exact.backward_induction(game, exact.welfare_rewards(game))[1])
    tau = exact.minimal_transfers(game)
    margins = rng.uniform(size=(100, *target.shape))
    enough = np.array(
        [exact.on_target(target, exact.along(target, tau) + x, game.num_actions) for x in margins]
    )
    bound = accuracy(game, subsidies().share[i, j])
    for transfer in (sparse, near, enough, rng.uniform(0.5, 1.5, size=(100, 1, 1, 1)) * best):
        assert worst_net(game, transfer, epsilon).max() <= value + bound


def test_the_share_is_the_best_one():
    shares = np.linspace(0.0, 0.99, 100)
    for i, j in np.ndindex(NUM_TINY, len(EPSILONS)):
        game, epsilon = tiny_games()[i], EPSILONS[j]
        found = np.array([guarantee(game, epsilon, share) for share in shares])
        assert (found - subsidies().value[i, j]).max() <= accuracy(game, 0.99)
        assert (np.diff(found, 2) <= 4 * accuracy(game, 0.99)).all()  # f is concave


def test_guarantees_agree_with_the_oracle():
    game, jitted = tiny_games()[0], jax.jit(px.transfers.robust_guarantee)
    for epsilon, share in itertools.product((0.0, 0.1), (0.0, 0.3, 0.9)):
        found = jitted(to_pajax(game), epsilon, share)
        assert abs(found - guarantee(game, epsilon, share)) <= accuracy(game, share)


def test_several_shares_are_used():
    """The tests above meet corners as well as inner points."""
    share = subsidies().share[:, : len(EPSILONS)]
    assert (share == 0.0).any()
    assert ((share > 0.1) & (share < 0.9)).any()


def test_a_lane_is_what_the_game_alone_would_be():
    found, game = subsidies(), to_pajax(tiny_games()[3])
    alone = solve(game, EPSILONS[1])
    for one, lanes in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one, lanes[..., 3, 1])


# Bandits, by brute force over all contracts of a grid

SPACING, TOP = 0.05, 1.5


def random_bandit(seed: int) -> NumpyGame:
    u, v = np.random.default_rng(seed).uniform(size=(2, 1, 3))
    return exact.stationary_game([[[1.0]] * 3], u, v, [1.0], 1)


@functools.cache
def bandit_subsidies() -> "px.transfers.RobustContract":
    return solve_all([random_bandit(seed) for seed in range(4)], EPSILONS)


@pytest.mark.parametrize("j", range(len(EPSILONS)))
@pytest.mark.parametrize("seed", range(4))
def test_brute_force_over_the_contracts_of_a_bandit(seed, j):
    game, epsilon, found = random_bandit(seed), EPSILONS[j], bandit_subsidies()
    amounts = np.arange(0.0, TOP + SPACING / 2, SPACING)
    grid = np.stack(np.meshgrid(*[amounts] * 3), axis=-1).reshape(-1, 1, 1, 3)
    value, share = float(found.value[seed, j]), float(found.share[seed, j])
    assert found.transfer[..., seed, j].max() <= TOP
    best = worst_net(game, grid, epsilon).max()
    assert best <= value + accuracy(game, share)
    # Some contract of the grid is within d / 2 of t_x, in each arm. Under it the agent gives up at
    # most eps + d of what t_x offers it, and the principal pays at most d / 2 more.
    lost = SPACING * share / (1.0 - share) + SPACING / 2
    assert best >= value - lost - accuracy(game, share)


def test_a_bandit_in_closed_form():
    """Two arms: u = 1/2, 0 and v = 0, 1. Then x w - v is x / 2 and x - 1: V*_x = x / 2.

    f(x) = x - x / 2 - eps x / (1 - x) is largest at (1 - x)^2 = 2 eps: x = 1/2 for eps = 1/8, where
    f = 1/8, and t_x pays the second arm 1/4 + 1/2.
    """
    game = px.games.bandit([0.5, 0.0], [0.0, 1.0])
    found = px.transfers.robust_subsidy(game, 0.125)
    bound = accuracy(random_bandit(0), 0.5)
    assert abs(found.share - 0.5) <= bound
    assert abs(found.value - 0.125) <= bound
    np.testing.assert_allclose(found.transfer[0, 0], [0.0, 0.75], rtol=0.0, atol=bound)


# epsilon = 0


@pytest.mark.parametrize("i", range(NUM_TINY))
def test_against_an_exact_agent_the_value_is_that_of_coase(i):
    game, found = tiny_games()[i], jax.tree.map(lambda x: x[..., i, -1], subsidies())
    assert abs(found.value - exact.coase_value(game)) <= accuracy(game, 0.0)
    # At x -> 1 what is paid is tau*: V_x and Q_x move by 2 H for every unit of x. A smaller x does
    # if an agent that is optimal for x w - v does already what welfare asks for.
    if found.share == 1.0 - 2.0**-52:
        bound = 4 * game.horizon * 2.0**-52 + accuracy(game, 0.0)
        tau = exact.minimal_transfers(game)
        np.testing.assert_allclose(found.transfer, tau, rtol=0.0, atol=bound)


def test_against_an_exact_agent_the_share_goes_to_one():
    assert (subsidies().share[:, -1] == 1.0 - 2.0**-52).sum() >= NUM_TINY / 2


def test_in_single_precision():
    with jax.enable_x64(False):
        game = px.games.pollution()
        found = px.transfers.robust_subsidy(game, 0.0)
        coase = px.transfers.coase_value(game)
        assert found.share == 1.0 - 2.0**-23
        # 2 H 2^-23 for the share; two float32 recursions of the size that `rounding` bounds
        single = 2.0**29 * rounding(exact.pollution(), 2.0)
        assert abs(found.value - coase) <= 2 * 5 * 2.0**-23 + single


# What the contract does to the agent


@each
def test_the_agent_loses_its_share_of_what_welfare_loses(i, j):
    game, share = tiny_games()[i], subsidies().share[i, j]
    paid = exact.agent_rewards(game, subsidies().transfer[..., i, j])
    values, q_values = exact.backward_induction(game, paid)
    best, q_best = exact.backward_induction(game, exact.welfare_rewards(game))
    gaps, welfare_gaps = values[:-1, :, None] - q_values, best[:-1, :, None] - q_best
    bound = 2 * rounding(game, 2 * game.horizon + 1)  # u and a transfer of up to 2 H
    np.testing.assert_allclose(gaps, (1.0 - share) * welfare_gaps, rtol=0.0, atol=bound)


@pytest.mark.parametrize("epsilon", [-0.1, np.inf, np.nan])
def test_epsilon_is_a_number_that_is_not_negative(epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        px.transfers.robust_subsidy(px.games.bandit(), epsilon)


# The mechanism


def test_the_mechanism_posts_the_subsidy():
    game = exact.random_game(np.random.default_rng(10), Shape(2, 3, 2, 2))
    ported, spec = to_pajax(game), px.Spec(2, 3, 2, 2, num_episodes=10)  # S, A, B, H
    contract = RobustSubsidy(game=ported, epsilon=0.1).init(spec)
    np.testing.assert_array_equal(contract.transfer, solve(ported, 0.1).transfer)
    target = exact.greedy(exact.backward_induction(game, exact.welfare_rewards(game))[1])
    np.testing.assert_array_equal(contract.target, target)
    for h, s in np.ndindex(target.shape):
        options = exact.at_step(game.principal_reward, h)[s, target[h, s]]
        assert int(contract.own_action[h, s]) == int(np.argmax(options))
        assert (np.delete(contract.transfer[h, s], target[h, s]) > 0.0).any()  # not on it alone


def test_the_mechanism_keeps_the_protocol():
    with jax.enable_x64(False):
        game = to_pajax(tiny_games()[0])
        px.testing.check_mechanism(RobustSubsidy(game=game), game)


def test_lanes_of_epsilon():
    """One mechanism with three epsilons, as a sweep has it."""
    game = px.games.bandit([0.5, 0.0], [0.0, 1.0])
    mechanism = RobustSubsidy(game=px.stack_games([game] * 3), epsilon=jnp.array([0.02, 0.125, 2]))
    contract = mechanism.init(px.Spec(1, 2, 1, 1, 10, (3,)))
    alone = [solve(game, x).transfer for x in (0.02, 0.125, 2.0)]
    np.testing.assert_array_equal(contract.transfer, lanes_last(alone))
