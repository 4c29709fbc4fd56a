"""Garnet: random games with sparse kernels (Archibald, McKinnon and Thomas, 1995).

Each (s, a) moves to `branching` distinct successors, chosen uniformly, with Dirichlet(1) weights;
this kernel is mixed with the uniform one, so that every state stays reachable. Mean rewards u and v
are uniform on [0, 1] (THEORY: section 5).
"""

import jax
import jax.numpy as jnp
from jax import Array

from pajax import _checks
from pajax.game import NOISES, Game


def garnet(
    key: Array,
    *,
    num_states: int = 5,
    num_actions: int = 3,
    branching: int = 2,
    horizon: int = 5,
    num_games: int | None = None,
    mixing: float = 0.1,
    noise: str = "bernoulli",
) -> Game:
    """Random stationary games.

    Args:
      key: typed key; game i uses `fold_in(key, i)`, so more games extend the batch.
      num_states: S, 1 to 256.
      num_actions: A >= 1.
      branching: successors of each (s, a), 1 to S.
      horizon: H >= 1.
      num_games: lanes of the result; None gives one game without lanes, the first of the batch.
      mixing: weight of the uniform kernel, in [0, 1].
      noise: see `make_game`.
    """
    states = _checks.whole("num_states", num_states)
    _checks.require(states <= 256, "num_states", states, "be at most 256")
    actions = _checks.whole("num_actions", num_actions)
    branches = _checks.whole("branching", branching)
    _checks.require(branches <= states, "branching", branches, f"be at most num_states = {states}")
    _checks.in_range("mixing", mixing, 0.0, 1.0)
    sizes = (states, actions, branches)

    def one(index: Array) -> Game:
        return _draw(jax.random.fold_in(key, index), sizes, mixing, horizon, noise)

    _checks.whole("horizon", horizon)
    _checks.choice("noise", noise, NOISES)
    if num_games is None:
        return one(jnp.asarray(0))
    return jax.vmap(one, out_axes=-1)(jnp.arange(_checks.whole("num_games", num_games)))


def _draw(key: Array, sizes: tuple[int, int, int], mixing: float, horizon: int, noise: str) -> Game:
    states, actions, branches = sizes
    of_kernel, of_weights, of_agent, of_principal = jax.random.split(key, 4)
    ranks = jnp.argsort(jnp.argsort(jax.random.uniform(of_kernel, (states, actions, states))))
    weights = jax.random.exponential(of_weights, (states, actions, states))
    weights = jnp.where(ranks < branches, weights, 0.0)
    kernel = weights / weights.sum(-1, keepdims=True)
    return Game(
        transition=((1.0 - mixing) * kernel + mixing / states)[None],
        agent_reward=jax.random.uniform(of_agent, (1, states, actions)),
        principal_reward=jax.random.uniform(of_principal, (1, states, actions, 1)),
        initial=jnp.full(states, 1.0 / states),
        noise_scale=jnp.asarray(0.1),
        horizon=horizon,
        noise=noise,
    )
