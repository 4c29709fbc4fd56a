"""Paired comparisons: sign flips and Holm's correction against plain loops, tables by hand."""

import itertools

import numpy as np
import pytest
import scipy.stats
from synthetic import Curve, keep_moments, make_dataset, without_runs

from pajax import statistics

TWO = {"a": Curve(1.0, 0.5, 1.0, np.nan, 0.0), "b": Curve(1.0, 0.6, 1.0, np.nan, 0.0)}
ONE_AGENT = {"agent": 1.0}


# holm


def test_holm_by_hand():
    found = statistics.holm([[0.01, 0.04], [np.nan, 0.03]])
    np.testing.assert_allclose(found, [[0.03, 0.06], [np.nan, 0.06]], rtol=1e-15)
    np.testing.assert_array_equal(statistics.holm([0.6, 0.9]), [1.0, 1.0])
    assert statistics.holm([]).shape == (0,)


def test_holm_rejects_as_its_steps_do():
    """At any alpha: reject in order of p while p_(k) <= alpha / (m - k + 1)."""
    rng = np.random.default_rng(0)
    for p in rng.random((50, 6)) ** 3:
        corrected = statistics.holm(p)
        for alpha in (0.01, 0.05, 0.2):
            rejected = np.zeros(6, bool)
            for k, at in enumerate(np.argsort(p)):
                if p[at] > alpha / (6 - k):
                    break
                rejected[at] = True
            np.testing.assert_array_equal(corrected <= alpha, rejected)


# sign_flip_test


@pytest.mark.parametrize("number", [1, 2, 7])
def test_all_flips_are_made_where_there_are_few(number):
    d = np.random.default_rng(number).normal(0.3, 1.0, size=number)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product([1, -1], repeat=number)]
    expected = np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)  # ties but for rounding
    np.testing.assert_allclose(statistics.sign_flip_test(d), expected, rtol=1e-14)


def test_equal_differences_have_the_least_p_value():
    assert statistics.sign_flip_test(np.full(10, 0.1)) == 2.0**-9
    assert statistics.sign_flip_test(np.full(40, 0.1), num_permutations=1000) == 1e-3
    assert statistics.sign_flip_test(np.zeros(40)) == 1.0


def test_random_flips_agree_with_all():
    """A share of 8,192 flips near 0.1 has a standard error of 0.0033: five of them."""
    d = np.random.default_rng(1).normal(0.2, 1.0, size=15)
    exact = statistics.sign_flip_test(d)
    random = statistics.sign_flip_test(d, num_permutations=2**13)
    assert 0.03 < exact < 0.3 and exact != random
    error = np.sqrt(exact * (1 - exact) / 2**13)
    assert abs(exact - random) < 5 * error
    assert random != statistics.sign_flip_test(d, num_permutations=2**13, seed=1)
    assert np.isnan(statistics.sign_flip_test([[1.0, np.nan], [2.0, 1.0]])).tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("number", [8, 40])
def test_sign_flips_reject_a_true_hypothesis_as_often_as_they_say(number):
    """Symmetric differences: P(p <= 0.05) is 0.05, less the steps of 2^-7 for 8 replicates.

    Fails by chance with rate 1e-4 (binomial, 4,000 tests).
    """
    d = np.random.default_rng(2).standard_t(3, size=(number, 4000))
    rejected = (statistics.sign_flip_test(d, num_permutations=2000) <= 0.05).sum()
    size = np.floor(0.05 * 2**7) / 2**7 if number == 8 else 0.05
    least, most = scipy.stats.binom.interval(1 - 1e-4, 4000, size)
    assert least <= rejected <= most


# compare


def with_variable(values: np.ndarray, mechanisms: list[str]):
    """A Dataset whose payment at the end is this, [game, mechanism, seed]."""
    games, _, seeds = values.shape
    curves = dict.fromkeys(mechanisms, TWO["a"])
    ds = make_dataset(
        mechanisms=curves, agents=ONE_AGENT, num_games=games, num_seeds=seeds, num_episodes=10
    )
    ds["payment"].values[:, 0, :, :, -1] = values
    return ds


def test_a_game_by_hand():
    values = np.array([[[5.0, 7.0, 6.0, 9.0, 2.0], [4.0, 5.0, 7.0, 5.0, 2.0]]])
    ds = with_variable(values, ["a", "b"])
    before = ds.copy(deep=True)
    table = statistics.compare(ds, variable="payment", level=0.9)
    assert ds.identical(before)
    assert len(table) == 1
    row = table.iloc[0]
    d = values[0, 0] - values[0, 1]  # 1, 2, -1, 4, 0
    names = [row[name] for name in ("agent", "first", "second", "game", "num_pairs")]
    assert names == ["agent", "a", "b", 0, 5]
    np.testing.assert_allclose([row.mean_first, row.mean_second], [5.8, 4.6], rtol=1e-14)
    interval = scipy.stats.t.interval(0.9, 4, loc=1.2, scale=scipy.stats.sem(d))
    found = [row.difference, row.difference_low, row.difference_high]
    np.testing.assert_allclose(found, [1.2, *interval], rtol=1e-12)
    # Of the 16 sums |+-1 +-2 +-1 +-4| six are at least 6: 8, 6 and 6, each with both signs.
    assert row.p_value == row.p_holm == 6 / 16
    unbiased = 1 / (np.sqrt(2) * np.sqrt(np.pi) / 2)  # Gamma(2) / (sqrt(4 / 2) Gamma(3 / 2))
    np.testing.assert_allclose(row.effect_size, unbiased * 1.2 / d.std(ddof=1), rtol=1e-12)
    share = statistics.clopper_pearson(1, 4, 0.9)  # one is less, one a tie
    np.testing.assert_allclose([row.share_less, row.share_less_low, row.share_less_high], share)
    ratio = values[0].var(1, ddof=1).sum() / d.var(ddof=1)
    np.testing.assert_allclose(row.variance_ratio, ratio, rtol=1e-12)


def test_over_games_by_hand():
    values = np.random.default_rng(0).normal([[0.5], [0.0]], 1.0, size=(6, 2, 4))
    table = statistics.compare(with_variable(values, ["a", "b"]), variable="payment")
    assert table.game.tolist() == [*range(6), "all"]
    row = table.iloc[-1]
    d = (values[:, 0] - values[:, 1]).mean(1)
    found = [row.difference, row.difference_low, row.difference_high]
    np.testing.assert_allclose(found, statistics.cluster_interval(d[:, None]), rtol=1e-9)
    assert row.num_pairs == 6
    np.testing.assert_allclose(row.p_value, statistics.sign_flip_test(d))
    assert row.share_less == (d < 0).mean()
    # two families: six rows of games, one over them
    np.testing.assert_allclose(table.p_holm[:6], statistics.holm(table.p_value[:6]))
    assert row.p_holm == row.p_value


def test_every_two_of_what_is_chosen():
    ds = make_dataset(num_seeds=5)
    table = statistics.compare(ds, mechanisms=["oracle", "none", "flat"], agents=["ucb-q"])
    pairs = [("oracle", "none"), ("oracle", "flat"), ("none", "flat")]
    assert [*zip(table["first"], table["second"], strict=True)] == pairs
    assert set(table.agent) == {"ucb-q"}
    by_agent = statistics.compare(ds, of="agent", mechanisms=["none"], episode=1)
    assert by_agent.columns[0] == "mechanism" and len(by_agent) == 3
    ends = ds["welfare_regret"].sel(mechanism="none", game=0, episode=1)
    expected = (ends.sel(agent="ucbvi") - ends.sel(agent="q-learning")).mean()
    np.testing.assert_allclose(by_agent.difference[0], expected, rtol=1e-12)


def test_only_whole_pairs_count():
    ds = make_dataset(mechanisms=TWO, agents=ONE_AGENT, num_games=3, num_seeds=6)
    is_missing = np.zeros((3, 1, 2, 6), bool)
    is_missing[0, 0, 0, [1, 2]] = is_missing[0, 0, 1, 5] = is_missing[1, 0, 1] = True
    found = statistics.compare(without_runs(ds, is_missing))
    alone = statistics.compare(ds.isel(game=[0], seed=[0, 3, 4]))
    names = ("agent", "first", "second", "game")
    first, expected = (
        table.drop(columns=[*names, "p_holm"]).iloc[0].to_numpy(float) for table in (found, alone)
    )
    np.testing.assert_allclose(first, expected, rtol=1e-12)
    nothing = found.iloc[1].drop([*names, "num_pairs"])
    assert nothing.isna().all() and found.num_pairs.tolist() == [3, 0, 6, 2]


def test_moments_know_differences_within_games_and_all_over_games():
    ds = make_dataset(mechanisms=TWO, agents=ONE_AGENT, num_games=5, num_seeds=4)
    runs, moments = (statistics.compare(x) for x in (ds, keep_moments(ds)))
    for name in ("mean_first", "mean_second", "difference"):
        np.testing.assert_allclose(moments[name], runs[name], rtol=1e-9)
    unknown = ["difference_low", "p_value", "p_holm", "share_less"]
    assert np.isnan(moments[unknown].to_numpy(float)[:5]).all()
    assert moments.num_pairs.tolist() == [0, 0, 0, 0, 0, 5]
    for name in ("difference_low", "p_value", "effect_size", "share_less", "variance_ratio"):
        np.testing.assert_allclose(moments[name].iloc[5], runs[name].iloc[5], rtol=1e-6)


def test_pairing_helps_where_runs_share_their_luck():
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(1, 1, 4000))
    values = luck + 0.5 * rng.normal(size=(1, 2, 4000))
    table = statistics.compare(
        with_variable(values, ["a", "b"]), variable="payment", num_permutations=100
    )
    # 2 (1 + 1/4) / (2 / 4) = 5; a ratio of variances of 4,000 pairs is good to some 3 %: five.
    assert table.variance_ratio[0] == pytest.approx(5.0, rel=0.15)


def test_numbers_that_are_not_finite_or_do_not_vary():
    values = np.ones((1, 3, 4))
    values[0, 1], values[0, 2, 1] = 3.0, np.nan
    table = statistics.compare(with_variable(values, ["a", "b", "c"]), variable="payment")
    row = table.iloc[0]
    assert row.difference == row.difference_low == row.difference_high == -2.0
    assert row.effect_size == -np.inf and np.isnan(row.variance_ratio)
    unknown = ["difference", "p_value", "p_holm", "share_less"]
    assert np.isnan(table[unknown].to_numpy(float)[1:]).all()
    assert row.p_holm == row.p_value == 1 / 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": "game"}, "of: got 'game', must be one of agent, mechanism"),
        ({"episode": 3}, "episode: got 3, must be a checkpoint"),
        ({"mechanisms": ["a"]}, "ds: got 1, must have at least two names along 'mechanism'"),
        ({"level": 0.0}, "level: got 0.0, must lie strictly"),
        ({"num_permutations": 1}, "num_permutations: got 1, must be at least 2"),
    ],
)
def test_compare_refuses(change, message):
    ds = make_dataset(mechanisms=TWO, agents=ONE_AGENT, num_seeds=2, num_episodes=1)
    with pytest.raises(ValueError, match=message):
        statistics.compare(ds, **change)
