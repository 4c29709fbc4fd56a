"""Tools for testing agents, mechanisms and games, pajax's own and a user's.

`trajectories` shows every step of a run. `check_agent`, `check_mechanism` and `check_game` play a
part against the engine and raise an `AssertionError` that says which rule of `pajax.protocols` it
breaks: shapes and types kept, actions in range, transfers finite and not negative, a lane that
gives among other lanes what its key gives alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from pajax import games, planning
from pajax._pytree import pytree, static, with_lanes
from pajax.agents import QLearning
from pajax.game import Game
from pajax.mechanisms import NoTransfer
from pajax.protocols import Contract, Episode, Spec
from pajax.simulate import Record, advance, make_schedule, simulate, spec_of, start


class Log(NamedTuple):
    """Every step of a run; `episodes` has arrays [K, H, ...]."""

    episodes: Episode
    agent: Any  # the agent's final state
    mechanism: Any  # the mechanism's final state


class _LoggingState(NamedTuple):
    agent: Any
    episodes: Episode
    done: Array


@pytree
class _Logging:
    """An agent that also keeps all its episodes."""

    agent: Any
    num_words: int = static(default=1)

    def init(self, spec: Spec) -> _LoggingState:
        shape = (spec.num_episodes, spec.horizon, *spec.lanes)
        whole, real = jnp.zeros(shape, jnp.int32), jnp.zeros(shape)
        empty = Episode(whole, whole, whole, real, real)
        return _LoggingState(self.agent.init(spec), empty, jnp.zeros((), jnp.int32))

    def begin(self, state: _LoggingState, contract: Contract) -> _LoggingState:
        return state._replace(agent=self.agent.begin(state.agent, contract))

    def act(self, state: _LoggingState, h: Array, s: Array, words: Array) -> tuple[Array, Any]:
        return self.agent.act(state.agent, h, s, words)

    def update(self, state: _LoggingState, episode: Episode, memo: Any) -> _LoggingState:
        log = jax.tree.map(
            lambda table, new: lax.dynamic_update_index_in_dim(table, new, state.done, 0),
            state.episodes,
            episode,
        )
        return _LoggingState(self.agent.update(state.agent, episode, memo), log, state.done + 1)


def trajectories(
    key: Array, game: Game, agent: Any, mechanism: Any, *, num_episodes: int
) -> tuple[Log, Record]:
    """Run as `simulate` does, and return every step beside the record. Memory grows with K."""
    schedule = make_schedule(num_episodes, [num_episodes], mechanism.adapting_until)
    logging = _Logging(agent=agent, num_words=agent.num_words)
    parts = [with_lanes(part, key.shape) for part in (game, agent, mechanism)]
    game, mechanism = parts[0], parts[2]
    logging = _Logging(agent=parts[1], num_words=agent.num_words)

    @jax.jit
    def run(key: Array, game: Game, agent: Any, mechanism: Any) -> tuple[Any, Record]:
        progress = start(game, agent, mechanism, num_episodes)
        return advance(key, game, agent, mechanism, progress, schedule)

    progress, record = run(key, game, logging, mechanism)
    log = Log(progress.agent.episodes, progress.agent.agent, progress.mechanism)
    return log, jax.tree.map(lambda x: x[-1], record)


def check_agent(agent: Any, game: Game | None = None, mechanism: Any = None) -> None:
    """Play an agent for 40 episodes and check what `pajax.protocols.Agent` asks of it."""
    _check_pair(game or games.pollution(), agent, mechanism or NoTransfer())


def check_mechanism(mechanism: Any, game: Game | None = None, agent: Any = None) -> None:
    """Run a mechanism for 40 episodes and check what `pajax.protocols.Mechanism` asks of it."""
    game = game or games.pollution()
    _check_contract(mechanism, game)
    _check_pair(game, agent or QLearning(), mechanism)


def check_game(game: Game) -> None:
    """Check a game's tables, its optimum, and that a learner can play it."""
    for name, table in (("transition", game.transition), ("initial", game.initial)):
        axis = 3 if name == "transition" else 0
        _expect(bool((table >= 0).all()), f"{name}: must be at least 0")
        _expect(bool(jnp.allclose(table.sum(axis), 1.0, atol=1e-5)), f"{name}: must sum to 1")
    for name in ("agent_reward", "principal_reward"):
        table = getattr(game, name)
        _expect(bool(((table >= 0) & (table <= 1)).all()), f"{name}: must lie in [0, 1]")
    welfare = planning.expected(game, planning.welfare_values(game))
    alone = planning.policy_welfare(game, planning.best_response(game))
    _expect(bool((welfare >= alone - 1e-4).all()), "W*: must be at least laissez-faire welfare")
    if not game.lanes:
        _check_pair(game, QLearning(), NoTransfer())


def _check_pair(game: Game, agent: Any, mechanism: Any, num_episodes: int = 40) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    log, record = trajectories(keys, game, agent, mechanism, num_episodes=num_episodes)
    played = log.episodes.actions
    _expect(played.dtype == jnp.int32, "act: must return int32 actions")
    in_range = (played >= 0) & (played < game.num_actions)
    _expect(bool(in_range.all()), f"act: must return actions in 0..{game.num_actions - 1}")
    finite = all(bool(jnp.isfinite(x).all()) for x in record._replace(transfer_error=played))
    _expect(finite, "record: must be finite")
    _expect(bool((record.payment >= 0).all()), "post: must offer transfers of at least 0")
    _check_state(agent, mechanism, game)
    for i in range(len(keys)):
        alone = simulate(keys[i], game, agent, mechanism, num_episodes=num_episodes)
        for name, one, among in zip(Record._fields, alone, record, strict=True):
            if name in ("welfare_regret", "payment", "agent_regret"):
                same = np.allclose(np.asarray(one).sum(), np.asarray(among)[i], rtol=1e-4)
                _expect(same, f"{name}: lane {i} must be what its key gives alone")


def _check_state(agent: Any, mechanism: Any, game: Game) -> None:
    """States must keep their structure, shapes and types through every method."""
    spec = spec_of(game, 10)
    state = jax.eval_shape(lambda: agent.init(spec))
    contract = jax.eval_shape(lambda: mechanism.post(mechanism.init(spec)))
    after = jax.eval_shape(agent.begin, state, contract)
    _expect(_signature(after) == _signature(state), "begin: must keep the state's shapes and types")


def _check_contract(mechanism: Any, game: Game) -> None:
    spec = spec_of(game, 10)
    contract = mechanism.post(mechanism.init(spec))
    shape = (game.horizon, game.num_states, game.num_actions)
    _expect(contract.transfer.shape == shape, f"post: transfer must have shape {shape}")
    _expect(contract.target.shape == shape[:2], f"post: target must have shape {shape[:2]}")
    _expect(contract.target.dtype == jnp.int32, "post: target must be int32")
    _expect(contract.own_action.dtype == jnp.int32, "post: own_action must be int32")
    offered = np.asarray(contract.transfer)
    _expect(bool(np.isfinite(offered).all() and (offered >= 0).all()), "post: must be at least 0")


def _signature(state: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    leaves, tree = jax.tree.flatten(state)
    return tree, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
