"""Learners driven by hand, without an engine: fed what is made up here, step by step or in a loop.

Cheap to compile, and free to feed what no game would: any states, rewards and contracts.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from oracles import records

from pajax import draws
from pajax.protocols import Contract, Episode, Spec

SIZES = records.Sizes(horizon=3, num_states=3, num_actions=3, num_episodes=120)
CONTRACT_EPISODES = 7  # a contract stays for so many


def spec_of(sizes: records.Sizes, lanes: tuple[int, ...] = ()) -> Spec:
    return Spec(
        num_states=sizes.num_states,
        num_actions=sizes.num_actions,
        num_own_actions=1,
        horizon=sizes.horizon,
        num_episodes=sizes.num_episodes,
        lanes=lanes,
    )


@functools.partial(jax.jit, static_argnames="spec")
def start(agent: Any, spec: Spec) -> Any:
    """An agent's first state."""
    return agent.init(spec)


def contract_of(transfer: Any) -> Contract:
    """A contract with no target, [H, S, A, ...]."""
    transfer = jnp.asarray(transfer, float)
    none = jnp.zeros(transfer.shape[:2] + transfer.shape[3:], jnp.int32)
    return Contract(transfer, none, none - 1)


def make_contracts(rng: np.random.Generator, sizes: records.Sizes) -> np.ndarray:
    """Three contracts: nothing, and two that agree on some rows and differ on others."""
    shape = (sizes.horizon, sizes.num_states, sizes.num_actions)
    one = np.maximum(rng.uniform(-0.5, 0.5, shape), 0.0)
    other = np.where(rng.uniform(size=shape[:2])[:, :, None] < 0.5, one, one[::-1])
    return np.stack([np.zeros(shape), one, other])


def replay(agent: Any, oracle: Any, sizes: records.Sizes = SIZES) -> Any:
    """Play both on the same made-up states, words, rewards and contracts; every action is equal.

    Returns:
      The agent's last state.
    """
    rng = np.random.default_rng(4)
    contracts = make_contracts(rng, sizes)
    begin, act, update = (jax.jit(method) for method in (agent.begin, agent.act, agent.update))
    state = start(agent, spec_of(sizes))
    for k in range(sizes.num_episodes):
        transfer = contracts[k // CONTRACT_EPISODES % len(contracts)]
        if k % CONTRACT_EPISODES == 0:
            state = begin(state, contract_of(transfer))
            oracle.begin(records.Contract(transfer, *np.zeros((2, *transfer.shape[:2]), int)))
        states = rng.integers(0, sizes.num_states, sizes.horizon + 1)
        rewards = rng.integers(0, 2, sizes.horizon).astype(float)
        words = rng.integers(0, 2**32, sizes.horizon, np.uint32)
        actions, memos = [], []
        for h in range(sizes.horizon):
            s = jnp.int32(states[h])
            a, memo = act(state, jnp.int32(h), s, jnp.asarray(words[h : h + 1]))
            assert int(a) == oracle.act(h, int(states[h]), int(words[h])), f"at {(k, h)}"
            actions.append(int(a))
            memos.append(memo)
        payments = transfer[np.arange(sizes.horizon), states[:-1], actions]
        seen = (states[:-1], actions, states[1:], rewards, payments)
        state = update(state, episode_of(*seen), jax.tree.map(lambda *x: jnp.stack(x), *memos))
        s, a, following, u, paid = (np.asarray(x).tolist() for x in seen)
        oracle.update(records.Episode(s, a, u, paid, following))
    return state


def episode_of(states: Any, actions: Any, next_states: Any, rewards: Any, payments: Any) -> Episode:
    """An episode as agents see it, each [H, ...]."""
    whole = functools.partial(jnp.asarray, dtype=jnp.int32)
    return Episode(
        states=whole(states),
        actions=whole(actions),
        next_states=whole(next_states),
        rewards=jnp.asarray(rewards, float),
        payments=jnp.asarray(payments, float),
        own_actions=jnp.zeros_like(whole(states)),
    )


@functools.partial(jax.jit, static_argnames=("num_episodes", "num_lanes", "is_sure"))
def play_bandit(
    agent: Any, means: jax.Array, num_episodes: int, num_lanes: int, is_sure: bool = False
) -> jax.Array:
    """Arms an agent plays in a bandit without transfers, int32 [K, lanes]; rewards 0 or 1.

    If `is_sure`, rewards are the means. A contract is announced before each episode.
    """
    spec = spec_of(records.Sizes(1, 1, len(means), num_episodes), (num_lanes,))
    lane = jnp.arange(num_lanes, dtype=jnp.uint32)
    nowhere, unpaid = jnp.zeros((1, num_lanes), jnp.int32), jnp.zeros((1, num_lanes))

    def episode(state: Any, k: jax.Array) -> tuple[Any, jax.Array]:
        words = draws.threefry2x32((lane, 0 * lane), (k + 0 * lane, 0 * lane))
        state = agent.begin(state, contract_of(spec.per_action()))
        a, memo = agent.act(state, jnp.int32(0), nowhere[0], words[0][None])
        reward = means[a] if is_sure else (draws.uniform(words[1]) < means[a]).astype(float)
        seen = Episode(nowhere, a[None], nowhere, reward[None], unpaid, nowhere)
        return agent.update(state, seen, jax.tree.map(lambda x: x[None], memo)), a

    return lax.scan(episode, agent.init(spec), jnp.arange(num_episodes, dtype=jnp.uint32))[1]
