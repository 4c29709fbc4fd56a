"""Exact planning in a known game, by backward induction.

    Q[h, s, a] = r[h, s, a] + sum_s' P[h, s, a, s'] V[h+1, s'],    V[h, s] = max_a Q[h, s, a],

with V[H] = 0; the occupancy of a policy runs the other way,

    d[0] = rho,    d[h+1, s'] = sum_s d[h, s] P[h, s, pi[h, s], s'].

Only games, oracles and records use this module on a true game; learners call the same functions on
what they have estimated. All functions are pure, differentiable where that means anything, and work
over trailing lanes.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from pajax import lanes, printing
from pajax.game import Game

#: Least probability of a visit by the welfare optimum for a (h, s) to matter to coverage (A2): what
#: is visited more rarely costs at most this much welfare a step, and no run would resolve it.
OFTEN = 0.01


class Values(NamedTuple):
    """Optimal values of some reward, in reward units.

    Attributes:
      values: V, [H + 1, S, ...]; the last is 0.
      q_values: Q, [H, S, A, ...].
    """

    values: Array
    q_values: Array

    __repr__ = printing.of_fields

    @property
    def gaps(self) -> Array:
        """V - Q >= 0, [H, S, A, ...]."""
        return self.values[:-1, :, None] - self.q_values


def expectation(transition: Array, values: Array) -> Array:
    """sum_s' P[s, a, s'] V[s'], from s' = 0 upward, [S, A, ...].

    Args:
      transition: P of one step, [S, A, S', ...].
      values: V of the next, [S', ...].
    """
    if values.shape[0] > lanes.TREE_LIMIT:
        weights = jnp.moveaxis(transition, 2, 0)
        return lanes.dot(weights, jnp.broadcast_to(values[:, None, None], weights.shape))
    result = lanes.product(transition[:, :, 0], values[0])
    for successor in range(1, values.shape[0]):
        result = result + lanes.product(transition[:, :, successor], values[successor])
    return result


def backward_induction(reward: Array, transition: Array, horizon: int) -> Values:
    """Optimal values of a reward, by the recursion of `pajax.planning`.

    Args:
      reward: [T, S, A, ...], T either 1 or H.
      transition: P, [T, S, A, S', ...].
      horizon: H.
    """

    def back(values: Array, h: Array) -> tuple[Array, tuple[Array, Array]]:
        q_values = lanes.at_step(reward, h) + expectation(lanes.at_step(transition, h), values)
        values = lanes.maximum(q_values, 1)
        return values, (values, q_values)

    last = jnp.zeros(transition.shape[1:2] + transition.shape[4:], reward.dtype)
    _, (values, q_values) = lax.scan(back, last, jnp.arange(horizon), reverse=True)
    return Values(jnp.concatenate([values, last[None]]), q_values)


def greedy(q_values: Array) -> Array:
    """First maximiser over actions, int32 [H, S, ...].

    Args:
      q_values: [H, S, A, ...].
    """
    return lanes.argmax(q_values, 2)[0]


def policy_values(game: Game, policy: Array, reward: Array) -> Array:
    """Values of a policy, [H + 1, S, ...], in reward units; the last is 0.

    Args:
      game: whose kernel moves the state.
      policy: int [H, S, ...], or [1, S, ...] if stationary.
      reward: [T, S, A, ...], T either 1 or H.
    """

    def back(values: Array, h: Array) -> tuple[Array, Array]:
        q_values = lanes.at_step(reward, h) + expectation(lanes.at_step(game.transition, h), values)
        values = lanes.lookup(q_values, lanes.at_step(policy, h), 1)
        return values, values

    last = jnp.zeros((game.num_states, *game.lanes), reward.dtype)
    policy = _every_step(policy, game.horizon)
    _, values = lax.scan(back, last, jnp.arange(game.horizon), reverse=True)
    return jnp.concatenate([values, last[None]])


def occupancy(game: Game, policy: Array) -> Array:
    """Probabilities d of being in s at step h under a policy, [H, S, ...].

    Args:
      game: the game.
      policy: int [H, S, ...], or [1, S, ...] if stationary.
    """

    def forward(mass: Array, h: Array) -> tuple[Array, Array]:
        played = lanes.at_step(policy, h)[:, None]  # [S, 1, ...]
        kernel = lanes.lookup(lanes.at_step(game.transition, h), played, 1)
        return lanes.total(lanes.product(kernel, mass[:, None])), mass

    policy = _every_step(policy, game.horizon)
    return lax.scan(forward, game.initial, jnp.arange(game.horizon))[1]


def often_visited(game: Game, policy: Array) -> Array:
    """Which (h, s) a policy is in with probability `OFTEN` = 0.01 at least, bool [H, S, ...] (A2).

    Args:
      game: the game.
      policy: int [H, S, ...], or [1, S, ...] if stationary.
    """
    return occupancy(game, policy) >= OFTEN


def agent_values(game: Game, transfer: Array | None = None) -> Values:
    """The agent's optimal values under a contract (V_c, Q_c), or without transfers (V0, Q0).

    Args:
      game: the game.
      transfer: [H, S, A, ...] in reward units; None for no transfers.
    """
    reward = game.agent_reward if transfer is None else game.agent_reward + transfer
    return backward_induction(reward, game.transition, game.horizon)


def best_response(game: Game, transfer: Array | None = None) -> Array:
    """The agent's optimal policy under a contract, int32 [H, S, ...]; ties to the lowest action.

    Args:
      game: the game.
      transfer: [H, S, A, ...] in reward units; None for no transfers.
    """
    return greedy(agent_values(game, transfer).q_values)


def welfare_reward(game: Game) -> Array:
    """Welfare of a step, u + max_b v, [T, S, A, ...], in reward units.

    Args:
      game: the game.
    """
    return game.agent_reward + game.principal_reward.max(3)


def welfare_values(game: Game) -> Values:
    """VW, QW: optimal values of `welfare_reward`; W* is `expected(game, values)`.

    Args:
      game: the game.
    """
    return backward_induction(welfare_reward(game), game.transition, game.horizon)


def best_own_action(game: Game, policy: Array) -> Array:
    """argmax_b v[h, s, pi(h, s), b], int32 [H, S, ...]; ties to the lowest.

    Args:
      game: the game.
      policy: pi, the agent's, int [H, S, ...].
    """
    best = jnp.argmax(game.principal_reward, axis=3).astype(jnp.int32)  # [T, S, A, ...]
    best = jnp.broadcast_to(best, (game.horizon, *best.shape[1:]))
    return lanes.lookup(best, policy, 2)


def policy_welfare(game: Game, policy: Array) -> Array:
    """W^pi [...], welfare an episode of a policy, with the best own actions.

    Args:
      game: the game.
      policy: pi, the agent's, int [H, S, ...], or [1, S, ...] if stationary.
    """
    return expected(game, policy_values(game, policy, welfare_reward(game)))


def expected(game: Game, values: Any) -> Array:
    """Value of an episode, rho . V[0], [...], in reward units.

    Args:
      game: whose initial distribution rho is.
      values: V, [H + 1, S, ...], or a `Values`.
    """
    values = values.values if isinstance(values, Values) else values
    return lanes.total(lanes.product(game.initial, values[0]))


def _every_step(policy: Array, horizon: int) -> Array:
    """A policy [H, S, ...]; a stationary one, [1, S, ...], is repeated."""
    return jnp.broadcast_to(policy, (horizon, *policy.shape[1:]))
