"""Random words, alias tables, draws and reward noise, each against arithmetic done another way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

import pajax as px
from pajax import draws

UNIT = 2.0**-24  # resolution of a threshold and of a uniform

# Words

# key, counter, words: the vectors of the reference implementation (Random123, 20 rounds)
KNOWN = {
    "zeros": ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    "ones": ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    "pi": ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
}


def words(pair) -> tuple[jax.Array, jax.Array]:
    return tuple(jnp.asarray(word, jnp.uint32) for word in pair)


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN.values(), ids=KNOWN.keys())
def test_threefry_has_the_known_vectors(key, counter, expected):
    found = draws.threefry2x32(words(key), words(counter))
    assert tuple(int(word) for word in found) == expected


def test_threefry_is_that_of_jax():
    rng = np.random.default_rng(0)
    keys, counters = rng.integers(0, 2**32, (2, 2, 64), dtype=np.uint32)
    found = draws.threefry2x32(words(keys), words(counters))
    for i in range(keys.shape[1]):
        expected = threefry_2x32(jnp.asarray(keys[:, i]), jnp.asarray(counters[:, i]))
        assert [int(found[0][i]), int(found[1][i])] == expected.tolist()


HORIZON, EPISODE = 4, 7


def episode_words(num_words: int, lanes: tuple[int, ...] = ()) -> tuple[jax.Array, draws.Words]:
    """The word of the initial state, and those of the steps."""
    key = jax.random.key(3)
    key = draws.key_words(jax.random.split(key, lanes) if lanes else key)
    return draws.episode_words(key, jnp.uint32(EPISODE), HORIZON, num_words)


NUM_WORDS = (0, 1, 2, 3, 5)


@pytest.mark.parametrize("lanes", [(), (3,)])
@pytest.mark.parametrize("num_words", NUM_WORDS)
def test_what_an_agent_asks_for_moves_no_other_word(num_words, lanes):
    (initial, found), (same, alone) = episode_words(num_words, lanes), episode_words(0, lanes)
    np.testing.assert_array_equal(initial, same)
    for name in ("agent_reward", "principal_reward", "next_state"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name), err_msg=name)
    assert found.agent.shape == (HORIZON, num_words, *lanes)
    first = episode_words(1, lanes)[1].agent[:, : min(num_words, 1)]
    np.testing.assert_array_equal(found.agent[:, :1], first)


@pytest.mark.parametrize("num_words", NUM_WORDS)
def test_words_have_the_documented_blocks(num_words):
    initial, found = episode_words(num_words)
    key = draws.key_words(jax.random.key(3))

    def block(d: int) -> list[int]:
        return [int(x) for x in draws.threefry2x32(key, words((EPISODE, d)))]

    for h in range(HORIZON):
        rewards, dynamics = block(2 * h), block(2 * h + 1)
        assert [int(found.agent_reward[h]), int(found.principal_reward[h])] == rewards
        assert int(found.next_state[h]) == dynamics[0]
        if num_words:
            assert int(found.agent[h, 0]) == dynamics[1]
    assert int(initial) == block(2 * HORIZON)[0]


@pytest.mark.parametrize("num_words", NUM_WORDS)
def test_no_word_is_used_twice(num_words):
    every = np.concatenate([np.ravel(x) for x in jax.tree.leaves(episode_words(num_words))])
    assert every.size == HORIZON * (3 + num_words) + 1
    # Words of different counters are as if independent: a clash of 33 has a chance below 2e-7.
    assert np.unique(every).size == every.size


BAD_KEYS = {
    "raw words": lambda: jnp.zeros(2, jnp.uint32),
    "a seed": lambda: jnp.asarray(0),
    "rbg": lambda: jax.random.key(0, impl="rbg"),
}


@pytest.mark.parametrize("make", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_only_typed_threefry_keys_will_do(make):
    with pytest.raises(ValueError, match=r"^key: got .* must be") as caught:
        draws.key_words(make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["raw words", "rbg"])
@pytest.mark.parametrize("run", ["simulate", "study"])
def test_bad_keys_are_refused_at_the_door(run, name):
    make = BAD_KEYS[name]
    agent, mechanism, game = px.agents.UCBQ(), px.mechanisms.NoTransfer(), px.games.bandit()
    calls = {
        "simulate": lambda key: px.simulate(key, game, agent, mechanism, num_episodes=2),
        "study": lambda key: px.study(
            key, game, agents={"a": agent}, mechanisms={"m": mechanism}, num_episodes=2, num_seeds=2
        ),
    }
    with pytest.raises(ValueError, match=r"^key: got .* must be"):
        calls[run](make())


# Uniforms and draws

EDGES = np.array([0, 1, 255, 256, 2**16 - 1, 2**16, 2**31, 2**32 - 256, 2**32 - 1], np.uint32)


def some_words(number: int = 4000) -> np.ndarray:
    drawn = np.random.default_rng(1).integers(0, 2**32, number, dtype=np.uint32)
    return np.concatenate([EDGES, drawn])


def test_uniform_is_the_high_24_bits():
    found = np.asarray(draws.uniform(jnp.asarray(some_words())), np.float64)
    np.testing.assert_array_equal(found, (some_words() >> 8).astype(np.float64) / 2**24)
    assert found.min() == 0.0
    assert found.max() == 1.0 - UNIT


SIZES = (1, 2, 3, 5, 8, 9, 17, 64, 255, 256)


@pytest.mark.parametrize("size", [*SIZES, 2**15])
def test_scaling_a_word_is_a_64_bit_product(size):
    column, fraction = draws._scaled(jnp.asarray(some_words()), size)
    product = [int(word) * size for word in some_words()]
    assert column.tolist() == [x >> 32 for x in product]
    assert fraction.tolist() == [x & 0xFFFFFFFF for x in product]


def distributions(size: int) -> np.ndarray:
    """[rows, size]: random, sparse, skewed, and one that holds a single outcome at each end."""
    rng = np.random.default_rng([2, size])
    rows = [rng.dirichlet(np.full(size, a)) for a in (1.0, 1.0, 0.02, 20.0)]
    sparse = np.where(rng.uniform(size=size) < 0.2, rng.uniform(size=size), 0.0)
    sparse[rng.integers(size)] = 1.0
    rows += [sparse / sparse.sum(), np.full(size, 1.0 / size), np.eye(size)[0], np.eye(size)[-1]]
    rows += [np.where(np.arange(size) == size // 2, 1.0 - 1e-6 * (size - 1), 1e-6)]
    return np.stack(rows)


def unpack(table) -> tuple[np.ndarray, np.ndarray]:
    table = np.asarray(table)
    return (table >> 8).astype(np.float64) * UNIT, (table & 255).astype(int)


def implied(table: np.ndarray) -> np.ndarray:
    """Probabilities [rows, size] of the outcomes of packed tables [rows, size]."""
    threshold, alias = unpack(table)
    total = threshold.copy()
    for at in np.ndindex(alias.shape):
        total[at[0], alias[at]] += 1.0 - threshold[at]
    return total / alias.shape[1]


@functools.cache
def alias_tables(size: int, dtype: type) -> np.ndarray:
    return np.asarray(jax.jit(draws.alias_table)(jnp.asarray(distributions(size), dtype)))


@pytest.mark.parametrize("size", SIZES)
def test_alias_tables_imply_the_given_probabilities(size):
    """In float32, to (S + 1) 2^-24 beside what the given row is away from summing to 1.

    A threshold is a multiple of 2^-24, off by one unit at most; an outcome is met in at most S
    columns of weight 1 / S: 2^-24. Masses are at most S, and each of the S - 1 steps rounds one of
    them, after the product with S that makes them: S times S 2^-24, and probabilities are masses
    over S: S 2^-24. What is left over at the end goes to the last open column.
    """
    given = np.asarray(distributions(size), np.float32).astype(np.float64)
    unbalanced = np.abs(given.sum(1, keepdims=True) - 1.0)
    error = np.abs(implied(alias_tables(size, np.float32)) - given)
    assert (error <= (size + 1) * UNIT + unbalanced).all()


@pytest.mark.parametrize("size", SIZES)
def test_alias_tables_err_by_thresholds_alone_in_64_bits(x64, size):
    """To 2^-24, as `alias_table` says; the arithmetic adds S times S 2^-53, far below 1e-10."""
    error = np.abs(implied(alias_tables(size, np.float64)) - distributions(size))
    assert error.max() <= UNIT + 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_outcomes_without_probability_are_never_drawn(size):
    given = np.asarray(distributions(size), np.float32)
    rows = [5, 6, 7] if size > 1 else [0]  # uniform and degenerate rows: exact in float32
    found = implied(alias_tables(size, np.float32))[rows]
    assert (found[given[rows] == 0.0] <= UNIT / size).all()
    certain = given[rows] == 1.0
    assert (found[certain] >= 1.0 - UNIT).all()


@pytest.mark.parametrize("size", SIZES)
def test_a_draw_is_the_64_bit_computation(size):
    """Of every row, at both of two steps, for words at the edges and in between."""
    rows = distributions(size)
    flipped = np.stack([rows, rows[::-1]]).astype(np.float32)  # [T, N, S]
    packed = draws.alias_table(jnp.asarray(flipped).reshape(-1, size))
    table = np.asarray(packed).reshape(flipped.shape)
    sampler = draws.Sampler(packed.reshape(2, -1))
    rng = np.random.default_rng(3)
    word, index = some_words(), rng.integers(0, len(rows), some_words().size)
    draw = jax.jit(
        jax.vmap(lambda h, word, index: sampler.draw(word, h, index, size), (None, 0, 0))
    )
    for h in (0, 1):
        found = draw(h, jnp.asarray(word), jnp.asarray(index, jnp.int32))
        expected = []
        for one_word, row in zip(word.tolist(), index, strict=True):
            column, fraction = divmod(one_word * size, 2**32)
            entry = int(table[h, row, column])
            expected.append(column if fraction >> 8 < entry >> 8 else entry & 255)
        np.testing.assert_array_equal(found, expected)


# Reward noise, over every value that a uniform can take


@functools.cache
def every_word() -> jax.Array:
    return jnp.arange(2**24, dtype=jnp.uint32) << 8


@functools.cache
def noisy(noise: str, mean: float, scale: float = 0.1) -> np.ndarray:
    """The reward for each of the 2^24 uniforms."""
    draw = jax.jit(draws.reward, static_argnames="noise")
    return np.asarray(draw(every_word(), jnp.float32(mean), noise=noise, scale=jnp.float32(scale)))


MEANS = (0.0, 1e-3, 0.3, 0.5, 0.85, 1.0)


@pytest.mark.parametrize("mean", MEANS)
def test_bernoulli_rewards_have_their_mean(mean):
    found = noisy("bernoulli", mean)
    assert set(np.unique(found)) <= {0.0, 1.0}
    # k 2^-24 < mean has ceil(mean 2^24) solutions: less than one too many.
    assert 0.0 <= found.mean(dtype=np.float64) - np.float32(mean) < UNIT


@pytest.mark.parametrize("scale", [0.02, 0.1, 2.0])
@pytest.mark.parametrize("mean", MEANS)
def test_clipped_gaussian_rewards_keep_their_mean(mean, scale):
    """To 2^-22, of a mean that no clipping moves.

    The grid and the clipping are symmetric about the mean, so in exact arithmetic the mean is kept.
    Rounding: the uniform is off by 2^-25, which moves the mean by at most the range 2 room <= 1
    times that; the sum with the mean is rounded by 2^-25; the quantile has some units in the last
    place, 4 times 2^-24 of a shock below 1/2: 2^-25 + 2^-25 + 2^-23 <= 2^-22.
    """
    found = noisy("gaussian", mean, scale).astype(np.float64)
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    assert abs(found.mean() - np.float32(mean)) <= 2.0**-22


def test_gaussian_rewards_have_the_standard_deviation_given():
    # Clipped at five standard deviations: the variance lost is below 1e-5 of the whole.
    found = noisy("gaussian", 0.5, 0.1).astype(np.float64)
    assert abs(found.std() / 0.1 - 1.0) <= 1e-5


@pytest.mark.parametrize("mean", MEANS)
def test_deterministic_rewards_are_their_mean(mean):
    found = draws.reward(every_word()[:3], jnp.full(3, mean), "deterministic", jnp.float32(0.1))
    np.testing.assert_array_equal(found, np.full(3, np.float32(mean)))
