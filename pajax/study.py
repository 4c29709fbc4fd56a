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
from pajax.game import Game
from pajax.simulate import (
    Progress,
    Record,
    Schedule,
    advance,
    check_parts,
    checkpoints,
    make_schedule,
    start,
)

#: Lanes of a chunk on a CPU: a chunk's tables should stay in the cache.
CPU_CHUNK = 128
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
    def of(num_pairs: int, chunk_lanes: int | None = None, devices: Any = None) -> "Layout":
        """Chunks for `num_pairs` on the given devices, by default all local ones."""
        devices = jax.local_devices() if devices is None else list(devices)
        _checks.require(len(devices) > 0, "devices", "none", "name at least one device")
        per_device = math.ceil(num_pairs / len(devices))
        if chunk_lanes is None:
            chunk_lanes = CPU_CHUNK if devices[0].platform == "cpu" else per_device
        chunk_lanes = min(_checks.whole("chunk_lanes", chunk_lanes), per_device)
        num_chunks = math.ceil(per_device / chunk_lanes) * len(devices)
        return Layout(num_pairs, num_chunks, chunk_lanes, Mesh(np.array(devices), ("chunk",)))

    @property
    def pairs(self) -> np.ndarray:
        """The pair of each lane, [chunk, lane]; padding repeats the first pair."""
        size = self.num_chunks * self.chunk_lanes
        pairs = np.where(np.arange(size) < self.num_pairs, np.arange(size), 0)
        return pairs.reshape(self.num_chunks, self.chunk_lanes)


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
      chunk_lanes: pairs simulated side by side; by default 128 on a CPU, all elsewhere.
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
    _rehearse(game, agents, mechanisms, num_episodes)
    game = with_lanes(game, game.lanes or (1,))
    num_games = game.lanes[0]
    layout = Layout.of(num_games * num_seeds, chunk_lanes, devices)
    pair_keys = _pair_keys(key, num_games, num_seeds)
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
                cell = Cell.lay_out(
                    pair_keys, game, agents[agent], mechanisms[mechanism], num_seeds, layout
                )
                variables = run_cell(cell, num_episodes, record, bar.update)
                cells[agent, mechanism] = {
                    name: value.reshape(num_games, num_seeds, -1)
                    for name, value in variables.items()
                }
    except KeyboardInterrupt:
        kept = describe(cells) if cells else None
        raise StudyInterrupted(kept, len(cells), len(names)) from None
    return describe(cells)


class Cell(NamedTuple):
    """The pairs of one agent under one mechanism, laid out in chunks.

    `laned` leaves are [chunk, ..., lane]; `shared` ones are the numbers that all lanes share.
    """

    keys: Array  # [chunk, lane]
    laned: list[Array]
    shared: list[Array]
    structure: "Structure"

    @staticmethod
    def lay_out(
        pair_keys: Array, game: Game, agent: Any, mechanism: Any, num_seeds: int, layout: Layout
    ) -> "Cell":
        """Spread game, agent and mechanism over the lanes of a layout."""
        game_of_lane = layout.pairs // num_seeds

        def spread(leaf: Any, rank: int) -> Array:
            leaf = jnp.asarray(np.asarray(leaf))  # a Python number must not compile anew
            if leaf.ndim == rank == 0:
                return leaf
            leaf = leaf[..., None] if leaf.ndim == rank else leaf
            index = jnp.minimum(game_of_lane, leaf.shape[-1] - 1)
            return jnp.moveaxis(jnp.take(leaf, index, axis=-1), -2, 0)

        parts = tuple(map_with_rank(spread, part) for part in (game, agent, mechanism))
        leaves, tree = jax.tree.flatten(parts)
        is_laned = tuple(leaf.ndim > 0 for leaf in leaves)
        across = NamedSharding(layout.mesh, PartitionSpec("chunk"))
        keys = jax.device_put(pair_keys[layout.pairs], across)
        laned = [jax.device_put(x, across) for x, yes in zip(leaves, is_laned, strict=True) if yes]
        shared = [x for x, yes in zip(leaves, is_laned, strict=True) if not yes]
        return Cell(keys, laned, shared, Structure(tree, is_laned, layout))


class Structure(NamedTuple):
    """The static part of a cell: how to put its parts together again."""

    tree: Any
    is_laned: tuple[bool, ...]
    layout: Layout

    def parts(self, laned: list[Array], shared: list[Array]) -> tuple[Game, Any, Any]:
        """Game, agent and mechanism from their leaves."""
        some, others = iter(laned), iter(shared)
        leaves = [next(some) if yes else next(others) for yes in self.is_laned]
        return jax.tree.unflatten(self.tree, leaves)


def run_cell(
    cell: Cell, num_episodes: int, record: np.ndarray, report: Callable[[int], Any]
) -> dict[str, np.ndarray]:
    """Variables [pair, episode] of a cell; `report` is told of episodes as they are done."""
    ends = refine(record)
    mechanism = cell.structure.parts(cell.laned, cell.shared)[2]
    schedule = make_schedule(num_episodes, ends, mechanism.adapting_until)
    state = _start(cell.laned, cell.shared, structure=cell.structure, num_episodes=num_episodes)
    blocks = []
    for block, num_intervals, episodes in _blocks(schedule, ends):
        state, sums = _advance(
            cell.keys, cell.laned, cell.shared, state, block, structure=cell.structure
        )
        blocks.append([np.asarray(x, np.float64)[:, :num_intervals] for x in sums])
        report(episodes)
    layout = cell.structure.layout
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


@functools.partial(jax.jit, static_argnames=("structure", "num_episodes"))
def _start(laned: Any, shared: Any, *, structure: Structure, num_episodes: int) -> Progress:
    def chunk(laned: list[Array]) -> Progress:
        return start(*structure.parts(laned, shared), num_episodes)

    return _over_chunks(structure, lambda laned: lax.map(chunk, laned), 1)(laned)


@functools.partial(jax.jit, static_argnames="structure", donate_argnames="state")
def _advance(
    keys: Array, laned: Any, shared: Any, state: Progress, schedule: Schedule, *,
    structure: Structure,
) -> tuple[Progress, Record]:  # fmt: skip
    def chunks(keys: Array, laned: Any, state: Progress) -> tuple[Progress, Record]:
        def chunk(inputs: tuple[Array, list[Array], Progress]) -> tuple[Progress, Record]:
            keys, laned, state = inputs
            return advance(keys, *structure.parts(laned, shared), state, schedule)

        return lax.map(chunk, (keys, laned, state))

    return _over_chunks(structure, chunks, 3)(keys, laned, state)


def _over_chunks(structure: Structure, function: Any, num_inputs: int) -> Any:
    """`function` on each device's own chunks."""
    spec = PartitionSpec("chunk")
    return jax.shard_map(
        function,
        mesh=structure.layout.mesh,
        in_specs=(spec,) * num_inputs,
        out_specs=spec,
        check_vma=False,
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


def _rehearse(game: Game, agents: Any, mechanisms: Any, num_episodes: int) -> None:
    """Trace the first stage of every cell, so that what cannot run fails before anything does."""
    for agent in agents.values():
        for mechanism in mechanisms.values():
            parts = tuple(with_lanes(part, game.lanes) for part in (game, agent, mechanism))
            opening = jax.eval_shape(functools.partial(start, num_episodes=num_episodes), *parts)
            jax.eval_shape(parts[1].begin, opening.agent, opening.contract)
            jax.eval_shape(parts[2].report, opening.mechanism)


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
