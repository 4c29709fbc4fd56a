"""Trajectories equal, step for step, those of the NumPy re-enactment fed the same random words.

Both sides compute in float64; states and actions must be equal, and numbers equal to rounding.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import reenactment

import pajax as px
from pajax.game import prepare
from pajax.stages import stage_lengths
from pajax.testing import trajectories

pytestmark = pytest.mark.usefixtures("x64")

POWER = px.schedules.PowerSchedule(scale=3.0, exponent=0.5)


def power(count):
    """The same schedule in NumPy."""
    return min(1.0, 3.0 * (count + 1.0) ** -0.5)


def random_game(seed, *, horizon, stationary):
    """A small game with time-varying tables unless stationary."""
    rng = np.random.default_rng(seed)
    steps = () if stationary else (horizon,)
    return px.make_game(
        transition=rng.dirichlet(np.ones(4), size=(*steps, 4, 3)),
        agent_reward=rng.uniform(size=(*steps, 4, 3)),
        principal_reward=rng.uniform(size=(*steps, 4, 3, 1) if steps else (4, 3)),
        initial=rng.dirichlet(np.ones(4)),
        horizon=horizon,
    )


def arrays(game):
    """The game as the oracle takes it."""
    names = ("transition", "agent_reward", "principal_reward", "initial")
    tables = {name: np.asarray(getattr(game, name), np.float64) for name in names}
    return reenactment.GameArrays(**tables, horizon=game.horizon, noise=game.noise)


def samplers(game):
    """Alias tables are data here; `test_draws` shows that they are right."""
    tables = prepare(game)
    shape = game.transition.shape
    return reenactment.SamplerTables(
        initial=np.asarray(tables.initial_state.table).reshape(1, -1),
        kernel=np.asarray(tables.next_state.table).reshape(shape),
    )


def agents(game, sizes):
    """Pairs of (pajax, oracle) agents by name."""
    pairs = {
        "best response": (
            px.agents.BestResponse(game=game, epsilon=POWER),
            reenactment.BestResponse(arrays(game), power),
        ),
        "q, constant rates": (
            px.agents.QLearning(epsilon=0.2, learning_rate=0.1),
            reenactment.QLearning(sizes, 0.2, 0.1),
        ),
        "q, optax schedule": (
            px.agents.QLearning(learning_rate=lambda n: 1.0 / (n + 2.0)),
            reenactment.QLearning(sizes, power, lambda n: 1.0 / (n + 2.0)),
        ),
        "ucbvi, a model a step": (
            px.agents.UCBVI(stationary=False),
            reenactment.UCBVI(sizes, 0.2),
        ),
    }
    for memory in ("aware", "restarting", "blind"):
        pairs[f"q, {memory}"] = (
            px.agents.QLearning(memory=memory),
            reenactment.QLearning(sizes, power, memory=memory),
        )
        pairs[f"ucb-q, {memory}"] = (
            px.agents.UCBQ(memory=memory),
            reenactment.UCBQ(sizes, 0.03, memory=memory),
        )
        pairs[f"ucbvi, {memory}"] = (
            px.agents.UCBVI(memory=memory),
            reenactment.UCBVI(sizes, 0.2, memory=memory, stationary=True),
        )
    return pairs


AGENTS = tuple(agents(px.games.pollution(), reenactment.Sizes(5, 3, 3, 10)))
GAMES = {
    "pollution": lambda: px.games.pollution(),
    "random": lambda: random_game(3, horizon=4, stationary=False),
    "deterministic rewards": lambda: px.games.pollution(horizon=3, noise="deterministic"),
}


def compare(game, pair, mechanisms, num_episodes, seed=7):
    """Run both sides and compare every step."""
    agent, oracle_agent = pair
    mechanism, oracle_mechanism = mechanisms
    key = jax.random.fold_in(jax.random.key(11), seed)
    log, record = trajectories(key, game, agent, mechanism, num_episodes=num_episodes)
    words = reenactment.threefry_words(tuple(int(x) for x in jax.random.key_data(key)))
    lengths = stage_lengths(num_episodes, mechanism.adapting_until, game.num_states)
    expected = reenactment.reenact(
        arrays(game), samplers(game), words, oracle_agent, oracle_mechanism, lengths
    )
    played = log.episodes
    for name, got, want in (
        ("states", played.states, expected.states),
        ("actions", played.actions, expected.actions),
        ("agent rewards", played.rewards, expected.agent_rewards),
    ):
        different = np.argwhere(np.asarray(got) != want)
        assert different.size == 0, f"{name} differ first at (episode, step) {different[0]}"
    # sums of at most a few terms, each rounded once: 1e-12 is thousands of roundings of order one
    np.testing.assert_allclose(played.payments, expected.payments, rtol=0, atol=1e-12)
    utility = expected.principal_rewards.sum() - expected.payments.sum()
    # a sum of n <= 7,500 terms of at most 5 rounds by less than n^2 5 eps = 6e-8
    np.testing.assert_allclose(record.principal_utility, utility, rtol=0, atol=6e-8)
    return log, expected


def static_pair(game):
    """A contract with a target, and one without."""
    contract = px.mechanisms.FixedTransfers.oracle(game)
    return contract, reenactment.FixedContract(
        np.asarray(contract.transfer), np.asarray(contract.target)
    )


CASES = [("random", agent) for agent in AGENTS] + [
    (game, agent)
    for game in ("pollution", "deterministic rewards")
    for agent in ("q, aware", "ucb-q, aware", "ucbvi, aware")
]


@pytest.mark.parametrize(("game", "agent"), CASES)
def test_every_agent_under_a_fixed_contract(game, agent):
    game, num_episodes = GAMES[game](), 150
    sizes = reenactment.Sizes(game.horizon, game.num_states, game.num_actions, num_episodes)
    compare(game, agents(game, sizes)[agent], static_pair(game), num_episodes)


@pytest.mark.parametrize("order", ["parallel", "backward"])
@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_under_two_phase(order, agent):
    check_two_phase(px.games.pollution(), agent, order, 1500, {})


@pytest.mark.parametrize("order", ["parallel", "backward"])
@pytest.mark.parametrize("game", ["random", "deterministic rewards"])
def test_two_phase_in_other_games(order, game):
    fields = {"min_visits": 6.0, "width": 0.3, "margin": 0.0}
    check_two_phase(GAMES[game](), "q, aware", order, 1500, fields, repair_visits=5.0)


def check_two_phase(game, agent, order, num_episodes, fields, repair_visits=20.0):
    """Both phases are reached, and end alike."""
    steering = px.mechanisms.OptimisticSteering(repair_visits=repair_visits)
    mechanism = px.mechanisms.TwoPhase(order=order, steering=steering, **fields)
    sizes = reenactment.Sizes(game.horizon, game.num_states, game.num_actions, num_episodes)
    mechanisms = (
        mechanism,
        reenactment.TwoPhase(sizes, order=order, repair_visits=repair_visits, **fields),
    )
    log, expected = compare(game, agents(game, sizes)[agent], mechanisms, num_episodes)
    state = log.mechanism
    np.testing.assert_allclose(state.estimator.intervals.low, expected.lo, rtol=0, atol=1e-12)
    np.testing.assert_allclose(state.estimator.intervals.high, expected.hi, rtol=0, atol=1e-12)
    resolved = mechanism.report(state).is_resolved
    np.testing.assert_array_equal(resolved, expected.resolved)
    assert 0 < expected.phase_one_episodes < num_episodes
    assert not bool(jnp.any(state.is_estimating))
