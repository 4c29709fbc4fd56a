"""Questions to the agent: an offer x on one action at each (h, s), for so many visits.

The agent may adapt during a share `burn` of the visits; the plays of the rest are counted. The
answer is *yes* when the action is the plurality of these (ties to the lowest action). With all N
visits counted and nothing posted later, an agent of (A1) makes the answer right (T6)

    if x - tau* > 2 C N^(kappa - 1),    or tau* - x > max(2, A) C N^(kappa - 1),

since below tau* it may split its plays among actions that tie; twice these if half are counted.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax.protocols import Spec, Stage


class Question(NamedTuple):
    """What is asked at each (h, s); [H, S, ...] unless said."""

    action: Array  # int32
    offer: Array  # x, reward units
    needed: Array  # N, visits
    visits: Array  # so far
    counts: Array  # [H, S, A, ...], counted plays


def ask(action: Array, offer: Array, needed: Array, num_actions: int) -> Question:
    """A question from its beginning; arguments [H, S, ...]."""
    zero = jnp.zeros_like(offer)
    counts = jnp.broadcast_to(zero[:, :, None], (*zero.shape[:2], num_actions, *zero.shape[2:]))
    return Question(action, offer, needed, zero, counts)


def nothing(spec: Spec, needed: Array) -> Question:
    """What does the agent play if nothing is offered?"""
    zero = spec.zeros(spec.horizon, spec.num_states)
    return ask(spec.per_state(0), zero, zero + needed, spec.num_actions)


def offers(question: Question) -> Array:
    """The transfers that ask it, [H, S, A, ...]."""
    asked = lanes.one_hot(question.action, question.counts.shape[2], 2)
    return jnp.where(asked, question.offer[:, :, None], 0.0)


def hear(question: Question, stage: Stage, is_active: Array, burn: Any) -> tuple[Question, Array]:
    """The question after a stage, and where it is now finished, bool [H, S, ...]."""
    is_counting = is_active & (question.visits >= burn * question.needed)
    counts = question.counts + jnp.where(is_counting[:, :, None], stage.visits, 0.0)
    visits = question.visits + jnp.where(is_active, lanes.total(stage.visits, 2), 0.0)
    is_finished = is_active & (lanes.total(counts, 2) >= (1.0 - burn) * question.needed)
    return question._replace(visits=visits, counts=counts), is_finished


def plurality(question: Question) -> Array:
    """The action played most, int32 [H, S, ...]; ties to the lowest."""
    return lanes.argmax(question.counts, 2)[0]


def where_finished(is_finished: Array, new: Question, old: Question) -> Question:
    """The next question where one is finished."""
    counts = jnp.where(is_finished[:, :, None], new.counts, old.counts)
    others = lanes.where_lane(is_finished, new[:-1], old[:-1])
    return Question(*others, counts)
