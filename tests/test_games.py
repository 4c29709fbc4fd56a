"""Games: what make_game accepts and refuses, lanes, and the families of THEORY.md, section 5."""

import functools

import jax
import jax.numpy as jnp
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


# Garnet as it always was

# Drawn before there were reward_sparsity, reach and initial: the default game of key 0.
PINNED = {
    "float32": (
        False,
        [0.3237658, 0.02, 0.02, 0.02, 0.6162342],
        [0.22848499, 0.73809326, 0.0106652975],
        [0.78032625, 0.9054154, 0.11597192],
    ),
    "float64": (
        True,
        [0.5680066748398255, 0.02, 0.02, 0.02, 0.3719933251601746],
        [0.40423259589899696, 0.05765589831770912, 0.4188210969819477],
        [0.9478382189312489, 0.741910886567114, 0.12218832667255652],
    ),
}
precisions = pytest.mark.parametrize("pinned", PINNED.values(), ids=PINNED.keys())


@precisions
def test_the_default_garnet_is_the_one_it_always_was(pinned):
    is_wide, kernel, agent, principal = pinned
    with jax.enable_x64(is_wide):
        game = px.games.garnet(jax.random.key(0))
    dtype = np.asarray(game.initial).dtype
    # Uniforms are made of integers: exact. The kernel went through a logarithm, a sum of two terms
    # and a division, where another machine may round a few last places otherwise.
    expected = np.asarray(kernel, dtype)
    rtol = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(game.transition[0, 0, 0], expected, rtol=rtol, atol=0.0)
    np.testing.assert_array_equal(game.agent_reward[0, 0], np.asarray(agent, dtype))
    np.testing.assert_array_equal(game.principal_reward[0, 4, :, 0], np.asarray(principal, dtype))


def plain_garnet(key, num_states, num_actions, branching, horizon, mixing) -> tuple:
    """The kernel, u and v of a Garnet without further knobs, drawn in the first order of draws."""
    cells = (num_states, num_actions)
    of_kernel, of_weights, of_agent, of_principal = jax.random.split(jax.random.fold_in(key, 0), 4)
    ranks = jnp.argsort(jnp.argsort(jax.random.uniform(of_kernel, (*cells, num_states))))
    weights = jax.random.exponential(of_weights, (*cells, num_states))
    weights = jnp.where(ranks < branching, weights, 0.0)
    kernel = weights / weights.sum(-1, keepdims=True)
    kernel = (1.0 - mixing) * kernel + mixing / num_states
    return kernel, jax.random.uniform(of_agent, cells), jax.random.uniform(of_principal, cells)


@precisions
def test_a_plain_garnet_is_bitwise_what_it_was(pinned):
    with jax.enable_x64(pinned[0]):
        game, sizes = garnet({}, None, seed=5)
        expected = plain_garnet(jax.random.key(5), **sizes)
        found = (game.transition[0], game.agent_reward[0], game.principal_reward[0, :, :, 0])
        for table, plain in zip(found, expected, strict=True):
            np.testing.assert_array_equal(table, plain)


# Garnet families

# 3.3 of the 15 cells should be zero: 3 are. In a ring of 5 states 3 are in reach of each.
HARD = {"mixing": 0.0, "reach": 1, "initial": "first", "reward_sparsity": 0.22}
NUM_CELLS, NUM_ZEROS = 15, 3


@functools.cache
def family(**knobs) -> "px.Game":
    return px.games.garnet(jax.random.key(1), **knobs, num_games=LANES)


def rewards(game: "px.Game") -> tuple[np.ndarray, np.ndarray]:
    """u and v, [cells, lanes]."""
    tables = (game.agent_reward, game.principal_reward)
    return tuple(np.asarray(table).reshape(NUM_CELLS, LANES) for table in tables)


def test_a_share_of_the_rewards_is_zero():
    for table, full in zip(rewards(family(**HARD)), rewards(family()), strict=True):
        is_zero = table == 0.0
        np.testing.assert_array_equal(is_zero.sum(axis=0), NUM_ZEROS)
        np.testing.assert_array_equal(table[~is_zero], full[~is_zero])
        # A binomial count in each cell: five standard errors, passed 6e-7 of the time.
        share = NUM_ZEROS / NUM_CELLS
        bound = 5 * np.sqrt(share * (1 - share) / LANES)
        assert np.abs(is_zero.mean(axis=1) - share).max() <= bound


def test_zeros_are_drawn_for_both_separately():
    both = np.logical_and(*(table == 0.0 for table in rewards(family(**HARD)))).sum(axis=0)
    # Hypergeometric: 3 cells of 15, of which 3 are zero in the other table.
    mean = NUM_ZEROS**2 / NUM_CELLS
    variance = mean * (1 - NUM_ZEROS / NUM_CELLS) * (NUM_CELLS - NUM_ZEROS) / (NUM_CELLS - 1)
    assert abs(both.mean() - mean) <= 5 * np.sqrt(variance / LANES)


def test_sparser_rewards_blank_more_of_the_same_cells():
    sparser = rewards(family(**HARD | {"reward_sparsity": 0.6}))
    for table, full in zip(sparser, rewards(family(**HARD)), strict=True):
        assert ((table == 0.0) | (table == full)).all()
        assert ((full != 0.0) | (table == 0.0)).all()
    assert not np.any(rewards(family(**HARD | {"reward_sparsity": 1.0})))


def test_successors_are_in_reach():
    kernel = np.asarray(family(**HARD).transition)[0]  # [S, A, S', lanes]
    is_successor = kernel > 0.0
    np.testing.assert_array_equal(is_successor.sum(axis=2), DEFAULTS["branching"])
    for s, follower in np.ndindex(5, 5):
        rows = is_successor[s, :, follower]
        if min((s - follower) % 5, (follower - s) % 5) > 1:
            assert not rows.any()
        else:  # 2 of 3 states in reach, in each of 3 x 400 rows: five binomial standard errors
            assert abs(rows.mean() - 2 / 3) <= 5 * np.sqrt(2 / 3 * 1 / 3 / rows.size)


def test_far_states_are_reached_through_a_chain():
    game = family(**HARD)
    kernel, start = np.asarray(game.transition)[0], np.asarray(game.initial) > 0.0
    np.testing.assert_array_equal(start, np.eye(5)[:, :1].repeat(LANES, axis=1))
    once = (start[:, None, None] & (kernel > 0.0)).any(axis=(0, 1))
    twice = (once[:, None, None] & (kernel > 0.0)).any(axis=(0, 1))
    assert not once[2:4].any()
    assert twice[2:4].mean() > 0.5


@pytest.mark.parametrize("name", ["reward_sparsity", "initial"])
def test_a_knob_leaves_the_kernel_alone(name):
    changed = family(**{name: HARD[name]})
    np.testing.assert_array_equal(changed.transition, family().transition)


def test_a_reach_of_half_the_ring_is_no_limit():
    far, anywhere = jax.tree.leaves(family(reach=2)), jax.tree.leaves(family())
    for found, expected in zip(far, anywhere, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("num_games", [None, 1])
def test_more_games_extend_the_batch(num_games):
    few = px.games.garnet(jax.random.key(1), **HARD, num_games=num_games)
    leaves = zip(jax.tree.leaves(few), jax.tree.leaves(family(**HARD)), strict=True)
    for first, many in leaves:
        np.testing.assert_array_equal(np.asarray(first), many[..., 0].reshape(first.shape))


GARNET_REFUSED = {
    "more successors than states": ("branching", {"num_states": 2, "branching": 3}),
    "no successor": ("branching", {"branching": 0}),
    "more successors than are in reach": ("branching", {"reach": 1, "branching": 4}),
    "no reach": ("reach", {"reach": 0}),
    "an unknown start": ("initial", {"initial": "last"}),
    "a share over 1": ("reward_sparsity", {"reward_sparsity": 1.2}),
    "a negative share": ("reward_sparsity", {"reward_sparsity": -0.1}),
}


@pytest.mark.parametrize(("name", "change"), GARNET_REFUSED.values(), ids=GARNET_REFUSED.keys())
def test_garnet_refuses_by_name(name, change):
    with pytest.raises(ValueError, match=name):
        px.games.garnet(jax.random.key(0), **change)


def test_numbers_out_of_range_by_rounding_are_cut():
    below = 1 - 0.8 - 0.2
    assert below < 0
    game = px.make_game(
        transition=[[[1.0, below], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]],
        agent_reward=[[below, 1.0], [0.5, 0.5]],
        principal_reward=[[1.0 + 1e-7, 0.0], [0.5, 0.5]],
        initial=[1.0, below],
        horizon=2,
    )
    for table in (game.transition, game.agent_reward, game.principal_reward, game.initial):
        assert (table >= 0).all() and (table <= 1).all()
    with pytest.raises(ValueError, match=r"agent_reward: got -0\.001, must lie in"):
        px.make_game(
            transition=[[[1.0]]],
            agent_reward=[[-0.001]],
            principal_reward=[[0.0]],
            initial=[1.0],
            horizon=1,
        )
