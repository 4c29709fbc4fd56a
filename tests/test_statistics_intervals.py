"""Intervals by resampling, over seeds and over games: oracles, exact cases, and their coverage."""

from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats
import synthetic
import xarray as xr
from synthetic import keep_moments, make_dataset, without_runs

from pajax import statistics
from pajax.statistics import bands, resampling

EPISODES = synthetic.checkpoints(100_000)
SPACED = np.unique(np.rint(np.geomspace(1, 1e5, 26)))


def power_curves(shape: tuple[int, ...], scale: float, seed: int = 0) -> np.ndarray:
    """[..., seed, episode]: the mean is exactly 3 t^0.6, points along a run are correlated."""
    factors = synthetic.correlated_noise(np.random.default_rng(seed), (*shape, len(SPACED)), scale)
    return 3.0 * SPACED**0.6 * factors


def assert_covers(hits: np.ndarray) -> None:
    """A coverage of 93 to 97 %, give or take 3.5 standard errors.

    Were the true coverage anywhere in 93 to 97 %, this fails by chance with a rate of 4e-4 at most
    (normal approximation); seeds are fixed.
    """
    share, number = hits.mean(), len(hits)
    error = np.sqrt(0.07 * 0.93 / number)
    assert 0.93 - 3.5 * error <= share <= 0.97 + 3.5 * np.sqrt(0.03 * 0.97 / number)


# clopper_pearson


def test_clopper_pearson_without_successes_or_failures():
    """The ends solve (1 - p)^n = alpha / 2 and p^n = alpha / 2."""
    n = np.array([1, 5, 40])
    none, all_ = statistics.clopper_pearson(0, n, 0.9), statistics.clopper_pearson(n, n, 0.9)
    np.testing.assert_array_equal([none.value, none.low], np.zeros((2, 3)))
    np.testing.assert_array_equal([all_.value, all_.high], np.ones((2, 3)))
    # Inverses of the beta distribution are good to a dozen digits.
    np.testing.assert_allclose(none.high, 1 - 0.05 ** (1 / n), rtol=1e-12)
    np.testing.assert_allclose(all_.low, 0.05 ** (1 / n), rtol=1e-12)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_clopper_pearson_inverts_the_binomial_test(level):
    """At the ends, a result as extreme as the one found has probability alpha / 2."""
    n = 23
    k = np.arange(1, n)
    value, low, high = statistics.clopper_pearson(k, n, level)
    np.testing.assert_allclose(value, k / n, rtol=1e-15)
    np.testing.assert_allclose(scipy.stats.binom.sf(k - 1, n, low), (1 - level) / 2, rtol=1e-9)
    np.testing.assert_allclose(scipy.stats.binom.cdf(k, n, high), (1 - level) / 2, rtol=1e-9)


def test_clopper_pearson_covers_whatever_the_probability():
    """Exactly computed: the probability of the counts whose interval has p."""
    n, p = 30, np.linspace(0.001, 0.999, 400)[:, None]
    k = np.arange(n + 1)
    _, low, high = statistics.clopper_pearson(k, n)
    covered = (scipy.stats.binom.pmf(k, n, p) * ((low <= p) & (p <= high))).sum(1)
    assert covered.min() >= 0.95 - 1e-12  # 31 roundings


def test_clopper_pearson_of_no_trials_and_of_what_is_no_count():
    value, low, high = statistics.clopper_pearson([0, 1], [0, 2])
    assert np.isnan(value[0]) and (low[0], high[0]) == (0.0, 1.0) and value[1] == 0.5
    for arguments in ((3, 2), (-1, 2), (0.5, 2)):
        with pytest.raises(ValueError, match=r"successes: got .*, must (lie between|be whole)"):
            statistics.clopper_pearson(*arguments)


# The bootstrap


def plain_bootstrap(
    statistic, runs: np.ndarray, number: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Jackknife errors [P] and studentised draws [resample, P], by loops over runs."""
    rng, n = np.random.default_rng(5), len(runs)
    without = np.array([statistic(np.delete(runs, i, 0).mean(0)) for i in range(n)])
    errors = np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0))
    influences = without.mean(0) - without
    draws = []
    for _ in range(number):
        signs = rng.choice([-1.0, 1.0], size=(n, n))
        blurred = [signs[i] @ influences / np.sqrt(n) for i in range(n)]
        picked = [influences[i] for i in rng.integers(0, n, n)]
        drawn = np.sqrt(1 - noise) * np.array(picked) + np.sqrt(noise) * np.array(blurred)
        draws.append(drawn.mean(0) / (drawn.std(0, ddof=1) / np.sqrt(n)))
    return errors, np.array(draws)


def slopes_of(curve: np.ndarray) -> np.ndarray:
    """Of the last decade and a half."""
    late = SPACED >= 10**3.5
    return np.array([np.polyfit(np.log(SPACED[late]), np.log(curve[late]), 1)[0]])


@pytest.mark.parametrize("case", ["exponent", "log band", "linear band"])
def test_half_widths_agree_with_a_plain_loop(case):
    """Both take the 95 % quantile of 2,000 random draws of |t|, or of its maximum.

    Its standard error is sqrt(0.95 0.05 / 2000) / density, with the density read off the plain
    draws in a window of a tenth around it (good to a fifth, as some 100 draws lie there): five of
    the difference of two, so a chance of failing below 1e-5.
    """
    runs, number, n = power_curves((8,), 0.5), 2000, 8
    options: dict[str, Any] = {"num_resamples": number, "seed": 3}
    if case == "exponent":
        found = statistics.growth_exponent(runs, SPACED, **options)
        errors, draws = plain_bootstrap(slopes_of, runs, number, 0.3)
        half = np.array([found.high - found.low]) / 2
        np.testing.assert_allclose(found.value, slopes_of(runs.mean(0))[0], rtol=1e-10)
    elif case == "log band":
        found = statistics.simultaneous_band(runs, scale="log", **options)
        errors, draws = plain_bootstrap(np.log, runs, number, 0.3)
        half = np.log(found.high / found.low) / 2
        np.testing.assert_allclose(found.low * found.high, runs.mean(0) ** 2, rtol=1e-10)
    else:
        found = statistics.simultaneous_band(runs, **options)
        errors, draws = plain_bootstrap(lambda mean: mean, runs, number, 0.3)
        half = (found.high - found.low) / 2
        np.testing.assert_allclose(errors, runs.std(0, ddof=1) / np.sqrt(n), rtol=1e-10)
    sizes = np.abs(draws).max(1)
    expected = np.quantile(sizes, 0.95)
    near = np.abs(sizes / expected - 1) < 0.1
    error = np.sqrt(0.95 * 0.05 / number) / (near.mean() / (0.2 * expected))
    critical = half / errors
    np.testing.assert_allclose(critical, critical[0], rtol=1e-9)  # one for all points
    assert abs(critical[0] - expected) < 5 * np.sqrt(2) * error


def test_errors_are_the_jackknifes():
    runs = power_curves((8,), 0.5)
    found = resampling.spread(bands.log_curve, runs, num_resamples=2, seed=0)
    errors, _ = plain_bootstrap(np.log, runs, 1, 0.3)
    np.testing.assert_allclose(found.error, errors, rtol=1e-10)


def test_ends_need_every_mean_without_a_run():
    """If one run alone has regret, the mean without it is 0, however it is rounded."""
    rng = np.random.default_rng(0)
    for number in (3, 7):
        for at in range(number):
            runs = np.zeros((number, 2))
            runs[at] = rng.lognormal(size=2)
            value, low, high = statistics.growth_exponent(runs, [100, 1000])
            np.testing.assert_allclose(value, np.log10(runs[at, 1] / runs[at, 0]), rtol=1e-12)
            assert np.isnan([low, high]).all()


def test_cluster_interval_agrees_with_a_plain_loop():
    """Ends from 4,000 draws each way of a skew t: as above, five errors of each quantile."""
    games = np.random.default_rng(1).gamma(1.0, size=(8, 1))
    found = statistics.cluster_interval(games, num_resamples=4000)
    errors, draws = plain_bootstrap(lambda mean: mean, games, 4000, 0.1)
    for end, tail in ((found.high, 0.025), (found.low, 0.975)):
        expected = np.quantile(draws, tail)
        near = np.abs(draws / expected - 1) < 0.15
        error = np.sqrt(0.025 * 0.975 / 4000) / (near.mean() / (0.3 * abs(expected)))
        assert abs((found.value - end) / errors[0] - expected) < 5 * np.sqrt(2) * error


@pytest.mark.parametrize("number", [2, 8, 9, 16, 17, 31, 32, 33, 64, 65])
def test_few_replicates_have_noise_in_rows_that_few_numbers_share(number):
    rows = resampling.num_rows(number)
    assert number <= rows < max(9, 2 * number)
    assert (rows < resampling.RICH) == (number < resampling.RICH)
    if number in (31, 32):
        with jax.enable_x64(True):
            found = resampling.make_resamples(jax.random.key(0), number, rows, 2)
        assert (found.signs is None) == (number == 32)


def test_picks_are_equally_likely():
    """4,000 x 7 picks of 7 replicates: chi squared with 6 degrees, fails with rate 1e-6."""
    with jax.enable_x64(True):
        picks, signs = resampling.make_resamples(jax.random.key(0), 7, 8, 4000)
    counts = np.bincount(np.ravel(picks[:, :7]), minlength=7)
    assert len(counts) == 7
    assert scipy.stats.chisquare(counts).pvalue > 1e-6
    heads = np.array(signs)[:, :7, :7].sum(0)
    assert (np.abs(heads - 2000) < 5 * np.sqrt(1000)).all()  # 49 counts: rate 3e-5


# simultaneous_band


def test_a_band_is_wider_than_the_interval_of_a_point():
    runs = power_curves((8,), 0.4)
    for scale in ("linear", "log"):
        value, low, high = statistics.simultaneous_band(runs, scale=scale)
        np.testing.assert_allclose(value, runs.mean(0), rtol=1e-12)
        assert ((low < value) & (value < high)).all()
    _, low, high = statistics.simultaneous_band(runs)
    point = statistics.mean_interval(runs, axis=0)
    assert (high - low > point.high - point.low).all()


def test_a_band_of_points_that_move_together_is_that_of_one():
    one = np.random.default_rng(0).normal(size=(8, 1))
    alone = statistics.simultaneous_band(one)
    together = statistics.simultaneous_band(one * [1.0, 5.0, -2.0] + [0.0, 3.0, 1.0])
    width = (together.high - together.low) / (alone.high - alone.low)
    np.testing.assert_allclose(width, [1.0, 5.0, 2.0], rtol=1e-9)


def test_a_band_where_runs_agree_or_are_unknown():
    runs = np.abs(np.random.default_rng(0).normal(1.0, 0.1, size=(8, 5)))
    runs[:, 0], runs[2, 1], runs[:, 2], runs[1:, 3] = 0.1, np.nan, 0.0, 0.0
    value, low, high = statistics.simultaneous_band(runs)
    assert value[0] == low[0] == high[0] == 0.1
    assert np.isnan([value[1], low[1], high[1]]).all()
    assert value[2] == low[2] == high[2] == 0.0
    rest = statistics.simultaneous_band(runs[:, [3, 4]])
    np.testing.assert_allclose([low[3:], high[3:]], rest[1:], rtol=1e-12)
    log = statistics.simultaneous_band(runs, scale="log")
    assert log.low[0] == pytest.approx(0.1, rel=1e-15) == log.high[0]
    assert np.isnan([log.low[1:4], log.high[1:4]]).all()  # without run 0 the mean at 3 is 0
    assert 0 < log.low[4] < log.value[4] < log.high[4]


def test_a_band_of_one_run_and_of_two():
    value, low, high = statistics.simultaneous_band([[1.0, 2.0]])
    np.testing.assert_array_equal(value, [1.0, 2.0])
    assert np.isnan([low, high]).all()
    two = statistics.simultaneous_band([[1.0, 2.0], [2.0, 2.5]])
    assert np.isfinite(two).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": np.ones(4)}, r"samples: got shape \(4,\), must be \[seed, episode\]"),
        ({"samples": np.ones((0, 4))}, "samples: got shape"),
        ({"level": 95}, "level: got 95, must lie strictly between 0 and 1"),
        ({"scale": "ln"}, "scale: got 'ln', must be one of linear, log"),
        ({"num_resamples": 0}, "num_resamples: got 0, must be at least 1"),
        ({"seed": -1}, "seed: got -1, must be at least 0"),
    ],
)
def test_simultaneous_band_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        statistics.simultaneous_band(**({"samples": np.ones((3, 4))} | change))


# local_exponents


def test_local_exponents_of_a_broken_power_law():
    """Slopes 1 before t = 1000 and 0.5 after: known where a window lies on one side."""
    curve = np.where(SPACED < 1000, SPACED, 1000 * np.sqrt(SPACED / 1000))
    value, low, high = statistics.local_exponents(curve * [[0.5], [1.0], [4.0]], SPACED)
    is_known = SPACED >= 10**0.5
    np.testing.assert_array_equal(np.isnan(value), ~is_known)
    # Roundings of a log of at most 13, over a spread of log episodes above 0.4.
    for part in (value, low, high):
        np.testing.assert_allclose(part[is_known & (SPACED < 1000)], 1.0, atol=1e-12)
        np.testing.assert_allclose(part[SPACED > 1000 * 10**0.5], 0.5, atol=1e-12)


def test_the_last_local_exponent_is_the_growth_exponent():
    runs = power_curves((8,), 0.4)
    local = statistics.local_exponents(runs, SPACED, decades=1.5)
    whole = statistics.growth_exponent(runs, SPACED, decades=1.5)
    np.testing.assert_allclose([part[-1] for part in local], whole, rtol=1e-9)
    earlier = statistics.growth_exponent(runs[:, :20], SPACED[:20], decades=1.5)
    np.testing.assert_allclose([part[19] for part in local], earlier, rtol=1e-9)


def test_a_band_of_local_exponents_is_wider():
    runs = power_curves((8,), 0.4)
    alone = statistics.local_exponents(runs, SPACED)
    band = statistics.local_exponents(runs, SPACED, simultaneous=True)
    np.testing.assert_array_equal(alone.value, band.value)
    known = np.isfinite(alone.value)
    assert (band.high - band.low > alone.high - alone.low)[known].all()


def test_local_exponents_that_do_not_exist():
    runs = power_curves((8,), 0.4)
    runs[:, 15] = 0.0
    value, low, _ = statistics.local_exponents(runs, SPACED)
    touched = (SPACED[15] <= SPACED) & (SPACED[15] >= SPACED / 10**0.5)
    np.testing.assert_array_equal(np.isnan(value), touched | (SPACED < 10**0.5))
    np.testing.assert_array_equal(np.isnan(low), np.isnan(value))
    alone = statistics.local_exponents(power_curves((1,), 0.4), SPACED)
    assert np.isfinite(alone.value[-1]) and np.isnan(alone[1:]).all()
    with pytest.raises(
        ValueError, match=r"regret: got shape .*, must be \[seed, episode\], of one"
    ):
        statistics.local_exponents(power_curves((2, 3), 0.4), SPACED)


# Games as clusters


def test_the_exponent_of_games_is_the_mean_of_theirs():
    exponents = np.array([0.3, 0.5, 0.9, 0.4])[:, None, None]
    curves = 3.0 * SPACED**exponents * np.ones((4, 5, 1))
    found = statistics.growth_exponent(curves, SPACED)
    by_games = statistics.cluster_interval(exponents[..., 0])
    np.testing.assert_allclose(found, by_games, rtol=1e-12)
    np.testing.assert_allclose(found.value, 0.525, rtol=1e-12)


def test_games_count_alike_and_those_without_runs_not():
    samples = np.array([[1.0, 3.0], [10.0, np.nan], [5.0, 9.0], [np.nan, np.nan]])
    found = statistics.cluster_interval(samples, where=np.isfinite(samples))
    np.testing.assert_allclose(found, statistics.cluster_interval([[2.0], [10.0], [7.0]]))
    assert np.isnan(statistics.cluster_interval(samples)).all()
    one = statistics.cluster_interval(samples[:1])
    assert one.value == 2.0 and np.isnan(one[1:]).all()
    assert np.isnan(statistics.cluster_interval(samples, where=False)).all()


def test_columns_of_games_are_each_on_their_own():
    samples = np.random.default_rng(0).gamma(1.0, size=(6, 3, 4))
    where = np.ones(samples.shape, bool)
    where[2, :, 1] = where[4, :, 3] = False
    found = np.array(statistics.cluster_interval(samples, where=where))
    for j in range(4):
        alone = statistics.cluster_interval(samples[..., j], where=where[..., j])
        np.testing.assert_allclose(found[:, j], alone, rtol=1e-12)
    with pytest.raises(ValueError, match=r"samples: got shape \(6,\), must be \[game, seed"):
        statistics.cluster_interval(np.ones(6))


# Coverage; `benchmarks/statistics_calibration.py` has many more cases


@pytest.mark.parametrize("num_seeds", [5, 8])
def test_growth_exponent_covers(num_seeds):
    curves = power_curves((500, num_seeds), 0.4, seed=num_seeds)
    found = [statistics.growth_exponent(runs, SPACED, seed=i % 2) for i, runs in enumerate(curves)]
    assert_covers(np.array([low <= 0.6 <= high for _, low, high in found]))


def test_a_simultaneous_band_covers_random_walks():
    walks = np.random.default_rng(2).normal(size=(500, 8, 25)).cumsum(-1)
    found = [statistics.simultaneous_band(runs, seed=i % 2) for i, runs in enumerate(walks)]
    assert_covers(np.array([((low <= 0) & (high >= 0)).all() for _, low, high in found]))


def test_a_band_covers_all_points_more_often_than_intervals_do():
    """Intervals of single points miss somewhere in far more than the 10.5 % that a band may."""
    walks = np.random.default_rng(2).normal(size=(500, 8, 25)).cumsum(-1)
    _, low, high = statistics.mean_interval(walks, axis=1)
    assert ((low <= 0) & (high >= 0)).all(-1).mean() < 0.88


def test_cluster_interval_covers_the_population_mean():
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(16, 1, 2000)) + 2.0 * rng.normal(size=(16, 5, 2000))
    _, low, high = statistics.cluster_interval(samples)
    assert_covers((low <= 0) & (high >= 0))
    pooled = statistics.mean_interval(samples.reshape(80, -1), axis=0)
    assert ((pooled.low <= 0) & (pooled.high >= 0)).mean() < 0.93


# Datasets


def test_over_runs_is_each_cell_alone():
    ds = make_dataset(num_games=2, num_seeds=6)
    cell = {"game": 1, "agent": "ucb-q", "mechanism": "two-phase"}
    runs = ds.sel(cell)["welfare_regret"].to_numpy()
    for found, expected in (
        (statistics.band_over_runs(ds, "welfare_regret"), statistics.simultaneous_band(runs)),
        (statistics.exponent_over_runs(ds), statistics.growth_exponent(runs, EPISODES)),
        (statistics.local_exponents_over_runs(ds), statistics.local_exponents(runs, EPISODES)),
    ):
        for part, numbers in zip(found, expected, strict=True):
            np.testing.assert_allclose(part.sel(cell), numbers, rtol=1e-12)
    assert found.value.dims == ("game", "agent", "mechanism", "episode")
    xr.testing.assert_identical(found.value["episode"], ds["episode"])


def test_over_games_is_of_the_means_of_games():
    ds = make_dataset(num_games=5, num_seeds=4, agents={"agent": 1.0})
    found = statistics.mean_over_games(ds, "payment")
    assert found.value.dims == ("agent", "mechanism", "episode")
    expected = statistics.cluster_interval(ds["payment"].to_numpy()[:, 0, 3])
    np.testing.assert_allclose([part[0, 3] for part in found], expected, rtol=1e-12)
    exponents = statistics.exponent_over_games(ds, decades=1.0)
    expected = statistics.growth_exponent(
        ds["welfare_regret"].to_numpy()[:, 0, 4], EPISODES, decades=1.0
    )
    np.testing.assert_allclose([part[0, 4] for part in exponents], expected, rtol=1e-9)


def test_over_games_of_missing_runs_and_of_moments():
    ds = make_dataset(num_games=4, num_seeds=3, agents={"agent": 1.0})
    is_missing = np.zeros((4, 1, 6, 3), bool)
    is_missing[1], is_missing[2, 0, 1, :2], is_missing[:, 0, 5] = True, True, True
    partial = without_runs(ds, is_missing)
    found = statistics.mean_over_games(partial, "welfare_regret")
    ends = ds["welfare_regret"].to_numpy()[:, 0, 1, :, -1]
    of_games = [[ends[0].mean()], [ends[2, 2]], [ends[3].mean()]]
    expected = statistics.cluster_interval(of_games)
    np.testing.assert_allclose([part[0, 1, -1] for part in found], expected, rtol=1e-12)
    assert all(np.isnan(part[0, 5]).all() for part in found)
    of_moments = statistics.mean_over_games(keep_moments(partial), "welfare_regret")
    for part, other in zip(found, of_moments, strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-9)


def test_bands_of_moments_have_no_ends():
    moments = keep_moments(make_dataset(num_seeds=3, agents={"agent": 1.0}))
    found = statistics.band_over_runs(moments, "welfare_regret")
    np.testing.assert_array_equal(found.value, moments["welfare_regret"])
    assert np.isnan(found.low).all() and np.isnan(found.high).all()
