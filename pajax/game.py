"""Principal-agent Markov decision processes (THEORY: section 1, the model).

A game has states S, agent actions A, the principal's own actions B and horizon H. In step h the
agent, in state s, plays a; it earns u(s, a) in the mean, the principal v(s, a, b); the state moves
to s' ~ P(s, a, .). Values are 0 at step H. The agent's action moves the state (the stateful
externality) and the principal's payoff (the payoff externality); b moves v alone. Welfare is
w = u + v: transfers cancel in it.

Tables carry a leading time axis T, which is 1 for a stationary table and H otherwise.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from pajax import _checks, draws, lanes
from pajax._pytree import axes, pytree, static

NOISES = ("bernoulli", "deterministic", "gaussian")


@pytree
class Game:
    """A game, or a batch of games of the same sizes on trailing lanes. Made by `make_game`."""

    transition: Array = axes(
        "t", "s", "a", "s", low=0.0, high=1.0
    )  # [T, S, A, S, ...] probabilities
    agent_reward: Array = axes("t", "s", "a", low=0.0, high=1.0)  # [T, S, A, ...] mean u in [0, 1]
    principal_reward: Array = axes(
        "t", "s", "a", "b", low=0.0, high=1.0
    )  # [T, S, A, B, ...] mean v in [0, 1]
    initial: Array = axes("s", low=0.0, high=1.0)  # [S, ...] probabilities
    noise_scale: Any = axes(low=0.0, default=0.1)  # standard deviation of gaussian noise
    horizon: int = static()
    noise: str = static(default="bernoulli", choices=NOISES)

    @property
    def num_states(self) -> int:
        """S."""
        return self.agent_reward.shape[1]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.agent_reward.shape[2]

    @property
    def num_own_actions(self) -> int:
        """B, the number of the principal's own actions."""
        return self.principal_reward.shape[3]

    @property
    def lanes(self) -> tuple[int, ...]:
        """Shape of the trailing lanes; () for a single game."""
        return self.initial.shape[1:]

    def __repr__(self) -> str:
        sizes = f"S={self.num_states}, A={self.num_actions}, B={self.num_own_actions}"
        batch = f", lanes={self.lanes}" if self.lanes else ""
        return f"Game({sizes}, H={self.horizon}, noise={self.noise!r}{batch})"


class Transition(NamedTuple):
    """What one step of a game produced."""

    next_state: Array  # int32 [...]
    agent_reward: Array  # [...]
    principal_reward: Array  # [...]


class Tables(NamedTuple):
    """A game prepared for drawing: mean rewards and alias tables, flattened for one look-up each.

    Made once a run by `prepare`; the engine and `step` draw from it.
    """

    agent_reward: Array  # [T, S * A, ...]
    principal_reward: Array  # [T, S * A * B, ...]
    next_state: draws.Sampler  # over S, indexed by s * A + a
    initial_state: draws.Sampler  # over S, index 0


def make_game(
    *,
    transition: Any,
    agent_reward: Any,
    principal_reward: Any,
    initial: Any,
    horizon: int,
    noise: str = "bernoulli",
    noise_scale: float = 0.1,
) -> Game:
    """A validated `Game`.

    Args:
      transition: P, [S, A, S'] or [H, S, A, S']; rows over s' sum to 1 within 1e-5 and are then
        renormalised.
      agent_reward: mean u in [0, 1], [S, A] or [H, S, A].
      principal_reward: mean v in [0, 1], [S, A], [S, A, B] or [H, S, A, B].
      initial: rho, [S].
      horizon: H >= 1, steps in an episode.
      noise: "bernoulli", "deterministic" or "gaussian" (clipped symmetrically, so that means hold).
      noise_scale: standard deviation of gaussian noise, reward units, positive.

    Raises:
      ValueError: a one-line message with the argument, the value and the rule.
    """
    horizon = _checks.whole("horizon", horizon)
    _checks.choice("noise", noise, NOISES)
    scale = float(_checks.finite("noise_scale", noise_scale))
    _checks.require(scale > 0.0, "noise_scale", scale, "be positive")
    p = _checks.distribution("transition", transition)
    rule = "have axes [S, A, S] or [H, S, A, S], none empty"
    is_kernel = p.ndim in (3, 4) and p.size > 0 and p.shape[-3] == p.shape[-1]
    _checks.require(is_kernel, "transition", _shape(p), rule)
    states, actions = p.shape[-3:-1]
    _checks.require(states <= 256, "transition", f"{states} states", "have at most 256 states")
    u = _checks.in_range("agent_reward", agent_reward, 0.0, 1.0)
    v = _checks.in_range("principal_reward", principal_reward, 0.0, 1.0)
    rule = "have axes [S, A], [S, A, B] or [H, S, A, B], none empty"
    is_reward = v.ndim in (2, 3, 4) and v.size > 0
    _checks.require(is_reward, "principal_reward", _shape(v), rule)
    v = v[..., None] if v.ndim == 2 else v
    tables = {
        "transition": _with_time(p, (states, actions, states), "transition", horizon),
        "agent_reward": _with_time(u, (states, actions), "agent_reward", horizon),
        "principal_reward": _with_time(
            v, (states, actions, v.shape[-1]), "principal_reward", horizon
        ),
    }
    rho = _checks.distribution("initial", initial)
    _checks.require(rho.shape == (states,), "initial", _shape(rho), f"have shape ({states},)")
    return Game(
        **{name: jnp.asarray(table, float) for name, table in tables.items()},
        initial=jnp.asarray(rho, float),
        noise_scale=scale,
        horizon=horizon,
        noise=noise,
    )


def stack_games(games: Any) -> Game:
    """Games of the same sizes, horizon and noise as one `Game` with a trailing lane axis."""
    games = list(games)
    _checks.require(len(games) > 0, "games", "none", "hold at least one game")
    first = games[0]
    for game in games[1:]:
        same = all(
            getattr(game, name).shape == getattr(first, name).shape
            for name in ("transition", "agent_reward", "principal_reward")
        ) and (game.horizon, game.noise) == (first.horizon, first.noise)
        _checks.require(same, "games", f"{first} and {game}", "have equal sizes, horizon and noise")
    leaves = ("transition", "agent_reward", "principal_reward", "initial", "noise_scale")
    stacked = {k: jnp.stack([jnp.asarray(getattr(g, k)) for g in games], -1) for k in leaves}
    return Game(**stacked, horizon=first.horizon, noise=first.noise)


def prepare(game: Game) -> Tables:
    """The game prepared for drawing."""
    u, v, p = game.agent_reward, game.principal_reward, game.transition
    states, lanes_shape = game.num_states, game.lanes
    return Tables(
        agent_reward=u.reshape((u.shape[0], -1, *lanes_shape)),
        principal_reward=v.reshape((v.shape[0], -1, *lanes_shape)),
        next_state=draws.Sampler.of(p.reshape((p.shape[0], -1, states, *lanes_shape))),
        initial_state=draws.Sampler.of(game.initial[None, None]),
    )


def reset(game: Game, tables: Tables, word: Array) -> Array:
    """An initial state, int32 [...], from a random word [...]."""
    return tables.initial_state.draw(word, 0, jnp.zeros(word.shape, jnp.int32), game.num_states)


def step(
    game: Game, tables: Tables, words: tuple[Array, Array, Array], h: Array | int, s: Array,
    a: Array, b: Array | int,
) -> Transition:  # fmt: skip
    """One step: rewards and next state of playing a (and b) at (h, s).

    Args:
      game: the game.
      tables: the same, prepared for drawing.
      words: random words for the agent's reward, the principal's reward and the next state.
      h: step, the same in all lanes.
      s: state, int32 [...].
      a: the agent's action, int32 [...].
      b: the principal's own action, int32 [...].
    """
    cell = s * game.num_actions + a
    u = lanes.lookup(lanes.at_step(tables.agent_reward, h), cell)
    own_cell = cell * game.num_own_actions + b
    v = lanes.lookup(lanes.at_step(tables.principal_reward, h), own_cell)
    return Transition(
        next_state=tables.next_state.draw(words[2], h, cell, game.num_states),
        agent_reward=draws.reward(words[0], u, game.noise, game.noise_scale),
        principal_reward=draws.reward(words[1], v, game.noise, game.noise_scale),
    )


def _with_time(table: np.ndarray, tail: tuple[int, ...], name: str, horizon: int) -> np.ndarray:
    """`table` with its leading time axis: (1 or H,) + tail."""
    rule = f"have shape {tail} or {(horizon, *tail)}"
    _checks.require(table.shape in (tail, (horizon, *tail)), name, _shape(table), rule)
    return table[None] if table.shape == tail else table


def _shape(array: np.ndarray) -> str:
    return f"shape {array.shape}"
