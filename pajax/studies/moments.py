"""Moments and quantiles of many runs, in memory that does not grow with their number.

A run is an array of any one shape, say variables x checkpoints; each place in it is an *entry*. A
`Moments` says of every entry how many runs have a value there and what their mean, standard
deviation and quantiles are. It holds integers only, so merging is exact, commutative and
associative: runs split into blocks in any way, merged in any order, give the same bits.

**Values.** A value x with |x| < 2^40 counts, as the whole number X of quanta of 2^-20 that is
nearest (ties to even): |X| < 2^60, and X 2^-20 is within 2^-21 of x. Any other value (NaN, an
infinity, or too large) is left out, and counted apart.

**Sums.** sum X and sum X^2 are kept whole, in limbs of 30 bits: the number sum_i limb_i 2^(30 i),
where each limb lies in [0, 2^30) but for the last, which has the sign and is at most the number of
runs. This form is unique. With X = A 2^30 + B and 0 <= B < 2^30,

    X^2 = A^2 2^60 + 2 A B 2^30 + B^2,

where no product exceeds 2^61; each is cut in two limbs before it is added up. One call takes up
to 2^31 runs, merging any number up to 2^63 / entries.

**Quantiles.** Each octave 2^e <= |x| < 2^(e+1) of 2^-20 <= |x| < 2^40 has 32 bins of equal width,
on either side of 0; one bin has |x| < 2^-20. The bin is read from the exponent and the first five
bits of the mantissa, so edges are exact and the same on every machine. Bins are in the order of
values, so adding up their counts finds the bin of the value v of any rank. The estimate is the
bin's midpoint, or the lowest or highest X 2^-20 of the sample where the midpoint lies beyond it.

    |estimate - v| <= max(|v| / 64, 2^-20)

Proof. A bin of the octave from 2^e is 2^e / 32 wide, so its midpoint is within 2^e / 64 <= |v| / 64
of v; the midpoint 0 of the central bin is within 2^-20. Moving an estimate to the lowest (or
highest) X 2^-20 brings it closer to v, unless v lies beyond: by rounding alone, hence by at most
2^-21. Equal values have their X 2^-20 for every quantile.

Relatives: HdrHistogram (Gil Tene), which has such bins, and DDSketch, whose bins have equal ratios
(Masson, Rim, Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees").
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pajax import _checks

Integers = NDArray[np.int64]

#: Values are rounded to multiples of this, and count if they are below that in size.
QUANTUM, TOO_LARGE = 2.0**-20, 2.0**40
#: No rounded value reaches this number of quanta.
_BEYOND = 2**60
_LIMB_BITS = 30
_SUM_LIMBS, _SQUARE_LIMBS = 3, 5
#: The last bits of a float64, without sign, exponent and the first five of the mantissa; and what
#: exponent and five bits are just below 2^-20.
_REST_BITS, _CENTRAL_KEY = 47, ((1023 - 20) << 5) - 1
#: Bins are numbered from -1920 to 1920, in the order of values; +-1921 is what is left out.
_LEFT_OUT = 60 * 32 + 1
#: The code of a bin is entry * _ROW + _MIDDLE + bin.
_ROW, _MIDDLE = 4096, 2048
#: Values of a tile, whose temporaries shall stay in the cache; entries whose bins are counted
#: together, in 32 MiB.
_TILE, _GROUP = 2**14, 1024


class Moments(NamedTuple):
    """What many runs amount to, entry by entry; int64, to be stored as they are.

    `np.savez(file, **moments._asdict())` writes one, `Moments(**archive)` has it back.
    """

    num_counted: Integers  # [...], values that count
    num_left_out: Integers  # [...], values that are not finite or too large
    lowest: Integers  # [...], in quanta; 2^60 without a value
    highest: Integers  # [...], in quanta; -2^60 without a value
    sums: Integers  # [3, ...], limbs of the sum, in quanta
    squares: Integers  # [5, ...], limbs of the sum of squares, in squared quanta
    bin_codes: Integers  # [bins in use], increasing: 4096 entry + 2048 + bin
    bin_counts: Integers  # [bins in use], values in the bin, above 0


def empty(shape: tuple[int, ...]) -> Moments:
    """Moments of no runs, of values of this shape."""
    return summarise(np.zeros((0, *shape)))


def summarise(values: ArrayLike) -> Moments:
    """Moments of runs [run, ...], whose values are arrays of any shape.

    Besides the result it takes some 40 MB, whatever the number of runs, and a copy of the values if
    their array is not contiguous.

    Raises:
      ValueError: `values` has no axis of runs, or is not of real numbers.
    """
    values = np.asarray(values)
    _checks.require(values.ndim > 0, "values", "a number", "have a first axis, of runs")
    _checks.require(values.dtype.kind in "biuf", "values", values.dtype, "be real numbers")
    num_runs, *shape = values.shape
    runs = values.reshape(num_runs, math.prod(shape))
    groups = [
        _summarise_group(runs[:, first : first + _GROUP], first)
        for first in range(0, max(1, runs.shape[1]), _GROUP)
    ]
    *by_entry, codes, counts = (np.concatenate(x, axis=-1) for x in zip(*groups, strict=True))
    shaped = [field.reshape((*field.shape[:-1], *shape)) for field in by_entry]
    return Moments(*shaped, bin_codes=codes, bin_counts=counts)


def merge(first: Moments, *others: Moments) -> Moments:
    """Moments of all their runs together; order and grouping do not matter, to the bit.

    Raises:
      ValueError: they are of values of different shapes.
    """
    shape = first.num_counted.shape
    for other in others:
        found = other.num_counted.shape
        _checks.require(found == shape, "others", f"shape {found}", f"have shape {shape}")
    parts = (first, *others)

    def over(reduction: Callable[..., Any], name: str) -> Integers:
        return np.asarray(reduction([getattr(part, name) for part in parts], axis=0))

    codes, inverse = np.unique(
        np.concatenate([part.bin_codes for part in parts]), return_inverse=True
    )
    counts = np.zeros(len(codes), np.int64)
    np.add.at(counts, inverse, np.concatenate([part.bin_counts for part in parts]))
    return Moments(
        num_counted=over(np.sum, "num_counted"),
        num_left_out=over(np.sum, "num_left_out"),
        lowest=over(np.min, "lowest"),
        highest=over(np.max, "highest"),
        sums=_carry(over(np.sum, "sums")),
        squares=_carry(over(np.sum, "squares")),
        bin_codes=codes,
        bin_counts=counts,
    )


def mean(moments: Moments) -> NDArray[np.float64]:
    """Mean [...] of the values that count; NaN where there is none.

    It is the mean of the rounded values, correctly rounded to float64; before that rounding it is
    within 2^-21 of the mean of the values.
    """
    numbers = moments.num_counted.ravel().tolist()
    means = _quotients(_integers(moments.sums), numbers) * QUANTUM
    return means.reshape(moments.num_counted.shape)


def standard_deviation(moments: Moments) -> NDArray[np.float64]:
    """Standard deviation [...] of the values that count, with n - 1; NaN where n < 2.

    sqrt((n sum X^2 - (sum X)^2) / (n (n - 1))) of the rounded values, whole numbers up to the
    division, so nothing cancels. Before roundings to float64, it is within 2^-21 sqrt(n / (n - 1))
    of that of the values.
    """
    numbers = moments.num_counted.ravel().tolist()
    sums, squares = _integers(moments.sums), _integers(moments.squares)
    spreads = [n * q - s * s for n, s, q in zip(numbers, sums, squares, strict=True)]
    variances = _quotients(spreads, [n * (n - 1) for n in numbers])
    return (np.sqrt(variances) * QUANTUM).reshape(moments.num_counted.shape)


def quantiles(moments: Moments, q: ArrayLike) -> NDArray[np.float64]:
    """Estimated quantiles [..., q], or [...] for a single q; NaN where no value counts.

    The q-quantile of n values is the one of rank max(1, ceil(q n)) in increasing order, q being
    the decimal that it is written as: the median of four values is the second. The estimate is
    within 1/64 of it relatively, or within 2^-20.

    Raises:
      ValueError: a `q` lies outside [0, 1].
    """
    q = _checks.in_range("q", q, 0.0, 1.0)
    number = moments.num_counted.reshape(-1, 1)
    earlier = np.cumsum(number, axis=0) - number
    ranks = _ranks(number.ravel().tolist(), q)
    at = np.searchsorted(np.cumsum(moments.bin_counts), earlier + ranks)
    codes = np.append(moments.bin_codes, _MIDDLE)  # looked up where no value counts
    midpoints = _midpoints(codes[at] % _ROW - _MIDDLE)
    lowest, highest = (x.reshape(-1, 1) * QUANTUM for x in (moments.lowest, moments.highest))
    estimates = np.where(number > 0, np.clip(midpoints, lowest, highest), np.nan)
    return estimates.reshape((*moments.num_counted.shape, *q.shape))


def _summarise_group(runs: np.ndarray, first_entry: int) -> Moments:
    """Moments of runs [run, entry], with codes that count entries from `first_entry`."""
    bins = _histogram(runs)
    outside = [_MIDDLE - _LEFT_OUT, _MIDDLE + _LEFT_OUT]
    num_left_out = bins[:, outside].sum(1)
    bins[:, outside] = 0
    codes = np.flatnonzero(bins)
    return Moments(
        len(runs) - num_left_out,
        num_left_out,
        *_totals(runs),
        bin_codes=codes + first_entry * _ROW,
        bin_counts=bins.ravel()[codes],
    )


def _histogram(runs: np.ndarray) -> Integers:
    """Values in each bin, [entry, _ROW]."""
    counts = np.zeros(runs.shape[1] * _ROW, np.int64)
    centres = np.arange(runs.shape[1]) * _ROW + _MIDDLE
    for tile in _tiles(runs):
        np.add.at(counts, (_bins(tile) + centres).ravel(), 1)
    return counts.reshape(-1, _ROW)


def _totals(runs: np.ndarray) -> tuple[Integers, Integers, Integers, Integers]:
    """Lowest and highest [entry], sums and squares [limb, entry] of the values that count."""
    num_entries = runs.shape[1]
    lowest = np.full(num_entries, _BEYOND, np.int64)
    highest = -lowest
    sums = np.zeros((_SUM_LIMBS, num_entries), np.int64)
    squares = np.zeros((_SQUARE_LIMBS, num_entries), np.int64)
    for tile in _tiles(runs):
        is_counted = np.abs(tile) < TOO_LARGE
        quanta = np.rint(np.where(is_counted, tile, 0.0) / QUANTUM).astype(np.int64)
        np.minimum(lowest, np.where(is_counted, quanta, _BEYOND).min(0), out=lowest)
        np.maximum(highest, np.where(is_counted, quanta, -_BEYOND).max(0), out=highest)
        high, low = _halves(quanta)
        _add(sums, 0, quanta)
        _add(squares, 0, low * low)
        _add(squares, 1, 2 * high * low)
        _add(squares, 2, high * high)
    return lowest, highest, _carry(sums), _carry(squares)


def _tiles(runs: np.ndarray) -> Iterator[NDArray[np.float64]]:
    """The runs, some whole ones at a time."""
    num_runs = max(1, _TILE // max(1, runs.shape[1]))
    for first in range(0, len(runs), num_runs):
        yield np.asarray(runs[first : first + num_runs], np.float64)


def _bins(values: NDArray[np.float64]) -> Integers:
    """The bin of each value, from its bits; NaN and infinities have the bits of large numbers."""
    bits = values.view(np.int64)
    sign = bits >> 63
    sizes = ((bits & np.iinfo(np.int64).max) >> _REST_BITS) - _CENTRAL_KEY
    np.clip(sizes, 0, _LEFT_OUT, out=sizes)
    return (sizes ^ sign) - sign


def _midpoints(bins: Integers) -> NDArray[np.float64]:
    """The midpoint of each bin: the bits of its lower edge, and the next one of the mantissa."""
    bits = ((np.abs(bins) + _CENTRAL_KEY) << _REST_BITS) + (1 << (_REST_BITS - 1))
    return np.where(bins == 0, 0.0, np.copysign(bits.view(np.float64), bins))


def _halves(numbers: Integers) -> tuple[Integers, Integers]:
    """A and B of numbers A 2^30 + B with 0 <= B < 2^30."""
    return numbers >> _LIMB_BITS, numbers & ((1 << _LIMB_BITS) - 1)


def _add(limbs: Integers, at: int, numbers: Integers) -> None:
    """Add the sum of numbers [run, ...] to limbs [limb, ...] from limb `at`, without a carry."""
    high, low = _halves(numbers)
    limbs[at] += low.sum(0)
    limbs[at + 1] += high.sum(0)


def _carry(limbs: Integers) -> Integers:
    """The same number, each limb in [0, 2^30) but for the last."""
    limbs = limbs.copy()
    for at in range(len(limbs) - 1):
        high, limbs[at] = _halves(limbs[at])
        limbs[at + 1] += high
    return limbs


def _integers(limbs: Integers) -> list[int]:
    """The numbers that limbs [limb, ...] stand for."""
    rows = limbs.reshape(len(limbs), -1).T.tolist()
    return [sum(limb << (_LIMB_BITS * at) for at, limb in enumerate(row)) for row in rows]


def _quotients(numerators: list[int], denominators: list[int]) -> NDArray[np.float64]:
    """Quotients of whole numbers, correctly rounded; NaN where the denominator is 0."""
    pairs = zip(numerators, denominators, strict=True)
    return np.array([a / b if b else math.nan for a, b in pairs], np.float64)


def _ranks(numbers: list[int], q: NDArray[np.float64]) -> Integers:
    """max(1, ceil(q n)) as [entry, q], exactly: rank 7 for 7 % of 100, not 8."""
    shares = [Fraction(str(x)) for x in q.ravel().tolist()]
    ranks = [[max(1, math.ceil(n * share)) for share in shares] for n in numbers]
    return np.array(ranks, np.int64).reshape(len(numbers), len(shares))
