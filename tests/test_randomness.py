"""Results depend on the pair alone: not on batch, chunk, device or the way of batching. Bitwise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pajax as px
from pajax.ledger import Record
from pajax.stages import checkpoints
from pajax.studies.batch import refine
from pajax.studies.kept import cumulate

EPISODES = 300  # both phases of TwoPhase as set here, and stages of more than one episode
NUM_LANES = 9  # one more than a vector register of 8 holds: a scalar rest, too
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
QUICK = (("ucb-q", "parallel"), ("ucbvi", "backward"))
PAIRS = [
    pytest.param(a, m, marks=() if (a, m) in QUICK else pytest.mark.slow, id=f"{a}-{m}")
    for a in AGENTS
    for m in MECHANISMS
]
every_pair = pytest.mark.parametrize(("agent", "mechanism"), PAIRS)


def assert_same_bits(got: Record, want: Record) -> None:
    for name, x, y in zip(Record._fields, got, want, strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=name)


@jax.jit
def run(keys, game, agent, mechanism):
    return px.simulate(keys, game, agent, mechanism, num_episodes=EPISODES)


def parts(agent: str, mechanism: str) -> tuple:
    return px.games.pollution(), AGENTS[agent], MECHANISMS[mechanism]


@functools.cache
def batch_keys():
    return jax.random.split(jax.random.key(0), NUM_LANES)


@functools.cache
def batch(agent: str, mechanism: str) -> Record:
    return run(batch_keys(), *parts(agent, mechanism))


# Lanes


@every_pair
def test_vmap_over_keys_gives_the_lane_batch(agent, mechanism):
    mapped = jax.jit(jax.vmap(run, in_axes=(0, None, None, None), out_axes=-1))
    assert_same_bits(mapped(batch_keys(), *parts(agent, mechanism)), batch(agent, mechanism))


@every_pair
def test_a_pair_alone_is_its_lane(agent, mechanism):
    for lane in (0, NUM_LANES - 1):
        alone = run(batch_keys()[lane], *parts(agent, mechanism))
        of_lane = jax.tree.map(lambda x, lane=lane: x[:, lane], batch(agent, mechanism))
        assert_same_bits(alone, of_lane)


@every_pair
def test_a_lane_does_not_hear_of_another(agent, mechanism):
    changed = jnp.stack([*batch_keys()[:4], jax.random.key(77), *batch_keys()[5:]])
    found, before = run(changed, *parts(agent, mechanism)), batch(agent, mechanism)
    others = np.arange(NUM_LANES) != 4
    assert_same_bits(*(jax.tree.map(lambda x: x[:, others], r) for r in (found, before)))
    assert (np.asarray(found.realised_welfare)[:, 4] != before.realised_welfare[:, 4]).any()


@every_pair
def test_keys_differ(agent, mechanism):
    utility = np.asarray(batch(agent, mechanism).principal_utility)
    assert np.unique(utility, axis=1).shape[1] == NUM_LANES


def test_a_run_again_is_the_same_run():
    assert_same_bits(run(batch_keys(), *parts("ucb-q", "parallel")), batch("ucb-q", "parallel"))


@pytest.mark.parametrize("states", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_vmap_over_games_and_hyper_parameters_gives_the_lane_batch(key, states):
    keys, games = jax.random.split(key, 6), px.games.garnet(key, num_games=6, num_states=states)
    scale, margin = jnp.linspace(1.0, 2.0, 6), jnp.linspace(0.0, 0.3, 6)

    def build(scale, margin):
        epsilon = px.schedules.PowerSchedule(scale=scale, exponent=0.5)
        agent = px.agents.QLearning(epsilon=epsilon)
        return agent, px.mechanisms.TwoPhase(margin=margin, min_visits=4.0, width=0.4)

    def one(key, game, scale, margin):
        return run(key, game, *build(scale, margin))

    mapped = jax.jit(jax.vmap(one, in_axes=(0, -1, 0, 0), out_axes=-1))
    lanes = run(keys, games, *build(scale, margin))
    assert_same_bits(mapped(keys, games, scale, margin), lanes)


# Studies

NUM_GAMES, NUM_SEEDS = 2, 5
EPSILONS = (0.1, 0.3)  # one for each game


@functools.cache
def study(chunk_lanes: int | None, num_devices: int):
    games = px.games.garnet(jax.random.key(4), num_games=NUM_GAMES, num_states=3)
    return px.study(
        jax.random.key(8),
        games,
        agents={"q": px.agents.QLearning(epsilon=jnp.asarray(EPSILONS))},
        mechanisms={"parallel": MECHANISMS["parallel"]},
        num_episodes=EPISODES,
        num_seeds=NUM_SEEDS,
        chunk_lanes=chunk_lanes,
        devices=jax.devices()[:num_devices],
        progress=False,
    )


REFERENCE = (64, 1)
LAYOUTS = [
    (1, 1),
    (7, 2),
    pytest.param(1, 2, marks=pytest.mark.slow),
    pytest.param(7, 1, marks=pytest.mark.slow),
    pytest.param(64, 2, marks=pytest.mark.slow),
]


def assert_same_variables(got, want) -> None:
    assert set(got.variables) == set(want.variables)
    for name in want.variables:
        assert got[name].dtype == want[name].dtype
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_there_are_two_devices():
    assert len(jax.devices()) >= 2  # else what follows says less than it seems to


@pytest.mark.parametrize(("chunk_lanes", "num_devices"), LAYOUTS)
def test_chunks_and_devices_change_no_number(chunk_lanes, num_devices):
    assert_same_variables(study(chunk_lanes, num_devices), study(*REFERENCE))


def test_a_study_is_its_pairs_simulated_one_by_one():
    """Pair (g, i) alone, with key fold_in(fold_in(key, g), i), cumulated in float64."""
    games = px.games.garnet(jax.random.key(4), num_games=NUM_GAMES, num_states=3)
    record = checkpoints(EPISODES)
    ends = refine(record)
    dataset = study(*REFERENCE).isel(agent=0, mechanism=0)
    simulate = jax.jit(functools.partial(px.simulate, num_episodes=EPISODES, record=ends))
    for g, i in ((0, 0), (0, NUM_SEEDS - 1), (1, 0), (1, NUM_SEEDS - 1)):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(8), g), i)
        game = jax.tree.map(lambda x, g=g: x[..., g] if x.ndim else x, games)
        agent = px.agents.QLearning(epsilon=jnp.asarray(EPSILONS[g]))
        alone = cumulate(simulate(key, game, agent, MECHANISMS["parallel"]), ends, record)
        at = dataset.isel(game=g, seed=i)
        welfare = alone.pop("realised_welfare")
        alone["realised_regret"] = record * float(at.optimal_welfare) - welfare
        for name, values in alone.items():
            np.testing.assert_array_equal(at[name], values, err_msg=f"{name} of ({g}, {i})")


def small_study(num_seeds: int, seed: int = 2):
    return px.study(
        jax.random.key(seed),
        px.games.bandit(),
        agents={"ucb-q": AGENTS["ucb-q"]},
        mechanisms={"none": MECHANISMS["none"]},
        num_episodes=50,
        num_seeds=num_seeds,
        progress=False,
    )


def test_more_seeds_extend_a_study():
    few, more = small_study(3), small_study(8)
    assert_same_variables(more.isel(seed=slice(3)), few)


def test_seeds_and_studies_differ():
    """Realised welfare of 50 episodes of two coins: seldom equal between runs, never in all."""
    one, other = small_study(8), small_study(8, seed=3)
    assert np.unique(one.principal_utility.to_numpy()[0, 0, 0], axis=0).shape[0] == 8
    assert (one.principal_utility != other.principal_utility).any("episode").all()
