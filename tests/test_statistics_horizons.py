"""Studies of several lengths as one Dataset."""

import numpy as np
import pytest
import xarray as xr
from synthetic import keep_moments, make_dataset, without_runs

import pajax as px
from pajax import statistics
from pajax.studies import kept

LENGTHS = (100, 10_000, 1_000)


def studies(**options) -> list[xr.Dataset]:
    """In no order; a mechanism's width is K^(-1/4)."""
    found = []
    for length in LENGTHS:
        ds = make_dataset(num_episodes=length, num_seeds=4, num_games=2, **options)
        width = np.full((2, ds.sizes["mechanism"]), np.nan)
        width[:, 4] = length**-0.25
        found.append(ds.assign(width=(("game", "mechanism"), width)))
    return found


def test_each_number_is_that_of_the_end_of_a_study():
    given = studies()
    before = [ds.copy(deep=True) for ds in given]
    found = statistics.by_horizon(given)
    for ds, old in zip(given, before, strict=True):
        xr.testing.assert_identical(ds, old)
    assert found["episode"].to_numpy().tolist() == sorted(LENGTHS)
    assert found.attrs["over_horizons"] is True and found.attrs["num_episodes"] == 10_000
    for ds in given:
        length = int(ds["episode"][-1])
        at_end = found.sel(episode=length)
        for name in ("welfare_regret", "phase_one", "transfer_error"):
            assert found[name].dims == ds[name].dims
            np.testing.assert_array_equal(at_end[name], ds[name].isel(episode=-1))
        np.testing.assert_array_equal(at_end["width"], ds["width"])
    assert found["width"].dims == ("game", "mechanism", "episode")
    assert found["optimal_welfare"].dims == ("game",)
    longest = given[1]
    np.testing.assert_array_equal(found["phase_one_length"], longest["phase_one_length"])


def test_exponents_in_the_number_of_episodes():
    found = statistics.by_horizon(studies())
    cell = {"game": 0, "agent": "ucbvi", "mechanism": "two-phase"}
    ends = found["welfare_regret"].sel(cell).to_numpy()
    estimate = statistics.exponent_over_runs(found, decades=2.0)
    expected = np.polyfit(np.log(sorted(LENGTHS)), np.log(ends.mean(0)), 1)[0]
    np.testing.assert_allclose(estimate.value.sel(cell), expected, rtol=1e-10)
    assert estimate.low.sel(cell) < expected < estimate.high.sel(cell)
    mean = statistics.mean_over_runs(found, "welfare_regret")
    assert mean.value.dims == ("game", "agent", "mechanism", "episode")


def test_a_run_counts_if_it_was_done_at_every_length():
    given = studies()
    is_missing = np.zeros(given[0]["status"].shape, bool)
    is_missing[0, 0, 0, 1] = True
    given[2] = without_runs(given[2], is_missing)
    given[0]["status"][0, 0, 0, 2] = kept.UNRESOLVED
    found = statistics.by_horizon(given)
    assert found["status"].dims == ("game", "agent", "mechanism", "seed")
    np.testing.assert_array_equal(found["status"][0, 0, 0], [0, kept.NOT_RUN, kept.UNRESOLVED, 0])
    assert statistics.num_runs(found)[0, 0, 0] == 3


def test_there_is_no_share_of_a_part_of_a_run():
    found = statistics.by_horizon(studies())
    for function in (statistics.welfare_share, statistics.late_share, statistics.summary):
        with pytest.raises(ValueError, match="ds: got a Dataset of by_horizon, must hold one"):
            function(found)


@pytest.mark.slow
def test_studies_of_a_key_become_one(key):
    options = {
        "agents": {"best": px.agents.BestResponse(game=px.games.bandit())},
        "mechanisms": {"none": px.mechanisms.NoTransfer()},
        "num_seeds": 2,
        "progress": False,
    }
    given = [px.study(key, px.games.bandit(), num_episodes=n, **options) for n in (20, 10)]
    found = statistics.by_horizon(given)
    # without transfers the agent keeps to its own arm, which loses 0.35 in every round
    regret = found["welfare_regret"].to_numpy()[0, 0, 0]
    np.testing.assert_allclose(regret, 0.35 * np.array([[10, 20]] * 2), rtol=1e-6)  # float32


def test_by_horizon_refuses():
    first, second, _ = studies()
    cases = [
        ([], "datasets: got none, must hold at least one"),
        ([first, first], r"datasets: got \[100, 100\], must have another number of episodes each"),
        ([keep_moments(first)], "must keep runs"),
        ([first, second.isel(seed=[0, 1])], "must have the same seeds in the same order"),
        ([first, second.isel(mechanism=[1, 0])], "must have the same mechanisms in the same"),
        ([first, second.drop_vars("width")], "must have the same variables"),
        ([first, second.assign(optimal_welfare=second["optimal_welfare"] + 1)], "same optimal_"),
    ]
    for datasets, message in cases:
        with pytest.raises(ValueError, match=message):
            statistics.by_horizon(datasets)
