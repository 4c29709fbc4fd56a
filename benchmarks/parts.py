"""What does each part of a step cost?

Nanoseconds of a processor for one step of one pair; unlike the time of day, they do not count what
else has the processor in between. Each part of a step of Q-learning under a fixed contract runs by
itself, in a loop over episodes that XLA compiles to one kernel, as it does with the engine's, for
`--pairs` pairs side by side, each with a game of its own:

    words           all random words of an episode, two threefry blocks a step
    row             a row of Q, its maximum and the first action that has it
    draw            a next state, from the alias tables, step after step
    read            an entry of a table with steps, [H * S * A]
    read, no steps  an entry of a table without, [S * A]
    write           an entry of Q and one of N
    count           one more at an entry of one table
    loop            only adds up cells; about so much of the loop is in the other rows, too

What a part makes is added up, and so not left out. Cells and the like come from a few episodes that
were drawn uniformly beforehand. `times` is how often a step of the engine does a part, `share` what
it then is of `whole`: a step in the compiled blocks of `px.study`, stages and all. By themselves
parts have the cache to themselves, and shares need not add up to one. A minute or so.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import subject
from jax import Array, lax
from workload import SIZES, Workload, as_game, random_workload, sizes_of

import pajax as px
from pajax import draws, lanes
from pajax.game import Tables, next_state, prepare

#: Episodes drawn beforehand, which the loops go round: few, so that they stay in the cache.
RING = 16


class Episode(NamedTuple):
    """What a part is given of an episode; of those in the ring, with RING as the first axis."""

    number: Array  # uint32
    states: Array  # [H, pairs], like all that follow
    actions: Array
    cells: Array  # of [H * S * A]
    still_cells: Array  # of [S * A]
    words: Array
    values: Array


class Given(NamedTuple):
    """What parts are given besides, the same in every episode."""

    game: px.Game
    tables: Tables
    table: Array  # flat [H * S * A, pairs]
    key: tuple[Array, Array]


class Part(NamedTuple):
    """What a part makes of a carry in an episode, the first carry, and how often a step does it."""

    function: Callable[[Given, Episode, Any], Any]
    start: Callable[[Given, Episode], Any]
    times: int


def summed(make: Callable[[Given, Episode], Any], times: int) -> Part:
    """A part that makes something new in every episode; the carry is the sum."""

    def add(given: Given, episode: Episode, carry: Any) -> Any:
        return jax.tree.map(jnp.add, carry, make(given, episode))

    def none(given: Given, episode: Episode) -> Any:
        return jax.tree.map(jnp.zeros_like, make(given, episode))

    return Part(add, none, times)


def words(given: Given, episode: Episode) -> tuple[Array, draws.Words]:
    """As many as Q-learning asks for."""
    return draws.episode_words(given.key, episode.number, given.game.horizon, 1)


def row(given: Given, episode: Episode) -> tuple[Array, Array]:
    """The action and the maximum in every step, [H, pairs] each."""
    sizes = given.game.num_states, given.game.num_actions

    def greedy(_: None, at: tuple[Array, Array]) -> tuple[None, tuple[Array, Array]]:
        return None, lanes.argmax(lanes.row(given.table, *at, sizes))

    return lax.scan(greedy, None, (jnp.arange(given.game.horizon), episode.states))[1]


def draw(given: Given, episode: Episode, state: Array) -> Array:
    """The last state of an episode that begins where the one before ended."""

    def move(s: Array, at: tuple[Array, Array, Array]) -> tuple[Array, None]:
        h, a, word = at
        return next_state(given.game, given.tables, word, h, s, a), None

    steps = jnp.arange(given.game.horizon)
    return lax.scan(move, state, (steps, episode.actions, episode.words))[0]


def write(given: Given, episode: Episode, tables: tuple[Array, Array]) -> tuple[Array, Array]:
    """Both tables, written at once."""
    return lanes.write(tables, episode.cells, (episode.values, episode.values))


def count(given: Given, episode: Episode, table: Array) -> Array:
    """The table, with what was met in the episode."""
    return lanes.add(table, episode.cells, jnp.ones_like(episode.values))


PARTS = {
    "words": summed(words, 1),
    "row": summed(row, 1),
    "draw": Part(draw, lambda given, episode: episode.states[0], 1),
    "read": summed(lambda given, episode: lanes.read(given.table, episode.cells), 2),
    "read, no steps": summed(
        lambda given, episode: lanes.read(given.tables.agent_reward, episode.still_cells), 2
    ),
    "write": Part(write, lambda given, episode: (given.table, given.table), 1),
    "count": Part(count, lambda given, episode: given.table, 1),
    "loop": summed(lambda given, episode: episode.cells, 0),
}


@functools.partial(jax.jit, static_argnames="part")
def play(part: Part, given: Given, ring: Episode, num_episodes: Array) -> Any:
    """One part, in so many episodes."""

    def episode(number: Array) -> Episode:
        at = number % jnp.uint32(RING)
        return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, at, 0, keepdims=False), ring)

    def once_more(number: Array, carry: Any) -> Any:
        return part.function(given, episode(number), carry)

    first = jnp.uint32(0)
    return lax.fori_loop(first, num_episodes, once_more, part.start(given, episode(first)))


def inputs_of(workload: Workload) -> tuple[Given, Episode]:
    """What all parts are given: the games of a workload, a table, keys; and the ring."""
    states, actions, horizon = workload.sizes
    shape = (RING, horizon, workload.num_pairs)
    rng = np.random.default_rng(0)
    s, a = (rng.integers(0, size, shape, np.int32) for size in (states, actions))
    steps = np.arange(horizon, dtype=np.int32)[:, None]
    ring = Episode(
        number=np.arange(RING, dtype=np.uint32),
        states=s,
        actions=a,
        cells=(steps * states + s) * actions + a,
        still_cells=s * actions + a,
        words=rng.integers(0, 2**32, shape, np.uint32),
        values=rng.random(shape, np.float32),
    )
    game = as_game(workload)
    table = rng.random((horizon * states * actions, workload.num_pairs), np.float32)
    keys = jax.random.split(jax.random.key(0), workload.num_pairs)
    given = Given(game, prepare(game), jnp.asarray(table), draws.key_words(keys))
    return given, jax.tree.map(jnp.asarray, ring)


def costs(args: argparse.Namespace, size: str) -> list[dict[str, Any]]:
    """A row for each part, and for the whole."""
    num_episodes = round(args.steps / (args.pairs * sizes_of(size)[2]))
    workload = random_workload(size, args.pairs, 1, num_episodes, args.seed)
    inputs = (*inputs_of(workload), jnp.uint32(num_episodes))
    runs = {name: _run(part, *inputs) for name, part in PARTS.items()}
    clock = time.process_time
    whole = subject.Clocked(subject.study(workload, "q-learning"), clock)
    seconds = harness.interleave({**runs, "whole": whole}, args.repeats, clock)
    seconds["whole"] = whole.seconds
    times = {name: part.times for name, part in PARTS.items()} | {"whole": 1}
    rows = []
    for name, spent in seconds.items():
        nanoseconds = np.array(spent) / workload.num_steps * 1e9
        share = times[name] * np.median(spent / whole.seconds)
        spread = {"low": float(nanoseconds.min()), "high": float(nanoseconds.max())}
        about = {"size": size, "part": name, "ns": float(np.median(nanoseconds)), **spread}
        rows.append({**about, "times": times[name], "share": float(share)})
    return rows


def _run(*args: Any) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(play(*args))


def main() -> None:
    """Every size."""
    parser = harness.options(__doc__, ("pairs", "steps", "repeats", "seed"))
    parser.set_defaults(pairs=64, steps=2e7)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    args = harness.parse(parser, sizes=["mid"])
    px.configure(cpu_devices=1)
    rows = [row for size in args.sizes for row in costs(args, size)]
    harness.report(__doc__.splitlines()[0], rows, options=vars(args))


if __name__ == "__main__":
    main()
