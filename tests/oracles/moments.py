"""Moments and quantiles of one sample in Python's whole numbers and fractions, value by value.

Source: the docstring of pajax.studies.moments (quanta, limbs, bins, ranks).
"""

import math
import statistics
from collections import Counter
from fractions import Fraction


def counted(sample):
    """The values that count, as fractions."""
    return [Fraction(x) for x in map(float, sample) if math.isfinite(x) and abs(x) < 2**40]


def quanta(sample):
    """The values that count, as the nearest whole numbers of 2^-20, ties to even."""
    return [round(x * 2**20) for x in counted(sample)]


def limbs(number, how_many):
    """`number` as limbs of 30 bits, the last of which takes the rest and the sign."""
    found = []
    for _ in range(how_many - 1):
        number, limb = divmod(number, 2**30)
        found.append(limb)
    return [*found, number]


def bin_of(x):
    """0 for |x| < 2^-20, else +-(1 + 32 octaves above 2^-20 + 32nds of the octave)."""
    size = abs(x)
    if size < Fraction(1, 2**20):
        return 0
    octave = 0
    while size >= Fraction(2 ** (octave + 1), 2**20):
        octave += 1
    share = size / Fraction(2**octave, 2**20) - 1
    place = 1 + 32 * octave + math.floor(32 * share)
    return place if x > 0 else -place


def bins(sample):
    """Number of values by bin, in the order of bins."""
    return dict(sorted(Counter(bin_of(x) for x in counted(sample)).items()))


def mean(sample):
    """Mean of the rounded values, rounded once more; NaN where there is none."""
    numbers = quanta(sample)
    return float(Fraction(sum(numbers), len(numbers) * 2**20)) if numbers else math.nan


def standard_deviation(sample):
    """The root of the exact variance of the rounded values; NaN of fewer than two."""
    numbers = [Fraction(number, 2**20) for number in quanta(sample)]
    return math.sqrt(float(statistics.variance(numbers))) if len(numbers) > 1 else math.nan


def value_of_rank(sample, q):
    """The value that counts of rank max(1, ceil(q n)), q as the decimal it is written as."""
    ordered = sorted(counted(sample))
    return float(ordered[max(1, math.ceil(Fraction(str(q)) * len(ordered))) - 1])
