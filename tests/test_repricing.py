"""Mechanisms that post what they know: when they price anew, and at what.

The residual claimant and the Pigouvian tax are followed through a run by plain loops; then their
prices are held against what they are for, in random games and random states of knowledge.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_batches import lanes_last, to_pajax
from oracles import exact
from oracles.exact import Shape, rounding
from oracles.repricing import Repricer, claim, pigouvian, tax

import pajax as px
from pajax._pytree import pytree
from pajax.mechanisms import PigouvianTax, ResidualClaimant
from pajax.model import Model
from pajax.protocols import Spec
from pajax.stages import stage_lengths
from pajax.testing import trajectories

pytestmark = pytest.mark.usefixtures("x64")

EPISODES, LANES = 250, 2


@pytree
class Restless:
    """An agent that draws its actions, the first one most often."""

    num_words = 1

    def init(self, spec):
        return ()

    def begin(self, state, contract):
        return state

    def act(self, state, h, s, words):
        return (words[0] % jnp.uint32(3) == 0).astype(jnp.int32), None

    def update(self, state, episode, memo):
        return state


def random_game(num_own_actions):
    """S = 3, A = 2, H = 3, a reward v of its own at each step, without noise."""
    rng = np.random.default_rng(num_own_actions)
    return px.make_game(
        transition=rng.dirichlet(np.ones(3), size=(3, 2)),
        agent_reward=rng.uniform(size=(3, 2)),
        principal_reward=rng.uniform(size=(3, 3, 2, num_own_actions)),
        initial=[0.6, 0.3, 0.1],
        horizon=3,
        noise="deterministic",
    )


# What is posted, and when


MECHANISMS = {
    "residual claimant": (ResidualClaimant(own_bonus=0.1), claim, 2),
    "pigouvian": (PigouvianTax(own_bonus=0.2), tax, 1),
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_contracts_are_those_of_plain_loops_all_along(name):
    """Payments and own actions of every step, and the whole last contract.

    With one own action in one case and two in the other.
    """
    mechanism, prices, num_own_actions = MECHANISMS[name]
    game = random_game(num_own_actions)
    keys = jax.random.split(jax.random.key(3), LANES)
    log, _ = trajectories(keys, game, Restless(), mechanism, num_episodes=EPISODES)
    played, contracts = jax.device_get((log.episodes, log.contracts))
    last = jax.tree.map(lambda x: x[-1], contracts)
    v, lengths = np.asarray(game.principal_reward), stage_lengths(EPISODES)
    for lane in range(LANES):
        names = ("states", "actions", "next_states", "own_actions", "payments")
        tables = (getattr(played, name)[:, :, lane] for name in names)
        states, actions, following, own, paid = tables
        loop = Repricer((3, 3, 2, num_own_actions), EPISODES, mechanism.own_bonus, prices)
        done = 0
        for length in lengths:
            posted = loop.transfer.copy(), loop.own_action.copy()
            stage = []
            for k in range(done, done + length):
                at = np.arange(3), states[k]
                np.testing.assert_array_equal(own[k], posted[1][at])
                # a dozen roundings of numbers of at most 6
                np.testing.assert_allclose(paid[k], posted[0][(*at, actions[k])], 0, 1e-13)
                earned = v[(*at, actions[k], own[k])]
                stage.append(
                    list(zip(states[k], actions[k], own[k], following[k], earned, strict=True))
                )
            loop.observe(stage)
            done += length
        np.testing.assert_allclose(last.transfer[..., lane], posted[0], 0, 1e-13)
        np.testing.assert_array_equal(last.own_action[..., lane], posted[1])
        assert (last.target == -1).all()
        # H S A counts from 2 on, doubled up to 250: at most 18 * 7 times, and not at every stage
        assert 10 < loop.num_prices < min(18 * 7, len(lengths) // 2)


# What the tax is, at any state of knowledge


CELLS = (4, 3, 3)  # H, S, A
MANY = 100


@functools.cache
def posted_tax(spec):
    """`PigouvianTax.transfers` from transitions [H, S, A, S', ...] and rewards [H, S, A, ...]."""

    @jax.jit
    def price(transitions, rewards):
        mechanism = PigouvianTax()
        state = mechanism.init(spec)
        known = state.known._replace(model=Model(transitions, rewards), visits=transitions.sum(3))
        return mechanism.transfers(state._replace(known=known), rewards)

    return price


def random_counts(rng, least):
    """Transitions seen: from few to very many, uneven in all directions."""
    counts = rng.geometric(0.2, size=(*CELLS, CELLS[1], MANY)) - 1
    scale = 10.0 ** rng.integers(4, size=(*CELLS, 1, MANY))
    counts = np.floor(counts * scale * (rng.uniform(size=counts.shape) < 0.7))
    counts[:, :, :, 0] = np.maximum(counts[:, :, :, 0], least)
    return counts


def gaps(reward, kernel):
    """V - Q of the agent in a model, [H, S, A]."""
    horizon = reward.shape[0]
    later, found = np.zeros(reward.shape[1]), np.zeros(reward.shape)
    for h in reversed(range(horizon)):
        q_values = reward[h] + kernel[h] @ later
        later = q_values.max(axis=1)
        found[h] = later[:, None] - q_values
    return found


def test_the_agents_gaps_are_those_of_welfare_whatever_it_is_used_to_play():
    """In the estimated model, for 100 random kernels, rewards and frequencies.

    Backward inductions of rewards of at most 2, or of at most 1 + 2 H with transfers: their
    rounding, as the oracle has it, with A potentials more.
    """
    rng = np.random.default_rng(0)
    counts, v = random_counts(rng, least=1), rng.uniform(size=(*CELLS, MANY))
    u = rng.uniform(size=v.shape)
    spec = Spec(CELLS[1], CELLS[2], 1, CELLS[0], 1000, (MANY,))
    transfer = np.asarray(posted_tax(spec)(jnp.asarray(counts), jnp.asarray(v)))
    assert (transfer >= 0.0).all()
    assert (transfer.min((1, 2)) == 0.0).all()  # and no larger rebate than it takes
    atol = 4 * rounding(Shape(CELLS[1], CELLS[2], 1, CELLS[0]), 1.0 + 2.0 * CELLS[0])
    for lane in range(MANY):
        kernel = counts[..., lane] / counts[..., lane].sum(3, keepdims=True)
        with_tax = gaps((u + transfer)[..., lane], kernel)
        np.testing.assert_allclose(with_tax, gaps((u + v)[..., lane], kernel), 0, atol)


def test_the_tax_at_random_knowledge_is_that_of_plain_loops():
    """Cells never seen too, and states."""
    rng = np.random.default_rng(1)
    counts = random_counts(rng, least=0) * (rng.uniform(size=(*CELLS[:2], 1, 1, MANY)) < 0.8)
    rewards = rng.uniform(size=(*CELLS, MANY))
    spec = Spec(CELLS[1], CELLS[2], 1, CELLS[0], 1000, (MANY,))
    transfer = np.asarray(posted_tax(spec)(jnp.asarray(counts), jnp.asarray(rewards)))
    assert (transfer >= 0.0).all()
    assert (counts.sum((2, 3)) == 0).any() and (counts.sum(3) == 0).any()
    for lane in range(MANY):
        wanted = pigouvian(counts[..., lane], rewards[..., lane])
        # H steps of values of at most H, each a sum of 2 S A terms
        np.testing.assert_allclose(transfer[..., lane], wanted, 0, 1e-13)


# What it is for


def known_games():
    rng = np.random.default_rng(2)
    shape = Shape(3, 3, 2, 4, stationary=(False, True, False))
    return [exact.random_game(rng, shape) for _ in range(40)]


@functools.cache
def in_known_games():
    """Transfers and the welfare of best responses, as lanes."""
    games = px.stack_games([to_pajax(game) for game in known_games()])

    @jax.jit
    def analyse(games):
        v = games.principal_reward.max(3)
        tables = {"claim": jnp.broadcast_to(v, (games.horizon, *v.shape[1:]))}
        oracle = PigouvianTax.oracle(games)
        tables["tax"] = oracle.transfer
        return (
            tables,
            oracle,
            {name: px.planning.best_response(games, table) for name, table in tables.items()},
        )

    return jax.device_get(analyse(games))


def plain_tax(game):
    """Advantages over the welfare optimum, and the rebate."""
    target = exact.greedy(exact.backward_induction(game, exact.welfare_rewards(game))[1])
    v = exact.principal_rewards(game)
    values, transfer = exact.policy_evaluation(game, target, v), np.zeros(game.shape)
    for h, s, a in game.cells:
        ahead = exact.at_step(game.transition, h)[s, a] @ values[h + 1]
        transfer[h, s, a] = v[h, s, a] + ahead - values[h, s]
    return target, transfer - transfer.min((1, 2), keepdims=True)


@pytest.mark.parametrize("name", ["claim", "tax"])
def test_the_best_response_is_welfare_optimal(name):
    """To v as transfer, and to the tax of the known game."""
    _, _, response = in_known_games()
    for lane, game in enumerate(known_games()):
        found = exact.policy_welfare(game, response[name][..., lane])
        # a response that rounding has chosen loses at most what rounding is
        assert found >= exact.optimal_welfare(game) - 4 * rounding(game, 1.0 + 2.0 * game.horizon)


def test_the_tax_of_a_known_game():
    _, oracle, _ = in_known_games()
    for lane, game in enumerate(known_games()):
        target, transfer = plain_tax(game)
        np.testing.assert_allclose(oracle.transfer[..., lane], transfer, 0, rounding(game, 2.0))
        assert (oracle.transfer[..., lane] >= 0.0).all()
        np.testing.assert_array_equal(oracle.target[..., lane], target)
        for h, s in np.ndindex(target.shape):
            v = exact.at_step(game.principal_reward, h)[s, target[h, s]]
            assert v[oracle.own_action[h, s, lane]] == v.max()


def test_the_estimated_tax_becomes_that_of_the_known_game():
    """With 1e12 plays of the welfare optimum at each (h, s), and 1e3 of every other action.

    These have a share of 1e-9 in each step's potential, whose error, H steps of values of at most
    H, is then below 2 A H^2 1e-9 = 1e-7.
    """
    games = known_games()
    _, oracle, _ = in_known_games()
    kernel = lanes_last([np.broadcast_to(g.transition, (*g.shape, 3)) for g in games])
    visits = np.where(np.arange(3).reshape(1, 1, 3, 1) == oracle.target[:, :, None], 1e12, 1e3)
    counts = kernel * visits[:, :, :, None]
    v = lanes_last([exact.principal_rewards(g) for g in games])
    spec = Spec(3, 3, 2, 4, 1000, (len(games),))
    found = posted_tax(spec)(jnp.asarray(counts), jnp.asarray(v))
    np.testing.assert_allclose(found, oracle.transfer, 0, 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("game", [px.games.bandit, px.games.pollution])
@pytest.mark.parametrize("name", ["oracle", "estimate", "claim"])
def test_a_best_responding_agent_comes_to_the_optimum(game, name):
    """Three seeds, the last tenth of 2e4 episodes; all of it under the tax of the known game."""
    game, last = game(), 2000
    mechanism = {
        "oracle": lambda: PigouvianTax.oracle(game),
        "estimate": PigouvianTax,
        "claim": ResidualClaimant,
    }[name]()
    keys = jax.random.split(jax.random.key(1), 3)
    agent = px.agents.BestResponse(game=game)
    record = (9 * last, 10 * last)
    sums = px.simulate(keys, game, agent, mechanism, num_episodes=10 * last, record=record)
    optimum = float(px.planning.expected(game, px.planning.welfare_values(game)))
    share = 1.0 - np.asarray(sums.welfare_regret)[-1] / (last * optimum)
    assert (share >= (1.0 - 1e-12 if name == "oracle" else 0.99)).all()
    if name == "claim":  # ruinous: of v, next to nothing is kept
        kept = np.asarray(sums.principal_utility)[-1] / np.asarray(sums.payment)[-1]
        assert (kept < 0.05).all()
