"""pajax.studies.moments: against fractions, however runs are split and merged, up to 2^62 runs."""

import functools
import math
import statistics
import tracemalloc

import numpy as np
import pytest
from oracles import moments as exact

from pajax.studies import moments

LARGEST = 2.0**40 - 2.0**-13  # the float64 before 2^40
TINY = 5e-324
SHARES = [0.0, 1e-9, 0.05, 0.07, 0.25, 0.5, 0.75, 0.95, 0.999, 1.0]

SAMPLES = {
    "one": [3.7],
    "two": [-1.5, 2.25],
    "equal": [0.1] * 9,
    "zeros": [0.0, -0.0, 0.0],
    "ties": [k * 2.0**-21 for k in range(-9, 10)],
    "tiny": [TINY, -TINY, 1e-300, 2.0**-21, -(2.0**-21), 2.0**-20, -(2.0**-20), 3e-7],
    "huge": [LARGEST, -LARGEST, LARGEST, 2.0**39, 1e12, -1e12],
    "cancelling": [2.0**39 + 2.0**-13 * k for k in (0, 1, 1, 3)],
    "left out": [np.nan, np.inf, -np.inf, 2.0**40, -(2.0**40), 1.8e308, -1.8e308, -np.nan],
    "some left out": [np.nan, 5.0, 2.0**40, -7.25, np.inf, 1e300],
    "none": [],
}


def random_sample(seed: int, size: int = 400) -> np.ndarray:
    """Both signs, sizes from 2^-24 to 2^42 (the largest are left out), and some integers."""
    rng = np.random.default_rng(seed)
    sample = rng.choice([-1.0, 1.0], size) * 2.0 ** rng.uniform(-24, 42, size)
    return np.where(rng.random(size) < 0.2, rng.integers(-50, 50, size), sample)


SAMPLES |= {f"random {seed}": random_sample(seed) for seed in range(3)}
each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


def runs_of(*shape: int, seed: int = 0) -> np.ndarray:
    """Runs like those of a study, some values of which are missing."""
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(1.0, 30.0, shape), axis=-1)
    values[rng.random(shape) < 0.02] = np.nan
    return values


def assert_same(found: moments.Moments, wanted: moments.Moments) -> None:
    for name, one, other in zip(found._fields, found, wanted, strict=True):
        assert one.dtype == other.dtype == np.int64, name
        np.testing.assert_array_equal(one, other, err_msg=name)


# the summary of a sample


@each_sample
def test_the_integers_are_those_of_exact_arithmetic(sample):
    found = moments.summarise(sample)
    numbers, bins = exact.quanta(sample), exact.bins(sample)
    assert found.num_counted == len(numbers)
    assert found.num_left_out == len(sample) - len(numbers)
    assert found.lowest == min(numbers, default=2**60)
    assert found.highest == max(numbers, default=-(2**60))
    assert found.sums.tolist() == exact.limbs(sum(numbers), 3)
    assert found.squares.tolist() == exact.limbs(sum(x * x for x in numbers), 5)
    assert found.bin_codes.tolist() == [2048 + place for place in bins]
    assert found.bin_counts.tolist() == list(bins.values())


@each_sample
def test_mean_and_deviation_are_correctly_rounded(sample):
    """Equal, since oracle and library round the same fraction, and its root, once each."""
    found = moments.summarise(sample)
    np.testing.assert_array_equal(moments.mean(found), exact.mean(sample))
    np.testing.assert_array_equal(
        moments.standard_deviation(found), exact.standard_deviation(sample)
    )


def test_mean_and_deviation_are_those_of_the_values_up_to_the_quantum():
    """2^-21 each, sqrt(n / (n - 1)) times so for the deviation; 1e-15 relatively for rounding."""
    for number in (2, 3, 1000):
        sample = np.random.default_rng(number).normal(3.0, 100.0, number)
        found = moments.summarise(sample)
        mean, deviation = math.fsum(sample) / number, statistics.stdev(sample.tolist())
        assert abs(moments.mean(found) - mean) <= 2**-21 + 1e-15 * abs(mean)
        allowed = 2**-21 * math.sqrt(number / (number - 1)) + 1e-15 * deviation
        assert abs(moments.standard_deviation(found) - deviation) <= allowed


def test_entries_keep_to_themselves():
    """More entries than are counted together, more values than a tile holds."""
    runs = runs_of(40, 2, 600)
    found = moments.summarise(runs)
    mean, deviation = moments.mean(found), moments.standard_deviation(found)
    quantiles = moments.quantiles(found, SHARES)
    assert mean.shape == deviation.shape == (2, 600)
    assert quantiles.shape == (2, 600, len(SHARES))
    for at in [(0, 0), (0, 599), (1, 423), (1, 424), (1, 425), (1, 599)]:  # a group ends at 424
        alone = moments.summarise(runs[:, *at])
        assert mean[at] == moments.mean(alone)
        assert deviation[at] == moments.standard_deviation(alone)
        np.testing.assert_array_equal(quantiles[at], moments.quantiles(alone, SHARES))
        assert found.squares[:, *at].tolist() == alone.squares.tolist()


# splitting and merging


@pytest.mark.parametrize("seed", range(4))
def test_any_split_and_any_order_give_the_same_bits(seed):
    rng = np.random.default_rng(seed)
    runs = runs_of(5000, 2, 3, seed=seed)  # a tile has 2730 of them
    whole = moments.summarise(runs)
    cuts = np.sort(rng.integers(0, len(runs) + 1, 9))
    parts = [moments.summarise(x) for x in np.split(rng.permutation(runs), cuts)]
    assert_same(moments.merge(*parts), whole)
    while len(parts) > 1:
        i, j = rng.permutation(len(parts))[:2]
        merged = moments.merge(parts[i], parts[j])
        parts = [part for at, part in enumerate(parts) if at not in (i, j)] + [merged]
    assert_same(parts[0], whole)


@pytest.mark.parametrize("shape", [(), (1,), (4, 5), (0,), (3, 0)])
def test_nothing_adds_nothing(shape):
    some = moments.summarise(runs_of(7, *shape, 1)[..., 0])
    none = moments.empty(shape)
    assert none.num_counted.shape == shape
    assert not none.num_counted.any() and not none.num_left_out.any()
    assert_same(moments.merge(none, none), none)
    assert_same(moments.merge(none, some), some)
    assert_same(moments.merge(some, none), some)
    assert_same(moments.merge(some), some)
    for statistic in (moments.mean, moments.standard_deviation):
        assert np.isnan(statistic(none)).all() and statistic(none).shape == shape


def double(found: moments.Moments, times: int) -> moments.Moments:
    return functools.reduce(lambda both, _: moments.merge(both, both), range(times), found)


@pytest.mark.parametrize("times", [31, 61])
def test_sums_hold_a_great_many_runs(times):
    """The largest values there are, doubled up to 2^62 runs."""
    found = double(moments.summarise([[LARGEST, -LARGEST]] * 2), times)
    number = 2 * 2**times
    assert found.num_counted.tolist() == [number, number]
    for entry, sign in enumerate((1, -1)):
        quanta = sign * (2**60 - 2**7)
        assert found.sums[:, entry].tolist() == exact.limbs(number * quanta, 3)
        assert found.squares[:, entry].tolist() == exact.limbs(number * quanta**2, 5)
    np.testing.assert_array_equal(moments.mean(found), [LARGEST, -LARGEST])
    np.testing.assert_array_equal(moments.standard_deviation(found), [0.0, 0.0])


def test_statistics_of_a_great_many_runs():
    """The mean of repeated runs is theirs; the deviation tends to that with n instead of n - 1."""
    runs = np.array([[LARGEST, -3.0], [-LARGEST, -2.0], [LARGEST, 1.0]])
    few, many = moments.summarise(runs), double(moments.summarise(runs), 31)
    np.testing.assert_array_equal(moments.mean(many), moments.mean(few))
    np.testing.assert_array_equal(
        moments.quantiles(many, SHARES[2:]), moments.quantiles(few, SHARES[2:])
    )
    ratio = moments.standard_deviation(many) / moments.standard_deviation(few)
    # n / (n - 1) of 6e9 runs is 1 + 2e-10, its root 1 + 1e-10
    np.testing.assert_allclose(ratio, math.sqrt(2 / 3), rtol=1e-9)


# quantiles


@each_sample
def test_quantiles_are_close_to_the_value_of_their_rank(sample):
    found = moments.quantiles(moments.summarise(sample), SHARES)
    if not exact.counted(sample):
        assert np.isnan(found).all()
        return
    wanted = np.array([exact.value_of_rank(sample, q) for q in SHARES])
    assert (np.abs(found - wanted) <= np.maximum(np.abs(wanted) / 64, 2**-20)).all()
    assert (np.diff(found) >= 0).all()


def test_quantiles_of_smooth_samples_agree_with_numpy():
    """Odd shares of 1000 runs have no rank on the edge, so both take the same value."""
    runs = np.random.default_rng(0).standard_cauchy((1000, 6, 5))
    shares = np.array([[0.0105, 0.2505], [0.5005, 0.9995]])
    wanted = np.moveaxis(np.quantile(runs, shares, axis=0, method="inverted_cdf"), (0, 1), (2, 3))
    found = moments.quantiles(moments.summarise(runs), shares)
    assert found.shape == (6, 5, 2, 2)
    assert (np.abs(found - wanted) <= np.maximum(np.abs(wanted) / 64, 2**-20)).all()


def test_quantiles_of_equal_values_are_that_value():
    for value in (500.0, -0.75, 0.0, LARGEST, 1e-5, -TINY):
        found = moments.quantiles(moments.summarise([value] * 3), SHARES)
        np.testing.assert_array_equal(found, round(value * 2**20) / 2**20)


def test_ranks_are_of_shares_as_written():
    """In float64, 0.07 * 100 is more than 7 and would give the eighth value."""
    assert 0.07 * 100 > 7
    found = moments.summarise(2.0 ** np.arange(-19, 40))  # ranks 1..59, bins apart
    for number in (1, 29, 59):
        below, at = moments.quantiles(found, [number / 59 - 1e-9, 1e-9 + (number - 1) / 59])
        assert abs(math.log2(at) - (number - 20)) < 0.05
        assert below == at
    hundred = moments.summarise([1.0] * 7 + [2.0] * 93)
    assert moments.quantiles(hundred, 0.07) < 1.1 < moments.quantiles(hundred, 0.0701)
    assert moments.quantiles(hundred, 0.07).shape == ()


def test_edges_of_bins_are_exact():
    """An edge opens a bin, the float64 below it ends the bin before, on both sides of 0."""
    edges = np.outer(2.0 ** np.arange(-20, 40), 1 + np.arange(32) / 32).ravel()
    below = np.nextafter(edges, 0.0)
    numbers = np.arange(1, 1921)
    for values, wanted in [
        (edges, numbers),
        (below, numbers - 1),
        (-edges, -numbers),
        (-below, 1 - numbers),
    ]:
        codes = moments.summarise(values[None]).bin_codes  # one run, an entry for each value
        np.testing.assert_array_equal(codes - 4096 * np.arange(1920) - 2048, wanted)


def test_bins_are_midway():
    """Five values in the third bin of the octave of 1; another two far off, so no end is met."""
    found = moments.summarise([-100.0, 1.063, 1.065, 1.07, 1.08, 1.09, 100.0])
    assert moments.quantiles(found, 0.5) == 1 + 2.5 / 32


# what goes in, what is kept


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint8, np.bool_, ">f8"])
def test_kinds_of_numbers(kind):
    runs = np.random.default_rng(0).integers(0, 2, (30, 4)).astype(kind)
    assert_same(moments.summarise(runs), moments.summarise(runs.astype(np.float64)))


def test_layout_does_not_matter_and_runs_are_left_alone():
    runs = runs_of(50, 3, 4)
    before = runs.copy()
    wanted = moments.summarise(runs)
    assert_same(moments.summarise(np.asfortranarray(runs)), wanted)
    assert_same(moments.summarise(np.repeat(runs, 2, axis=-1)[..., ::2]), wanted)
    runs.flags.writeable = False
    assert_same(moments.summarise(runs), wanted)
    np.testing.assert_array_equal(runs, before)


def test_merging_leaves_its_parts_alone():
    part = moments.summarise(runs_of(20, 3))
    kept = moments.Moments(*(field.copy() for field in part))
    moments.merge(part, part, part)
    assert_same(part, kept)


def test_round_trip_through_a_file(tmp_path):
    written = moments.summarise(runs_of(100, 4, 6))
    np.savez(tmp_path / "moments.npz", **written._asdict())
    with np.load(tmp_path / "moments.npz", allow_pickle=False) as archive:
        assert_same(moments.Moments(**archive), written)


def test_memory_does_not_grow_with_runs():
    """4 MB hold two entries' bins and some tiles; the runs have 16 MB."""
    runs = np.random.default_rng(0).normal(size=(2**20, 2))
    tracemalloc.start()
    moments.summarise(runs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moments.summarise(1.0), "values: got a number, must have a first axis"),
        (lambda: moments.summarise(["a"]), "values: got <U1, must be real numbers"),
        (lambda: moments.summarise([1j]), "values: got complex128, must be real"),
        (
            lambda: moments.merge(moments.empty((2,)), moments.empty((3,))),
            r"others: got shape \(3,\), must have shape \(2,\)",
        ),
        (lambda: moments.quantiles(moments.empty(()), 1.5), r"q: got 1\.5, must lie in \[0, 1\]"),
        (lambda: moments.quantiles(moments.empty(()), np.nan), "q: got nan, must be finite"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
