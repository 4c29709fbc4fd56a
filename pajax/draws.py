"""The one way to draw random numbers: counter-based words, and what is made of them.

A pair has one key, two 32-bit words. Block d of episode e is

    threefry2x32(key, counter = (e, d))  ->  two 32-bit words,

so a draw depends on (key, episode, draw) alone: results do not change when pairs are chunked,
batched, resumed or spread over devices. Block layout of an episode with horizon H:

    d = 2h      agent's reward noise, principal's reward noise at step h
    d = 2h + 1  next state at step h, the agent's first word at step h
    d = 2H      initial state, (unused)
    d > 2H      the agent's further words, if it asks for more than one a step
    d = 2^32-1  what a mechanism gets after a stage whose last episode was e - 1

Who needs more words than it was handed uses two of them as a key of its own. Block i of a tag t,
which tells apart what is drawn from one key, is

    threefry2x32(words, counter = (t, i))  ->  two 32-bit words.

N gamma numbers take the blocks 0 .. 4N - 1 of their tag: block p N + n is proposal p of number n,
its first word a normal, its second the uniform that it is accepted with.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import ndtri

from pajax import lanes

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA

#: Proposals made for one gamma number.
PROPOSALS = 4


class Words(NamedTuple):
    """Random words of the steps of one episode, uint32."""

    agent_reward: Array  # [H, ...]
    principal_reward: Array  # [H, ...]
    next_state: Array  # [H, ...]
    agent: Array  # [H, W, ...]


def key_words(key: Array) -> tuple[Array, Array]:
    """The two words of typed threefry keys of any shape."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError(f"key: got dtype {key.dtype}, must be made by jax.random.key(seed)")
    data = jax.random.key_data(key)
    if data.shape[-1] != 2:
        raise ValueError(f"key: got {key.dtype}, must be a threefry2x32 key (the default of JAX)")
    return data[..., 0], data[..., 1]


def threefry2x32(key: tuple[Array, Array], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al., 2011), elementwise on uint32 arrays."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    x0, x1 = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << jnp.uint32(rotation)) | (x1 >> jnp.uint32(32 - rotation))) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1


def episode_words(
    key: tuple[Array, Array], episode: Array, horizon: int, num_agent_words: int
) -> tuple[Array, Words]:
    """The word of the initial state, [...], and those of the steps (layout: see the module)."""
    extra = horizon * max(0, num_agent_words // 2)
    shape = (2 * horizon + 1 + extra, *key[0].shape)
    block = lax.broadcasted_iota(jnp.uint32, shape, 0)
    first, second = _both_once(threefry2x32(key, (jnp.broadcast_to(episode, shape), block)))
    rewards, dynamics = slice(0, 2 * horizon, 2), slice(1, 2 * horizon, 2)
    more = jnp.stack([first[2 * horizon + 1 :], second[2 * horizon + 1 :]], axis=1)
    more = more.reshape((horizon, -1, *key[0].shape))
    agent = jnp.concatenate([second[dynamics][:, None], more], axis=1)
    steps = Words(
        agent_reward=first[rewards],
        principal_reward=second[rewards],
        next_state=first[dynamics],
        agent=agent[:, :num_agent_words],
    )
    return first[2 * horizon], steps


def stage_words(key: tuple[Array, Array], episode: Array) -> Array:
    """What a mechanism draws from when a stage ends with `episode` done: uint32 [2, ...]."""
    counter = (
        jnp.broadcast_to(episode, key[0].shape),
        jnp.full(key[0].shape, 2**32 - 1, jnp.uint32),
    )
    return jnp.stack(threefry2x32(key, counter))


def expand(key: Any, tag: int, shape: tuple[int, ...], first: int = 0) -> tuple[Array, Array]:
    """Fresh words from two that serve as a key: those of blocks `first`, `first` + 1, ... of a tag.

    Args:
      key: uint32 [2, ...], or two words [...].
      tag: which of the streams of this key.
      shape: how many blocks, numbered row by row.
      first: number of the first.

    Returns:
      Both words of every block, uint32 [*shape, ...] each.
    """
    lanes_shape = key[0].shape
    number = jnp.arange(math.prod(shape), dtype=jnp.uint32) + jnp.uint32(first)
    number = number.reshape(shape + (1,) * len(lanes_shape))
    number = jnp.broadcast_to(number, shape + lanes_shape)
    return threefry2x32((key[0], key[1]), (jnp.full_like(number, tag), number))


def _both_once(words: tuple[Array, Array]) -> tuple[Array, Array]:
    """Two words made together: as one complex number, since XLA makes each array by itself."""
    parts = (lax.bitcast_convert_type(word, jnp.float32) for word in words)
    pair = lanes.once(lax.complex(*parts))
    first, second = (lax.bitcast_convert_type(x, jnp.uint32) for x in (pair.real, pair.imag))
    return first, second


def uniform(word: Array) -> Array:
    """A number in [0, 1), a multiple of 2^-24, exact in float32."""
    # by way of int32, which CPUs convert many at a time
    return (word >> jnp.uint32(8)).astype(jnp.int32).astype(float) * 2.0**-24


def normal(word: Array) -> Array:
    """A standard normal number: the quantile of the word, symmetric, within 5.42 of 0."""
    centred = (2.0 * uniform(word) - 1.0) + 2.0**-24  # an odd multiple of 2^-24 in (-1, 1)
    return math.sqrt(2.0) * lax.erf_inv(centred)


def gamma(key: Any, tag: int, shape: Array) -> Array:
    """Standard gamma numbers, by the method of Marsaglia and Tsang (2000).

    For a shape a >= 1 let d = a - 1/3 and t = x / (3 sqrt(d)), x normal. Then d (1 + t)^3 is a
    gamma number, if accepted: with a uniform U, when t > -1 and

        log U < bound = 3 d (log(1 + t) - t + t^2 / 2 - t^3 / 3).

    The first of four proposals that is accepted is taken. None is with probability 5.5e-6 at a = 1,
    the worst case, 1.1e-7 at 2, 1e-13 at 50; then d, where t = 0, is taken. For a < 1 a number of
    shape a + 1 is multiplied by V^(1/a): log V = log U - bound, as bound <= 0, and V is uniform
    again once U is accepted.

    Args:
      key: uint32 [2, ...], or two words [...]; see the module for the blocks it takes.
      tag: which of the streams of this key.
      shape: a > 0, [*axes, ...], any axes before the lanes of the key.

    Returns:
      [*axes, ...]; below a = 0.2 a number underflows to 0 with probability 2^(-126 a).
    """
    axes = shape.shape[: shape.ndim - key[0].ndim]
    d = jnp.where(shape < 1.0, shape + 1.0, shape) - 1.0 / 3.0
    deviation = 1.0 / (3.0 * jnp.sqrt(d))

    t, log_v = jnp.zeros_like(d), jnp.zeros_like(d)
    for p in reversed(range(PROPOSALS)):  # the first accepted has the last word
        words = expand(key, tag, axes, p * math.prod(axes))
        proposed = jnp.maximum(normal(words[0]) * deviation, -1.0)
        log_u = jnp.log(1.0 - uniform(words[1]))
        bound = lanes.product(3.0 * d, _log_remainder(proposed))
        is_accepted = log_u < bound
        t = jnp.where(is_accepted, proposed, t)
        log_v = jnp.where(is_accepted, log_u - bound, log_v)
    number = d * (1.0 + t) * (1.0 + t) * (1.0 + t)
    return lanes.once(jnp.where(shape < 1.0, number * jnp.exp(log_v / shape), number))


def _log_remainder(t: Array) -> Array:
    """log(1 + t) - t + t^2 / 2 - t^3 / 3 for t >= -1; near 0, where that cancels, its series."""
    third = jnp.full_like(t, 1.0 / 3.0)
    cubic = lanes.product(t, 1.0 - lanes.product(t, 0.5 - lanes.product(t, third)))
    series = jnp.full_like(t, 1.0 / 11.0)
    for k in range(10, 3, -1):
        series = 1.0 / k - lanes.product(t, series)
    square = t * t
    return jnp.where(jnp.abs(t) < 0.25, -square * square * series, jnp.log1p(t) - cubic)


def dirichlet(key: Any, tag: int, concentration: Array, axis: int) -> Array:
    """Distributions along an axis, from gamma numbers; arguments as for `gamma`."""
    mass = gamma(key, tag, concentration)
    mass = jnp.maximum(mass, jnp.finfo(mass.dtype).tiny)  # all may have underflown
    return mass / jnp.expand_dims(lanes.total(mass, axis), axis)


def beta(key: Any, tag: int, successes: Array, failures: Array) -> Array:
    """Beta numbers in [0, 1], [*axes, ...], from two gamma numbers each; see `gamma`."""
    return dirichlet(key, tag, jnp.stack([successes, failures]), 0)[0]


def reward(word: Array, mean: Array, noise: str, scale: Array) -> Array:
    """A reward in [0, 1] with the given mean.

    "bernoulli": 1 with probability `mean`. "deterministic": `mean`. "gaussian": mean + noise with
    standard deviation `scale`, clipped to +-min(mean, 1 - mean), which keeps mean and range.
    """
    if noise == "deterministic":
        return mean
    if noise == "bernoulli":
        return (uniform(word) < mean).astype(mean.dtype)
    if noise != "gaussian":
        raise ValueError(f"noise: got {noise!r}, must be bernoulli, deterministic or gaussian")
    room = jnp.minimum(mean, 1.0 - mean)
    shock = scale * ndtri(uniform(word) + 2.0**-25)
    return mean + jnp.clip(shock, -room, room)


def alias_table(probabilities: Array) -> Array:
    """Packed alias tables (Walker, 1977) of several distributions.

    Args:
      probabilities: [N, S, ...], each [n, :, lane] a distribution, S <= 256.

    Returns:
      uint32 [N, S, ...]: a 24-bit threshold above an 8-bit alias. Column i is kept with probability
      threshold / 2^24, else its alias is drawn; the error of a probability is below 2^-24.
    """
    size = probabilities.shape[1]
    columns = jnp.arange(size, dtype=jnp.int32).reshape((1, size) + (1,) * (probabilities.ndim - 2))
    threshold = jnp.ones_like(probabilities)
    alias = jnp.broadcast_to(columns, probabilities.shape)

    def settle(_: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        """Fill the emptiest open column from the fullest one, and close it."""
        mass, threshold, alias, is_open = carry
        emptiest, kept, fullest = _extremes(mass, is_open)
        kept = jnp.minimum(kept, 1.0)
        low, high = columns == emptiest, columns == fullest
        threshold = jnp.where(low, kept, threshold)
        alias = jnp.where(low, fullest, alias)
        mass = jnp.where(high, mass - (1.0 - kept), mass)
        return mass, threshold, alias, is_open & ~low

    carry = (probabilities * size, threshold, alias, jnp.ones(probabilities.shape, bool))
    _, threshold, alias, _ = lax.fori_loop(0, size - 1, settle, carry)
    scaled = jnp.clip(jnp.round(threshold * 2.0**24), 0, 2**24 - 1).astype(jnp.uint32)
    return (scaled << jnp.uint32(8)) | alias.astype(jnp.uint32)


def _extremes(mass: Array, is_open: Array) -> tuple[Array, Array, Array]:
    """First emptiest open column, its mass, first fullest one: [N, S, ...] -> [N, 1, ...] each."""

    def compare(column: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        low, least, high, most = carry
        value = lax.dynamic_slice_in_dim(mass, column, 1, 1)
        is_candidate = lax.dynamic_slice_in_dim(is_open, column, 1, 1)
        is_less, is_more = is_candidate & (value < least), is_candidate & (value > most)
        return (
            jnp.where(is_less, column, low),
            jnp.where(is_less, value, least),
            jnp.where(is_more, column, high),
            jnp.where(is_more, value, most),
        )

    none, infinite = jnp.zeros_like(mass[:, :1], jnp.int32), jnp.full_like(mass[:, :1], jnp.inf)
    start = (none, infinite, none, -infinite)
    low, least, high, _ = lax.fori_loop(jnp.int32(0), jnp.int32(mass.shape[1]), compare, start)
    return low, least, high


class Sampler(NamedTuple):
    """Alias tables of several distributions over S outcomes, flattened for one look-up a draw.

    A draw forms x = word * S in 64 bits: the high half of x chooses a column, the low half decides
    between the column and its alias.
    """

    table: Array  # [T, N * S, ...] packed

    def draw(self, word: Array, h: Array | int, index: Array, size: int) -> Array:
        """An outcome in 0..size-1 of one of the distributions, int32 [...].

        Args:
          word: random, uint32 [...].
          h: the step, a scalar.
          index: of the distribution, int32 [...], in 0..N - 1.
          size: S.
        """
        column, fraction = _scaled(word, size)
        entry = lanes.lookup(lanes.at_step(self.table, h), index * size + column)
        is_kept = (fraction >> jnp.uint32(8)) < (entry >> jnp.uint32(8))
        return jnp.where(is_kept, column, (entry & jnp.uint32(255)).astype(jnp.int32))


def _scaled(word: Array, size: int) -> tuple[Array, Array]:
    """High (as int32) and low 32 bits of word * size, for size <= 2^15."""
    low = (word & jnp.uint32(0xFFFF)) * jnp.uint32(size)
    high = (word >> jnp.uint32(16)) * jnp.uint32(size) + (low >> jnp.uint32(16))
    fraction = (high << jnp.uint32(16)) | (low & jnp.uint32(0xFFFF))
    return (high >> jnp.uint32(16)).astype(jnp.int32), fraction
