"""Tables of runs in one game: who visited what, and which transfers were estimated and offered.

A Dataset of `pajax.study` has numbers of each run; here are the tables behind them, for few runs at
few checkpoints. Variables have the dimensions agent, mechanism, seed, episode, step, state, action,
and say what there was at the checkpoint:

- `visits`: episodes so far that played the action at the step and state
- `transfer`: the mechanism's estimates of tau*; NaN where it has none
- `is_resolved`: whether they are as close as it meant them to be
- `offered`: transfers of the contract in force, per play

Beside them are, of the game and exact: `minimal_transfer`, tau* (T2) [step, state, action], and
`optimal_occupancy` [step, state], the share of episodes in which the welfare optimum (ties to the
lowest action) is there. Transfers are in reward units.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from pajax import _checks, planning, transfers
from pajax.config import warn_unless_hoisting
from pajax.game import Game
from pajax.stages import checkpoints
from pajax.studies import batch, forecast, results
from pajax.studies.batch import Tables
from pajax.studies.design import Design, make_design
from pajax.studies.manifest import versions
from pajax.studies.outline import Cell, Outline
from pajax.studies.work import Machine

DIMENSIONS = ("agent", "mechanism", "seed", "episode", "step", "state", "action")
#: Checkpoints a decade, unless said: tables are large.
PER_DECADE = 2


def examine(
    key: Array,
    game: Game,
    *,
    agents: Mapping[str, Any],
    mechanisms: Mapping[str, Any],
    num_episodes: int,
    num_seeds: int,
    record: Any = None,
) -> xr.Dataset:
    """Tables of every agent under every mechanism in one game, for every seed.

    Args:
      key: as in `pajax.study`. A study with the same key, game, agents and mechanisms has the same
        runs, whatever it records.
      game: one game, not a batch.
      agents: by name, as in `pajax.study`.
      mechanisms: likewise.
      num_episodes: K, episodes of each run.
      num_seeds: runs of each agent under each mechanism.
      record: increasing episode counts that end with K; by default two a decade.

    Returns:
      The Dataset described in `pajax.studies.examine`.

    Raises:
      ValueError: an argument breaks a rule, or the tables do not fit in the free memory; said
        before anything runs.
    """
    is_one = isinstance(game, Game) and not game.lanes
    shown = f"lanes {game.lanes}" if isinstance(game, Game) else repr(game)
    _checks.require(is_one, "game", shown, "be one pajax.Game, not several")
    design = make_design(
        key,
        game,
        agents=agents,
        mechanisms=mechanisms,
        num_episodes=num_episodes,
        num_seeds=num_seeds,
        record=checkpoints(num_episodes, PER_DECADE) if record is None else record,
    )
    machine = Machine.of(design, None, None, None)
    shape = _shape(design.outline)
    _refuse_what_cannot_fit(design.outline, shape, machine)
    found = _fill(_empty(shape), design, machine)
    return xr.Dataset(
        {name: (DIMENSIONS, table) for name, table in found._asdict().items()} | _exact(game),
        _coordinates(design.outline, shape),
        _attributes(design.outline, machine),
    )


def _shape(outline: Outline) -> tuple[int, ...]:
    """Of the tables of all runs."""
    (group,) = outline.groups.values()
    runs = len(outline.agents), len(outline.mechanisms), outline.num_seeds, len(outline.record)
    return (*runs, group.horizon, group.num_states, group.num_actions)


def _refuse_what_cannot_fit(outline: Outline, shape: tuple[int, ...], machine: Machine) -> None:
    """Raise if there is no room for all tables, and the largest cell while it runs."""
    of_entry = sum(dtype.itemsize for dtype in _dtypes())
    needed = math.prod(shape) * of_entry + outline.num_seeds * max(machine.pair_bytes.values())
    what = f"{len(outline.record)} checkpoints of {outline.num_pairs:,} runs, whose tables need"
    forecast.refuse_without_room("record", what, needed)


def _empty(shape: tuple[int, ...]) -> Tables:
    """Room for the tables of all runs."""
    return Tables(*(np.empty(shape, dtype) for dtype in _dtypes()))


def _dtypes() -> Tables:
    """Of the tables: whole counts, and transfers as the engine has them."""
    real = jnp.zeros(()).dtype
    return Tables(np.dtype(np.int32), real, real, np.dtype(bool))


def _fill(found: Tables, design: Design, machine: Machine) -> Tables:
    """Run all cells and note their tables."""
    outline = design.outline
    for a, agent in enumerate(outline.agents):
        for m, mechanism in enumerate(outline.mechanisms):
            for e, tables in enumerate(_watch(design, machine, Cell("", agent, mechanism))):
                for room, table in zip(found, tables, strict=True):
                    room[a, m, :, e] = table
    return found


def _watch(design: Design, machine: Machine, cell: Cell) -> Iterator[Tables]:
    """The tables of a cell at each checkpoint, [seed, step, state, action] each."""
    pairs, parts = design.outline.pairs(cell), design.parts(cell)
    layout = machine.layout(cell, len(pairs))
    if layout.platform == "cpu":
        warn_unless_hoisting()
    world = jax.tree.map(np.asarray, batch.survey(parts.game))
    loaded = batch.make_batch(design.key, parts, world, pairs, layout)
    return batch.watch(loaded, np.array(design.outline.record), layout)


def _exact(game: Game) -> dict[str, Any]:
    """What is known of the game."""
    path = planning.greedy(planning.welfare_values(game).q_values)
    return {
        "minimal_transfer": (DIMENSIONS[-3:], np.asarray(transfers.minimal_transfers(game))),
        "optimal_occupancy": (DIMENSIONS[-3:-1], np.asarray(planning.occupancy(game, path))),
    }


def _coordinates(outline: Outline, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Names and numbers along each dimension."""
    numbers = {name: np.arange(size) for name, size in zip(DIMENSIONS, shape, strict=True)}
    return numbers | {
        "agent": np.array([*outline.agents], str),
        "mechanism": np.array([*outline.mechanisms], str),
        "episode": np.array(outline.record, np.int64),
    }


def _attributes(outline: Outline, machine: Machine) -> dict[str, Any]:
    """The spec, versions and device, as in a Dataset of `pajax.study`."""
    device = machine.layout(outline.cells[0], outline.num_seeds).device_kind
    made_with = {name: versions()[name] for name in ("jax", "pajax")}
    return results.attributes(outline) | made_with | {"device": device}
