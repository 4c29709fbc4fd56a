"""What agents share: memory of the contract, exploration, and the tabular temporal difference.

Memory of the contract, a field of every learner (THEORY: section 4, "what breaks"):

- "aware": knows what it is offered. It learns the rest, and adds the transfer posted now.
- "restarting": learns payments as if they were rewards, and forgets (h, s) when the transfers
  posted there change.
- "blind": learns payments as if they were rewards, and forgets nothing. With vanishing learning
  rates it violates (A1): no mechanism that changes its contract can teach it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import draws, lanes
from pajax.protocols import Contract, Episode, Spec

MEMORIES = ("aware", "restarting", "blind")


def changed(old: Array, new: Array) -> Array:
    """Where some transfer changed: [H, S, A, ...] twice -> bool [H, S, 1, ...]."""
    return (old != new).any(2, keepdims=True)


def value_bound(transfer: Array) -> Array:
    """Largest value under a contract, sum over h' >= h of (1 + max transfer[h']): [H, ...].

    Rewards are at most 1 and payments are announced, so every agent may know it.
    """
    largest = 1.0 + lanes.maximum(lanes.maximum(transfer, 2), 1)
    steps = [largest[-1]]
    for h in range(transfer.shape[0] - 2, -1, -1):
        steps.append(steps[-1] + largest[h])
    return jnp.stack(steps[::-1])


def epsilon_greedy(values: Array, epsilon: Array, word: Array) -> tuple[Array, Array]:
    """An epsilon-greedy action and the maximum: values [A, ...] -> int32 [...], [...].

    One word serves twice: given that the uniform f is below epsilon, f / epsilon is uniform again.
    """
    greedy, best = lanes.argmax(values)
    f = draws.uniform(word)
    num_actions = values.shape[0]
    random = jnp.minimum((f * (num_actions / epsilon)).astype(jnp.int32), num_actions - 1)
    return jnp.where(f < epsilon, random, greedy), best


class TabularState(NamedTuple):
    """A table of action values that contain payments, and what it was learned from."""

    q_values: Array  # flat [H * S * A, ...]
    visits: Array  # flat [H * S * A, ...]
    transfer: Array  # [H, S, A, ...], the contract known last


class TabularMemo(NamedTuple):
    """What a temporal difference at (h, s, a) needs of the row Q[h, s, :]."""

    q_value: Array  # Q[h, s, a]
    best: Array  # max_a Q[h, s, a]


def tabular_init(spec: Spec, q_values: Array) -> TabularState:
    """A table that knows no contract yet."""
    none = spec.per_action()
    return TabularState(lanes.flat(q_values), lanes.flat(none), none)


def tabular_begin(
    state: TabularState, contract: Contract, memory: str, fresh: Array
) -> TabularState:
    """The table under a new contract, as `memory` has it; `fresh` is what a forgotten cell gets.

    An aware table adds the change of the transfer: it is the same as learning without the transfer
    paid at (h, s, a) and adding it when acting. Later transfers stay inside the values learned, so
    that a tabular learner is aware only in part.
    """
    q_values, visits = state.q_values, state.visits
    if memory == "aware":
        q_values = q_values + lanes.flat(contract.transfer - state.transfer)
    elif memory == "restarting":
        forget = changed(state.transfer, contract.transfer)
        forget = lanes.flat(jnp.broadcast_to(forget, state.transfer.shape))
        fresh = lanes.flat(jnp.broadcast_to(fresh, state.transfer.shape))
        q_values = jnp.where(forget, fresh, q_values)
        visits = jnp.where(forget, 0.0, visits)
    return TabularState(q_values, visits, contract.transfer)


def tabular_row(state: TabularState, h: Array, s: Array) -> Array:
    """Q[h, s, :], [A, ...]."""
    return lanes.row(state.q_values, h, s, state.transfer.shape[1:3])


def tabular_memo(values: Array, a: Array, best: Array) -> TabularMemo:
    """The memo of playing a, where `values` is the row Q[h, s, :] and `best` its maximum."""
    return TabularMemo(lanes.lookup(values, a), best)


def tabular_visits(state: TabularState, episode: Episode) -> tuple[Array, Array]:
    """The cells of an episode, and N there, this visit included; each [H, ...]."""
    cell = lanes.cells(state.transfer.shape[1:3], episode.states, episode.actions)
    return cell, lanes.once(lanes.read(state.visits, cell) + 1.0)


def tabular_update(
    state: TabularState, memo: TabularMemo, cell: Array, visits: Array, rate: Array, goal: Array
) -> TabularState:
    """The table after an episode: at its cells N = visits, and Q moves by `rate` towards `goal`."""
    moved = lanes.once(memo.q_value + rate * (goal - memo.q_value))
    tables = (state.q_values, state.visits)
    q_values, visits = lanes.write(tables, cell, (moved, visits))
    return state._replace(q_values=q_values, visits=visits)


def next_values(best: Array) -> Array:
    """max_a Q[h + 1, s', a] along an episode, 0 at its end: [H, ...] -> [H, ...]."""
    return jnp.concatenate([best[1:], jnp.zeros_like(best[:1])])
