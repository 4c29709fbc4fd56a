"""NeuralQ: its network, its gradient, its oracle, and that lanes do not touch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from learner_checks import (
    assert_a_lane_is_its_pair_alone,
    assert_is_one_kernel,
    assert_lowers_for_accelerators,
    game_of_20_states,
)
from oracles import neural_agent, sampling_agents
from replays import SIZES, contract_of, episode_of, play_bandit, replay, spec_of, start

import pajax as px
from pajax.agents.neural_q import Network, NeuralQ
from pajax.testing import check_agent

FEATURES = np.random.default_rng(2).normal(size=(SIZES.num_states, 2))
OPTIMISERS = {
    "sgd": (optax.sgd, sampling_agents.GradientDescent, 0.1),
    "adam": (optax.adam, sampling_agents.Adam, 0.01),
}


@pytest.mark.parametrize(
    ("memory", "optimiser", "features"),
    [("aware", "adam", None), ("aware", "sgd", FEATURES), ("blind", "adam", FEATURES)],
    ids=["by default", "aware, sgd, features", "blind, adam, features"],
)
def test_is_its_oracle(x64, memory, optimiser, features):
    factory, of_oracle, rate = OPTIMISERS[optimiser]
    fields = {"features": features, "seed": 5, "memory": memory}
    oracle = neural_agent.NeuralQ(SIZES, of_oracle(rate), 0.3, width=7, **fields)
    fields["features"] = None if features is None else jnp.asarray(features)
    agent = NeuralQ(learning_rate=rate, epsilon=0.3, hidden_size=7, optimiser=factory, **fields)
    state = replay(agent, oracle)
    for name, weights in oracle.weights.items():
        # 120 steps of order one; Adam divides by moments, of which small ones magnify roundings
        got = getattr(state.network, name)
        np.testing.assert_allclose(got, weights, rtol=0, atol=1e-9, err_msg=name)


# The network


def net(network, features, h, s):
    """What a network without lanes says of each action, as its docstring has it."""
    hidden = jax.nn.relu(network.step[h] + features[s] @ network.feature)
    return network.bias + hidden @ network.output


def test_the_gradient_is_that_of_autodiff(x64):
    """Of sum_h error[h] net(h, s_h)[a_h], with features; all sums have below 40 terms."""
    agent = NeuralQ(features=jnp.asarray(FEATURES), hidden_size=5, memory="blind")
    state = start(agent, spec_of(SIZES))
    rng = np.random.default_rng(3)
    states, actions = jnp.array([2, 0, 1]), jnp.array([1, 1, 2])
    error = jnp.asarray(rng.normal(size=3))

    def weighted(network):
        values = [net(network, agent.features, h, states[h])[actions[h]] for h in range(3)]
        return (error * jnp.stack(values)).sum()

    def gradient(state):
        word = jnp.zeros(1, jnp.uint32)
        memos = [agent.act(state, jnp.int32(h), states[h], word)[1] for h in range(3)]
        memo = jax.tree.map(lambda *x: jnp.stack(x), *memos)
        return agent._gradient(
            state, episode_of(states, actions, states, error, error), memo, error
        )

    got = jax.jit(gradient)(state)
    expected = jax.jit(jax.grad(weighted))(state.network)
    for name in Network._fields:
        assert np.abs(getattr(expected, name)).max() > 0.01, name
        np.testing.assert_allclose(
            getattr(got, name), getattr(expected, name), rtol=0, atol=1e-14, err_msg=name
        )


def test_first_weights_come_from_the_seed_alone():
    spec = spec_of(SIZES, (3,))
    networks = [start(NeuralQ(seed=seed), spec).network for seed in (0, 0, 1)]
    for name, bound in (("step", 0.5), ("feature", 0.5), ("output", 32**-0.5)):
        one, again, other = (np.asarray(getattr(network, name)) for network in networks)
        assert (one == again).all()
        assert (one == one[..., :1]).all()  # the same in every lane
        assert (one != other).mean() > 0.99
        assert 0.9 * bound < np.abs(one).max() <= bound
        # uniform: standard deviation of a mean of n = 96 is bound / sqrt(3 n); 5 of them
        assert abs(one[..., 0].mean()) < 5 * bound / np.sqrt(3 * 96)
    assert (np.asarray(networks[0].step) != np.asarray(networks[0].feature)).any()


def test_seeds_and_rates_are_leaves_and_may_differ_by_lane():
    agent = NeuralQ(seed=jnp.array([0, 1]), learning_rate=jnp.array([0.1, 0.2]))
    network = start(agent, spec_of(SIZES, (2,))).network
    for i in range(2):
        alone = start(NeuralQ(seed=i), spec_of(SIZES)).network
        np.testing.assert_array_equal(network.output[..., i], alone.output)
    one, other = (jax.tree.structure(NeuralQ(seed=seed)) for seed in (0, 7))
    assert one == other


def test_states_of_equal_features_have_equal_values():
    agent = NeuralQ(features=jnp.asarray([[1.0, 0.5], [0.2, 0.0], [1.0, 0.5]]))
    state = agent.begin(start(agent, spec_of(SIZES)), contract_of(np.zeros((3, 3, 3))))
    act, word = jax.jit(agent.act), jnp.zeros(1, jnp.uint32)
    memos = [act(state, jnp.int32(1), jnp.int32(s), word)[1] for s in range(3)]
    assert memos[0].best == memos[2].best != memos[1].best


def test_there_is_no_restart():
    with pytest.raises(ValueError, match="memory: got 'restarting', must be one of aware, blind"):
        NeuralQ(memory="restarting")


# In the engine

IN_ENGINE = {
    "by default": NeuralQ(),
    "sgd, features": NeuralQ(features=FEATURES.astype(np.float32), optimiser=optax.sgd),
    "blind": NeuralQ(memory="blind", hidden_size=50),
}


def test_a_lane_is_its_pair_alone():
    assert_a_lane_is_its_pair_alone(NeuralQ(), px.games.bandit(), px.mechanisms.NoTransfer())


@pytest.mark.slow
def test_a_lane_is_its_pair_alone_under_two_phase():
    mechanism = px.mechanisms.TwoPhase(min_visits=4.0, width=0.4)
    assert_a_lane_is_its_pair_alone(NeuralQ(), px.games.pollution(), mechanism)


@pytest.mark.slow
@pytest.mark.parametrize("agent", IN_ENGINE)
def test_keeps_the_protocol(agent):
    mechanism = px.mechanisms.FlatTransfer(amount=0.3, action=1)
    check_agent(IN_ENGINE[agent], px.games.pollution(horizon=2), mechanism)


def test_lowers_for_accelerators():
    assert_lowers_for_accelerators(NeuralQ())


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_is_one_kernel(optimiser):
    for game in (px.games.pollution(), game_of_20_states()):
        assert_is_one_kernel(NeuralQ(optimiser=getattr(optax, optimiser)), game)


# What it learns


def test_finds_the_best_arm():
    """In the last 300 of 3,000 episodes over 64 lanes; by chance it would be 0.2."""
    means = jnp.asarray([0.2, 0.35, 0.9, 0.5, 0.4])
    plays = np.asarray(play_bandit(NeuralQ(), means, 3_000, 64))
    assert (plays[-300:] == 2).mean() > 0.9


@pytest.mark.slow
def test_improves_on_pollution():
    """Regret an episode falls to less than a fifth; 32 lanes spread far less than that."""
    keys = jax.random.split(jax.random.key(5), 32)
    run = jax.jit(functools.partial(px.simulate, num_episodes=5_000, record=(300, 4_700, 5_000)))
    record = run(keys, px.games.pollution(), NeuralQ(), px.mechanisms.NoTransfer())
    first, _, last = np.asarray(record.agent_regret).mean(1)
    assert last < 0.2 * first
