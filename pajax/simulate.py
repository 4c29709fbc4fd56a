"""The one engine: episodes, stages, and what is recorded of them.

A run alternates, stage by stage: the mechanism posts a contract, the agent is told of it, a number
of episodes are played under it, the mechanism observes. An episode has two passes: it is rolled out
reading tables only, then all its steps are written back at once. That is exact, because tables are
indexed by step, so that an episode meets a cell at most once. What is recorded is in
`pajax.ledger`, when in `pajax.stages`.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from pajax import _checks, draws, lanes, ledger
from pajax._pytree import check, with_lanes
from pajax.game import Game, Tables, next_state, prepare, reset, rewards
from pajax.ledger import Oracle, Prices, Record, Spell, Tally
from pajax.protocols import Agent, Contract, Episode, Mechanism, Spec, Stage
from pajax.stages import Schedule, checkpoints, make_schedule


class Progress(NamedTuple):
    """All that changes while a run goes on; it can be saved between record intervals."""

    episode: Array  # uint32 scalar, done so far
    agent: Any
    mechanism: Any
    contract: Contract  # of the stage under way
    stage: Stage  # what was played of it
    spell: Spell  # what happened since the contract was posted
    visits: Array  # flat [H * S * A, ...], plays since the run began
    prices: Prices  # under the last contract that was priced
    is_priced: Array  # bool scalar: that is `contract`, in every lane


class World(NamedTuple):
    """What a run needs of its game, made once."""

    tables: Tables
    oracle: Oracle


def spec_of(game: Game, num_episodes: int) -> Spec:
    """The sizes that learners may know."""
    return Spec(
        num_states=game.num_states,
        num_actions=game.num_actions,
        num_own_actions=game.num_own_actions,
        horizon=game.horizon,
        num_episodes=num_episodes,
        lanes=game.lanes,
    )


def simulate(
    key: Array,
    game: Game,
    agent: Agent,
    mechanism: Mechanism,
    *,
    num_episodes: int,
    record: Any = None,
) -> Record:
    """One pair, played for `num_episodes`; pure, and free to be jitted, vmapped and nested.

    Args:
      key: typed threefry key. With a shape, it gives lanes: one pair for each key.
      game: a game; without lanes it is shared by all keys.
      agent: an `Agent`, such as `pajax.agents.QLearning()`.
      mechanism: a `Mechanism`, such as `pajax.mechanisms.TwoPhase()`.
      num_episodes: K, from 1 to 2^24 - 1.
      record: increasing episode counts that end with K; by default `checkpoints(K)`.

    Returns:
      A `Record`, each array [I, ...] with one entry for each record interval.

    Raises:
      ValueError: an argument breaks a rule, or a part does not fit the game.
    """
    check_parts(key, game, {"agent": agent}, {"mechanism": mechanism}, [key.shape])
    is_shared = game.lanes in ((), key.shape)
    _checks.require(is_shared, "key", f"shape {key.shape}", f"have the game's lanes {game.lanes}")
    record = checkpoints(num_episodes) if record is None else record
    schedule = make_schedule(num_episodes, record, mechanism.adapting_until, game.num_states)
    game, agent, mechanism = (with_lanes(x, key.shape) for x in (game, agent, mechanism))
    progress = start(game, agent, mechanism, num_episodes)
    return advance(key, game, make_world(game), agent, mechanism, progress, schedule)[1]


def check_parts(
    key: Any, game: Any, agents: Any, mechanisms: Any, lanes: list[tuple[int, ...]]
) -> None:
    """Check the parts of a run by name, before it starts.

    Raises:
      ValueError: a part is not what it should be, or does not fit the game.
    """
    _checks.require(isinstance(key, Array), "key", repr(key), "be made by jax.random.key(seed)")
    draws.key_words(key)
    _checks.require(isinstance(game, Game), "game", repr(game), "be a pajax.Game")
    for parts, methods in (
        (agents, ("num_words", "init", "begin", "act", "update")),
        (mechanisms, ("adapting_until", "init", "post", "update", "observe", "report")),
    ):
        for name, part in parts.items():
            _checks.methods(name, part, methods)
    sizes = {
        "s": game.num_states,
        "a": game.num_actions,
        "b": game.num_own_actions,
        "h": game.horizon,
    }
    check(game, "game", sizes, [game.lanes])
    for name, part in (*agents.items(), *mechanisms.items()):
        check(part, name, sizes, [game.lanes, *lanes])


def start(game: Game, agent: Agent, mechanism: Mechanism, num_episodes: int) -> Progress:
    """The beginning of a run; all parts have the game's lanes."""
    spec = spec_of(game, num_episodes)
    state = mechanism.init(spec)
    return Progress(
        episode=jnp.zeros((), jnp.uint32),
        agent=agent.init(spec),
        mechanism=state,
        contract=mechanism.post(state),
        stage=_empty_stage(spec),
        spell=Spell.empty(spec),
        visits=lanes.flat(spec.per_action()),
        prices=Prices.none(spec),
        is_priced=jnp.bool_(False),
    )


def _empty_stage(spec: Spec) -> Stage:
    words = jnp.zeros((2, *spec.lanes), jnp.uint32)
    return Stage(spec.per_action(), jnp.zeros((), jnp.int32), words)


def make_world(game: Game) -> World:
    """The game prepared for drawing and for the record."""
    return World(prepare(game), ledger.make_oracle(game))


def advance(
    key: Array,
    game: Game,
    world: World,
    agent: Agent,
    mechanism: Mechanism,
    progress: Progress,
    schedule: Schedule,
) -> tuple[Progress, Record]:
    """Plays the record intervals of `schedule`, from `progress` on.

    The arrays of the schedule may be traced: a run can be cut into blocks of equally many intervals
    that share one compilation. Cutting does not change a number.
    """
    lengths, opens, closes, bounds = (jnp.asarray(x) for x in schedule)
    oracle = world.oracle
    words_of = draws.key_words(key)
    play = _episode_player(words_of, game, world.tables, agent, mechanism)

    def open_stage(progress: Progress) -> Progress:
        contract = mechanism.post(progress.mechanism)
        is_same = _are_equal(contract, progress.contract)
        return progress._replace(
            agent=agent.begin(progress.agent, contract),
            contract=contract,
            spell=lanes.where_lane(is_same, progress.spell, Spell.empty(spec_of(game, 0))),
            is_priced=progress.is_priced & is_same.all(),
        )

    def close_stage(progress: Progress) -> Progress:
        words = draws.stage_words(words_of, progress.episode)
        observed = mechanism.observe(progress.mechanism, progress.stage._replace(words=words))
        return progress._replace(
            mechanism=observed, stage=jax.tree.map(jnp.zeros_like, progress.stage)
        )

    def segment(i: Array, carry: tuple[Progress, Record]) -> tuple[Progress, Record]:
        progress, sums = carry
        progress = lanes.when(opens[i], open_stage, progress)
        contract = progress.contract
        price = lambda _, contract: ledger.price(game, oracle, contract)  # noqa: E731
        prices = lanes.when(~progress.is_priced, price, progress.prices, contract)
        is_estimating = mechanism.report(progress.mechanism).is_estimating
        play_one = lambda _, carry: play(contract, prices.payment, *carry)  # noqa: E731
        progress, seen = lax.fori_loop(
            0, lengths[i], play_one, (progress, Tally.empty(spec_of(game, 0)))
        )
        parts = (oracle, prices, seen, progress.spell, is_estimating, lengths[i])
        happened, spell = ledger.settle(*parts)
        stage = progress.stage
        visits = stage.visits + seen.visits.reshape(contract.transfer.shape)
        progress = progress._replace(
            stage=stage._replace(visits=visits, num_episodes=stage.num_episodes + lengths[i]),
            spell=spell,
            visits=progress.visits + seen.visits,
            prices=prices,
            is_priced=jnp.bool_(True),
        )
        progress = lanes.when(closes[i], close_stage, progress)
        return progress, jax.tree.map(jnp.add, sums, happened)

    def interval(progress: Progress, bounds: tuple[Array, Array]) -> tuple[Progress, Record]:
        zeros = Record(*(jnp.zeros(game.lanes) for _ in Record._fields))
        progress, sums = lax.fori_loop(bounds[0], bounds[1], segment, (progress, zeros))
        report = mechanism.report(progress.mechanism)
        at_end = (oracle, report, progress.spell, progress.visits)
        return progress, ledger.conclude(sums, *at_end)

    return lax.scan(interval, progress, (bounds[:-1], bounds[1:]))


def _are_equal(contract: Contract, other: Contract) -> Array:
    """In which lanes two contracts are equal, bool [...]."""
    lane_axes = contract.own_action.ndim - 2
    differ = [_anywhere(x != y, lane_axes) for x, y in zip(contract, other, strict=True)]
    return ~functools.reduce(jnp.logical_or, differ)


def _anywhere(condition: Array, lane_axes: int) -> Array:
    """In which lanes a condition holds somewhere; `any` would read one lane after another."""
    while condition.ndim > lane_axes:
        condition = lanes.maximum(condition)
    return condition


def _episode_player(
    key: tuple[Array, Array], game: Game, tables: Tables, agent: Agent, mechanism: Mechanism
) -> Any:
    """A function (contract, payment table, progress, sums) -> (progress, sums) of one episode."""
    steps = jnp.arange(game.horizon, dtype=jnp.int32)

    def play(
        contract: Contract, payment: Array, progress: Progress, seen: Tally
    ) -> tuple[Progress, Tally]:
        opening, words = draws.episode_words(key, progress.episode, game.horizon, agent.num_words)

        def move(s: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, tuple]:
            h, agent_words, word = inputs
            a, memo = agent.act(progress.agent, h, s, agent_words)
            return next_state(game, tables, word, h, s, a), (s, a, memo)

        last, (states, actions, memo) = lax.scan(
            move, reset(game, tables, opening), (steps, words.agent, words.next_state)
        )
        cell = lanes.cells((game.num_states, game.num_actions), states, actions)
        own_actions = _own_actions(game, contract, states)
        noise = (words.agent_reward, words.principal_reward)
        u, v = lanes.once(rewards(game, tables, noise, states, actions, own_actions))
        played = Episode(
            states=states,
            actions=actions,
            next_states=jnp.concatenate([states[1:], last[None]]),
            rewards=u,
            payments=lanes.read(payment, cell),
            own_actions=own_actions,
        )
        progress = progress._replace(
            episode=progress.episode + jnp.uint32(1),
            agent=agent.update(progress.agent, played, memo),
            mechanism=mechanism.update(progress.mechanism, played._replace(rewards=v)),
        )
        sums = Tally(
            visits=lanes.add(seen.visits, cell, jnp.ones_like(u)),
            agent_rewards=seen.agent_rewards + lanes.total(u),
            principal_rewards=seen.principal_rewards + lanes.total(v),
        )
        return progress, sums

    return play


def _own_actions(game: Game, contract: Contract, states: Array) -> Array:
    """The principal's own actions in the states of an episode; no look-up if it has only one."""
    if game.num_own_actions == 1:
        return jnp.zeros_like(states)
    return lanes.read(lanes.flat(contract.own_action, 2), lanes.cells((game.num_states,), states))
