"""Principal-agent Markov decision processes.

A game has states S, agent actions A, the principal's own actions B and horizon H. In step h the
agent, in state s, plays a; it earns u(s, a) in the mean, the principal v(s, a, b); the state moves
to s' ~ P(s, a, .). Values are 0 at step H. The agent's action moves the state (the stateful
externality) and the principal's payoff (the payoff externality); b moves v alone. Welfare is
w = u + v: transfers cancel in it.

Tables carry a leading time axis T, which is 1 for a stationary table and H otherwise.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from pajax import _checks, draws, lanes, printing
from pajax._pytree import axes, pytree, static

NOISES = ("bernoulli", "deterministic", "gaussian")
#: Rows, and next states in one, of a game that a notebook shows.
_MOST_ROWS, _MOST_MOVES = 60, 6


@pytree
class Game:
    """A game, or a batch of games of the same sizes on trailing lanes. Made by `make_game`.

    T is 1 for a stationary table and H otherwise.

    Attributes:
      transition: P, probabilities [T, S, A, S', ...].
      agent_reward: mean u in [0, 1], [T, S, A, ...], reward units.
      principal_reward: mean v in [0, 1], [T, S, A, B, ...], reward units.
      initial: rho, probabilities [S, ...].
      noise_scale: standard deviation of gaussian noise, reward units.
      horizon: H, steps in an episode.
      noise: of rewards, "bernoulli", "deterministic" or "gaussian".
    """

    transition: Array = axes(
        "t", "s", "a", "s", low=0.0, high=1.0
    )  # [T, S, A, S, ...] probabilities
    agent_reward: Array = axes("t", "s", "a", low=0.0, high=1.0)
    principal_reward: Array = axes(
        "t", "s", "a", "b", low=0.0, high=1.0
    )  # [T, S, A, B, ...] mean v in [0, 1]
    initial: Array = axes("s", low=0.0, high=1.0)
    noise_scale: Any = axes(low=0.0, default=0.1)
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

    def _repr_html_(self) -> str:
        return _describe(self).html()


class Tables(NamedTuple):
    """A game prepared for drawing, flattened for one look-up each; made once a run by `prepare`."""

    agent_reward: Array  # flat [T * S * A, ...]
    principal_reward: Array  # flat [T * S * A * B, ...]
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

    Probabilities and means that lie outside of [0, 1] by rounding, 1e-6 at most, are cut.

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
    u = _checks.in_range("agent_reward", agent_reward, 0.0, 1.0, _checks.ROUNDING)
    v = _checks.in_range("principal_reward", principal_reward, 0.0, 1.0, _checks.ROUNDING)
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
    """Games of the same sizes, horizon and noise as one `Game` with a trailing lane axis.

    Args:
      games: at least one, without lanes or with equal lanes; their order is that of the new axis.

    Raises:
      ValueError: there is none, or sizes, horizons or noises differ.
    """
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
    # one call for all distributions, since it takes long to compile
    rows = jnp.concatenate([lanes.flat(game.transition), game.initial[None]])
    packed = draws.alias_table(rows)
    return Tables(
        agent_reward=lanes.flat(game.agent_reward),
        principal_reward=lanes.flat(game.principal_reward, 4),
        next_state=draws.Sampler(packed[:-1].reshape((game.transition.shape[0], -1, *game.lanes))),
        initial_state=draws.Sampler(packed[-1:]),
    )


def reset(game: Game, tables: Tables, word: Array) -> Array:
    """An initial state, int32 [...], from a random word [...]."""
    return tables.initial_state.draw(word, 0, jnp.zeros(word.shape, jnp.int32), game.num_states)


def next_state(
    game: Game, tables: Tables, word: Array, h: Array | int, s: Array, a: Array
) -> Array:
    """The state after playing a at (h, s), int32 [...], from a random word [...]."""
    return tables.next_state.draw(word, h, s * game.num_actions + a, game.num_states)


def rewards(
    game: Game, tables: Tables, words: tuple[Array, Array], states: Array, actions: Array,
    own_actions: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """The agent's and the principal's rewards in the steps of an episode.

    Args:
      game: the game.
      tables: the same, prepared for drawing.
      words: random words for the agent's and the principal's rewards, [H, ...] each.
      states: int32 [H, ...].
      actions: the agent's, int32 [H, ...].
      own_actions: the principal's, int32 [H, ...].
    """
    cell = states * game.num_actions + actions
    u = lanes.read(tables.agent_reward, _at_steps(game.agent_reward, cell))
    own_cell = cell * game.num_own_actions + own_actions
    v = lanes.read(tables.principal_reward, _at_steps(game.principal_reward, own_cell))
    return (
        draws.reward(words[0], u, game.noise, game.noise_scale),
        draws.reward(words[1], v, game.noise, game.noise_scale),
    )


def _at_steps(table: Array, cell: Array) -> Array:
    """The numbers of cells [H, ...] in a table [T, ...] with its steps, if it has any."""
    if table.shape[0] == 1:
        return cell
    return lanes.cells((math.prod(table.shape[1 : table.ndim + 1 - cell.ndim]),), cell)


def _with_time(table: np.ndarray, tail: tuple[int, ...], name: str, horizon: int) -> np.ndarray:
    """`table` with its leading time axis: (1 or H,) + tail."""
    rule = f"have shape {tail} or {(horizon, *tail)}"
    _checks.require(table.shape in (tail, (horizon, *tail)), name, _shape(table), rule)
    return table[None] if table.shape == tail else table


def _describe(game: Game) -> printing.Table:
    """Mean rewards and moves by state and action, in the first step of the first game."""
    tables = (game.agent_reward, game.principal_reward, game.transition)
    u, v, p = (printing.first_lane(table[0], len(game.lanes)) for table in tables)
    initial = printing.first_lane(game.initial, len(game.lanes))
    cells = list(np.ndindex(*u.shape))
    own = [f"v, b = {b}" for b in range(v.shape[2])] if v.shape[2] > 1 else ["v"]
    rows = [
        [f"{s}", f"{a}", f"{u[s, a]:.3g}", *(f"{x:.3g}" for x in v[s, a]), _moves(p[s, a])]
        for s, a in cells[:_MOST_ROWS]
    ]
    notes = [
        "u, v: the agent's and the principal's mean reward. Next states by probability. "
        f"Initial states: {_moves(initial)}."
    ]
    if len(cells) > _MOST_ROWS:
        notes.append(f"The first {_MOST_ROWS} of {len(cells)} states and actions.")
    if any(len(table) > 1 for table in tables):
        notes.append(f"Step 0 of {game.horizon}, which differ.")
    if game.lanes:
        notes.append(f"The first of lanes {game.lanes}.")
    headings = ["state", "action", "u", *own, "next state"]
    return printing.Table(repr(game), headings, rows, notes=notes)


def _moves(probabilities: np.ndarray) -> str:
    """States by falling probability, as far as they are likely."""
    likely = [s for s in np.argsort(-probabilities, kind="stable") if probabilities[s] >= 0.005]
    shown = [f"{s}: {probabilities[s]:.2f}" for s in likely[:_MOST_MOVES]]
    return ", ".join([*shown, "..."] if len(likely) > _MOST_MOVES else shown)


def _shape(array: np.ndarray) -> str:
    return f"shape {array.shape}"
