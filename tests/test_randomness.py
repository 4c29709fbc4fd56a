"""Results depend on the pair alone: not on batch, chunk, device or the way of batching. Bitwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pajax as px
from pajax.simulate import Record

EPISODES = 400
AGENTS = {
    "q": px.agents.QLearning(),
    "ucb-q": px.agents.UCBQ(),
    "ucbvi": px.agents.UCBVI(),
}
MECHANISMS = {
    "none": px.mechanisms.NoTransfer(),
    "parallel": px.mechanisms.TwoPhase(min_visits=4.0, width=0.4),
    "backward": px.mechanisms.TwoPhase(min_visits=4.0, width=0.4, order="backward"),
}


def assert_same_bits(got: Record, want: Record) -> None:
    for name, x, y in zip(Record._fields, got, want, strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=name)


def run(keys, game, agent, mechanism):
    return px.simulate(keys, game, agent, mechanism, num_episodes=EPISODES)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("agent", AGENTS)
def test_vmap_over_keys_gives_the_lane_batch(key, agent, mechanism):
    keys = jax.random.split(key, 9)
    parts = (px.games.pollution(), AGENTS[agent], MECHANISMS[mechanism])
    lanes = jax.jit(run)(keys, *parts)
    mapped = jax.jit(jax.vmap(run, in_axes=(0, None, None, None), out_axes=-1))(keys, *parts)
    assert_same_bits(mapped, lanes)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("agent", AGENTS)
def test_a_pair_alone_is_its_lane(key, agent, mechanism):
    keys = jax.random.split(key, 9)
    parts = (px.games.pollution(), AGENTS[agent], MECHANISMS[mechanism])
    lanes = jax.jit(run)(keys, *parts)
    alone = jax.jit(run)(keys[4], *parts)
    assert_same_bits(alone, jax.tree.map(lambda x: x[:, 4], lanes))


def test_vmap_over_games_and_hyper_parameters_gives_the_lane_batch(key):
    games = px.games.garnet(key, num_games=6)
    keys = jax.random.split(key, 6)
    agents = px.agents.QLearning(epsilon=jnp.linspace(0.05, 0.3, 6))
    mechanisms = px.mechanisms.TwoPhase(margin=jnp.linspace(0.0, 0.3, 6), min_visits=4.0)
    lanes = jax.jit(run)(keys, games, agents, mechanisms)
    mechanism_axes = px.mechanisms.TwoPhase(
        **{
            name: 0 if name == "margin" else None
            for name in (f for f in mechanisms.__dataclass_fields__ if f != "order")
        }
    )
    mapped = jax.jit(
        jax.vmap(
            lambda key, game, epsilon, margin: run(
                key,
                game,
                px.agents.QLearning(epsilon=epsilon),
                px.mechanisms.TwoPhase(margin=margin, min_visits=4.0),
            ),
            in_axes=(0, -1, 0, 0),
            out_axes=-1,
        )
    )(keys, games, agents.epsilon, mechanisms.margin)
    del mechanism_axes
    assert_same_bits(mapped, lanes)
