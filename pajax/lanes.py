"""Small array operations over trailing lanes.

Every array of pajax has its game axes first (`h, s, a, s'`) and *lanes* last: one entry for each
simulated pair. All functions here are written over the leading axes and leave whatever trails
alone, so one definition is the readable code for a single pair (no lane axis), the fast batch, and
still goes through `jax.vmap`.

Why not scatters, sorts, or plain reductions? On the CPU XLA compiles a loop nest to one kernel only
if it holds none of them, which is worth a factor of three; and their order of additions may depend
on the batch, which would break bitwise equality of a lane with the pair simulated alone. Also where
neither matters a plain reduction over leading axes becomes a loop for each lane: `maximum` and
`total` go axis by axis.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from pajax import _checks
from pajax._pytree import is_part, map_with_rank, pytree, static

#: Up to this many entries a look-up is a chain of selects, above it a gather.
CHAIN_LIMIT = 8
#: Up to this many terms a sum is a tree, above it a loop.
TREE_LIMIT = 32
#: Up to this many cells a write compares all of them, above it it loops over single cells, ...
ONE_HOT_LIMIT = 40
#: ... so many lanes in one pass.
LOOP_LANES = 8

_T = TypeVar("_T")


def at_step(table: Array, h: Array | int) -> Array:
    """`table[h]`, or `table[0]` when the leading axis says that the table is stationary.

    Args:
      table: [T, ...], T either 1 or H.
      h: the step, a scalar.
    """
    if table.shape[0] == 1:
        return table[0]
    return lax.dynamic_index_in_dim(table, h, 0, keepdims=False)


def lookup(table: Array, index: Array, axis: int = 0) -> Array:
    """`table[index]` along an axis, lane by lane, [...].

    Args:
      table: [N, ...], with N at `axis`.
      index: int32 [...], in 0..N - 1; not checked.
      axis: the one that is looked up.
    """
    if table.shape[axis] > CHAIN_LIMIT:
        index = jnp.broadcast_to(index, table.shape[:axis] + table.shape[axis + 1 :])
        index = jnp.expand_dims(index, axis)
        found = jnp.take_along_axis(table, index, axis, mode="promise_in_bounds")
        return found.squeeze(axis)
    found, *others = slices(table, axis)
    for i, entry in enumerate(others, start=1):
        found = jnp.where(index == i, entry, found)
    return found


def slices(values: Array, axis: int = 0) -> list[Array]:
    """`values` cut along an axis, which a transpose would copy first: N arrays [...].

    Args:
      values: [N, ...], with N at `axis`.
      axis: the one that is cut.
    """
    cut = functools.partial(lax.index_in_dim, values, axis=axis, keepdims=False)
    return [cut(i) for i in range(values.shape[axis])]


def cells(sizes: tuple[int, ...], *index: Array) -> Array:
    """The number of cell (h, *index[h]) in a table [H, *sizes, ...]: int32 [H, lanes].

    Args:
      sizes: of the table's axes after the first, such as (S, A).
      index: for each of them int32 [H, lanes].

    Raises:
      ValueError: there are not as many indices as sizes.
    """
    steps = jnp.arange(index[0].shape[0], dtype=jnp.int32)
    number = steps.reshape((-1,) + (1,) * (index[0].ndim - 1))
    for size, i in zip(sizes, index, strict=True):
        number = number * size + i
    return once(number)


def flat(table: Array, num_axes: int = 3) -> Array:
    """A table with its first axes as one, [N, lanes], in the order of `cells`.

    Look-ups need a table that is stored like this: a reshape inside the loop would be undone by
    XLA, at the price of dividing every index.

    Args:
      table: such as [H, S, A, lanes].
      num_axes: how many axes become one.
    """
    return table.reshape((-1, *table.shape[num_axes:]))


def read(table: Array, cell: Array) -> Array:
    """`table[cell]` lane by lane, [H, lanes].

    Args:
      table: flat, [N, lanes].
      cell: int32 [H, lanes], as made by `cells`; not checked.
    """
    if table.shape[0] <= CHAIN_LIMIT:
        return once(lookup(table[:, None], cell))
    return once(table.at[(cell, *_lane_index(table.shape[1:]))].get(mode="promise_in_bounds"))


def row(table: Array, h: Array, s: Array, sizes: tuple[int, ...]) -> Array:
    """Row (h, s) of a flat table, [A, lanes].

    Args:
      table: [H * S * A, lanes].
      h: the step, a scalar.
      s: the state, int32 [lanes].
      sizes: (S, A).
    """
    states, actions = sizes
    if states <= CHAIN_LIMIT:
        rows = lax.dynamic_slice_in_dim(table, h * (states * actions), states * actions)
        return once(lookup(rows.reshape((states, actions, *table.shape[1:])), s))
    columns = jnp.arange(actions, dtype=jnp.int32).reshape((-1,) + (1,) * s.ndim)
    return read(table, (h * states + s) * actions + columns)


def once(x: _T) -> _T:
    """`x`, made once, however many readers it has.

    XLA on the CPU would rather repeat cheap arithmetic in every reader than store it, even where
    the reader is a table of which each cell asks again. What enters a loop it must store, and a
    loop of no passes, whose number of passes it cannot see, changes nothing.

    Args:
      x: an array or a tree of arrays.
    """

    def store(x: _T) -> _T:
        no_passes = lax.optimization_barrier(jnp.int32(0))
        overwrite = lambda _, x: jax.tree.map(jnp.zeros_like, x)  # noqa: E731
        return lax.fori_loop(jnp.int32(0), no_passes, overwrite, x)

    return lax.platform_dependent(x, cpu=store, default=lambda x: x)


def argmax(values: Array, axis: int = 0) -> tuple[Array, Array]:
    """First maximiser along an axis and its value: int32 [...], [...].

    Args:
      values: [N, ...], with N at `axis`.
      axis: the one that is maximised over.
    """
    best, *others = slices(values, axis)
    index = jnp.zeros(best.shape, jnp.int32)
    for i, value in enumerate(others, start=1):
        better = value > best
        index, best = jnp.where(better, i, index), jnp.where(better, value, best)
    return index, best


def maximum(values: Array, axis: int = 0) -> Array:
    """Maximum along an axis, [...].

    Args:
      values: [N, ...], with N at `axis`.
      axis: the one that is maximised over.
    """
    return functools.reduce(jnp.maximum, slices(values, axis))


def total(values: Array, axis: int = 0) -> Array:
    """Sum along an axis, in an order that depends on its length alone, [...].

    Args:
      values: [N, ...], with N at `axis`.
      axis: the one that is summed over.
    """
    if values.shape[axis] > TREE_LIMIT:
        return dot(None, jnp.moveaxis(values, axis, 0))
    terms = slices(values, axis)
    while len(terms) > 1:
        half, is_odd = divmod(len(terms), 2)
        pairs = [x + y for x, y in zip(terms[:half], terms[half : 2 * half], strict=True)]
        terms = [*pairs[:-1], pairs[-1] + terms[-1]] if is_odd else pairs
    return terms[0]


def dot(weights: Array | None, tables: _T) -> _T:
    """Sums of weights * table over the first axis, row by row, [...] each.

    Args:
      weights: [N, ...], or None for ones.
      tables: [N, ...], or a tree of such, summed in one pass.
    """

    def add_row(n: Array, sums: _T) -> _T:
        at = lambda table: lax.dynamic_index_in_dim(table, n, 0, keepdims=False)  # noqa: E731
        if weights is None:
            return jax.tree.map(lambda sum, table: sum + at(table), sums, tables)
        weight = at(weights)
        return jax.tree.map(lambda sum, table: sum + product(weight, at(table)), sums, tables)

    num_rows = jax.tree.leaves(tables)[0].shape[0]
    zeros = jax.tree.map(lambda table: jnp.zeros(table.shape[1:], table.dtype), tables)
    return lax.fori_loop(jnp.int32(0), jnp.int32(num_rows), add_row, zeros)


def product(x: Array, y: Array) -> Array:
    """The product x * y, rounded by itself, for sums that contain products.

    A compiler may fuse a product into the addition that follows, without rounding it, and does or
    does not by what else is near: by the shape of the batch, or in vector code and not in its
    scalar rest. The maximum, which changes no number, stands in between.

    Args:
      x: floats.
      y: floats, broadcast against `x`.
    """
    return jnp.maximum(x * y, jnp.finfo(x.dtype).min)


def one_hot(index: Array, size: int, axis: int) -> Array:
    """Booleans with a new axis of length `size` at `axis`, true where it equals `index`.

    Args:
      index: int32 [...].
      size: N, of the new axis.
      axis: where it is, at least 0.
    """
    positions = jnp.arange(size, dtype=jnp.int32)
    return jnp.expand_dims(index, axis) == positions.reshape((-1,) + (1,) * (index.ndim - axis))


def write(tables: _T, cell: Array, values: _T) -> _T:
    """`table[cell[h]] = value[h]` for every h, in one table or several at once.

    Args:
      tables: [H, N, M, ..., lanes], flat or not, or a tree of such, with equally many cells.
      cell: int32 [H, lanes], as made by `cells`.
      values: [H, lanes], or a tree of such.

    Returns:
      The new tables, of the same shapes.
    """
    return _update(tables, cell, values, "set")


def add(tables: _T, cell: Array, values: _T) -> _T:
    """`table[cell[h]] += value[h]` for every h, in one table or several at once.

    Args:
      tables: [H, N, M, ..., lanes], flat or not, or a tree of such, with equally many cells.
      cell: int32 [H, lanes], as made by `cells`.
      values: [H, lanes], or a tree of such.

    Returns:
      The new tables, of the same shapes.
    """
    return _update(tables, cell, values, "add")


def _update(tables: _T, cell: Array, values: _T, how: str) -> _T:
    num_cells = jax.tree.leaves(tables)[0].size // cell.size
    if num_cells <= ONE_HOT_LIMIT:
        return jax.tree.map(
            lambda table, value: _update_one_hot(table, cell, value, how), tables, values
        )
    flattened = jax.tree.map(lambda table: table.reshape((-1, *cell.shape[1:])), tables)
    updated = lax.platform_dependent(
        flattened,
        cell,
        values,
        cpu=functools.partial(_update_by_loop, how=how),
        default=functools.partial(_update_by_scatter, how=how),
    )
    return jax.tree.map(lambda new, old: new.reshape(old.shape), updated, tables)


def _update_one_hot(table: Array, cell: Array, value: Array, how: str) -> Array:
    """Compares all cells of a step; in the table's own shape, since a reshape would copy it."""
    lanes, num_cells = cell.shape[1:], table.size // cell.size

    def spread(x: Array) -> Array:
        shape = (cell.shape[0], num_cells, *lanes)
        return jnp.broadcast_to(x[:, None], shape).reshape(table.shape)

    # rows of the last axis begin at `first`; all numbers as one array would be kept in memory
    *ahead, width = table.shape[: table.ndim - len(lanes)]
    first = jnp.arange(math.prod(ahead), dtype=jnp.int32).reshape((*ahead, *(1,) * (cell.ndim)))
    is_cell = spread(cell) - first * width == _iota(table.shape, len(ahead))
    new = table + spread(value) if how == "add" else spread(value)
    return jnp.where(is_cell, new, table)


def _update_by_scatter(tables: _T, cell: Array, values: _T, *, how: str) -> _T:
    def update(table: Array, value: Array) -> Array:
        at = table.at[(cell, *_lane_index(cell.shape[1:]))]
        put = at.add if how == "add" else at.set
        return put(value, mode="promise_in_bounds", unique_indices=True)

    return jax.tree.map(update, tables, values)


def _update_by_loop(tables: _T, cell: Array, values: _T, *, how: str) -> _T:
    """Loops over single cells, a few lanes a pass; a scatter would break the fused loop nest."""
    horizon = cell.shape[0]
    as_matrix = lambda x: x.reshape((x.shape[0], -1))  # noqa: E731
    matrices, values, cell = jax.tree.map(as_matrix, (tables, values, cell))
    lanes = cell.shape[1]
    # unsigned indices are not checked for being negative
    entry = lambda x, at: lax.dynamic_slice(x, _unsigned(at), (1, 1))  # noqa: E731

    def update_cell(h: Array, lane: Array, matrices: _T) -> _T:
        at = _unsigned((entry(cell, (h, lane))[0, 0], lane))

        def update(table: Array, value: Array) -> Array:
            new = entry(value, (h, lane))
            new = entry(table, at) + new if how == "add" else new
            return lax.dynamic_update_slice(table, new, at)

        return jax.tree.map(update, matrices, values)

    def update_step(h: Array, matrices: _T) -> _T:
        def update_some(i: Array, matrices: _T) -> _T:
            for j in range(LOOP_LANES):
                matrices = update_cell(h, i * LOOP_LANES + j, matrices)
            return matrices

        passes, rest = divmod(lanes, LOOP_LANES)
        matrices = lax.fori_loop(jnp.int32(0), jnp.int32(passes), update_some, matrices)
        for lane in range(lanes - rest, lanes):
            matrices = update_cell(h, jnp.int32(lane), matrices)
        return matrices

    matrices = lax.fori_loop(jnp.int32(0), jnp.int32(horizon), update_step, matrices)
    return jax.tree.map(lambda new, old: new.reshape(old.shape), matrices, tables)


def _unsigned(index: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(i.astype(jnp.uint32) for i in index)


def _lane_index(lanes: tuple[int, ...]) -> tuple[Array, ...]:
    """An index for each axis of lanes, which picks each lane's own entries."""
    return tuple(_iota(lanes, axis) for axis in range(len(lanes)))


def _iota(shape: tuple[int, ...], axis: int) -> Array:
    return lax.broadcasted_iota(jnp.int32, shape, axis)


def when(condition: Array, function: Callable[..., _T], x: _T, *inputs: Any) -> _T:
    """`function(x, *inputs)` where a scalar condition holds, else `x`.

    As a loop of one pass or none, which, unlike a conditional, does not keep XLA from compiling
    the whole loop nest to one kernel. Work that depends on neither `x` nor `inputs` XLA moves out
    of the loop, where it is done in any case.

    Args:
      condition: bool, a scalar.
      function: returns a tree with the shapes and types of `x`.
      x: a tree of arrays.
      inputs: further arguments of the function, trees of arrays.
    """

    def once_more(i: Array, x: _T) -> _T:
        _, arguments = lax.optimization_barrier((i, (x, *inputs)))
        return function(*arguments)

    return lax.fori_loop(jnp.int32(0), jnp.asarray(condition, jnp.int32), once_more, x)


def where_lane(condition: Array, yes: _T, no: _T) -> _T:
    """Tree-wise `where` for a condition over lanes.

    Args:
      condition: bool [lanes].
      yes: a tree of arrays [..., lanes].
      no: the same, taken where the condition does not hold.
    """
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), yes, no)


@pytree
class Lifted:
    """A user's agent, written for one pair without lanes, made to run over lanes.

    Each method of `agent` is mapped over the trailing axes with `jax.vmap`, and so are those of its
    fields that have lanes. Right, and slower than an agent written over lanes; `lift` makes one.

    Attributes:
      agent: the wrapped agent, an object made by `pajax.pytree`.
      num_words: how many random words its `act` gets a step.
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
    """Run an agent written for one pair (arrays without lanes) in the engine.

    Args:
      agent: a `pajax.protocols.Agent`, made by `pajax.pytree`.

    Raises:
      ValueError: it is no object of such a class.
    """
    rule = "be an object of a class made by pajax.pytree"
    _checks.require(is_part(agent), "agent", repr(agent), rule)
    return Lifted(agent=agent, num_words=agent.num_words)
