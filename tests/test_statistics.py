"""pajax.statistics: exact cases, closed forms, and the coverage of its intervals by simulation."""

import numpy as np
import pytest
import scipy.stats
import synthetic
import xarray as xr
from synthetic import Curve, keep_moments, make_dataset, without_runs

from pajax import statistics
from pajax.studies import kept

EPISODES = synthetic.checkpoints(100_000)
LATE = EPISODES >= 100_000 / 10**1.5
LINEAR = {"linear": Curve(1.5, 1.0, 1.0, np.nan, 0.5)}
ONE_AGENT = {"agent": 1.0}


def power_curves(num_seeds: int, exponent: float, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """[seed, episode]: the mean is exactly 3 t^exponent, points along a run are correlated."""
    rng = np.random.default_rng(seed)
    factors = synthetic.correlated_noise(rng, (num_seeds, len(EPISODES)), noise)
    return 3.0 * EPISODES**exponent * factors


# mean_interval


def test_mean_interval_is_students_t():
    samples = np.random.default_rng(0).normal(size=(4, 7, 3))
    found = statistics.mean_interval(samples, axis=1, level=0.9)
    low, high = scipy.stats.t.interval(
        0.9, 6, loc=samples.mean(1), scale=scipy.stats.sem(samples, axis=1)
    )
    np.testing.assert_allclose(found, [samples.mean(1), low, high], rtol=1e-12, atol=1e-14)


def test_equal_samples_have_no_width_and_one_has_no_ends():
    value, low, high = statistics.mean_interval(np.full(7, 0.1))
    assert value == low == high == 0.1
    value, low, high = statistics.mean_interval([2.5])
    assert value == 2.5
    assert np.isnan([low, high]).all()
    assert np.isnan(statistics.mean_interval([])).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_sample_is_not_hidden(bad):
    assert np.isnan(statistics.mean_interval([1.0, bad, 3.0])[1:]).all()
    assert not np.isfinite(statistics.mean_interval([1.0, bad, 3.0]).value)


def test_only_the_samples_that_count():
    samples = np.array([[1.0, np.nan, 4.0, 2.0], [np.nan, np.nan, np.nan, 5.0], [np.nan] * 4])
    found = statistics.mean_interval(samples, where=~np.isnan(samples))
    np.testing.assert_allclose(
        np.array(found)[:, 0], statistics.mean_interval([1.0, 4.0, 2.0]), rtol=1e-14
    )
    np.testing.assert_array_equal(found.value[1:], [5.0, np.nan])
    assert np.isnan(found.low[1:]).all()


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_mean_interval_covers_at_its_level(level):
    """Normal samples: the number of hits is exactly binomial; fails by chance with rate 1e-4."""
    repetitions = 4000
    samples = np.random.default_rng(1).normal(2.0, 3.0, size=(repetitions, 5))
    _, low, high = statistics.mean_interval(samples, level=level)
    hits = np.sum((low <= 2.0) & (high >= 2.0))
    least, most = scipy.stats.binom.interval(1 - 1e-4, repetitions, level)
    assert least <= hits <= most


def test_t_interval_needs_only_the_moments():
    samples = np.random.default_rng(2).normal(size=(4, 6))
    found = statistics.t_interval(samples.mean(1), samples.std(1, ddof=1), 6, level=0.8)
    np.testing.assert_allclose(found, statistics.mean_interval(samples, level=0.8), rtol=1e-12)
    assert np.isnan(statistics.t_interval(1.0, np.nan, 6)[1:]).all()
    assert np.isnan(statistics.t_interval(1.0, 2.0, 1)[1:]).all()


# growth_exponent


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2 / 3, 1.0])
def test_growth_exponent_of_a_power_law(exponent):
    found = statistics.growth_exponent(power_curves(3, exponent), EPISODES)
    # Three roundings of a log of at most 13, over a spread of log episodes of more than 1.
    np.testing.assert_allclose(found, exponent, rtol=0.0, atol=1e-13)


def test_runs_are_resampled_whole():
    """Runs that differ by a factor alone have one slope; points resampled apart would not."""
    factors = np.array([0.1, 1.0, 5.0, 30.0])[:, None]
    found = statistics.growth_exponent(factors * power_curves(1, 0.6), EPISODES)
    np.testing.assert_allclose(found, 0.6, rtol=0.0, atol=1e-13)


def test_growth_exponent_is_of_the_mean_curve_in_the_window():
    curves = power_curves(9, 0.7, noise=0.5)
    found = statistics.growth_exponent(curves, EPISODES)
    expected = np.polyfit(np.log(EPISODES[LATE]), np.log(curves.mean(0)[LATE]), 1)[0]
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)
    assert found.low < found.value < found.high
    early = np.where(LATE, curves, -7.0)  # outside the window nothing matters
    np.testing.assert_array_equal(statistics.growth_exponent(early, EPISODES), found)
    wider = statistics.growth_exponent(curves, EPISODES, decades=3.0)
    assert wider.value != found.value
    assert (wider.high - wider.low) < (found.high - found.low)


def test_the_seed_fixes_the_interval():
    curves = power_curves(9, 0.7, noise=0.5)
    ends = [statistics.growth_exponent(curves, EPISODES, seed=s)[1:] for s in (0, 1, 0)]
    assert ends[0] == ends[2] != ends[1]


def test_an_exponent_that_does_not_exist_is_nan():
    curves = power_curves(4, 0.5)
    zero_once = np.where(EPISODES[-3] == EPISODES, 0.0, curves)
    broken = curves.copy()
    broken[1, -1] = np.nan
    for bad in (0 * curves, -curves, zero_once, broken):
        assert np.isnan(statistics.growth_exponent(bad, EPISODES)).all()
    assert np.isnan(statistics.growth_exponent(curves, EPISODES, decades=1e-3)).all()
    assert np.isnan(statistics.growth_exponent(curves[:, :1], [1])).all()


def test_ends_that_do_not_exist_are_nan():
    curves = power_curves(3, 0.5)
    one_run = statistics.growth_exponent(curves[:1], EPISODES)
    one_positive = statistics.growth_exponent(curves * [[1.0], [0.0], [0.0]], EPISODES)
    for found in (one_run, one_positive):
        np.testing.assert_allclose(found.value, 0.5, atol=1e-13)
        assert np.isnan(found[1:]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decades": 0.0}, "decades: got 0.0, must be above 0"),
        ({"level": 1.0}, "level: got 1.0, must lie strictly between 0 and 1"),
        ({"num_resamples": 0}, "num_resamples: got 0, must be at least 1"),
        ({"regret": np.ones(4)}, r"regret: got shape \(4,\), must be \[seed, episode\] with 4"),
        ({"regret": np.ones((2, 3))}, r"regret: got shape \(2, 3\), must be"),
        ({"regret": np.ones((0, 4))}, r"regret: got shape \(0, 4\), must be"),
        ({"episodes": [1, 3, 3, 9]}, "episodes: .* must be positive and increasing"),
        ({"episodes": [0, 1, 2, 3]}, "episodes: .* must be positive and increasing"),
        ({"episodes": []}, r"episodes: got shape \(0,\), must be a non-empty vector"),
    ],
)
def test_growth_exponent_refuses(change, message):
    arguments = {"regret": np.ones((2, 4)), "episodes": [1, 2, 3, 9]} | change
    regret, episodes = arguments.pop("regret"), arguments.pop("episodes")
    with pytest.raises(ValueError, match=message):
        statistics.growth_exponent(regret, episodes, **arguments)


# Shares of W*


def test_shares_of_a_linear_regret():
    ds = make_dataset(mechanisms=LINEAR, agents=ONE_AGENT, num_games=2, num_seeds=3, noise=0.0)
    expected = 1 - 1.5 / synthetic.OPTIMAL
    late = statistics.late_share(ds)
    assert late.dims == ("game", "agent", "mechanism", "seed")
    assert set(late.coords) == set(late.dims)
    np.testing.assert_allclose(late, expected, rtol=1e-12)
    by_interval = statistics.welfare_share(ds)
    assert by_interval.dims == synthetic.DIMS
    # Each interval is a difference of sums up to 1.5e5, over an interval as short as 1.
    np.testing.assert_allclose(by_interval, expected, rtol=0.0, atol=1e-9)


def with_regret(regret: list[float], episodes: list[int], optimal: float = 2.0) -> xr.Dataset:
    """One cell with one seed."""
    shape = (1, 1, 1, 1, len(episodes))
    return xr.Dataset(
        {
            "welfare_regret": (synthetic.DIMS, np.reshape(regret, shape)),
            "optimal_welfare": ("game", [optimal]),
        },
        coords={"episode": np.array(episodes)},
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.1, 1 - (30 - 24) / 10 / 2),  # from 90
        (0.5, 1 - (30 - 20) / 60 / 2),  # from 40, the nearest to 50
        (0.8, 1 - (30 - 8) / 90 / 2),  # from 10, the nearest to 20
        (1.0, 1 - 30 / 100 / 2),  # from the start
    ],
)
def test_late_share_starts_at_the_nearest_checkpoint(share, expected):
    ds = with_regret([8, 20, 24, 30], [10, 40, 90, 100])
    np.testing.assert_allclose(statistics.late_share(ds, share).item(), expected, rtol=1e-14)


def test_late_share_with_one_checkpoint_is_of_the_whole_run():
    ds = with_regret([30], [100])
    np.testing.assert_allclose(statistics.late_share(ds).item(), 1 - 30 / 100 / 2, rtol=1e-14)


@pytest.mark.parametrize("share", [0.0, 1.1, np.nan])
def test_late_share_refuses(share):
    with pytest.raises(ValueError, match=r"share: got .*, must lie in \(0, 1\]"):
        statistics.late_share(with_regret([30], [100]), share)


def test_welfare_shares_add_up():
    ds = make_dataset()
    length = np.diff(EPISODES, prepend=0)
    whole = (statistics.welfare_share(ds) * length).sum("episode") / length.sum()
    expected = 1 - ds["welfare_regret"].isel(episode=-1) / 1e5 / synthetic.OPTIMAL
    np.testing.assert_allclose(whole, expected, rtol=1e-12)


# summary

COLUMNS = (
    "welfare_regret",
    "welfare_regret_per_episode",
    "growth_exponent",
    "late_share",
    "payment_per_episode",
    "principal_utility_per_episode",
    "transfer_error",
    "phase_one_share",
)


def test_summary_has_its_variables_and_leaves_the_data_alone():
    ds = make_dataset(num_games=2, num_seeds=6)
    before = ds.copy(deep=True)
    found = statistics.summary(ds, level=0.9)
    xr.testing.assert_identical(ds, before)
    for name in COLUMNS:
        for variable in (name, f"{name}_low", f"{name}_high"):
            assert found[variable].dims == ("game", "agent", "mechanism")
            assert found[variable].dtype == np.float64
    assert set(found.coords) == {"game", "agent", "mechanism"}
    assert int(found["num_seeds"]) == 6
    assert found.attrs["level"] == 0.9
    assert found.attrs["num_episodes"] == 100_000
    assert found.attrs["spec"] == ds.attrs["spec"]


def test_summary_of_runs_known_exactly():
    ds = make_dataset(mechanisms=LINEAR, agents=ONE_AGENT, num_seeds=4, noise=0.0)
    found = statistics.summary(ds)
    expected = {
        "welfare_regret": 1.5e5,
        "welfare_regret_per_episode": 1.5,
        "growth_exponent": 1.0,
        "late_share": 1 - 1.5 / synthetic.OPTIMAL,
        "payment_per_episode": 0.5,
        "principal_utility_per_episode": 3.0 - 0.75 - 0.5,
        "transfer_error": np.nan,
        "phase_one_share": 0.0,
    }
    assert tuple(expected) == COLUMNS
    for name, value in expected.items():
        for variable in (name, f"{name}_low", f"{name}_high"):
            np.testing.assert_allclose(found[variable].item(), value, rtol=1e-12, err_msg=variable)


def test_summary_uses_each_cells_own_seeds():
    ds = make_dataset(num_games=2, num_seeds=5)
    found = statistics.summary(ds)
    cell = {"game": 1, "agent": "ucb-q", "mechanism": "two-phase"}
    own = ds.sel(cell)
    for name, expected in {
        "welfare_regret": statistics.mean_interval(own["welfare_regret"][:, -1]),
        "transfer_error": statistics.mean_interval(own["transfer_error"][:, -1]),
        "late_share": statistics.mean_interval(statistics.late_share(ds).sel(cell)),
        "growth_exponent": statistics.growth_exponent(own["welfare_regret"], EPISODES),
    }.items():
        numbers = [found.sel(cell)[f"{name}{end}"] for end in ("", "_low", "_high")]
        np.testing.assert_allclose(numbers, expected, rtol=1e-12, err_msg=name)
    shuffled = statistics.summary(ds.transpose("episode", "seed", "mechanism", "agent", "game"))
    xr.testing.assert_allclose(shuffled.transpose("game", "agent", "mechanism"), found, rtol=1e-12)


def test_summary_counts_failures_and_does_not_hide_them():
    ds = make_dataset(num_seeds=4)
    ds["status"][0, 0, 4] = [0, 1, 2, 3]
    ds["transfer_error"][0, 0, 4, :2] = np.nan
    ds["welfare_regret"][0, 1, 0, 2] = np.nan
    found = statistics.summary(ds)
    assert found["share_unresolved"][0, 0, 4] == 0.5
    assert found["share_non_finite"][0, 0, 4] == 0.5
    assert found["share_unresolved"].sum() == found["share_non_finite"].sum() == 0.5
    kept = ds["transfer_error"][0, 0, 4, 2:, -1].mean()
    np.testing.assert_allclose(found["transfer_error"][0, 0, 4], kept, rtol=1e-12)
    assert np.isnan(found["welfare_regret"][0, 1, 0])
    assert np.isnan(found["growth_exponent"][0, 1, 0])


def test_summary_of_one_seed_and_of_a_short_run():
    found = statistics.summary(make_dataset(num_seeds=1, num_episodes=1))
    assert np.isfinite(found["welfare_regret"]).all()
    assert np.isnan(found["welfare_regret_low"]).all()
    assert np.isnan(found["growth_exponent"]).all()


def test_summary_refuses():
    with pytest.raises(ValueError, match="level: got 95, must lie strictly between 0 and 1"):
        statistics.summary(make_dataset(num_seeds=2), level=95)


# Runs that were not done


def random_gaps(ds: xr.Dataset, seed: int) -> np.ndarray:
    """[game, agent, mechanism, seed]; one cell has no runs, another a single one."""
    is_missing = np.random.default_rng(seed).random(ds["status"].shape) < 0.4
    is_missing[0, 0, 0], is_missing[-1, -1, -1] = True, True
    is_missing[-1, -1, -1, 2] = False
    return is_missing


@pytest.mark.parametrize("seed", range(2))
def test_summary_is_of_the_runs_that_were_done(seed):
    """Of each cell: the summary of a study of those of its seeds that were done, and no others."""
    whole = make_dataset(num_games=2, agents=ONE_AGENT, num_seeds=7, seed=seed)
    whole["status"].values[:] = np.random.default_rng(seed).integers(0, 4, whole["status"].shape)
    is_missing = random_gaps(whole, seed)
    partial = without_runs(whole, is_missing)
    before = partial.copy(deep=True)
    found = statistics.summary(partial)
    xr.testing.assert_identical(partial, before)
    assert int(found["num_seeds"]) == 7
    np.testing.assert_array_equal(found["num_runs"], (~is_missing).sum(-1))
    for g, a, m in np.ndindex(is_missing.shape[:3]):
        cell = {"game": [g], "agent": [a], "mechanism": [m]}
        done = np.flatnonzero(~is_missing[g, a, m])
        if len(done) == 0:
            nothing = found.isel(cell)[[*statistics_of(found)]]
            assert all(np.isnan(x).all() for x in nothing.values())
            continue
        alone = statistics.summary(whole.isel(cell).isel(seed=done))
        for name in statistics_of(found):
            # The same numbers in the same order: the sums may only be grouped otherwise.
            np.testing.assert_allclose(found.isel(cell)[name], alone[name], rtol=1e-12)


def statistics_of(summary: xr.Dataset) -> list[str]:
    """The variables that say something of runs."""
    ends = [f"{name}{end}" for name in COLUMNS for end in ("", "_low", "_high")]
    return [*ends, "share_unresolved", "share_non_finite"]


def test_shares_of_runs_that_were_not_done_do_not_exist():
    ds = make_dataset(num_seeds=5)
    is_missing = random_gaps(ds, 0)
    ds = without_runs(ds, is_missing)
    for share in (statistics.late_share(ds), statistics.welfare_share(ds).isel(episode=-1)):
        np.testing.assert_array_equal(np.isnan(share), is_missing)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([64, 64], "64"),
        ([64, 0], "64"),
        ([40, 40, 0], "40 of 64"),
        ([[3, 0], [40, 64]], "3 to 64 of 64"),
        ([0, 0], "0 of 64"),
    ],
)
def test_runs_in_words(numbers, words):
    assert statistics.runs_in_words(numbers, 64) == words
    assert statistics.runs_in_words([2000], 1_000_000) == "2,000 of 1,000,000"


# Moments in place of runs

# Means and deviations of up to 20 numbers that are added up in another order: 20 roundings of the
# largest of them. A deviation is in an interval 5 times, at most: t / sqrt(n) at n = 2 and 90 %.
AS_ROUNDED = 20 * 6 * 2.0**-52
NEED_RUNS = ("growth_exponent", "late_share")


def partial_and_unresolved() -> xr.Dataset:
    """Runs missing, and runs without a transfer error, at the end or at first."""
    ds = make_dataset(num_games=2, num_seeds=12)
    ds["transfer_error"][0, 1, 4, 3] = np.nan
    ds["transfer_error"][0, 2, 4, :, :9] = np.nan
    ds["transfer_error"][0, 2, 4, 5, 9:15] = np.nan
    ds["status"][0, 1, 4, 3] = kept.UNRESOLVED
    ds["status"][0, 2, 2, :4] = kept.NON_FINITE
    return without_runs(ds, random_gaps(ds, 1))


STUDIES = pytest.mark.parametrize("make", [make_dataset, partial_and_unresolved])


def assert_as_rounded(found: xr.DataArray, expected: xr.DataArray, largest: float) -> None:
    """NaN in the same places, and numbers that agree as well as sums of numbers up to this do."""
    assert found.dims == expected.dims
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=AS_ROUNDED * largest)


@STUDIES
def test_replicates_of_runs_and_of_moments(make):
    ds = make()
    moments = keep_moments(ds)
    for name in synthetic.of_runs(ds):
        if name != "status":
            of_runs, of_moments = (statistics.replicates(x, name) for x in (ds, moments))
            assert of_runs.mean.dims == tuple(d for d in ds[name].dims if d != "seed")
            largest = float(np.abs(ds[name]).max())
            for found, expected in zip(of_runs[:2], of_moments[:2], strict=True):
                assert_as_rounded(found, expected, largest)
            assert (of_runs.number == of_moments.number).all()


@STUDIES
def test_summary_of_moments_is_that_of_the_runs(make):
    ds = make()
    moments = keep_moments(ds)
    before = moments.copy(deep=True)
    found, expected = (statistics.summary(x, level=0.9) for x in (moments, ds))
    xr.testing.assert_identical(moments, before)
    assert set(found) == set(expected)
    assert set(found.coords) == {"game", "agent", "mechanism"}
    for name in expected:
        if name in [f"{x}{end}" for x in NEED_RUNS for end in ("_low", "_high")]:
            assert np.isnan(found[name]).all()
        else:
            assert_as_rounded(found[name], expected[name], float(np.abs(expected[name]).max()))


def test_shares_of_moments_are_those_of_the_mean_run():
    ds = make_dataset(num_games=2)
    moments = keep_moments(ds)
    for share in (statistics.late_share, statistics.welfare_share):
        found, expected = share(moments), share(ds).mean("seed")
        assert found.dims == expected.dims
        # Differences of sums up to 2e5, each rounded 20 times, over intervals as short as 1.
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)


def test_a_deviation_that_is_not_kept_has_no_interval():
    ds = keep_moments(make_dataset()).drop_vars("payment_sd")
    found = statistics.mean_over_runs(ds, "payment")
    xr.testing.assert_equal(found.value, ds["payment"])
    assert np.isnan(found.low).all() and np.isnan(found.high).all()
