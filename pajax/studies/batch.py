"""Batches: pairs as lanes, lanes in chunks, chunks on devices, time in blocks.

Pairs are lanes; lanes go in chunks (small enough for the cache on a CPU, all at once elsewhere),
chunks go over devices. Time is cut into blocks of whole record intervals, the same shape each, so
that one compilation serves them all; between blocks the host accumulates, reports progress, saves
a checkpoint and can be interrupted. None of this changes a number.
"""

import functools
import math
from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pajax import _checks
from pajax._pytree import map_with_rank
from pajax.game import Game
from pajax.ledger import Record
from pajax.simulate import Progress, World, advance, make_world, start
from pajax.stages import Schedule, make_schedule
from pajax.studies import kept
from pajax.studies.design import Parts
from pajax.studies.outline import Pairs

#: Lanes of a chunk on a CPU, so that a chunk's tables stay in the cache: many while a pair takes at
#: most so many bytes, few above. (Vector code wants multiples of 64.)
CPU_LANES, CPU_LARGE_PAIR, CPU_LANES_OF_LARGE = 128, 4096, 64
#: Share of an accelerator's memory for the state of pairs; the rest is for temporaries.
ACCELERATOR_SHARE = 0.3
#: Longest record interval inside the engine, in episodes: float32 sums must not run long.
LONGEST_INTERVAL = 8192
#: Record intervals of a block, at most, and blocks of a run, about.
BLOCK_INTERVALS, NUM_BLOCKS = 16, 20


class Layout(NamedTuple):
    """How the pairs of a cell lie on devices."""

    num_pairs: int
    num_chunks: int  # a multiple of the number of devices
    chunk_lanes: int
    mesh: Mesh

    @staticmethod
    def of(
        num_pairs: int, pair_bytes: int, chunk_lanes: int | None = None, devices: Any = None
    ) -> "Layout":
        """Chunks for `num_pairs` of so many bytes on devices, by default all local ones."""
        devices = jax.local_devices() if devices is None else list(devices)
        _checks.require(len(devices) > 0, "devices", "none", "name at least one device")
        per_device = math.ceil(num_pairs / len(devices))
        if chunk_lanes is None:
            chunk_lanes = default_lanes(devices[0], pair_bytes) or per_device
        chunk_lanes = min(_checks.whole("chunk_lanes", chunk_lanes), per_device)
        num_chunks = math.ceil(per_device / chunk_lanes) * len(devices)
        return Layout(num_pairs, num_chunks, chunk_lanes, Mesh(np.array(devices), ("chunk",)))

    @property
    def platform(self) -> str:
        """Kind of the devices: "cpu", "gpu" or "tpu"."""
        return self.mesh.devices.flat[0].platform

    @property
    def device_kind(self) -> str:
        """What the devices are, such as "cpu (cpu)"."""
        return f"{self.mesh.devices.flat[0].device_kind} ({self.platform})"

    @property
    def pairs(self) -> np.ndarray:
        """The number of each lane's pair, [chunk, lane]; padding repeats the first pair."""
        size = self.num_chunks * self.chunk_lanes
        pairs = np.where(np.arange(size) < self.num_pairs, np.arange(size), 0)
        return pairs.reshape(self.num_chunks, self.chunk_lanes)

    def put(self, arrays: Any) -> Any:
        """Arrays with chunks on the first axis, on their devices."""
        return jax.device_put(arrays, NamedSharding(self.mesh, PartitionSpec("chunk")))


def default_lanes(device: Any, pair_bytes: int) -> int | None:
    """Lanes of a chunk: what suits the cache of a CPU, what fits an accelerator; None for all."""
    if device.platform == "cpu":
        return CPU_LANES if pair_bytes <= CPU_LARGE_PAIR else CPU_LANES_OF_LARGE
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return max(1, int(ACCELERATOR_SHARE * limit / pair_bytes)) if limit else None


class Batch(NamedTuple):
    """Pairs of one cell on their lanes; leaves [chunk, ..., lane], or [chunk].

    Keys come last: JAX describes the sharding of results as that of the first argument, and that of
    keys in other words, which a second call would take for new.
    """

    game: Game
    world: World
    agent: Any
    mechanism: Any
    keys: Array


class Tables(NamedTuple):
    """What there is of some pairs at a record point, [pair, H, S, A] each."""

    visits: Any  # plays since the run began
    offered: Any  # transfers of the contract in force
    transfer: Any  # the mechanism's estimates of tau*
    is_resolved: Any


class Snapshot(NamedTuple):
    """A run between two blocks, as plain arrays."""

    num_blocks: int  # done
    state: list[np.ndarray]  # leaves of its Progress
    sums: list[np.ndarray]  # of its Record so far, [chunk, interval, lane]


class Checkpoint(Protocol):
    """Where a run saves itself from time to time."""

    def read(self) -> Snapshot | None:
        """What was saved last, if anything that can be read."""
        ...

    def offer(self, take: Callable[[], Snapshot]) -> None:
        """Between two blocks: it saves what `take` gives, if it is time to."""
        ...


def make_batch(key: Array, parts: Parts, world: World, pairs: Pairs, layout: Layout) -> Batch:
    """Pairs of a cell on the lanes of a layout; `world` is that of all its games."""
    lanes = pairs.take(layout.pairs)
    place = functools.partial(_place, games=lanes.game)
    keys = _pair_keys(key, pairs)[layout.pairs]
    world = jax.tree.map(lambda leaf: np.moveaxis(np.asarray(leaf)[..., lanes.game], -2, 0), world)
    return Batch(*layout.put((place(parts.game), world, *map(place, parts[1:]), keys)))


@jax.jit
def _pair_keys(key: Array, pairs: Pairs) -> Array:
    """The random keys of pairs, [P]."""
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return jax.vmap(jax.random.fold_in)(fold(key, pairs.game), pairs.seed)


def _place(component: Any, games: np.ndarray) -> Any:
    """A game, agent or mechanism with what the games [chunk, lane] have of it, chunks first."""

    def place_leaf(leaf: Any, rank: int) -> np.ndarray:
        leaf = np.asarray(leaf)
        if leaf.ndim == rank == 0:
            return np.broadcast_to(leaf, len(games))
        if leaf.ndim == rank:
            return np.broadcast_to(leaf[..., None], (len(games), *leaf.shape, games.shape[1]))
        return np.moveaxis(leaf[..., games], -2, 0)

    return map_with_rank(place_leaf, component)


#: What `advance` needs of games, made once for each.
survey = jax.jit(make_world)


def run(
    batch: Batch,
    record: np.ndarray,
    layout: Layout,
    *,
    report: Callable[[int], Any],
    checkpoint: Checkpoint | None = None,
) -> dict[str, np.ndarray]:
    """Variables [pair, episode] of a batch; `report` is told of episodes as they are done."""
    ends, schedule = _plan(batch, record)
    begin = functools.partial(_start, num_episodes=int(record[-1]), mesh=layout.mesh)
    snapshot = None if checkpoint is None else checkpoint.read()
    restored = _restore(snapshot, jax.eval_shape(begin, batch), layout)
    state, first, blocks = (begin(batch), 0, []) if restored is None else restored
    for number, (block, num_intervals, episodes) in enumerate(_blocks(schedule, ends)):
        if number >= first:
            state, sums = _advance(batch, state, block, mesh=layout.mesh)
            blocks.append([np.asarray(x)[:, :num_intervals] for x in sums])
            if checkpoint is not None:
                take = functools.partial(_snapshot, number + 1, state, blocks)
                checkpoint.offer(take)
        report(episodes)
    sums: Any = (_of_pairs(x, layout) for x in _joined(blocks))
    return kept.cumulate(Record(*sums), ends, record)


def watch(batch: Batch, record: np.ndarray, layout: Layout) -> Iterator[Tables]:
    """The tables of a batch at each record point, of the same runs as those of `run`."""
    ends, schedule = _plan(batch, record)
    state = _start(batch, num_episodes=int(record[-1]), mesh=layout.mesh)
    done = 0
    for block, _, episodes in _blocks(schedule, ends, stops=set(record.tolist())):
        state, _ = _advance(batch, state, block, mesh=layout.mesh)
        done += episodes
        if done in record:
            tables = _look(batch, state, mesh=layout.mesh)
            yield jax.tree.map(lambda table: _table_of_pairs(table, layout), tables)


def _table_of_pairs(table: Array, layout: Layout) -> np.ndarray:
    """A table [chunk, H, S, A, lane] as [pair, H, S, A]."""
    by_lane = np.moveaxis(np.asarray(table), -1, 1)
    return by_lane.reshape(-1, *by_lane.shape[2:])[: layout.num_pairs]


def _plan(batch: Batch, record: np.ndarray) -> tuple[np.ndarray, Schedule]:
    """Where the record intervals of the engine end, and its schedule."""
    ends, num_states = refine(record), batch.game.transition.shape[-2]
    adapting_until = batch.mechanism.adapting_until
    return ends, make_schedule(int(record[-1]), ends, adapting_until, num_states)


def _of_pairs(sums: np.ndarray, layout: Layout) -> np.ndarray:
    """Sums [chunk, interval, lane] as float64 [interval, pair]."""
    by_interval = np.moveaxis(sums.astype(np.float64), 1, 0)
    return by_interval.reshape(len(by_interval), -1)[:, : layout.num_pairs]


def _snapshot(num_blocks: int, state: Progress, blocks: list[list[np.ndarray]]) -> Snapshot:
    leaves = [np.asarray(_as_plain(leaf)) for leaf in jax.tree.leaves(state)]
    return Snapshot(num_blocks, leaves, _joined(blocks))


def _restore(
    snapshot: Snapshot | None, like: Progress, layout: Layout
) -> tuple[Progress, int, list[list[np.ndarray]]] | None:
    """State, blocks done and their sums; None if a snapshot is of another layout or program."""
    if snapshot is None:
        return None
    leaves, structure = jax.tree.flatten(like)
    forms = [(x.shape, x.dtype) for x in jax.eval_shape(lambda x: [*map(_as_plain, x)], leaves)]
    if forms != [(x.shape, x.dtype) for x in snapshot.state]:
        return None
    state = structure.unflatten(map(_unlike_plain, layout.put(snapshot.state), leaves))
    return state, snapshot.num_blocks, [snapshot.sums]


def _as_plain(leaf: Any) -> Any:
    """A leaf of a state as an array that can be saved; an agent's state may hold random keys."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def _unlike_plain(leaf: Array, like: Any) -> Array:
    """The inverse of `_as_plain`."""
    is_key = jnp.issubdtype(like.dtype, jax.dtypes.prng_key)
    if not is_key:
        return leaf
    return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(jnp.zeros((), like.dtype)))


def _joined(blocks: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The sums of consecutive blocks as one, [chunk, interval, lane] each."""
    return [np.concatenate(parts, axis=1) for parts in zip(*blocks, strict=True)]


def refine(record: np.ndarray) -> np.ndarray:
    """Record points with more in between, so that no interval is longer than LONGEST_INTERVAL."""
    points = [np.zeros(1, np.int64)]
    for low, high in zip(np.append(0, record[:-1]), record, strict=True):
        pieces = math.ceil((high - low) / LONGEST_INTERVAL)
        points.append(low + (high - low) * np.arange(1, pieces + 1) // pieces)
    return np.concatenate(points)[1:]


def _blocks(
    schedule: Schedule, ends: np.ndarray, stops: Container[int] = ()
) -> Iterator[tuple[Schedule, int, int]]:
    """Blocks of record intervals, padded with empty ones, with their intervals and episodes.

    A block ends at each of the `stops`, some of `ends`, if it does not before.
    """
    longest = math.ceil(ends[-1] / NUM_BLOCKS)
    first, done = 0, 0
    while first < len(ends):
        limit, last = min(len(ends), first + BLOCK_INTERVALS), first + 1
        while last < limit and ends[last] - done <= longest and ends[last - 1] not in stops:
            last += 1
        bounds = schedule.bounds[first : last + 1]
        bounds = np.pad(bounds, (0, BLOCK_INTERVALS + 1 - len(bounds)), mode="edge")
        episodes = int(ends[last - 1]) - done
        yield schedule._replace(bounds=bounds), last - first, episodes
        first, done = last, int(ends[last - 1])


@functools.partial(jax.jit, static_argnames=("num_episodes", "mesh"))
def _start(batch: Batch, *, num_episodes: int, mesh: Mesh) -> Progress:
    def start_chunk(chunk: Batch) -> Progress:
        progress = start(chunk.game, chunk.agent, chunk.mechanism, num_episodes)
        # not weak, as `_advance` gives them back: else it would be compiled twice
        return jax.tree.map(lambda leaf: lax.convert_element_type(leaf, leaf.dtype), progress)

    return _on_each_device(lambda batch: lax.map(start_chunk, batch), mesh)(batch)


@functools.partial(jax.jit, static_argnames="mesh", donate_argnames="state")
def _advance(
    batch: Batch, state: Progress, schedule: Schedule, *, mesh: Mesh
) -> tuple[Progress, Record]:
    num_intervals = len(schedule.bounds) - 1

    def advance_all(batch: Batch, state: Progress) -> tuple[Progress, Record]:
        num_chunks, chunk_lanes = batch.keys.shape
        record = jnp.zeros((num_chunks, num_intervals, chunk_lanes))

        def advance_one(i: Array, carry: tuple[Progress, Record]) -> tuple[Progress, Record]:
            of_chunk = functools.partial(lax.dynamic_index_in_dim, index=i, axis=0, keepdims=False)
            chunk, progress = jax.tree.map(of_chunk, (batch, carry[0]))
            parts = (chunk.keys, chunk.game, chunk.world, chunk.agent, chunk.mechanism)
            new = advance(*parts, progress, schedule)
            put = lambda old, new: lax.dynamic_update_index_in_dim(old, new, i, 0)  # noqa: E731
            return jax.tree.map(put, carry, new)

        # in place, where `lax.map` would hold all states twice
        carry = (state, Record(*(record for _ in Record._fields)))
        return lax.fori_loop(0, num_chunks, advance_one, carry)

    return _on_each_device(advance_all, mesh)(batch, state)


@functools.partial(jax.jit, static_argnames="mesh")
def _look(batch: Batch, state: Progress, *, mesh: Mesh) -> Tables:
    """Tables, [chunk, H, S, A, lane] each."""

    def look_at(chunk: tuple[Batch, Progress]) -> Tables:
        batch, progress = chunk
        offered, report = progress.contract.transfer, batch.mechanism.report(progress.mechanism)
        visits = progress.visits.reshape(offered.shape)
        return Tables(visits, offered, report.transfer, report.is_resolved)

    return _on_each_device(lambda *parts: lax.map(look_at, parts), mesh)(batch, state)


def _on_each_device(function: Any, mesh: Mesh) -> Any:
    """`function` of arrays with chunks on the first axis, on each device's own chunks."""
    along_chunks = PartitionSpec("chunk")
    return jax.shard_map(
        function, mesh=mesh, in_specs=along_chunks, out_specs=along_chunks, check_vma=False
    )
