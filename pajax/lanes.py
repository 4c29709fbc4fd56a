"""Small array operations over trailing lanes.

Every array of pajax has its game axes first (`h, s, a, s'`) and *lanes* last: one entry for each
simulated pair. All functions here are written over the leading axes and leave whatever trails
alone, so one definition is the readable code for a single pair (no lane axis), the fast batch, and
still goes through `jax.vmap`.

Why not scatters, sorts, or plain reductions? On the CPU XLA compiles a loop nest to one kernel only
if it holds none of them, which is worth a factor of three; and their order of additions may depend
on the batch, which would break bitwise equality of a lane with the pair simulated alone.
"""

import functools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from pajax._pytree import map_with_rank, pytree, static

#: Up to this many entries a look-up is a chain of selects, above it a gather.
CHAIN_LIMIT = 8
#: Up to this many cells a write compares all of them, above it it loops over single cells.
ONE_HOT_LIMIT = 40

_T = TypeVar("_T")


def at_step(table: Array, h: Array | int) -> Array:
    """`table[h]`, or `table[0]` when the leading axis says that the table is stationary."""
    if table.shape[0] == 1:
        return table[0]
    return lax.dynamic_index_in_dim(table, h, 0, keepdims=False)


def lookup(table: Array, index: Array) -> Array:
    """`table[index]` lane by lane: table [N, ...], index [...] -> [...]."""
    if table.shape[0] > CHAIN_LIMIT:
        return jnp.take_along_axis(table, index[None], axis=0, mode="promise_in_bounds")[0]
    found = table[0]
    for i in range(1, table.shape[0]):
        found = jnp.where(index == i, table[i], found)
    return found


def row(table: Array, index: Array) -> Array:
    """`table[index, :]` lane by lane: table [N, M, ...], index [...] -> [M, ...]."""
    return jnp.stack([lookup(table[:, j], index) for j in range(table.shape[1])])


def argmax(values: Array) -> tuple[Array, Array]:
    """First maximiser over the leading axis and its value: [N, ...] -> int32 [...], [...]."""
    index, best = jnp.zeros(values.shape[1:], jnp.int32), values[0]
    for i in range(1, values.shape[0]):
        better = values[i] > best
        index, best = jnp.where(better, i, index), jnp.where(better, values[i], best)
    return index, best


def maximum(values: Array) -> Array:
    """Maximum over the leading axis: [N, ...] -> [...]."""
    return functools.reduce(jnp.maximum, values)


def total(values: Array, num_axes: int = 1) -> Array:
    """Sum over the first `num_axes` axes, in an order that depends on their sizes alone."""
    values = values.reshape((-1, *values.shape[num_axes:]))
    while values.shape[0] > 1:
        half = values.shape[0] // 2
        rest = values[2 * half :]
        values = values[:half] + values[half : 2 * half]
        if rest.shape[0]:
            values = jnp.concatenate([values[:-1], values[-1:] + rest])
    return values[0]


def product(x: Array, y: Array) -> Array:
    """The product x * y, rounded by itself, for sums of products.

    A compiler may fuse one of two products into the addition that follows, without rounding it, and
    chooses differently in vector code and in the scalar rest of a batch. The maximum, which changes
    no number, stands in between.
    """
    return jnp.maximum(x * y, jnp.finfo(x.dtype).min)


def one_hot(index: Array, size: int, axis: int) -> Array:
    """Booleans with a new axis of length `size` at `axis`, true where it equals `index`."""
    positions = jnp.arange(size, dtype=jnp.int32)
    return jnp.expand_dims(index, axis) == positions.reshape((-1,) + (1,) * (index.ndim - axis))


def write(table: Array, cell: tuple[Array, ...], value: Array) -> Array:
    """`table[h, *cell[h]] = value[h]` for every h.

    Args:
      table: [H, N, M, ..., lanes].
      cell: one int32 index [H, lanes] for each of the axes N, M, ...
      value: [H, lanes].
    """
    return _update(table, cell, value, lambda _, new: new)


def add(table: Array, cell: tuple[Array, ...], value: Array) -> Array:
    """`table[h, *cell[h]] += value[h]` for every h; shapes as in `write`."""
    return _update(table, cell, value, lambda old, new: old + new)


def _update(table: Array, cell: tuple[Array, ...], value: Array, combine: Any) -> Array:
    sizes, lanes = table.shape[1 : 1 + len(cell)], table.shape[1 + len(cell) :]
    flat = cell[0]
    for index, size in zip(cell[1:], sizes[1:], strict=True):
        flat = flat * size + index
    cells = table.reshape((table.shape[0], -1, *lanes))
    return _update_cells(cells, flat, value, combine).reshape(table.shape)


def _update_cells(table: Array, cell: Array, value: Array, combine: Any) -> Array:
    if table.shape[1] <= ONE_HOT_LIMIT:
        return jnp.where(one_hot(cell, table.shape[1], 1), combine(table, value[:, None]), table)
    lanes, zero = cell.shape[1:], jnp.int32(0)
    flat = table.reshape((*table.shape[:2], -1))
    cell, value = (x.reshape((*x.shape[:1], -1)) for x in (cell, value))

    def update_cell(h: Array, lane: Array, flat: Array) -> Array:
        at = (h, lax.dynamic_slice(cell, (h, lane), (1, 1))[0, 0], lane)
        old = lax.dynamic_slice(flat, at, (1, 1, 1))
        new = lax.dynamic_slice(value, (h, lane), (1, 1))[None]
        return lax.dynamic_update_slice(flat, combine(old, new), at)

    def update_step(h: Array, flat: Array) -> Array:
        update_lane = lambda lane, flat: update_cell(h, lane, flat)  # noqa: E731
        return lax.fori_loop(zero, jnp.int32(flat.shape[2]), update_lane, flat)

    flat = lax.fori_loop(zero, jnp.int32(table.shape[0]), update_step, flat)
    return flat.reshape(table.shape[:2] + lanes)


def where_lane(condition: Array, yes: _T, no: _T) -> _T:
    """Tree-wise `where` for a condition over lanes, [...], and leaves [..., *lanes]."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), yes, no)


@pytree
class Lifted:
    """A user's agent, written for one pair without lanes, made to run over lanes.

    Each method of `agent` is mapped over the trailing axes with `jax.vmap`, and so are those of its
    fields that have lanes. Right, and slower than an agent written over lanes; `lift` makes one.
    """

    agent: Any
    num_words: int = static(default=1)

    def init(self, spec: Any) -> Any:
        """The wrapped agent's initial state, in every lane."""
        alone = spec._replace(lanes=())
        return self._over_lanes(lambda agent, _: agent.init(alone))(jnp.zeros(spec.lanes))

    def begin(self, state: Any, contract: Any) -> Any:
        """`agent.begin`, lane by lane."""
        begin = lambda agent, contract, state: agent.begin(state, contract)  # noqa: E731
        return self._over_lanes(begin, contract.target.ndim - 2)(contract, state)

    def act(self, state: Any, h: Array, s: Array, words: Array) -> tuple[Array, Any]:
        """`agent.act`, lane by lane; `h` is shared."""
        act = lambda agent, s, state, words: agent.act(state, h, s, words)  # noqa: E731
        return self._over_lanes(act)(s, state, words)

    def update(self, state: Any, episode: Any, memo: Any) -> Any:
        """`agent.update`, lane by lane."""
        update = lambda agent, episode, state, memo: agent.update(state, episode, memo)  # noqa: E731
        return self._over_lanes(update, episode.actions.ndim - 1)(episode, state, memo)

    def _over_lanes(self, function: Any, num_lane_axes: int | None = None) -> Any:
        """`function(agent, *args)` of one pair, as a function of args with lanes.

        The number of lane axes is that of the first argument, unless given.
        """
        has_lanes = map_with_rank(
            lambda leaf, rank: -1 if jnp.ndim(leaf) > rank else None, self.agent
        )

        def mapped(first: Any, *rest: Any) -> Any:
            lane_axes = first.ndim if num_lane_axes is None else num_lane_axes
            over = function
            for _ in range(lane_axes):
                over = jax.vmap(over, (has_lanes, *(-1,) * (1 + len(rest))), -1)
            return over(self.agent, first, *rest)

        return mapped


def lift(agent: Any) -> Lifted:
    """Run an agent written for one pair (arrays without lanes) in the engine."""
    return Lifted(agent=agent, num_words=agent.num_words)
