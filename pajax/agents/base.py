"""What agents share: memory of contracts, exploration, temporal differences, gradient steps.

Memory of the contract, a field of every learner:

- "aware": knows what it is offered. It learns the rest, and adds the transfer posted now.
- "restarting": learns payments as if they were rewards, and forgets (h, s) when the transfers
  posted there change.
- "blind": learns payments as if they were rewards, and forgets nothing. With vanishing learning
  rates it violates (A1): no mechanism that changes its contract can teach it.
"""

import itertools
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from pajax import _checks, draws, lanes
from pajax.protocols import Contract, Episode, Spec

MEMORIES = ("aware", "restarting", "blind")

_T = TypeVar("_T")


def changed(old: Array, new: Array) -> Array:
    """Where some transfer changed: [H, S, A, ...] twice -> bool [H, S, 1, ...]."""
    return (old != new).any(2, keepdims=True)


def forget(tables: _T, old: Array, new: Array) -> _T:
    """Tables [H, S, A, ...] or [H, S, A, S', ...], 0 at each (h, s) where some transfer changed."""
    forgotten = changed(old, new)

    def clear(table: Array) -> Array:
        further_axes = tuple(range(3, 3 + table.ndim - old.ndim))
        return jnp.where(jnp.expand_dims(forgotten, further_axes), 0.0, table)

    return jax.tree.map(clear, tables)


def check_is_bandit(spec: Spec, instead: str) -> None:
    """Refuse a game of more than one state or step; `instead` is the agent that plays those.

    Raises:
      ValueError: with the argument, its value and the rule.
    """
    for name in ("num_states", "horizon"):
        value = getattr(spec, name)
        rule = f"be 1 for a bandit algorithm; {instead} plays games of more"
        _checks.require(value == 1, name, value, rule)


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


def softmax_draw(logits: Array, word: Array) -> tuple[Array, Array]:
    """An action of law softmax(logits), and that law: [A, ...] -> int32 [...], [A, ...].

    With weights w_a = exp(logits_a - max logits) and f in (0, 1) the uniform of the word, it is the
    first a with f (w_0 + ... + w_{A-1}) < w_0 + ... + w_a, summed from w_0 on. A word resolves
    2^-24: an action much less likely than that is never drawn, so that one may divide by the
    probability of the action drawn.
    """
    weights = jnp.exp(logits - lanes.maximum(logits))
    sums = list(itertools.accumulate(lanes.slices(weights)))
    goal = jnp.maximum(draws.uniform(word), 2.0**-25) * sums[-1]
    passed = [(partial <= goal).astype(jnp.int32) for partial in sums[:-1]]
    return sum(passed, jnp.zeros(word.shape, jnp.int32)), weights / sums[-1]


def returns_to_go(rewards: Array) -> Array:
    """Sums of rewards from each step to the end, added from the end: [H, ...] -> [H, ...]."""
    sums = list(itertools.accumulate(lanes.slices(rewards)[::-1]))
    return jnp.stack(sums[::-1])


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
