"""Studies: games x agents x mechanisms x seeds, on all devices, with progress.

A *cell* is one agent under one mechanism; its pairs are games x seeds. Pair (g, i) has the key
`fold_in(fold_in(key, g), i)` in every cell, so cells share their random numbers, and more seeds
extend a study. Pairs are lanes; lanes go in chunks (small enough for the cache on a CPU, all at
once elsewhere), chunks go over devices. None of this changes a number.

Time is cut into blocks of whole record intervals, the same shape each, so that one compilation
serves them all; between blocks the host accumulates, reports progress and can be interrupted.
"""

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm.auto import tqdm

from pajax import _checks, results
from pajax._pytree import map_with_rank, with_lanes
from pajax.config import warn_unless_hoisting
from pajax.game import Game
from pajax.ledger import Record
from pajax.simulate import Progress, World, advance, check_parts, make_world, start
from pajax.stages import Schedule, checkpoints, make_schedule

#: Lanes of a chunk on a CPU, so that a chunk's tables stay in the cache: many while a pair takes at
#: most so many bytes, few above. (Vector code wants multiples of 64.)
CPU_LANES, CPU_LARGE_PAIR, CPU_LANES_OF_LARGE = 128, 4096, 64
#: Share of an accelerator's memory for the state of pairs; the rest is for temporaries.
ACCELERATOR_SHARE = 0.3
#: Longest record interval inside the engine, in episodes: float32 sums must not run long.
LONGEST_INTERVAL = 8192
#: Record intervals of a block, at most, and blocks of a run, about.
BLOCK_INTERVALS, NUM_BLOCKS = 16, 20


class StudyInterrupted(KeyboardInterrupt):
    """A study was interrupted; `dataset` holds its finished cells (the others are NaN), or None."""

    def __init__(self, dataset: xr.Dataset | None, finished: int, total: int) -> None:
        super().__init__(f"study interrupted: {finished} of {total} cells are finished")
        self.dataset, self.finished, self.total = dataset, finished, total


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
    def pairs(self) -> np.ndarray:
        """The pair of each lane, [chunk, lane]; padding repeats the first pair."""
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


def study(
    key: Array,
    game: Game,
    *,
    agents: Mapping[str, Any],
    mechanisms: Mapping[str, Any],
    num_episodes: int,
    num_seeds: int,
    record: Any = None,
    chunk_lanes: int | None = None,
    devices: Any = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Simulate every agent under every mechanism, on every game, for every seed.

    Args:
      key: typed threefry key of the whole study.
      game: one game, or a batch on one lane axis.
      agents: by name. An array field may end in a lane axis with one entry for each game.
      mechanisms: by name, likewise.
      num_episodes: K, episodes of each run.
      num_seeds: runs of each game in each cell.
      record: increasing episode counts that end with K; by default log-spaced.
      chunk_lanes: pairs simulated side by side; by default 64 or 128 on a CPU, by the size of a
        pair, and on an accelerator all that fit its memory.
      devices: by default all local devices.
      progress: show a bar; by default when standard error is a terminal or in a notebook.

    Returns:
      The Dataset described in `pajax.results`.

    Raises:
      ValueError: an argument breaks a rule; said before anything runs.
      StudyInterrupted: on Ctrl-C, with the finished cells.
    """
    _check_study(key, game, agents, mechanisms, num_seeds)
    record = checkpoints(num_episodes) if record is None else np.asarray(record, np.int64)
    make_schedule(num_episodes, record)  # raises early
    pair_bytes = _rehearse(game, agents, mechanisms, num_episodes)
    game = with_lanes(game, game.lanes or (1,))
    num_games = game.lanes[0]
    layout = Layout.of(num_games * num_seeds, pair_bytes, chunk_lanes, devices)
    if layout.platform == "cpu":
        warn_unless_hoisting()
    pair_keys = layout.put(_pair_keys(key, num_games, num_seeds)[layout.pairs])
    shared = (pair_keys, spread(game, num_seeds, layout), survey(game, num_seeds, layout))
    names = [(agent, mechanism) for mechanism in mechanisms for agent in agents]
    describe = functools.partial(
        results.make_dataset,
        game=game,
        agents=list(agents),
        mechanisms=list(mechanisms),
        num_seeds=num_seeds,
        checkpoints=record,
        attributes=_attributes(key, game, agents, mechanisms, num_episodes, num_seeds, layout),
    )
    cells: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    hide = None if progress is None else not progress
    bar = tqdm(total=len(names) * num_episodes, disable=hide, unit="ep", unit_scale=True)
    try:
        with bar:
            for agent, mechanism in names:
                bar.set_description(f"{mechanism} / {agent}")
                parts = (agents[agent], mechanisms[mechanism])
                cell = Cell(*shared, *(spread(part, num_seeds, layout) for part in parts))
                variables = run_cell(cell, num_episodes, record, layout, bar.update)
                cells[agent, mechanism] = {
                    name: value.reshape(num_games, num_seeds, -1)
                    for name, value in variables.items()
                }
    except KeyboardInterrupt:
        kept = describe(cells) if cells else None
        raise StudyInterrupted(kept, len(cells), len(names)) from None
    return describe(cells)


class Cell(NamedTuple):
    """The pairs of one agent under one mechanism; leaves [chunk, ..., lane], or [chunk]."""

    keys: Array
    game: Game
    world: World
    agent: Any
    mechanism: Any


def spread(component: Any, num_seeds: int, layout: Layout) -> Any:
    """A game, agent or mechanism over the lanes of a layout, with chunks on the first axis."""

    def spread_leaf(leaf: Any, rank: int) -> np.ndarray:
        leaf = np.asarray(leaf)
        if leaf.ndim == rank == 0:
            return np.broadcast_to(leaf, layout.num_chunks)
        return _of_lanes(leaf[..., None] if leaf.ndim == rank else leaf, num_seeds, layout)

    return layout.put(map_with_rank(spread_leaf, component))


def survey(game: Game, num_seeds: int, layout: Layout) -> World:
    """What `advance` needs of the games, made once for each game and spread over the lanes."""
    of_lanes = lambda leaf: _of_lanes(np.asarray(leaf), num_seeds, layout)  # noqa: E731
    return layout.put(jax.tree.map(of_lanes, _survey(game)))


def _of_lanes(leaf: np.ndarray, num_seeds: int, layout: Layout) -> np.ndarray:
    """What lanes get of a leaf [..., game], or [..., 1] for all games: [chunk, ..., lane]."""
    game_of_lane = np.minimum(layout.pairs // num_seeds, leaf.shape[-1] - 1)
    return np.moveaxis(leaf[..., game_of_lane], -2, 0)


_survey = jax.jit(make_world)


def run_cell(
    cell: Cell, num_episodes: int, record: np.ndarray, layout: Layout, report: Callable[[int], Any]
) -> dict[str, np.ndarray]:
    """Variables [pair, episode] of a cell; `report` is told of episodes as they are done."""
    ends = refine(record)
    num_states = cell.game.transition.shape[-2]
    schedule = make_schedule(num_episodes, ends, cell.mechanism.adapting_until, num_states)
    state = _start(cell, num_episodes=num_episodes, mesh=layout.mesh)
    blocks = []
    for block, num_intervals, episodes in _blocks(schedule, ends):
        state, sums = _advance(cell, state, block, mesh=layout.mesh)
        blocks.append([np.asarray(x, np.float64)[:, :num_intervals] for x in sums])
        report(episodes)
    joined = []
    for parts in zip(*blocks, strict=True):
        whole = np.concatenate(parts, axis=1)  # [chunk, interval, lane]
        whole = np.moveaxis(whole, 1, 0).reshape(whole.shape[1], -1)
        joined.append(whole[:, : layout.num_pairs])
    return results.cumulate(Record(*joined), ends, record)


def refine(record: np.ndarray) -> np.ndarray:
    """Record points with more in between, so that no interval is longer than LONGEST_INTERVAL."""
    points = [np.zeros(1, np.int64)]
    for low, high in zip(np.append(0, record[:-1]), record, strict=True):
        pieces = math.ceil((high - low) / LONGEST_INTERVAL)
        points.append(low + (high - low) * np.arange(1, pieces + 1) // pieces)
    return np.concatenate(points)[1:]


def _blocks(schedule: Schedule, ends: np.ndarray) -> Iterator[tuple[Schedule, int, int]]:
    """Blocks of record intervals, padded with empty ones, with their intervals and episodes."""
    longest = math.ceil(ends[-1] / NUM_BLOCKS)
    first, done = 0, 0
    while first < len(ends):
        last = first + 1
        while last < len(ends) and last - first < BLOCK_INTERVALS and ends[last] - done <= longest:
            last += 1
        bounds = schedule.bounds[first : last + 1]
        bounds = np.pad(bounds, (0, BLOCK_INTERVALS + 1 - len(bounds)), mode="edge")
        episodes = int(ends[last - 1]) - done
        yield schedule._replace(bounds=bounds), last - first, episodes
        first, done = last, int(ends[last - 1])


@functools.partial(jax.jit, static_argnames=("num_episodes", "mesh"))
def _start(cell: Cell, *, num_episodes: int, mesh: Mesh) -> Progress:
    def start_chunk(cell: Cell) -> Progress:
        return start(cell.game, cell.agent, cell.mechanism, num_episodes)

    return _on_each_device(lambda cell: lax.map(start_chunk, cell), mesh)(cell)


@functools.partial(jax.jit, static_argnames="mesh", donate_argnames="state")
def _advance(
    cell: Cell, state: Progress, schedule: Schedule, *, mesh: Mesh
) -> tuple[Progress, Record]:
    num_intervals = len(schedule.bounds) - 1

    def advance_all(cell: Cell, state: Progress) -> tuple[Progress, Record]:
        num_chunks, chunk_lanes = cell.keys.shape
        record = jnp.zeros((num_chunks, num_intervals, chunk_lanes))

        def advance_one(i: Array, carry: tuple[Progress, Record]) -> tuple[Progress, Record]:
            of_chunk = functools.partial(lax.dynamic_index_in_dim, index=i, axis=0, keepdims=False)
            chunk, progress = jax.tree.map(of_chunk, (cell, carry[0]))
            parts = (chunk.keys, chunk.game, chunk.world, chunk.agent, chunk.mechanism)
            new = advance(*parts, progress, schedule)
            put = lambda old, new: lax.dynamic_update_index_in_dim(old, new, i, 0)  # noqa: E731
            return jax.tree.map(put, carry, new)

        # in place, where `lax.map` would hold all states twice
        carry = (state, Record(*(record for _ in Record._fields)))
        return lax.fori_loop(0, num_chunks, advance_one, carry)

    return _on_each_device(advance_all, mesh)(cell, state)


def _on_each_device(function: Any, mesh: Mesh) -> Any:
    """`function` of arrays with chunks on the first axis, on each device's own chunks."""
    along_chunks = PartitionSpec("chunk")
    return jax.shard_map(
        function, mesh=mesh, in_specs=along_chunks, out_specs=along_chunks, check_vma=False
    )


def _check_study(key: Any, game: Any, agents: Any, mechanisms: Any, num_seeds: int) -> None:
    """The arguments of a study, before anything runs."""
    for name, parts in (("agents", agents), ("mechanisms", mechanisms)):
        is_named = isinstance(parts, Mapping) and len(parts) > 0
        _checks.require(is_named, name, repr(parts), "map at least one name to an object")
    named_agents = {f"agents[{name!r}]": part for name, part in agents.items()}
    named_mechanisms = {f"mechanisms[{name!r}]": part for name, part in mechanisms.items()}
    check_parts(key, game, named_agents, named_mechanisms, [])
    _checks.require(key.shape == (), "key", f"shape {key.shape}", "be one key, not several")
    _checks.whole("num_seeds", num_seeds)
    rule = "have at most one lane axis (a batch of games)"
    _checks.require(len(game.lanes) <= 1, "game", f"lanes {game.lanes}", rule)


def _rehearse(game: Game, agents: Any, mechanisms: Any, num_episodes: int) -> int:
    """Trace the first stage of every cell, so that what cannot run fails before anything does.

    Returns:
      Bytes of the state of a pair in the largest cell.
    """
    largest = 0
    for agent in agents.values():
        for mechanism in mechanisms.values():
            parts = tuple(with_lanes(part, game.lanes) for part in (game, agent, mechanism))
            opening = jax.eval_shape(functools.partial(start, num_episodes=num_episodes), *parts)
            jax.eval_shape(parts[1].begin, opening.agent, opening.contract)
            jax.eval_shape(parts[2].report, opening.mechanism)
            num_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(opening))
            largest = max(largest, num_bytes // math.prod(game.lanes))
    return largest


def _pair_keys(key: Array, num_games: int, num_seeds: int) -> Array:
    """Keys [games * seeds]: pair (g, i) has fold_in(fold_in(key, g), i)."""
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    of_games = fold(key, jnp.arange(num_games))
    keys = jax.vmap(fold, in_axes=(0, None))(of_games, jnp.arange(num_seeds))
    return keys.reshape(-1)


def _attributes(
    key: Array,
    game: Game,
    agents: Mapping[str, Any],
    mechanisms: Mapping[str, Any],
    num_episodes: int,
    num_seeds: int,
    layout: Layout,
) -> dict[str, Any]:
    from pajax import __version__

    device = layout.mesh.devices.flat[0]
    spec = {
        "game": repr(game),
        "agents": {name: repr(agent) for name, agent in agents.items()},
        "mechanisms": {name: repr(mechanism) for name, mechanism in mechanisms.items()},
        "num_episodes": num_episodes,
        "num_seeds": num_seeds,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
    }
    return {
        "spec": json.dumps(spec),
        "num_episodes": num_episodes,
        "horizon": game.horizon,
        "pajax": __version__,
        "jax": jax.__version__,
        "device": f"{layout.mesh.devices.size} x {device.device_kind} ({device.platform})",
        "chunk_lanes": layout.chunk_lanes,
    }
