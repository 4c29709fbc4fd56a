"""Logit and Exp3: actions drawn from a softmax, of learned values and of estimated losses."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from learner_checks import (
    assert_a_lane_is_its_pair_alone,
    assert_is_one_kernel,
    assert_lowers_for_accelerators,
    game_of_20_states,
)
from oracles import sampling_agents
from replays import SIZES, contract_of, play_bandit, replay, spec_of, start

import pajax as px
from pajax.agents.base import MEMORIES, returns_to_go, softmax_draw
from pajax.agents.exp3 import Exp3
from pajax.agents.logit import Logit
from pajax.testing import check_agent

# Drawing from a softmax


def draw(logits, words):
    """Actions and laws for logits [A] and words [N]."""
    logits = jnp.broadcast_to(jnp.asarray(logits)[:, None], (len(logits), len(words)))
    return softmax_draw(logits, jnp.asarray(words, jnp.uint32))


def test_the_share_of_words_that_draw_an_action_is_its_probability():
    """Words on a grid of 2^12: a share is off by one grid cell at most, and by float32 sums."""
    words = np.arange(2**12, dtype=np.uint64) << 20
    logits = np.array([0.3, -1.0, 2.0, 0.0, -3.0])
    actions, law = draw(logits, words)
    expected = sampling_agents.softmax(list(logits))
    # an exponential and a quotient, each good to a few units of 2^-24
    np.testing.assert_allclose(law[:, 0], expected, rtol=16 * 2.0**-24)
    shares = np.bincount(actions, minlength=5) / len(words)
    np.testing.assert_allclose(shares, expected, rtol=0, atol=2.0**-12 + 2.0**-22)
    assert (np.diff(actions) >= 0).all()  # in the order of actions


EXTREMES = np.array([0, 1, 255, 256, 2**31, 2**32 - 256, 2**32 - 1], np.uint64)


@pytest.mark.parametrize(
    "logits",
    [
        [-1e4, 0.0, -1e4],
        [-jnp.inf, 3e38, -3e38],
        [-30.0, 0.0, -40.0],
        [1e30, 1e30 * (1 + 1e-6), -1e30],
    ],
)
def test_extreme_logits_are_safe_and_hopeless_actions_are_never_drawn(logits):
    actions, law = draw(jnp.asarray(logits, jnp.float32), EXTREMES)
    assert (np.asarray(actions) == 1).all()
    assert np.isfinite(law).all()
    np.testing.assert_allclose(law.sum(0), 1.0, rtol=4 * 2.0**-24)


def test_equal_logits_are_uniform():
    actions, law = draw([7.0, 7.0, 7.0, 7.0], EXTREMES)
    assert (np.asarray(law) == 0.25).all()
    assert actions.tolist() == [0, 0, 0, 0, 2, 3, 3]


def test_returns_to_go():
    rewards = jnp.asarray([[1.0, 0.5], [2.0, 0.25], [4.0, 0.125]])
    np.testing.assert_array_equal(
        returns_to_go(rewards), [[7.0, 0.875], [6.0, 0.375], [4.0, 0.125]]
    )


# The same trajectory as the plain loops

TEMPERATURES = {
    "a number": (0.3, 0.3),
    "by default": (None, lambda k: min(1.0, 12.0 * (k + 1.0) ** -0.5)),
}


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("memory", MEMORIES)
def test_logit_is_its_oracle(x64, memory, temperature):
    given, expected = TEMPERATURES[temperature]
    fields = {} if given is None else {"temperature": given}
    oracle = sampling_agents.Logit(SIZES, expected, memory)
    state = replay(Logit(memory=memory, **fields), oracle)
    # each of 120 updates rounds a value below 10 a few times
    np.testing.assert_allclose(state.table.q_values, oracle.q.ravel(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("memory", MEMORIES)
def test_exp3_is_its_oracle(x64, memory):
    oracle = sampling_agents.Exp3(SIZES, 1.5, memory)
    state = replay(Exp3(learning_rate=1.5, memory=memory), oracle)
    # sums of 120 losses below 1e3, their probabilities good to some roundings
    np.testing.assert_allclose(state.losses, oracle.losses.ravel(), rtol=1e-11, atol=1e-9)
    np.testing.assert_array_equal(state.visits, oracle.visits.ravel())


# Logit


def test_logit_plays_the_quantal_response():
    """At a constant temperature in a bandit of sure rewards, where Q = u after one visit.

    Chi-square of the plays after all arms are known; a true law fails with probability 1e-4.
    """
    u = np.array([0.2, 0.5, 0.6, 0.9])
    temperature = 0.25
    num_episodes, num_lanes = 500, 64
    agent = Logit(temperature=temperature)
    plays = play_bandit(agent, jnp.asarray(u), num_episodes, num_lanes, is_sure=True)
    late = np.asarray(plays)[200:]  # the least likely arm is met before, but for 1e-4 of lanes
    expected = np.exp(u / temperature) / np.exp(u / temperature).sum() * late.size
    found = np.bincount(late.ravel(), minlength=4)
    assert scipy.stats.chisquare(found, expected).pvalue > 1e-4


def test_a_temperature_of_zero_is_greedy():
    agent = Logit(temperature=0.0)
    state = agent.begin(start(agent, spec_of(SIZES)), contract_of(np.eye(3)[None].repeat(3, 0)))
    act = jax.jit(agent.act)
    for s in range(3):
        for word in EXTREMES:
            a, _ = act(state, jnp.int32(0), jnp.int32(s), jnp.asarray([word], jnp.uint32))
            assert int(a) == s


@pytest.mark.slow
def test_a_constant_temperature_costs_linear_regret():
    """Regret per episode in the second half is that of the softmax at the arms' means.

    0.02 is above 5 standard errors (64 lanes, means of 1e4 plays of gaps of at most 0.6) and what
    learned means still err.
    """
    means = np.array([0.2, 0.35, 0.5, 0.65, 0.8], np.float32)
    plays = np.asarray(play_bandit(Logit(temperature=0.2), jnp.asarray(means), 20_000, 64))
    law = np.exp(means / 0.2) / np.exp(means / 0.2).sum()
    expected = (law * (means.max() - means)).sum()
    assert expected > 0.05
    for half in (plays[5_000:10_000], plays[10_000:]):
        assert abs((means.max() - means)[half].mean() - expected) < 0.02


# Exp3


def test_exp3_keeps_to_its_bound_in_a_bandit():
    """Mean regret of 256 lanes is at most 2 sqrt(K A log A) (the theorem bounds the mean).

    By ten standard errors and more in fact, so that chance plays no part. Uniform play would lose
    450 in 4,000 episodes, where the bound is 298.
    """
    means = np.array([0.5, 0.5, 0.5, 0.65], np.float32)
    for num_episodes in (500, 4000):
        plays = np.asarray(play_bandit(Exp3(), jnp.asarray(means), num_episodes, 256))
        regret = (0.65 - means)[plays].sum(0)
        bound = 2.0 * math.sqrt(num_episodes * 4 * math.log(4))
        error = regret.std() / math.sqrt(256)
        assert regret.mean() + 10 * error <= bound


def test_an_aware_exp3_is_moved_by_a_transfer_as_if_it_had_been_paid_all_along():
    """Losses fall by visits times the transfer, where it is offered."""
    agent = Exp3()
    state = agent.begin(start(agent, spec_of(SIZES)), contract_of(np.zeros((3, 3, 3))))
    state = state._replace(visits=jnp.arange(9.0), losses=jnp.full(27, 50.0))
    transfer = np.random.default_rng(0).uniform(size=(3, 3, 3))
    moved = agent.begin(state, contract_of(transfer)).losses.reshape(3, 3, 3)
    expected = 50.0 - np.arange(9.0).reshape(3, 3, 1) * transfer
    np.testing.assert_allclose(moved, expected, rtol=4 * 2.0**-24)


# Both

LEARNERS = {"logit": Logit, "exp3": Exp3}


@pytest.mark.parametrize("learner", LEARNERS)
def test_finds_the_best_arm(learner):
    """In the last 1,000 episodes over 64 lanes; by chance it would be 0.2."""
    means = jnp.asarray([0.2, 0.35, 0.9, 0.5, 0.4])
    plays = np.asarray(play_bandit(LEARNERS[learner](), means, 10_000, 64))
    assert (plays[-1_000:] == 2).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_improves_on_pollution(learner):
    """Regret an episode falls to less than two thirds; 32 lanes spread far less than that."""
    keys = jax.random.split(jax.random.key(5), 32)
    run = jax.jit(functools.partial(px.simulate, num_episodes=3_000, record=(300, 2_700, 3_000)))
    record = run(keys, px.games.pollution(), LEARNERS[learner](), px.mechanisms.NoTransfer())
    first, _, last = np.asarray(record.agent_regret).mean(1)
    assert last < 2 / 3 * first


# In the engine

IN_ENGINE = {
    "logit": Logit(),
    "logit, restarting": Logit(memory="restarting"),
    "exp3": Exp3(),
    "exp3, restarting": Exp3(memory="restarting"),
    "exp3, blind": Exp3(memory="blind"),
}
QUICK = ("exp3, restarting",)


@pytest.mark.parametrize(
    "agent", [pytest.param(x, marks=() if x in QUICK else pytest.mark.slow) for x in IN_ENGINE]
)
def test_keeps_the_protocol(agent):
    mechanism = px.mechanisms.FlatTransfer(amount=0.3, action=1)
    check_agent(IN_ENGINE[agent], px.games.pollution(horizon=2), mechanism)


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_lane_is_its_pair_alone(learner):
    mechanism = px.mechanisms.TwoPhase(min_visits=4.0, width=0.4)
    assert_a_lane_is_its_pair_alone(LEARNERS[learner](), px.games.pollution(), mechanism)


@pytest.mark.parametrize("learner", LEARNERS)
def test_lowers_for_accelerators(learner):
    assert_lowers_for_accelerators(LEARNERS[learner]())


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_is_one_kernel(learner):
    for game in (px.games.pollution(), game_of_20_states()):
        assert_is_one_kernel(LEARNERS[learner](), game)
