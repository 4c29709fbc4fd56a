"""Scalar loops compiled by numba, one pair after the other: the competitor to beat on a CPU.

Written to be as fast as such loops get while every number drawn stays honest: two to three times
`numba_plain`. What counts, found by trying each:

- sizes are constants of the compiled code, and tables are flat: one cell number indexes them all;
- probabilities are 32-bit thresholds, so that a random word is compared as it comes;
- above a few states the next state comes from an alias table, not from a scan;
- LLVM is told not to turn selects into branches, which no processor could predict here;
- the best action of the next state, needed to learn, is carried over as the next step's action.

Random words are xoroshiro128+ (Blackman and Vigna, 2018), two 64-bit words a step, one generator
for each pair. Pairs go over threads in contiguous parts; the tables of a thread are its own.
"""

import functools
import platform
from typing import Any, NamedTuple

import llvmlite.binding
import numba
import numpy as np
from numba import float32, int32, int64, njit, prange, uint32, uint64
from workload import Curves, Workload

from . import EPSILON, first_bonus, initial_values, value_bounds

#: Up to this many states the CDF is scanned, above it alias tables are faster.
SCAN_LIMIT = 4
#: Contiguous parts that the pairs are split into, at most.
NUM_PARTS = 64

_GOLDEN, _MIX_1, _MIX_2 = (
    np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)

if platform.machine() == "x86_64":
    # the branches it would make depend on random numbers: half the speed at the larger sizes
    llvmlite.binding.set_option("numba_loops", "-x86-cmov-converter=false")


class Tables(NamedTuple):
    """All games, flat [G, N]; or one of them, [N]."""

    initial: np.ndarray  # CDF or alias table
    transition: np.ndarray  # likewise, S entries for each cell s * A + a
    agent_reward: np.ndarray  # thresholds
    principal_reward: np.ndarray  # thresholds
    transfer: np.ndarray
    welfare_gap: np.ndarray
    start: np.ndarray  # Q before the first episode
    bound: np.ndarray


def simulate(workload: Workload, algorithm: str, seed: int = 0, threads: int = 1) -> Curves:
    """All pairs, on one thread or several."""
    kernel = _kernel(*workload.sizes, algorithm, threads > 1)
    numba.set_num_threads(threads)
    prepare = _cumulative if workload.sizes[0] <= SCAN_LIMIT else _alias_tables
    tables = Tables(
        initial=prepare(workload.initial[:, None]),
        transition=prepare(workload.transition),
        agent_reward=_flat(_threshold(workload.agent_reward)),
        principal_reward=_flat(_threshold(workload.principal_reward)),
        transfer=_flat(workload.transfer),
        welfare_gap=_flat(workload.welfare_gap),
        start=_flat(initial_values(workload, algorithm)),
        bound=value_bounds(workload),
    )
    curves = np.empty((workload.num_pairs, len(workload.checkpoints), 3))
    bonus, origin = np.float32(first_bonus(workload)), np.uint64(seed)
    kernel(tables, bonus, workload.num_seeds, workload.checkpoints, origin, curves)
    return Curves(*np.moveaxis(curves, -1, 0))


@functools.cache
def _kernel(states: int, actions: int, horizon: int, algorithm: str, is_parallel: bool) -> Any:
    """The compiled loop over pairs for given sizes."""
    play_pair = _pair_player(states, actions, horizon, algorithm == "ucb-q")
    num_cells = horizon * states * actions

    def play_all(tables, bonus, num_seeds, checkpoints, seed, curves):
        num_pairs = len(curves)
        num_parts = min(NUM_PARTS, num_pairs)
        for part in prange(num_parts):
            values = np.empty(num_cells + states * actions, np.float32)
            visits = np.empty(num_cells, np.float32)
            for pair in range(part * num_pairs // num_parts, (part + 1) * num_pairs // num_parts):
                game = _game(tables, pair // num_seeds)
                _copy(game.start, values)
                _fill(visits, float32(0.0))
                rng = generator(seed, uint64(pair))
                play_pair(game, bonus, checkpoints, rng, values, visits, curves[pair])

    return njit(play_all, parallel=is_parallel)


def _pair_player(states: int, actions: int, horizon: int, is_ucb: bool) -> Any:
    """The compiled run of one pair, from Q = `values` and no `visits`."""
    cells = states * actions
    first_best, explore = _first_best(actions), _explore(actions)
    next_state = _scan(states) if states <= SCAN_LIMIT else _alias(states)
    rate_top, rate_shift = np.float32(horizon + 1), np.float32(horizon)

    @njit(fastmath=True, error_model="numpy")
    def play_pair(game, bonus, checkpoints, rng, values, visits, curves):
        regret, payment, welfare, episode = 0.0, 0.0, 0, 0
        for checkpoint in range(len(checkpoints)):
            while episode < checkpoints[checkpoint]:
                episode += 1
                word, rng = draw(rng)
                s = next_state(game.initial, 0, high(word))
                a, best = first_best(values, s * actions)
                for h in range(horizon):
                    word, rng = draw(rng)
                    other, rng = draw(rng)
                    if not is_ucb:
                        a = explore(a, high(word))
                    cell = s * actions + a
                    here = h * cells + cell
                    u = int64(low(word) < game.agent_reward[cell])
                    v = int64(high(other) < game.principal_reward[cell])
                    s = next_state(game.transition, cell * states, low(other))
                    a, best = first_best(values, (h + 1) * cells + s * actions)
                    n, paid, old = visits[here] + float32(1.0), game.transfer[here], values[here]
                    goal = float32(u) + paid
                    goal += bonus / np.sqrt(n) + min(best, game.bound[h + 1]) if is_ucb else best
                    values[here] = old + rate_top / (rate_shift + n) * (goal - old)
                    visits[here] = n
                    regret += game.welfare_gap[here]
                    payment += paid
                    welfare += u + v
            curves[checkpoint, 0] = regret
            curves[checkpoint, 1] = payment
            curves[checkpoint, 2] = welfare

    return play_pair


def _first_best(actions: int) -> Any:
    """The first maximiser of the row of Q that begins at `row`, and its value."""

    @njit(fastmath=True)
    def first_best(values, row):
        index, best = 0, values[row]
        for i in range(1, actions):
            is_better = values[row + i] > best
            index = i if is_better else index
            best = values[row + i] if is_better else best
        return index, best

    return first_best


def _explore(actions: int) -> Any:
    """The greedy action or, with probability EPSILON, a random one; one word serves for both."""
    threshold = np.uint32(EPSILON * 2.0**32)
    per_action = np.uint64(round(actions / EPSILON))

    @njit
    def explore(greedy, word):
        random = int64((uint64(word) * per_action) >> uint64(32))
        return random if word < threshold else greedy

    return explore


def _scan(states: int) -> Any:
    """The next state by inverse CDF: how many thresholds the word reaches, without a branch."""

    @njit
    def next_state(table, row, word):
        s = int32(0)
        for i in range(states - 1):
            s += int32(word >= table[row + i])
        return int64(s)

    return next_state


def _alias(states: int) -> Any:
    """The next state by alias table: the word times S is a column and a fraction."""

    @njit
    def next_state(table, row, word):
        product = uint64(word) * uint64(states)
        column = int64(product >> uint64(32))
        entry = table[row + column]
        is_kept = (uint32(product) >> uint32(8)) < (entry >> uint32(8))
        return column if is_kept else int64(entry & uint32(255))

    return next_state


@njit
def _game(tables, game):
    """One game's tables. Views made outside the hot loop are worth a third at the small size."""
    return Tables(
        tables.initial[game],
        tables.transition[game],
        tables.agent_reward[game],
        tables.principal_reward[game],
        tables.transfer[game],
        tables.welfare_gap[game],
        tables.start[game],
        tables.bound[game],
    )


@njit
def generator(seed, pair):
    """A pair's state: two outputs of one splitmix64 sequence, which never repeats."""
    place = _mixed(seed) + (uint64(2) * pair + uint64(1)) * _GOLDEN
    return _mixed(place), _mixed(place + _GOLDEN)


@njit
def _mixed(x):
    """The output function of splitmix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> uint64(30))) * _MIX_1
    x = (x ^ (x >> uint64(27))) * _MIX_2
    return x ^ (x >> uint64(31))


@njit
def draw(rng):
    """xoroshiro128+: a 64-bit word and the next state."""
    first, second = rng
    word = first + second
    second ^= first
    first = ((first << uint64(24)) | (first >> uint64(40))) ^ second ^ (second << uint64(16))
    second = (second << uint64(37)) | (second >> uint64(27))
    return word, (first, second)


@njit
def low(word):
    return uint32(word)


@njit
def high(word):
    return uint32(word >> uint64(32))


@njit
def _copy(source, destination):
    for i in range(len(source)):
        destination[i] = source[i]


@njit
def _fill(array, value):
    for i in range(len(array)):
        array[i] = value


def _flat(table: np.ndarray) -> np.ndarray:
    """[G, ...] -> [G, N]."""
    return np.ascontiguousarray(table.reshape(len(table), -1))


def _threshold(probability: np.ndarray) -> np.ndarray:
    """The t such that a random 32-bit word is below t with the given probability."""
    return np.minimum(probability * 2.0**32, 2**32 - 1).astype(np.uint32)


def _cumulative(probabilities: np.ndarray) -> np.ndarray:
    """Thresholds of the CDF over the last axis, flat."""
    return _flat(_threshold(probabilities.cumsum(-1, dtype=np.float64)))


def _alias_tables(probabilities: np.ndarray) -> np.ndarray:
    """Alias tables over the last axis, flat: a 24-bit threshold above an 8-bit alias."""
    rows = probabilities.reshape(-1, probabilities.shape[-1]).astype(np.float64)
    packed = np.empty(rows.shape, np.uint32)
    _fill_alias_tables(rows * rows.shape[-1], packed)
    return packed.reshape(len(probabilities), -1)


@njit
def _fill_alias_tables(masses, packed):
    """Vose's method (1991): each column below 1 is filled up by one above, and closed."""
    size = masses.shape[1]
    waiting = np.empty(size, np.int64)  # columns below 1 on the left, the others on the right
    for row in range(len(masses)):
        mass, below, above = masses[row], 0, size
        for column in range(size):
            packed[row, column] = _packed(1.0, column)
            if mass[column] < 1.0:
                waiting[below] = column
                below += 1
            else:
                above -= 1
                waiting[above] = column
        while below > 0 and above < size:
            low, high = waiting[below - 1], waiting[above]
            packed[row, low] = _packed(mass[low], high)
            mass[high] -= 1.0 - mass[low]
            if mass[high] < 1.0:  # it takes the place of the column just closed
                waiting[below - 1] = high
                above += 1
            else:
                below -= 1


@njit
def _packed(threshold, alias):
    scaled = min(int64(threshold * 2.0**24 + 0.5), int64(2**24 - 1))
    return uint32((scaled << 8) | alias)
