"""What an agent that models its game has seen: counts, own rewards, and payments apart from them.

A posterior of mean rewards in [0, 1], or a confidence bound for them, holds for own rewards and not
for payments, which may be larger and are announced. So these agents estimate own rewards alone, and
add what they expect to be paid,

    payment[h, s, a] = transfer[h, s, a] posted now             if aware,
                       (sum of payments seen there) / N         if restarting or blind,

which are the three memories of `pajax.agents.base`: the mean of own rewards plus the mean payment
is the mean of both taken together.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes, model
from pajax.agents.base import forget
from pajax.protocols import Contract, Episode, Spec


class Experience(NamedTuple):
    """Own rewards and payments of all episodes remembered, and the contract."""

    model: model.Model  # of its own rewards, in [0, 1] each
    payments: Array  # [H, S, A, ...], sums; an aware agent keeps none
    transfer: Array  # [H, S, A, ...], the contract known last


def empty(spec: Spec) -> Experience:
    """Nothing seen, no contract known."""
    none = spec.per_action()
    return Experience(model.empty(spec), none, none)


def begin(seen: Experience, contract: Contract, memory: str) -> Experience:
    """What is remembered under a new contract."""
    tables = (seen.model, seen.payments)
    if memory == "restarting":
        tables = forget(tables, seen.transfer, contract.transfer)
    return Experience(*tables, contract.transfer)


def update(seen: Experience, episode: Episode, memory: str) -> Experience:
    """With one more episode."""
    payments = seen.payments
    if memory != "aware":
        cell = lanes.cells(payments.shape[1:3], episode.states, episode.actions)
        payments = lanes.add(payments, cell, episode.payments)
    return Experience(model.observe(seen.model, episode, episode.rewards), payments, seen.transfer)


def expected_payment(seen: Experience, memory: str) -> Array:
    """What it expects to be paid, [H, S, A, ...]; 0 where it has seen nothing and is not aware."""
    if memory == "aware":
        return seen.transfer
    return seen.payments / jnp.maximum(seen.model.visits, 1.0)
