"""Learning which own action to play: a bandit for the principal at each (h, s, a).

The own action b moves v alone, so that the best b at (h, s, a) does not depend on what happens
elsewhere. Its index, with N_b the times that b met (h, s, a), is

    mean v + scale sqrt(log K / N_b),    at most 1, and 1 where N_b = 0

(Auer, Cesa-Bianchi and Fischer, 2002, with the horizon K known). For rewards in [0, 1] the scale
2^(-1/2) is that of Hoeffding's inequality.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax.model import hoeffding_bonus
from pajax.protocols import Episode, Spec


class OwnRewards(NamedTuple):
    """The principal's rewards by its own action; each [H, S, A, B, ...]."""

    sums: Array
    visits: Array


def empty(spec: Spec) -> OwnRewards | None:
    """Nothing seen yet; None for a principal with one own action, which has nothing to choose."""
    if spec.num_own_actions == 1:
        return None
    none = spec.zeros(spec.horizon, spec.num_states, spec.num_actions, spec.num_own_actions)
    return OwnRewards(none, none)


def observe(known: OwnRewards, episode: Episode) -> OwnRewards:
    """With one more episode of the principal's."""
    index = (episode.states, episode.actions, episode.own_actions)
    cell = lanes.cells(known.sums.shape[1:4], *index)
    added = (episode.rewards, jnp.ones_like(episode.rewards))
    return OwnRewards(*lanes.add((known.sums, known.visits), cell, added))


def optimistic(known: OwnRewards, scale: Array | float, confidence: Array) -> tuple[Array, Array]:
    """The largest index and its own action, [H, S, A, ...] and int32 (ties to the lowest)."""
    mean = known.sums / jnp.maximum(known.visits, 1.0)
    index = jnp.minimum(mean + hoeffding_bonus(known.visits, scale, confidence), 1.0)
    action, best = lanes.argmax(jnp.where(known.visits > 0.0, index, 1.0), 3)
    return best, action


def least_tried(known: OwnRewards) -> Array:
    """The own action tried least at (h, s), whatever the agent played: int32 [H, S, ...]."""
    return lanes.argmax(-lanes.total(known.visits, 2), 2)[0]
