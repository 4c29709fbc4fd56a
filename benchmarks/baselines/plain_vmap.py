"""JAX as one would write it first: one pair in plain code, scans over it, `jit(vmap(...))`.

Keys are split for every draw, the next state comes from `jax.random.categorical`, tables are
written with `.at[].set`. Sums of an episode are returned, and accumulated in float64 outside.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from workload import Curves, Workload

from . import EPSILON, first_bonus, initial_values, value_bounds


class Pair(NamedTuple):
    """What one pair knows; with a leading axis, all pairs."""

    log_transition: Array  # [S, A, S']
    agent_reward: Array  # [S, A]
    principal_reward: Array  # [S, A]
    log_initial: Array  # [S]
    transfer: Array  # [H, S, A]
    welfare_gap: Array  # [H, S, A]
    start: Array  # [H + 1, S, A]
    bound: Array  # [H + 1]


def simulate(workload: Workload, algorithm: str, seed: int = 0) -> Curves:
    """All pairs, on JAX's first device."""
    pairs = _pairs(workload, initial_values(workload, algorithm), value_bounds(workload))
    keys = jax.random.split(jax.random.key(seed), workload.num_pairs)
    sums = _play_all(
        keys,
        pairs,
        first_bonus(workload),
        num_episodes=workload.num_episodes,
        is_ucb=algorithm == "ucb-q",
    )
    at = workload.checkpoints - 1
    return Curves(*(np.asarray(x, np.float64).cumsum(-1)[:, at] for x in sums))


def _pairs(workload: Workload, start: np.ndarray, bound: np.ndarray) -> Pair:
    """Tables of every pair, [pairs, ...]."""
    with np.errstate(divide="ignore"):
        log_transition, log_initial = np.log(workload.transition), np.log(workload.initial)
    of_games = Pair(
        log_transition,
        workload.agent_reward,
        workload.principal_reward,
        log_initial,
        workload.transfer,
        workload.welfare_gap,
        start,
        bound.astype(np.float32),
    )
    return jax.tree.map(lambda table: jnp.asarray(table[workload.game_of_pair]), of_games)


@functools.partial(jax.jit, static_argnames=("num_episodes", "is_ucb"))
def _play_all(keys: Array, pairs: Pair, bonus: Any, *, num_episodes: int, is_ucb: bool) -> Any:
    """Regret, payment and welfare of every episode, each [pairs, K]."""
    play = functools.partial(_play_pair, num_episodes=num_episodes, is_ucb=is_ucb)
    return jax.vmap(play, in_axes=(0, 0, None))(keys, pairs, bonus)


def _play_pair(key: Array, pair: Pair, bonus: Any, num_episodes: int, is_ucb: bool) -> Any:
    horizon, num_actions = pair.transfer.shape[0], pair.transfer.shape[2]

    def choose(key: Array, row: Array) -> Array:
        if is_ucb:
            return row.argmax()
        explores, which = jax.random.split(key)
        random = jax.random.randint(which, (), 0, num_actions)
        return jnp.where(jax.random.uniform(explores) < EPSILON, random, row.argmax())

    def play_step(carry: Any, inputs: Any) -> Any:
        s, values, visits = carry
        key, h = inputs
        act, agent, principal, move = jax.random.split(key, 4)
        a = choose(act, values[h, s])
        u = jax.random.bernoulli(agent, pair.agent_reward[s, a]).astype(float)
        v = jax.random.bernoulli(principal, pair.principal_reward[s, a]).astype(float)
        successor = jax.random.categorical(move, pair.log_transition[s, a])
        n = visits[h, s, a] + 1.0
        goal, best = u + pair.transfer[h, s, a], values[h + 1, successor].max()
        if is_ucb:
            goal += bonus / jnp.sqrt(n) + jnp.minimum(best, pair.bound[h + 1])
        else:
            goal += best
        old = values[h, s, a]
        rate = (horizon + 1.0) / (horizon + n)
        values = values.at[h, s, a].set(old + rate * (goal - old))
        visits = visits.at[h, s, a].set(n)
        seen = (pair.welfare_gap[h, s, a], pair.transfer[h, s, a], u + v)
        return (successor, values, visits), seen

    def play_episode(carry: Any, key: Array) -> Any:
        opening, rest = jax.random.split(key)
        s = jax.random.categorical(opening, pair.log_initial)
        inputs = (jax.random.split(rest, horizon), jnp.arange(horizon))
        (_, *tables), seen = lax.scan(play_step, (s, *carry), inputs)
        return tuple(tables), jax.tree.map(jnp.sum, seen)

    tables = (pair.start, jnp.zeros_like(pair.transfer))
    return lax.scan(play_episode, tables, jax.random.split(key, num_episodes))[1]
