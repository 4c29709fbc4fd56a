"""Games: what make_game accepts and refuses, lanes, and the families of THEORY.md, section 5."""

import jax
import numpy as np
import pytest
from oracles import exact

import pajax as px

pytestmark = pytest.mark.usefixtures("x64")

S, A, B, H = 3, 2, 2, 4


def arguments() -> dict:
    """A proper stationary game, as the keyword arguments of make_game. Fresh arrays each time."""
    rng = np.random.default_rng(0)
    return {
        "transition": exact.random_rows(rng, (S, A, S)),
        "agent_reward": rng.uniform(size=(S, A)),
        "principal_reward": rng.uniform(size=(S, A, B)),
        "initial": exact.random_rows(rng, (S,)),
        "horizon": H,
    }


# make_game accepts

RANKS = {
    "stationary": ((S, A, S), (S, A), (S, A, B), (1, 1, 1)),
    "no own action": ((S, A, S), (S, A), (S, A), (1, 1, 1)),
    "kernel by step": ((H, S, A, S), (S, A), (S, A), (H, 1, 1)),
    "agent by step": ((S, A, S), (H, S, A), (S, A, B), (1, H, 1)),
    "principal by step": ((S, A, S), (S, A), (H, S, A, B), (1, 1, H)),
    "all by step": ((H, S, A, S), (H, S, A), (H, S, A, 1), (H, H, H)),
}


@pytest.mark.parametrize(
    ("kernel", "agent", "principal", "steps"), RANKS.values(), ids=RANKS.keys()
)
def test_ranks(kernel, agent, principal, steps):
    rng = np.random.default_rng(1)
    given = {
        "transition": exact.random_rows(rng, kernel),
        "agent_reward": rng.uniform(size=agent),
        "principal_reward": rng.uniform(size=principal),
        "initial": exact.random_rows(rng, (S,)),
    }
    game = px.make_game(**given, horizon=H)
    num_own_actions = 1 if len(principal) == 2 else principal[-1]
    assert game.transition.shape == (steps[0], S, A, S)
    assert game.agent_reward.shape == (steps[1], S, A)
    assert game.principal_reward.shape == (steps[2], S, A, num_own_actions)
    assert game.initial.shape == (S,)
    assert (game.num_states, game.num_actions, game.num_own_actions) == (S, A, num_own_actions)
    assert game.horizon == H
    assert game.lanes == ()
    for name, array in given.items():
        # A row may be divided by its own total: S + 1 roundings of numbers up to 1.
        found = np.asarray(getattr(game, name)).reshape(array.shape)
        np.testing.assert_allclose(found, array, rtol=0.0, atol=(S + 1) * exact.EPSILON)


@pytest.mark.parametrize("noise", ["bernoulli", "deterministic", "gaussian"])
def test_noise(noise):
    assert px.make_game(**arguments(), noise=noise).noise == noise


def test_lists_are_arrays():
    given = arguments()
    lists = {name: array.tolist() for name, array in given.items() if name != "horizon"}
    leaves = jax.tree.leaves(px.make_game(**lists, horizon=H))
    for found, expected in zip(leaves, jax.tree.leaves(px.make_game(**given)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_rewards_of_zero_and_one_are_in_range():
    px.make_game(**arguments() | {"agent_reward": np.eye(S, A), "principal_reward": np.eye(S, A)})


# make_game refuses


def with_entry(name: str, cell: tuple, value: float) -> dict:
    changed = arguments()[name]
    changed[cell] = value
    return {name: changed}


REFUSED = {
    "a kernel row short of 1": ("transition", with_entry("transition", (0, 0), 0.2)),
    "a kernel row over 1": ("transition", {"transition": np.full((S, A, S), 0.4)}),
    "a negative probability": (
        "transition",
        with_entry("transition", (0, 0), np.array([-0.5, 1.0, 0.5])),
    ),
    "a kernel with NaN": ("transition", with_entry("transition", (1, 1, 2), np.nan)),
    "a kernel of infinities": ("transition", with_entry("transition", (1, 1, 2), np.inf)),
    "a kernel that is not square": ("transition", {"transition": np.full((S, A, 2), 0.5)}),
    "a kernel of rank 2": ("transition", {"transition": np.full((S, S), 1 / S)}),
    "a kernel with steps other than H": (
        "transition",
        {"transition": np.full((H + 1, S, A, S), 1 / S)},
    ),
    "an agent reward over 1": ("agent_reward", with_entry("agent_reward", (2, 1), 1.3)),
    "an agent reward under 0": ("agent_reward", with_entry("agent_reward", (0, 0), -0.01)),
    "an agent reward of NaN": ("agent_reward", with_entry("agent_reward", (0, 0), np.nan)),
    "an agent reward for other actions": ("agent_reward", {"agent_reward": np.zeros((S, A + 1))}),
    "an agent reward for other states": ("agent_reward", {"agent_reward": np.zeros((S + 1, A))}),
    "an agent reward for other steps": ("agent_reward", {"agent_reward": np.zeros((H + 1, S, A))}),
    "an agent reward of rank 1": ("agent_reward", {"agent_reward": np.zeros(S)}),
    "a principal reward over 1": (
        "principal_reward",
        with_entry("principal_reward", (0, 1, 1), 1.3),
    ),
    "a principal reward under 0": (
        "principal_reward",
        with_entry("principal_reward", (0, 1, 1), -1.0),
    ),
    "a principal reward of NaN": (
        "principal_reward",
        with_entry("principal_reward", (0, 1, 1), np.nan),
    ),
    "a principal reward for other states": (
        "principal_reward",
        {"principal_reward": np.zeros((S + 1, A, B))},
    ),
    # Rank 3 is [S, A, B]: a principal reward by step needs its B axis.
    "a principal reward by step without B": (
        "principal_reward",
        {"principal_reward": np.zeros((H, S, A))},
    ),
    "a principal reward for other steps": (
        "principal_reward",
        {"principal_reward": np.zeros((H + 1, S, A, B))},
    ),
    "no own action at all": ("principal_reward", {"principal_reward": np.zeros((S, A, 0))}),
    "an initial distribution short of 1": ("initial", {"initial": np.full(S, 0.3)}),
    "a negative initial probability": ("initial", {"initial": np.array([1.2, -0.2, 0.0])}),
    "an initial NaN": ("initial", {"initial": np.array([np.nan, 0.5, 0.5])}),
    "an initial distribution over other states": ("initial", {"initial": np.full(S + 1, 0.25)}),
    "an initial distribution of rank 2": ("initial", {"initial": np.full((1, S), 1 / S)}),
    "horizon 0": ("horizon", {"horizon": 0}),
    "a negative horizon": ("horizon", {"horizon": -2}),
    "half a step": ("horizon", {"horizon": 2.5}),
    "an unknown noise": ("noise", {"noise": "cauchy"}),
    "a negative noise scale": ("noise_scale", {"noise": "gaussian", "noise_scale": -0.1}),
}


@pytest.mark.parametrize(("name", "change"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(name, change):
    with pytest.raises(ValueError, match=name) as caught:
        px.make_game(**(arguments() | change))
    assert "\n" not in str(caught.value)


def test_a_refusal_shows_the_value_and_the_rule():
    with pytest.raises(ValueError, match=r"agent_reward.*1\.3"):
        px.make_game(**(arguments() | with_entry("agent_reward", (2, 1), 1.3)))
    with pytest.raises(ValueError, match=r"horizon.*0"):
        px.make_game(**(arguments() | {"horizon": 0}))


# Lanes


def test_stacked_games_are_lanes():
    rng = np.random.default_rng(2)
    games = []
    for _ in range(4):
        changed = {"agent_reward": rng.uniform(size=(S, A)), "initial": np.eye(S)[rng.integers(S)]}
        games.append(px.make_game(**(arguments() | changed)))
    stacked = px.stack_games(games)
    assert stacked.lanes == (4,)
    assert (stacked.num_states, stacked.num_actions, stacked.num_own_actions) == (S, A, B)
    assert stacked.horizon == H
    for i, game in enumerate(games):
        for lanes, alone in zip(jax.tree.leaves(stacked), jax.tree.leaves(game), strict=True):
            np.testing.assert_array_equal(lanes[..., i], alone)


def test_stacking_stacks_adds_the_new_axis_last():
    game = px.make_game(**arguments())
    assert px.stack_games([px.stack_games([game] * 3)] * 2).lanes == (3, 2)


MISFITS = {
    "another horizon": lambda: px.make_game(**(arguments() | {"horizon": H + 1})),
    "other sizes": px.games.bandit,
    "another noise": lambda: px.make_game(**arguments(), noise="deterministic"),
    "other own actions": lambda: px.make_game(
        **(arguments() | {"principal_reward": np.zeros((S, A))})
    ),
}


@pytest.mark.parametrize("misfit", MISFITS.values(), ids=MISFITS.keys())
def test_games_that_differ_do_not_stack(misfit):
    with pytest.raises(ValueError, match="game"):
        px.stack_games([px.make_game(**arguments()), misfit()])


def test_no_games_do_not_stack():
    with pytest.raises(ValueError, match="game"):
        px.stack_games([])


# Families

TABLES = {
    "pollution": (px.games.pollution, exact.pollution),
    "bandit": (px.games.bandit, exact.bandit),
}


@pytest.mark.parametrize(("family", "table"), TABLES.values(), ids=TABLES.keys())
def test_tables(family, table):
    game, expected = family(), table()
    assert game.horizon == expected.horizon
    assert game.lanes == ()
    for name in ("transition", "agent_reward", "principal_reward", "initial"):
        found, typed = np.asarray(getattr(game, name)), getattr(expected, name)
        assert found.shape == typed.shape
        # The same decimals, a row perhaps divided by its own total of S <= 3 terms.
        np.testing.assert_allclose(found, typed, rtol=0.0, atol=4 * exact.EPSILON)


# Few sizes and one number of lanes: each new one costs seconds of compilation.
DEFAULTS = {"num_states": 5, "num_actions": 3, "branching": 2, "horizon": 5, "mixing": 0.1}
SINGLE = {"num_states": 4, "num_actions": 2, "branching": 1, "horizon": 3, "mixing": 0.0}
FULL = {"num_states": 3, "num_actions": 2, "branching": 3, "horizon": 2, "mixing": 0.3}
LANES = 400
GARNETS = {
    "default, one game": ({}, None),
    "default, a lane of one": ({}, 1),
    "default": ({}, LANES),
    "one successor, none mixed in": (SINGLE, LANES),
    "every state a successor": (FULL, LANES),
}
garnets = pytest.mark.parametrize(("sizes", "num_games"), GARNETS.values(), ids=GARNETS.keys())


def garnet(sizes: dict, num_games: int | None, seed: int = 0) -> tuple["px.Game", dict]:
    """A Garnet and the sizes it should have."""
    key = jax.random.key(seed)
    return px.games.garnet(key, **sizes, num_games=num_games), DEFAULTS | sizes


@garnets
def test_garnet_is_a_proper_game(sizes, num_games):
    game, sizes = garnet(sizes, num_games)
    lanes = () if num_games is None else (num_games,)
    num_states, num_actions = sizes["num_states"], sizes["num_actions"]
    assert game.lanes == lanes
    assert game.horizon == sizes["horizon"]
    assert game.transition.shape == (1, num_states, num_actions, num_states, *lanes)
    assert game.agent_reward.shape == (1, num_states, num_actions, *lanes)
    assert game.principal_reward.shape == (1, num_states, num_actions, 1, *lanes)
    assert game.initial.shape == (num_states, *lanes)
    # S terms, each off by a few roundings of its own size: (S + 3) eps on a total of 1.
    atol = (num_states + 3) * exact.EPSILON
    np.testing.assert_allclose(game.transition.sum(axis=3), 1.0, rtol=0.0, atol=atol)
    np.testing.assert_allclose(game.initial.sum(axis=0), 1.0, rtol=0.0, atol=atol)
    for reward in (game.agent_reward, game.principal_reward):
        assert reward.min() >= 0.0
        assert reward.max() <= 1.0


@garnets
def test_garnet_has_b_successors_over_a_uniform_floor(sizes, num_games):
    game, sizes = garnet(sizes, num_games)
    transition, floor = np.asarray(game.transition), sizes["mixing"] / sizes["num_states"]
    # What is mixed in is the floor itself, to the rounding of a product and a sum. A Dirichlet(1)
    # weight is below 1e-15 with probability 2e-15 at most, over fewer than 2e4 weights.
    assert transition.min() >= floor - 4 * exact.EPSILON
    successors = (transition > floor + 4 * exact.EPSILON).sum(axis=3)
    np.testing.assert_array_equal(successors, sizes["branching"])


def test_garnet_keys_and_lanes_differ():
    one, two = garnet({}, LANES, seed=0)[0], garnet({}, LANES, seed=1)[0]
    for name in ("transition", "agent_reward", "principal_reward"):
        lanes = np.concatenate([getattr(one, name), getattr(two, name)], axis=-1)
        distinct = np.unique(lanes.reshape(-1, 2 * LANES), axis=1)
        assert distinct.shape[1] == 2 * LANES


def test_garnet_is_a_function_of_its_key():
    first, again = garnet({}, LANES)[0], garnet({}, LANES)[0]
    for found, expected in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["agent_reward", "principal_reward"])
def test_garnet_rewards_are_uniform(name):
    reward = np.asarray(getattr(garnet({}, LANES, seed=3)[0], name))
    # 6,000 uniforms: standard error 1 / sqrt(12 n); five of them are passed 6e-7 of the time.
    assert abs(reward.mean() - 0.5) <= 5 / np.sqrt(12 * reward.size)


def test_garnet_weights_are_dirichlet():
    game, sizes = garnet({}, LANES, seed=3)
    floor = sizes["mixing"] / sizes["num_states"]
    weights = (np.asarray(game.transition) - floor) / (1 - sizes["mixing"])
    rows = weights.size // sizes["num_states"]
    # b = 2: weights x and 1 - x, x uniform; x^2 + (1 - x)^2 has mean 2/3 and variance 1/45. Five
    # standard errors, passed 6e-7 of the time.
    squares = (weights**2).sum(axis=3).mean()
    assert abs(squares - 2 / 3) <= 5 / np.sqrt(45 * rows)
    # Each state is among the successors of 2/5 of the rows: five binomial standard errors.
    share = (weights > 4 * exact.EPSILON).mean(axis=(0, 1, 2, 4))
    assert np.abs(share - 2 / 5).max() <= 5 * np.sqrt(2 / 5 * 3 / 5 / rows)


GARNET_REFUSED = {
    "more successors than states": {"num_states": 2, "branching": 3},
    "no successor": {"branching": 0},
}


@pytest.mark.parametrize("change", GARNET_REFUSED.values(), ids=GARNET_REFUSED.keys())
def test_garnet_refuses_branching(change):
    with pytest.raises(ValueError, match="branching"):
        px.games.garnet(jax.random.key(0), **change)
