"""A model of the game estimated from counts, and optimistic planning in it.

The estimates are the means of what was seen at each (h, s, a); a plan adds the bonus of UCBVI
(Azar, Osband and Munos, 2017, Hoeffding form),

    Q[h] = min(bound[h], mean reward + scale (H - h) sqrt(log K / N) + sum_s' mean P V[h+1]),

and takes Q = bound where (h, s, a) was never played. Agents plan with it on their own rewards, the
two-phase mechanism on the principal's net of transfers.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from pajax import lanes
from pajax.planning import Values, expectation
from pajax.protocols import Episode, Spec


class Model(NamedTuple):
    """Counts of transitions and sums of rewards."""

    transitions: Array  # [H, S, A, S', ...]
    rewards: Array  # [H, S, A, ...]

    @property
    def visits(self) -> Array:
        """N, [H, S, A, ...]."""
        return lanes.once(lanes.total(self.transitions, 3))


def empty(spec: Spec) -> Model:
    """A model that has seen nothing."""
    return Model(transitions=spec.transition_counts(), rewards=spec.per_action())


def observe(model: Model, episode: Episode, rewards: Array) -> Model:
    """The model after one more episode, with whatever `rewards` [H, ...] are being modelled."""
    states, actions = model.transitions.shape[1:3]
    cell = lanes.cells((states, actions), episode.states, episode.actions)
    move = cell * states + episode.next_states
    return Model(
        transitions=lanes.add(model.transitions, move, jnp.ones_like(rewards)),
        rewards=lanes.add(model.rewards, cell, rewards),
    )


def pooled(model: Model) -> Model:
    """The model in which every step has the counts of all steps, for a stationary game."""
    share = lambda table: jnp.broadcast_to(lanes.total(table), table.shape)  # noqa: E731
    return Model(share(model.transitions), share(model.rewards))


def confidence(num_episodes: int) -> Array:
    """The logarithm of K in the bonus, log K (K counted as at least 2)."""
    return jnp.log(jnp.asarray(max(num_episodes, 2), float))


def optimistic_plan(model: Model, mean_rewards: Array, bonus: Array, bound: Array) -> Values:
    """Optimistic values of `mean_rewards` in the estimated model.

    Args:
      model: counts.
      mean_rewards: [H, S, A, ...], whatever is planned for; its value where N = 0 does not matter.
      bonus: [H, S, A, ...], as made by `hoeffding_bonus`.
      bound: the largest value possible, broadcast against [H, S, A, ...].
    """

    def back(values: Array, inputs: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        transitions, visits, reward, bonus, bound = inputs
        kernel = transitions / jnp.maximum(visits, 1.0)[:, :, None]
        q_values = reward + bonus + expectation(kernel, values)
        q_values = jnp.where(visits > 0.0, jnp.minimum(bound, q_values), bound)
        values = lanes.maximum(q_values, 1)
        return values, (values, q_values)

    visits = model.visits
    last = jnp.zeros_like(visits[0, :, 0])
    bound = jnp.broadcast_to(bound, visits.shape)
    inputs = (model.transitions, visits, mean_rewards, bonus, bound)
    _, (values, q_values) = lax.scan(back, last, inputs, reverse=True)
    return Values(jnp.concatenate([values, last[None]]), q_values)


def mean_rewards(model: Model) -> Array:
    """Means of the rewards seen, [H, S, A, ...]; 0 where none was."""
    return model.rewards / jnp.maximum(model.visits, 1.0)


def hoeffding_bonus(visits: Array, scale: Array | float, confidence: Array) -> Array:
    """Bonus scale sqrt(log K / N), [H, S, A, ...], with N counted as at least 1."""
    return scale * jnp.sqrt(confidence / jnp.maximum(visits, 1.0))
