"""Garnet: random games with sparse kernels (Archibald, McKinnon and Thomas, 1995).

Each (s, a) moves to `branching` distinct successors, chosen uniformly, with Dirichlet(1) weights;
this kernel is mixed with the uniform one, so that every state stays reachable. Mean rewards u and v
are uniform on [0, 1].

Three more knobs make a family harder; at their defaults the games are the plain ones. *Sparse
rewards*: in each of u and v a share of the cells (s, a) is zero. *A local kernel*: states stand in
a ring, and successors lie within a distance `reach`, so that without mixing a state at distance d
is at least d / reach steps away. *A first state*: episodes begin in state 0, not anywhere. The
last two together make far states reachable through a chain alone.
"""

import jax
import jax.numpy as jnp
from jax import Array

from pajax import _checks
from pajax.game import NOISES, Game

INITIALS = ("uniform", "first")


def garnet(
    key: Array,
    *,
    num_states: int = 5,
    num_actions: int = 3,
    branching: int = 2,
    horizon: int = 5,
    num_games: int | None = None,
    mixing: float = 0.1,
    reach: int | None = None,
    initial: str = "uniform",
    reward_sparsity: float = 0.0,
    noise: str = "bernoulli",
) -> Game:
    """Random stationary games (Archibald, McKinnon and Thomas, 1995; see `pajax.games.garnet`).

    Games of one key differ in a knob alone where they can: sparser rewards blank cells of the same
    tables, in a nested way, and neither they nor `initial` touch the kernel.

    Args:
      key: typed key; game i uses `fold_in(key, i)`, so more games extend the batch.
      num_states: S, 1 to 256.
      num_actions: A >= 1.
      branching: successors of each (s, a), 1 to S, or to 2 reach + 1 if that is less.
      horizon: H >= 1.
      num_games: lanes of the result; None gives one game without lanes, the first of the batch.
      mixing: weight of the uniform kernel, in [0, 1]; 0 leaves the chosen successors alone.
      reach: largest distance of a chosen successor from s, in states along the ring 0, .., S - 1,
        0; at least 1. None lets successors be anywhere.
      initial: rho, "uniform" or "first" (state 0).
      reward_sparsity: share of the S A cells whose mean reward is zero, in [0, 1]. Exactly
        round(share S A) of them, drawn uniformly, and for u and v separately, so that both are zero
        in a share of about its square.
      noise: see `make_game`.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    states = _checks.whole("num_states", num_states)
    _checks.require(states <= 256, "num_states", states, "be at most 256")
    actions = _checks.whole("num_actions", num_actions)
    branches = _checks.whole("branching", branching)
    _checks.require(branches <= states, "branching", branches, f"be at most num_states = {states}")
    reach = states if reach is None else _checks.whole("reach", reach)
    near = 2 * reach + 1
    _checks.require(branches <= near, "branching", branches, f"be at most 2 reach + 1 = {near}")
    _checks.whole("horizon", horizon)
    _checks.in_range("mixing", mixing, 0.0, 1.0)
    _checks.in_range("reward_sparsity", reward_sparsity, 0.0, 1.0)
    _checks.choice("initial", initial, INITIALS)
    _checks.choice("noise", noise, NOISES)
    num_zeros = round(reward_sparsity * states * actions)
    uniform = jnp.full(states, 1.0 / states)

    def one(index: Array) -> Game:
        of_game = jax.random.fold_in(key, index)
        of_successors, of_weights, *of_rewards = jax.random.split(of_game, 4)
        # the key after these four, so that sparsity changes nothing else
        of_zeros = jax.random.split(jax.random.fold_in(of_game, 4))
        chosen = _successors(of_successors, states, actions, branches, reach)
        weights = jnp.where(chosen, jax.random.exponential(of_weights, chosen.shape), 0.0)
        kernel = weights / weights.sum(-1, keepdims=True)
        cells = (states, actions)
        u, v = (
            _rewards(*keys, cells, num_zeros) for keys in zip(of_rewards, of_zeros, strict=True)
        )
        return Game(
            transition=((1.0 - mixing) * kernel + mixing / states)[None],
            agent_reward=u[None],
            principal_reward=v[None, :, :, None],
            initial=uniform if initial == "uniform" else jnp.eye(1, states)[0],
            noise_scale=jnp.asarray(0.1),
            horizon=horizon,
            noise=noise,
        )

    if num_games is None:
        return one(jnp.asarray(0))
    return jax.vmap(one, out_axes=-1)(jnp.arange(_checks.whole("num_games", num_games)))


def _successors(key: Array, states: int, actions: int, branches: int, reach: int) -> Array:
    """Which states may follow: a uniform choice of `branches` in reach, bool [S, A, S']."""
    places = jnp.arange(states)
    apart = jnp.abs(places[:, None] - places)
    is_near = jnp.minimum(apart, states - apart) <= reach
    chances = jax.random.uniform(key, (states, actions, states))
    return _ranks(jnp.where(is_near[:, None], chances, 1.0)) < branches


def _rewards(key: Array, of_zeros: Array, cells: tuple[int, int], num_zeros: int) -> Array:
    """Uniform mean rewards [S, A], zero in `num_zeros` cells drawn uniformly."""
    chances = jax.random.uniform(of_zeros, (cells[0] * cells[1],))
    is_zero = (_ranks(chances) < num_zeros).reshape(cells)
    return jnp.where(is_zero, 0.0, jax.random.uniform(key, cells))


def _ranks(values: Array) -> Array:
    """Places in ascending order along the last axis, 0 for the smallest."""
    return jnp.argsort(jnp.argsort(values))
