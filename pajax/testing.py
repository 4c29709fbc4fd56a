"""Tools for testing agents, mechanisms and games, pajax's own and a user's.

`trajectories` shows every step of a run. `check_agent`, `check_mechanism` and `check_game` play a
part against the engine and raise an `AssertionError` that says which rule of `pajax.protocols` it
breaks: shapes and types kept, chance from the engine's random words alone, actions in range,
transfers finite and not negative, a lane that gives among other lanes what its key gives alone.
"""

import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from pajax import games, planning
from pajax._pytree import is_part, pytree, static, with_lanes
from pajax.agents import QLearning
from pajax.game import Game
from pajax.lanes import Lifted
from pajax.ledger import PARTIAL, Record
from pajax.mechanisms import NoTransfer
from pajax.protocols import Contract, Episode, Report, Spec, Stage
from pajax.simulate import advance, make_world, simulate, spec_of, start
from pajax.stages import make_schedule


class Log(NamedTuple):
    """Every step of a run.

    Attributes:
      episodes: what the agent saw, [K, H, ...] each.
      contracts: those in force in each episode, [K, H, S, A, ...] or [K, H, S, ...].
      agent: the agent's final state.
      mechanism: the mechanism's final state.
    """

    episodes: Episode
    contracts: Contract
    agent: Any
    mechanism: Any


class _LoggingState(NamedTuple):
    agent: Any
    contract: Contract  # the one in force
    episodes: Episode
    contracts: Contract
    done: Array


@pytree
class _Logging:
    """An agent that also keeps all its episodes, and the contracts it was told of."""

    agent: Any
    num_words: int = static(default=1)

    def init(self, spec: Spec) -> _LoggingState:
        real = spec.zeros(spec.horizon)
        whole = real.astype(jnp.int32)
        episode = Episode(whole, whole, whole, real, real, whole)
        contract = Contract(spec.per_action(), spec.per_state(0), spec.per_state(0))
        episodes, contracts = jax.tree.map(
            lambda x: jnp.zeros((spec.num_episodes, *x.shape), x.dtype), (episode, contract)
        )
        none = jnp.zeros((), jnp.int32)
        return _LoggingState(self.agent.init(spec), contract, episodes, contracts, none)

    def begin(self, state: _LoggingState, contract: Contract) -> _LoggingState:
        return state._replace(agent=self.agent.begin(state.agent, contract), contract=contract)

    def act(self, state: _LoggingState, h: Array, s: Array, words: Array) -> tuple[Array, Any]:
        return self.agent.act(state.agent, h, s, words)

    def update(self, state: _LoggingState, episode: Episode, memo: Any) -> _LoggingState:
        episodes, contracts = jax.tree.map(
            lambda table, new: lax.dynamic_update_index_in_dim(table, new, state.done, 0),
            (state.episodes, state.contracts),
            (episode, state.contract),
        )
        agent = self.agent.update(state.agent, episode, memo)
        return _LoggingState(agent, state.contract, episodes, contracts, state.done + 1)


def trajectories(
    key: Array, game: Game, agent: Any, mechanism: Any, *, num_episodes: int
) -> tuple[Log, Record]:
    """Run as `simulate` does, and return every step beside the record. Memory grows with K.

    Args:
      key: typed threefry key; with a shape, it gives lanes.
      game: the game.
      agent: an `Agent`.
      mechanism: a `Mechanism`.
      num_episodes: K >= 1.

    Returns:
      The log, and the record of the whole run, arrays [...].

    Raises:
      ValueError: `num_episodes` is not a whole number from 1 to 2^24 - 1.
    """
    schedule = make_schedule(
        num_episodes, [num_episodes], mechanism.adapting_until, game.num_states
    )
    parts = [with_lanes(part, key.shape) for part in (game, agent, mechanism)]
    game, mechanism = parts[0], parts[2]
    logging = _Logging(agent=parts[1], num_words=agent.num_words)

    @jax.jit
    def run(key: Array, game: Game, agent: Any, mechanism: Any) -> tuple[Any, Record]:
        progress = start(game, agent, mechanism, num_episodes)
        return advance(key, game, make_world(game), agent, mechanism, progress, schedule)

    progress, record = run(key, game, logging, mechanism)
    logged = progress.agent
    log = Log(logged.episodes, logged.contracts, logged.agent, progress.mechanism)
    return log, jax.tree.map(lambda x: x[-1], record)


def check_agent(agent: Any, game: Game | None = None, mechanism: Any = None) -> None:
    """Play an agent for 40 episodes and check what `pajax.protocols.Agent` asks of it.

    Args:
      agent: to be checked.
      game: which it plays, without lanes; by default `pajax.games.pollution()`.
      mechanism: under which it plays; by default `NoTransfer()`.

    Raises:
      AssertionError: it breaks a rule; the message says which.
    """
    _check_pair(game or games.pollution(), agent, mechanism or NoTransfer())


def check_mechanism(mechanism: Any, game: Game | None = None, agent: Any = None) -> None:
    """Run a mechanism for 40 episodes and check what `pajax.protocols.Mechanism` asks of it.

    Args:
      mechanism: to be checked.
      game: in which it runs, without lanes; by default `pajax.games.pollution()`.
      agent: whom it meets; by default `QLearning()`.

    Raises:
      AssertionError: it breaks a rule; the message says which.
    """
    _check_pair(game or games.pollution(), agent or QLearning(), mechanism)


def check_game(game: Game) -> None:
    """Check a game's tables, its optimum, and, unless it has lanes, that a learner can play it.

    Args:
      game: to be checked.

    Raises:
      AssertionError: probabilities do not sum to 1, a mean reward is outside [0, 1], or W* is below
        the welfare of laissez-faire.
    """
    for name, table in (("transition", game.transition), ("initial", game.initial)):
        axis = 3 if name == "transition" else 0
        _expect((table >= 0).all(), f"{name}: must be at least 0")
        _expect(jnp.allclose(table.sum(axis), 1.0, atol=1e-5), f"{name}: must sum to 1")
    for name in ("agent_reward", "principal_reward"):
        table = getattr(game, name)
        _expect(((table >= 0) & (table <= 1)).all(), f"{name}: must lie in [0, 1]")
    welfare = planning.expected(game, planning.welfare_values(game))
    alone = planning.policy_welfare(game, planning.best_response(game))
    _expect((welfare >= alone - 1e-4).all(), "W*: must be at least laissez-faire welfare")
    if not game.lanes:
        _check_pair(game, QLearning(), NoTransfer())


def _check_pair(game: Game, agent: Any, mechanism: Any, num_episodes: int = 40) -> None:
    """Shapes and types first, without running; then values, alone and among lanes."""
    for name, part in (("agent", agent), ("mechanism", mechanism)):
        _expect(is_part(part), f"{name}: got {part!r}, must be an object made by pajax.pytree")
    spec = spec_of(game, num_episodes)._replace(lanes=(3,))
    parts = [with_lanes(part, spec.lanes) for part in (game, agent, mechanism)]
    contract = _check_mechanism_types(parts[2], spec)
    _check_agent_types(parts[1], spec, contract)
    keys = jax.random.split(jax.random.key(0), 3)
    log, record = trajectories(keys, game, agent, mechanism, num_episodes=num_episodes)
    played = log.episodes.actions
    in_range = (played >= 0) & (played < game.num_actions)
    _expect(in_range.all(), f"act: must return actions in 0..{game.num_actions - 1}")
    _check_contracts(log.contracts, spec)
    _expect((log.episodes.payments >= 0).all(), "post: must offer transfers of at least 0")
    undefined = dict.fromkeys(PARTIAL, record.unresolved)  # an error may be
    numbers = record._replace(**undefined)
    _expect(all(jnp.isfinite(x).all() for x in numbers), "record: must be finite")
    run = jax.jit(functools.partial(simulate, num_episodes=num_episodes, record=(num_episodes,)))
    for i in range(len(keys)):
        alone = run(keys[i], game, agent, mechanism)
        for name in ("welfare_regret", "agent_regret", "payment"):
            one, among = getattr(alone, name)[0], getattr(record, name)[i]
            rule = f"{name}: lane {i} must be what its key gives alone"
            _expect(np.allclose(one, among, rtol=1e-4, atol=1e-4), rule)


def _check_mechanism_types(mechanism: Any, spec: Spec) -> Any:
    """Checks a mechanism's shapes and types, and returns those of its contracts."""
    shapes = _Shapes(spec)
    state = jax.eval_shape(lambda: mechanism.init(spec))
    contract = jax.eval_shape(mechanism.post, state)
    _expect_like(contract, shapes.contract, "post: must return a Contract")
    updated = _traced("update", mechanism.update, state, shapes.episode)
    _expect_like(updated, state, "update: must keep the state's shapes and types")
    observed = _traced("observe", mechanism.observe, state, shapes.stage)
    _expect_like(observed, state, "observe: must keep the state's shapes and types")
    report = _traced("report", mechanism.report, state)
    _expect_like(report, shapes.report, "report: must return a Report")
    _expect_repeatable("post", mechanism.post, state)
    _expect_repeatable("update", mechanism.update, state, shapes.episode)
    _expect_repeatable("observe", mechanism.observe, state, shapes.stage)
    return contract


def _check_agent_types(agent: Any, spec: Spec, contract: Any) -> None:
    """Checks an agent's shapes and types."""
    shapes = _Shapes(spec)
    is_lifted = isinstance(agent, Lifted)
    hint = "" if is_lifted else " (an agent written for one pair goes through pajax.lift)"
    traced = functools.partial(_traced, hint=hint)
    state = jax.eval_shape(lambda: agent.init(spec))
    begun = traced("begin", agent.begin, state, contract)
    _expect_like(begun, state, "begin: must keep the state's shapes and types")
    words = jax.ShapeDtypeStruct((agent.num_words, *spec.lanes), jnp.uint32)
    step = jax.ShapeDtypeStruct((), jnp.int32)
    returned = traced("act", agent.act, state, step, shapes.whole(), words)
    is_pair = isinstance(returned, tuple) and len(returned) == 2
    _expect(is_pair, f"act: must return an action and a memo: got {type(returned).__name__}")
    action, memo = returned
    _expect_like(action, shapes.whole(), "act: must return int32 actions, one in each lane")
    along = lambda x: jax.ShapeDtypeStruct((spec.horizon, *x.shape), x.dtype)  # noqa: E731
    memo = jax.tree.map(along, memo)
    updated = traced("update", agent.update, state, shapes.episode, memo)
    _expect_like(updated, state, "update: must keep the state's shapes and types")
    _expect_repeatable("act", agent.act, state, step, shapes.whole(), words)
    _expect_repeatable("update", agent.update, state, shapes.episode, memo)


class _Shapes:
    """Shapes and types of what the engine hands over, and of what it wants back."""

    def __init__(self, spec: Spec) -> None:
        h, s, a = spec.horizon, spec.num_states, spec.num_actions
        self._spec = spec
        step, amount = self.whole(h), self.real(h)
        self.episode = Episode(step, step, step, amount, amount, step)
        count: Any = jax.ShapeDtypeStruct((), jnp.int32)
        self.stage = Stage(self.real(h, s, a), count, self._like(jnp.uint32, 2))
        self.contract = Contract(self.real(h, s, a), self.whole(h, s), self.whole(h, s))
        yes = jnp.bool_
        self.report = Report(self._like(yes), self.real(h, s, a), self._like(yes, h, s, a))

    def whole(self, *axes: int) -> Any:
        return self._like(jnp.int32, *axes)

    def real(self, *axes: int) -> Any:
        return self._like(jnp.zeros(()).dtype, *axes)

    def _like(self, dtype: Any, *axes: int) -> Any:
        return jax.ShapeDtypeStruct((*axes, *self._spec.lanes), dtype)


def _traced(method: str, function: Any, *shapes: Any, hint: str = "") -> Any:
    """The shapes that a method returns; what it raises is told with the method's name."""
    try:
        return jax.eval_shape(function, *shapes)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        rule = f"{method}: must accept what the engine gives"
        raise AssertionError(f"{rule}; {reason}{hint}") from error


def _expect_repeatable(method: str, function: Any, *shapes: Any) -> None:
    """The same program whenever it is traced; numbers drawn on the way would stay in it."""
    one, other = (jax.make_jaxpr(lambda *x: function(*x))(*shapes) for _ in range(2))
    texts = [re.sub("0x[0-9a-f]+", "", str(program)) for program in (one, other)]
    is_same = texts[0] == texts[1] and all(map(np.array_equal, one.consts, other.consts))
    _expect(is_same, f"{method}: must draw from the engine's random words alone, not numpy.random")


def _check_contracts(contracts: Contract, spec: Spec) -> None:
    """The values of contracts."""
    offered = contracts.transfer
    is_offer = jnp.isfinite(offered).all() & (offered >= 0).all()
    _expect(is_offer, "post: must offer finite transfers of at least 0")
    own, target = contracts.own_action, contracts.target
    own_rule = f"post: own_action must lie in 0..{spec.num_own_actions - 1}"
    _expect(((own >= 0) & (own < spec.num_own_actions)).all(), own_rule)
    target_rule = f"post: target must lie in -1..{spec.num_actions - 1}"
    _expect(((target >= -1) & (target < spec.num_actions)).all(), target_rule)


def _expect_like(value: Any, wanted: Any, message: str) -> None:
    """Same structure, shapes and types; of a named tuple, field by field."""
    if hasattr(wanted, "_fields") and type(value) is type(wanted):
        for name, got, want in zip(wanted._fields, value, wanted, strict=True):
            _expect_like(got, want, f"{message}, and in it {name}")
        return
    same = _signature(value) == _signature(wanted)
    _expect(same, f"{message}: got {_told(value)}, must be {_told(wanted)}")


def _told(value: Any) -> str:
    """Types and shapes as one reads them: int32[3]."""
    leaves = jax.tree.leaves(value)
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves)


def _signature(state: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    leaves, tree = jax.tree.flatten(state)
    return tree, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _expect(condition: Any, message: str) -> None:
    if not bool(condition):
        raise AssertionError(message)
