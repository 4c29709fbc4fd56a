"""Schedules: numbers, functions of optax, and PowerSchedule, whose numbers are leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pajax as px
from pajax.schedules import value_at
from pajax.testing import trajectories

COUNTS = np.array([0.0, 1.0, 2.0, 9.0, 99.0, 1e6], np.float32)


def test_power_schedule():
    schedule = px.schedules.PowerSchedule(scale=2.0, exponent=0.5, maximum=0.9)
    expected = np.minimum(0.9, 2.0 * (COUNTS.astype(np.float64) + 1.0) ** -0.5)
    # A power and a product in float32: a power is good to a few units in the last place.
    np.testing.assert_allclose(schedule(COUNTS), expected, rtol=8 * 2.0**-24)


def test_power_schedule_of_a_whole_number():
    assert float(px.schedules.PowerSchedule()(7)) == pytest.approx(0.5, rel=8 * 2.0**-24)


def test_the_numbers_of_a_power_schedule_are_leaves():
    leaves = jax.tree.leaves(px.schedules.PowerSchedule(scale=2.0, exponent=0.5))
    assert leaves == [2.0, 0.5, 1.0]
    sweep = px.schedules.PowerSchedule(scale=jnp.array([1.0, 3.0]), exponent=0.5, maximum=9.0)
    np.testing.assert_allclose(sweep(jnp.zeros(2)), [1.0, 3.0], rtol=8 * 2.0**-24)


VALUES = {
    "a number": (0.25, lambda n: np.full_like(n, 0.25)),
    "a function": (lambda n: 1.0 / (n + 1.0), lambda n: 1.0 / (n + 1.0)),
    "optax": (
        optax.polynomial_schedule(0.5, 0.1, 1, 100),
        lambda n: 0.5 - 0.4 * np.minimum(n, 100.0) / 100.0,
    ),
}


@pytest.mark.parametrize(("schedule", "expected"), VALUES.values(), ids=VALUES.keys())
def test_value_at(schedule, expected):
    found = [float(value_at(schedule, jnp.float32(count))) for count in COUNTS]
    # a handful of operations on numbers up to 1
    np.testing.assert_allclose(found, expected(COUNTS.astype(np.float64)), atol=8 * 2.0**-24)


@pytest.mark.parametrize(("schedule", "expected"), VALUES.values(), ids=VALUES.keys())
def test_an_agent_explores_as_its_schedule_says(schedule, expected):
    """The rate of the last stage, which begins after K - 1 episodes in a run of K = 3."""
    agent = px.agents.QLearning(epsilon=schedule)
    game, mechanism = px.games.bandit(), px.mechanisms.NoTransfer()
    log, _ = trajectories(jax.random.key(0), game, agent, mechanism, num_episodes=3)
    want = expected(np.array([2.0]))[0]
    assert float(log.agent.epsilon) == pytest.approx(want, abs=8 * 2.0**-24)
