"""The one engine: episodes, stages, and what is recorded of them.

A run alternates, stage by stage: the mechanism posts a contract, the agent is told of it, a number
of episodes are played under it, the mechanism observes. An episode has two passes: it is rolled out
reading tables only, then all its steps are written back at once. That is exact, because tables are
indexed by step, so that an episode meets a cell at most once.

What is recorded follows from counts. With n[h, s, a] the plays of a stage, the welfare regret of
the stage (T1) is sum n (gap + max_b v - v), the agent's regret under the contract is sum n gap_c,
payments are sum n transfer: each has exactly the mean of its definition and no reward noise. Sums
run over one record interval and start again at 0, so that float32 does not drift; `pajax.results`
adds them up in float64.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from pajax import _checks, draws, lanes, planning
from pajax._pytree import check, with_lanes
from pajax.game import Game, Tables, next_state, prepare, reset, rewards
from pajax.protocols import Agent, Contract, Episode, Mechanism, Report, Spec, Stage

#: Longest stage while a mechanism adapts, in episodes: so many for each further state, since a
#: (h, s) is then met the more rarely, and at least so many.
ADAPTING_EPISODES_A_STATE, ADAPTING_EPISODES = 4, 8


class Record(NamedTuple):
    """What happened in each record interval; arrays [I, ...], sums unless said."""

    welfare_regret: Array  # (T1), reward units
    realised_welfare: Array  # u + v as drawn
    agent_regret: Array  # under the contracts posted
    payment: Array
    principal_utility: Array  # v as drawn, less payments
    off_target: Array  # steps whose contract had a target that was not played
    phase_one: Array  # episodes in which the mechanism was estimating
    transfer_error: Array  # at the end: mean |estimate - tau*| where resolved
    unresolved: Array  # at the end: transfers not resolved


class Schedule(NamedTuple):
    """The segments of a run: stages, cut where a record interval ends.

    A cut interrupts a stage but changes nothing in it: contracts are posted where a stage begins
    and observed where it ends, so what is recorded does not touch what happens.
    """

    lengths: np.ndarray  # int32 [N], episodes of a segment
    opens: np.ndarray  # int32 [N], 1 where a stage begins
    closes: np.ndarray  # int32 [N], 1 where a stage ends
    bounds: np.ndarray  # int32 [I + 1], interval i holds segments bounds[i] .. bounds[i + 1] - 1


class Prices(NamedTuple):
    """What each play counts for in the record, under one contract; flat [H * S * A, ...] each."""

    welfare_regret: Array
    agent_regret: Array
    payment: Array
    off_target: Array


class Progress(NamedTuple):
    """All that changes while a run goes on; it can be saved between record intervals."""

    episode: Array  # uint32 scalar, done so far
    agent: Any
    mechanism: Any
    contract: Contract  # of the stage under way
    stage: Stage  # what was played of it
    prices: Prices  # under the last contract that was priced
    is_priced: Array  # bool scalar: that is `contract`, in every lane


class Oracle(NamedTuple):
    """What the record knows and no learner does."""

    welfare_gap: Array  # [H, S, A, ...], VW - QW
    own_gap: Array  # [T, S, A, B, ...], max_b v - v
    minimal_transfers: Array  # [H, S, A, ...]


class World(NamedTuple):
    """What a run needs of its game, made once."""

    tables: Tables
    oracle: Oracle


def checkpoints(num_episodes: int, per_decade: int = 16) -> np.ndarray:
    """Log-spaced episode counts from 1 to K, with 0.9 K among them for late shares; int64."""
    num_episodes = _checks.whole("num_episodes", num_episodes)
    count = 1 + int(np.ceil(per_decade * np.log10(max(num_episodes, 1))))
    spaced = np.geomspace(1, num_episodes, count)
    return np.unique(np.round(np.append(spaced, max(1.0, 0.9 * num_episodes))).astype(np.int64))


def stage_lengths(num_episodes: int, adapting_until: float = 0.0, num_states: int = 1) -> list[int]:
    """Episodes of each stage: short while the mechanism adapts, then growing with time.

    After e episodes a stage is 1 + e/256 long, at most max(8, 4 (S - 1)), while
    e < adapting_until K, and 1 + e/64 long afterwards. So an agent that plans when a stage begins
    replans more often under a mechanism that adapts than under a fixed contract.
    """
    longest = max(ADAPTING_EPISODES, ADAPTING_EPISODES_A_STATE * (num_states - 1))
    lengths, done = [], 0
    while done < num_episodes:
        is_adapting = done < adapting_until * num_episodes
        length = min(1 + done // 256, longest) if is_adapting else 1 + done // 64
        lengths.append(min(length, num_episodes - done))
        done += lengths[-1]
    return lengths


def make_schedule(
    num_episodes: int, record: Any, adapting_until: float = 0.0, num_states: int = 1
) -> Schedule:
    """The stages of a run (see `stage_lengths`), cut where a record interval ends.

    Raises:
      ValueError: `record` is not increasing, or does not end with `num_episodes`.
    """
    num_episodes = _checks.whole("num_episodes", num_episodes)
    rule = "be less than 2^24, where counts in float32 stop"
    _checks.require(num_episodes < 2**24, "num_episodes", num_episodes, rule)
    record = np.asarray(record, np.int64)
    increasing = (
        record.ndim == 1 and record.size > 0 and bool((np.diff(record, prepend=0) > 0).all())
    )
    _checks.require(increasing, "record", record, "be increasing episode counts of at least 1")
    last = int(record[-1])
    _checks.require(last == num_episodes, "record", last, f"end with num_episodes = {num_episodes}")
    stage_ends = np.cumsum(stage_lengths(num_episodes, adapting_until, num_states))
    ends = np.union1d(stage_ends, record)
    closes = np.isin(ends, stage_ends)
    bounds = np.searchsorted(ends, record) + 1
    return Schedule(
        lengths=np.diff(ends, prepend=0).astype(np.int32),
        opens=np.append(True, closes[:-1]).astype(np.int32),
        closes=closes.astype(np.int32),
        bounds=np.concatenate([[0], bounds]).astype(np.int32),
    )


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
      num_episodes: K >= 1.
      record: increasing episode counts that end with K; by default `checkpoints(K)`.

    Returns:
      A `Record`, each array [I, ...] with one entry for each record interval.
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
            missing = [method for method in methods if not hasattr(part, method)]
            _checks.require(not missing, name, repr(part), f"have {', '.join(methods)}")
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
        stage=Stage(spec.per_action(), jnp.zeros((), jnp.int32)),
        prices=Prices(*(lanes.flat(spec.per_action()) for _ in Prices._fields)),
        is_priced=jnp.bool_(False),
    )


def make_world(game: Game) -> World:
    """The game prepared for drawing and for the record; its lanes do not touch one another."""
    v = game.principal_reward
    oracle = Oracle(
        welfare_gap=planning.welfare_values(game).gaps,
        own_gap=v.max(3, keepdims=True) - v,
        minimal_transfers=planning.agent_values(game).gaps,
    )
    return World(prepare(game), oracle)


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
    play = _episode_player(key, game, world.tables, agent, mechanism)

    def open_stage(progress: Progress) -> Progress:
        contract = mechanism.post(progress.mechanism)
        return progress._replace(
            agent=agent.begin(progress.agent, contract),
            contract=contract,
            is_priced=progress.is_priced & _equal(contract, progress.contract),
        )

    def close_stage(progress: Progress) -> Progress:
        observed = mechanism.observe(progress.mechanism, progress.stage)
        return progress._replace(
            mechanism=observed, stage=jax.tree.map(jnp.zeros_like, progress.stage)
        )

    def segment(i: Array, carry: tuple[Progress, Record]) -> tuple[Progress, Record]:
        progress, sums = carry
        progress = lanes.when(opens[i], open_stage, progress)
        contract = progress.contract
        price = lambda _, contract: _prices(game, oracle, contract)  # noqa: E731
        prices = lanes.when(~progress.is_priced, price, progress.prices, contract)
        is_estimating = mechanism.report(progress.mechanism).is_estimating
        play_one = lambda _, carry: play(contract, prices.payment, *carry)  # noqa: E731
        progress, seen = lax.fori_loop(0, lengths[i], play_one, (progress, _Sums.empty(game)))
        happened = _segment_record(prices, seen, is_estimating, lengths[i])
        played = Stage(seen.visits.reshape(contract.transfer.shape), lengths[i])
        progress = progress._replace(
            stage=jax.tree.map(jnp.add, progress.stage, played),
            prices=prices,
            is_priced=jnp.bool_(True),
        )
        progress = lanes.when(closes[i], close_stage, progress)
        return progress, jax.tree.map(jnp.add, sums, happened)

    def interval(progress: Progress, bounds: tuple[Array, Array]) -> tuple[Progress, Record]:
        zeros = Record(*(jnp.zeros(game.lanes) for _ in Record._fields))
        progress, sums = lax.fori_loop(bounds[0], bounds[1], segment, (progress, zeros))
        error, unresolved = _transfer_error(oracle, mechanism.report(progress.mechanism))
        return progress, sums._replace(transfer_error=error, unresolved=unresolved)

    return lax.scan(interval, progress, (bounds[:-1], bounds[1:]))


def _equal(contract: Contract, other: Contract) -> Array:
    """Whether two contracts are equal in all lanes, bool scalar."""
    are_equal = [(x == y).all() for x, y in zip(contract, other, strict=True)]
    return functools.reduce(jnp.logical_and, are_equal)


def _prices(game: Game, oracle: Oracle, contract: Contract) -> Prices:
    """The welfare gap with the loss of the own action, the agent's gap, and so on."""
    gap = oracle.welfare_gap
    if game.num_own_actions > 1:
        gap = gap + lanes.lookup(oracle.own_gap, contract.own_action[:, :, None], 3)
    off = ~lanes.one_hot(contract.target, game.num_actions, 2) & (contract.target >= 0)[:, :, None]
    agent_gap = planning.agent_values(game, contract.transfer).gaps
    tables = Prices(gap, agent_gap, contract.transfer, off.astype(gap.dtype))
    return jax.tree.map(lanes.flat, tables)


class _Sums(NamedTuple):
    """What is counted in a segment."""

    visits: Array  # flat [H * S * A, ...], counts of plays
    agent_rewards: Array  # [...], sum of u
    principal_rewards: Array  # [...], sum of v

    @staticmethod
    def empty(game: Game) -> "_Sums":
        zero = jnp.zeros(game.lanes)
        return _Sums(lanes.flat(spec_of(game, 0).per_action()), zero, zero)


def _episode_player(
    key: Array, game: Game, tables: Tables, agent: Agent, mechanism: Mechanism
) -> Any:
    """A function (contract, payment table, progress, sums) -> (progress, sums) of one episode."""
    words_of = draws.key_words(key)
    steps = jnp.arange(game.horizon, dtype=jnp.int32)

    def play(
        contract: Contract, payment: Array, progress: Progress, seen: _Sums
    ) -> tuple[Progress, _Sums]:
        opening, words = draws.episode_words(
            words_of, progress.episode, game.horizon, agent.num_words
        )

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
        )
        progress = progress._replace(
            episode=progress.episode + jnp.uint32(1),
            agent=agent.update(progress.agent, played, memo),
            mechanism=mechanism.update(progress.mechanism, played._replace(rewards=v)),
        )
        sums = _Sums(
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


def _segment_record(prices: Prices, seen: _Sums, is_estimating: Array, length: Array) -> Record:
    """Sums over one segment; entries of an interval's end are left at 0."""
    sums = lanes.dot(seen.visits, prices)
    zero = jnp.zeros_like(sums.payment)
    return Record(
        welfare_regret=sums.welfare_regret,
        realised_welfare=seen.agent_rewards + seen.principal_rewards,
        agent_regret=sums.agent_regret,
        payment=sums.payment,
        principal_utility=seen.principal_rewards - sums.payment,
        off_target=sums.off_target,
        phase_one=jnp.where(is_estimating, length.astype(zero.dtype), 0.0),
        transfer_error=zero,
        unresolved=zero,
    )


def _transfer_error(oracle: Oracle, report: Report) -> tuple[Array, Array]:
    """Mean |estimate - tau*| where resolved (NaN if nowhere), and the number unresolved."""
    error = jnp.where(report.is_resolved, jnp.abs(report.transfer - oracle.minimal_transfers), 0.0)
    tables = (error, report.is_resolved.astype(error.dtype))
    error, resolved = lanes.dot(None, jax.tree.map(lanes.flat, tables))
    return error / resolved, math.prod(report.is_resolved.shape[:3]) - resolved
