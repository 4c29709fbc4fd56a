"""PolicyGradient: its estimate of the gradient, its optimiser lane by lane, its memory."""

import functools
import itertools

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
from oracles import records, sampling_agents
from replays import SIZES, contract_of, episode_of, play_bandit, replay, spec_of

import pajax as px
from pajax import lanes
from pajax.agents.base import MEMORIES
from pajax.agents.policy_gradient import PolicyGradient
from pajax.testing import check_agent

OPTIMISERS = {
    "sgd": (optax.sgd, sampling_agents.GradientDescent),
    "adam": (optax.adam, sampling_agents.Adam),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("memory", MEMORIES)
def test_is_its_oracle(x64, memory, optimiser):
    factory, of_oracle = OPTIMISERS[optimiser]
    oracle = sampling_agents.PolicyGradient(SIZES, of_oracle(0.3), 0.2, memory)
    agent = PolicyGradient(learning_rate=0.3, baseline_rate=0.2, optimiser=factory, memory=memory)
    state = replay(agent, oracle)
    # 120 steps of order one; Adam divides by moments of at least 1e-3, hence 1e-9 and not 1e-12
    np.testing.assert_allclose(state.logits, oracle.logits.ravel(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(state.baseline, oracle.baseline.ravel(), rtol=0, atol=1e-12)


# The gradient, by enumeration of all episodes of a game of two steps, one in each lane

TINY = records.Sizes(horizon=2, num_states=2, num_actions=3, num_episodes=1)


def tiny_game(rng):
    """Initial law, kernel, sure rewards and transfers, [S], [S, A, S], [H, S, A], [H, S, A]."""
    shape = (2, 2, 3)
    rho, kernel = rng.dirichlet(np.ones(2)), rng.dirichlet(np.ones(2), size=(2, 3))
    return rho, kernel, rng.uniform(size=shape), rng.uniform(size=shape)


def expected_return(logits, rho, kernel, gain):
    """The mean return of the softmax policy [H, S, A], by backward induction."""
    values = jnp.zeros(2)
    for h in (1, 0):
        policy = jax.nn.softmax(logits[h], axis=1)
        values = (policy * (gain[h] + jnp.einsum("sat,t->sa", kernel, values))).sum(1)
    return (rho * values).sum()


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_mean_step_is_the_gradient_of_the_expected_return(x64, memory):
    """For any baseline, payments counted: all 36 episodes, weighted by their probabilities."""
    rng = np.random.default_rng(1)
    rho, kernel, u, transfer = tiny_game(rng)
    logits, baseline = rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 2))
    policy = np.asarray(jax.nn.softmax(logits, axis=2))
    every = np.array(list(itertools.product(range(2), range(3), range(2), range(3))), np.int32).T
    (s0, a0, s1, a1), num = every, every.shape[1]
    weight = rho[s0] * policy[0, s0, a0] * kernel[s0, a0, s1] * policy[1, s1, a1]
    assert weight.sum() == pytest.approx(1.0)

    def steps_of(logits, baseline, transfer):
        """Of every episode, from arrays without lanes."""
        logits, baseline, transfer = (
            jnp.broadcast_to(x[..., None], (*x.shape, num)) for x in (logits, baseline, transfer)
        )
        agent = PolicyGradient(learning_rate=1.0, memory=memory)
        state = agent.begin(agent.init(spec_of(TINY, (num,))), contract_of(transfer))
        state = state._replace(logits=lanes.flat(logits), baseline=lanes.flat(baseline, 2))
        words = jnp.zeros((1, num), jnp.uint32)
        states, actions = jnp.stack([s0, s1]), jnp.stack([a0, a1])
        memos = [agent.act(state, jnp.int32(h), states[h], words)[1] for h in (0, 1)]
        memo = jax.tree.map(lambda *x: jnp.stack(x), *memos)
        steps = jnp.arange(2)[:, None]
        seen = (jnp.asarray(u)[steps, states, actions], transfer[steps, states, actions, 0])
        return (
            agent.update(state, episode_of(states, actions, states, *seen), memo).logits
            - state.logits
        )

    found = jax.jit(steps_of)(logits, baseline, transfer)
    mean_step = (found * weight).sum(1).reshape(2, 2, 3)
    gradient = jax.grad(expected_return)(jnp.asarray(logits), rho, kernel, u + transfer)
    assert np.abs(gradient).max() > 0.01
    # sums of 36 terms of order one in float64
    np.testing.assert_allclose(mean_step, gradient, rtol=0, atol=1e-13)


def test_knowing_the_payments_of_a_step_takes_noise_off(x64):
    """With one step and sure rewards of 0, an aware agent's step does not depend on its action."""
    sizes = records.Sizes(1, 1, 3, 1)
    transfer = np.array([0.1, 0.5, 0.9]).reshape(1, 1, 3, 1).repeat(3, 3)

    @jax.jit
    def move(agent):
        state = agent.begin(agent.init(spec_of(sizes, (3,))), contract_of(transfer))
        s, played = jnp.zeros(3, jnp.int32), np.arange(3)[None]
        memo = agent.act(state, jnp.int32(0), s, jnp.zeros((1, 3), jnp.uint32))[1]
        memo = jax.tree.map(lambda x: x[None], memo)
        episode = episode_of(
            0 * played, played, 0 * played, 0.0 * played, transfer[0, 0, :, 0][None]
        )
        return agent.update(state, episode, memo).logits

    assert np.ptp(move(PolicyGradient(memory="aware")), axis=1).max() < 1e-15
    assert np.ptp(move(PolicyGradient(memory="blind")), axis=1).max() > 0.01


# The optimiser


def clipped(rate):
    return optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(rate))


@jax.jit
def one_update(agent, rewards):
    """The logits after an episode with these rewards, [H, lanes] or [H]."""
    sizes, shape = records.Sizes(2, 2, 2, 1), rewards.shape[1:]
    state = agent.begin(agent.init(spec_of(sizes, shape)), contract_of(np.zeros((2, 2, 2, *shape))))
    nowhere = jnp.zeros(shape, jnp.int32)
    words = jnp.zeros((1, *shape), jnp.uint32)
    memo = jax.tree.map(lambda x: jnp.stack([x, x]), agent.act(state, 0, nowhere, words)[1])
    at = np.zeros(rewards.shape)
    return agent.update(state, episode_of(at, at, at, rewards, at), memo).logits


def test_the_optimiser_sees_one_lane_at_a_time():
    """A clip of the gradient's norm binds in the lanes where it should, and in no other."""
    rewards = np.array([[1.0, 0.0, 0.1, 1.0], [1.0, 0.0, 0.0, 0.2]])
    agent = PolicyGradient(learning_rate=1.0, optimiser=clipped)
    among = one_update(agent, rewards)
    free = np.asarray(one_update(PolicyGradient(learning_rate=1.0), rewards))
    norms = np.sqrt((free**2).sum(0))
    assert (norms > 0.5).tolist() == [True, False, False, True]
    # norms and quotients in float32, each good to a few units
    np.testing.assert_allclose(among, free * np.minimum(1, 0.5 / np.maximum(norms, 0.5)), rtol=1e-6)
    for i in range(4):
        np.testing.assert_allclose(one_update(agent, rewards[:, i]), among[:, i], rtol=1e-6)


def test_a_sweep_of_learning_rates_compiles_once_and_runs_over_lanes():
    traces = []

    @jax.jit
    def plays(agent):
        traces.append(agent)
        return play_bandit(agent, jnp.asarray([0.2, 0.8]), 50, 3)

    each = [plays(PolicyGradient(learning_rate=rate)) for rate in (0.0, 0.5, 2.0)]
    assert len(traces) == 1
    assert (each[0] != each[2]).any()
    together = plays(PolicyGradient(learning_rate=jnp.array([0.0, 0.5, 2.0])))
    for i in range(3):
        np.testing.assert_array_equal(together[:, i], each[i][:, i])


def test_another_optimiser_is_another_program():
    leaves, tree = jax.tree.flatten(PolicyGradient(optimiser=optax.adam))
    assert len(leaves) == 2
    assert tree != jax.tree.structure(PolicyGradient())


# What it learns


def test_finds_the_best_arm():
    """In the last 300 of 3,000 episodes over 64 lanes; by chance it would be 0.2."""
    means = jnp.asarray([0.2, 0.35, 0.9, 0.5, 0.4])
    plays = np.asarray(play_bandit(PolicyGradient(), means, 3_000, 64))
    assert (plays[-300:] == 2).mean() > 0.9


def test_improves_on_pollution():
    """Regret an episode falls to less than a tenth; 32 lanes spread far less than that."""
    keys = jax.random.split(jax.random.key(5), 32)
    run = jax.jit(functools.partial(px.simulate, num_episodes=5_000, record=(300, 4_700, 5_000)))
    record = run(keys, px.games.pollution(), PolicyGradient(), px.mechanisms.NoTransfer())
    first, _, last = np.asarray(record.agent_regret).mean(1)
    assert last < 0.1 * first


# In the engine

IN_ENGINE = {
    "by default": PolicyGradient(),
    "aware, adam": PolicyGradient(memory="aware", optimiser=optax.adam),
    "blind, clipped": PolicyGradient(memory="blind", optimiser=clipped),
}
SLOW = [pytest.param(x, marks=pytest.mark.slow) for x in ("aware, adam", "blind, clipped")]


@pytest.mark.parametrize("agent", ["by default", *SLOW])
def test_keeps_the_protocol(agent):
    mechanism = px.mechanisms.FlatTransfer(amount=0.3, action=1)
    check_agent(IN_ENGINE[agent], px.games.pollution(horizon=2), mechanism)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["by default", "aware, adam"])
def test_a_lane_is_its_pair_alone(agent):
    mechanism = px.mechanisms.TwoPhase(min_visits=4.0, width=0.4)
    assert_a_lane_is_its_pair_alone(IN_ENGINE[agent], px.games.pollution(), mechanism)


def test_lowers_for_accelerators():
    assert_lowers_for_accelerators(PolicyGradient())


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["by default", "aware, adam"])
def test_is_one_kernel(agent):
    for game in (px.games.pollution(), game_of_20_states()):
        assert_is_one_kernel(IN_ENGINE[agent], game)
