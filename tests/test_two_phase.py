"""TwoPhase as a frame for parts: defaults, a user's estimator, what it says of bad parts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pajax as px
from pajax.mechanisms.base import Estimate
from pajax.simulate import spec_of

K = 10_000


@px.pytree
class Told:
    """An estimator that is told tau*, and has nothing to ask."""

    transfer: Any = px.axes("h", "s", "a")

    def init(self, spec, task):
        return spec.per_action() + self.transfer.reshape((*self.transfer.shape[:3], -1))[..., 0]

    def offers(self, state):
        return jnp.zeros_like(state)

    def observe(self, state, task, stage, is_active):
        return state

    def is_done(self, state):
        return jnp.ones_like(state[:, :, 0], bool)

    def estimate(self, state, task):
        return Estimate(state, state, state, jnp.ones_like(state, bool))


@pytest.mark.parametrize(
    ("game", "width", "visits", "least"),
    [(px.games.bandit, 0.1, 100.0, 50.0), (px.games.pollution, 0.2, 25.0, 20.0)],
)
def test_defaults_of_the_theory(game, width, visits, least):
    """At K = 10^4: w = K^(-1/4), n = K^(1/2), nmin = 50 in a bandit, else 2 w, n / 4 and 20."""
    task = px.mechanisms.TwoPhase().init(spec_of(game(), K)).task
    found = (task.width, task.test_visits, task.min_visits)
    # powers in float32, a few roundings
    np.testing.assert_allclose(found, (width, visits, least), rtol=1e-6)


def test_given_numbers_stand():
    mechanism = px.mechanisms.TwoPhase(width=0.3, test_visits=7.0, min_visits=3.0)
    task = mechanism.init(spec_of(px.games.bandit(), K)).task
    assert (float(task.width), task.test_visits, task.min_visits) == (np.float32(0.3), 7.0, 3.0)


def test_a_users_estimator(key):
    """Phase one is the first stage, one episode; then tau* is known exactly."""
    game = px.games.pollution()
    told = Told(transfer=px.transfers.minimal_transfers(game))
    mechanism = px.mechanisms.TwoPhase(estimator=told)
    agent = px.agents.BestResponse(game=game)
    record = px.simulate(key, game, agent, mechanism, num_episodes=2_000, record=(1_000, 2_000))
    assert record.phase_one.sum() == 1
    assert not record.transfer_error.any()
    assert not record.unresolved.any()
    # the steering has yet to learn the game, but loses little late: laissez-faire loses 1.69
    assert record.welfare_regret[-1] / 1_000 < 0.3


@pytest.mark.parametrize("part", ["estimator", "steering"])
def test_a_part_without_its_methods_is_refused(part):
    mechanism = px.mechanisms.TwoPhase(**{part: px.agents.QLearning()})
    with pytest.raises(ValueError, match=f"{part}: got QLearning.*, must have init, o"):
        px.simulate(
            jax.random.key(0),
            px.games.bandit(),
            px.agents.QLearning(),
            mechanism,
            num_episodes=10,
        )


def test_functions_are_shown_by_name():
    """So that the spec of a study is the same in every process."""
    assert "optimiser=adam," in repr(px.agents.NeuralQ())
    assert repr(px.mechanisms.Bisection(burn=0.25)).startswith("Bisection(first_offer=0.5, ")
