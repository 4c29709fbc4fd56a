"""Verdicts on bounds: their logic at the edges, planted cases, and how they are shown."""

import dataclasses
import re

import numpy as np
import pytest
import scipy.stats
import synthetic
import xarray as xr
from numpy.typing import ArrayLike
from synthetic import Curve, make_dataset

import pajax as px
from pajax import bounds, printing
from pajax.bounds import verdicts
from pajax.bounds.base import Case, Condition, Place
from pajax.bounds.verdicts import (
    CONSISTENT,
    INCONCLUSIVE,
    NOT_APPLICABLE,
    VERDICTS,
    VIOLATED,
    Rules,
    check,
)

RULES = Rules(level=0.95, decades=1.5, max_width=0.25)
EPISODES = np.unique(np.rint(np.geomspace(1, 1e5, 50)))
ONE_AGENT = {"agent": 1.0}
K = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given(bounds.Bound):
    """A right-hand side and conditions as given."""

    name: str = "given"
    side: object = 1.0
    assumed: tuple[Condition, ...] = ()

    def value(self, case):
        return self.side

    def conditions(self, case):
        return list(self.assumed)


def case_of(last: ArrayLike, **variables: np.ndarray) -> Case:
    """Runs whose welfare regret ends with these numbers."""
    regret = np.asarray(last, float)[:, None] * (EPISODES / EPISODES[-1])
    found = {"welfare_regret": regret, "phase_one": np.zeros_like(regret)} | variables
    return Case(Place(0, "agent", "mechanism"), EPISODES, False, found)


def verdict_on(bound: bounds.Bound, case: Case, rules: Rules = RULES) -> dict:
    return check(bound, case, rules, lambda name: verdicts.growth_exponent(case, rules, name))


def power_law(exponent: float, noise: float = 0.0, **options) -> xr.Dataset:
    """The Dataset of a mechanism without estimates whose mean regret is 2 t^exponent."""
    curve = {"mechanism": Curve(2.0, exponent, 1.0, np.nan, 0.0)}
    return make_dataset(mechanisms=curve, agents=ONE_AGENT, noise=noise, **options)


# Bounds on runs


def broken_runs(number: int, broken: int, is_floor: bool) -> Case:
    """So many of the runs break a bound of 1."""
    inside, outside = (1.0, 0.5) if is_floor else (1.0, 1.5)
    return case_of(np.where(np.arange(number) < broken, outside, inside))


def wanted_of_runs(number: int, broken: int, delta: float) -> str:
    """By the two one-sided binomial tests at 2.5 %, that share >= delta and share <= delta."""
    runs = scipy.stats.binom(number, delta)
    if runs.sf(broken - 1) < 0.025:
        return VIOLATED
    return CONSISTENT if runs.cdf(broken) <= 0.025 else INCONCLUSIVE


@pytest.mark.parametrize("is_floor", [False, True])
@pytest.mark.parametrize(("number", "delta"), [(20, 0.1), (64, 0.1), (64, 0.3)])
def test_the_share_of_runs_is_tested_exactly(number, delta, is_floor):
    bound = Given(delta=delta, is_floor=is_floor)
    for broken in range(number + 1):
        row = verdict_on(bound, broken_runs(number, broken, is_floor))
        assert row["verdict"] == wanted_of_runs(number, broken, delta), broken
        assert (row["broken"], row["runs"], row["delta"]) == (broken, number, delta)
        assert row["share"] == broken / number
        assert row["share_low"] <= row["share"] <= row["share_high"]
        assert f"{broken} of {number} runs {'below' if is_floor else 'above'}" in row["reason"]


def test_error_rates_and_power_of_bounds_on_runs():
    """Exact sums over the binomial number of breaks, of 64 runs, delta = 0.1: a bound broken with
    probability delta is called violated in at most 2.5 %; one broken with probability 0.3 in more
    than 95 %, with 0.5 in all but 1e-6; and neither is ever likely to be called consistent."""
    found = np.array([verdict_on(Given(), broken_runs(64, b, False))["verdict"] for b in range(65)])

    def share(verdict, probability):
        return scipy.stats.binom.pmf(np.arange(65), 64, probability)[found == verdict].sum()

    assert 0 < share(VIOLATED, 0.1) <= 0.025
    assert share(VIOLATED, 0.3) > 0.95
    assert share(VIOLATED, 0.5) > 1 - 1e-6
    assert 0 < share(CONSISTENT, 0.1) <= 0.025
    assert share(CONSISTENT, 0.3) < 1e-6


def test_35_runs_cannot_support_a_share_of_a_tenth_and_36_can():
    for number, wanted in ((35, INCONCLUSIVE), (36, CONSISTENT)):
        assert verdict_on(Given(), broken_runs(number, 0, False))["verdict"] == wanted


def test_each_run_has_its_own_side():
    side = np.linspace(1, 2, 50)[:, None]
    assert verdict_on(Given(side=side), case_of(side[:, 0]))["broken"] == 0
    assert verdict_on(Given(side=side), case_of(side[::-1, 0]))["broken"] == 25


def test_mean_constant_and_slack_at_the_end():
    row = verdict_on(Given(side=6.0), case_of([1.0, 2.0, 3.0]))
    assert (row["mean"], row["value"]) == (2.0, 6.0)
    assert row["slack"] == pytest.approx(3.0)
    assert row["constant"] == pytest.approx(1 / 3)


# Bounds on the mean


@pytest.mark.parametrize("is_floor", [False, True])
@pytest.mark.parametrize(
    ("side", "wanted"), [(1.5, CONSISTENT), (1.05, INCONCLUSIVE), (0.5, VIOLATED)]
)
def test_the_mean_is_tested_by_its_t_interval(side, wanted, is_floor):
    samples = 1 + 0.2 * scipy.stats.norm.ppf((np.arange(10) + 0.5) / 10)  # mean 1, +- 0.13
    sign = -1 if is_floor else 1
    bound = Given(delta=None, side=sign * side, is_floor=is_floor)
    row = verdict_on(bound, case_of(sign * samples))
    test = scipy.stats.ttest_1samp(samples, side)
    low, high = test.confidence_interval(0.95)
    told = re.search(r": (\S+) \[(\S+), (\S+)\]", row["reason"])
    assert told is not None
    values = np.array([float(x) for x in told.groups()])
    np.testing.assert_allclose(values, np.array([1, low, high]) - [side, side, side], rtol=0.01)
    assert row["verdict"] == wanted


def test_sides_of_runs_are_paired_with_their_runs():
    """Runs that differ much, each just below a bound of its own: the difference is certain."""
    samples = np.array([1.0, 10.0, 100.0, 1000.0])
    row = verdict_on(Given(delta=None, side=1.1 * samples[:, None] + 1), case_of(samples))
    assert row["verdict"] == INCONCLUSIVE  # its size still is not
    row = verdict_on(Given(delta=None, side=samples[:, None] + 1), case_of(samples))
    assert row["verdict"] == CONSISTENT


def test_one_run_has_no_verdict_on_a_mean():
    row = verdict_on(Given(delta=None, side=9.0), case_of([1.0]))
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"].endswith("no interval")


# Numbers that are missing or not finite


@pytest.mark.parametrize("delta", [None, 0.1])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_run_without_a_finite_number_is_not_hidden(bad, delta):
    row = verdict_on(Given(delta=delta, side=9.0), case_of([*np.ones(63), bad]))
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"].startswith("1 of 64 runs: the welfare regret or the bound")


def test_a_run_that_resolved_no_transfer_is_no_trial():
    error = np.where(np.arange(40) < 2, np.nan, 0.5)[:, None] * np.ones(len(EPISODES))
    bound = Given(variable="worst_transfer_error")
    row = verdict_on(bound, case_of(np.ones(40), worst_transfer_error=error))
    assert row["reason"].startswith("0 of 38 runs")
    assert row["mean"] == 0.5
    row = verdict_on(bound, case_of(np.ones(40), worst_transfer_error=np.nan * error))
    assert (row["verdict"], row["reason"]) == (INCONCLUSIVE, "no run has a worst transfer error")


# Rates


@pytest.mark.parametrize(
    ("exponent", "rate", "wanted"),
    [
        (0.49, 1 / 2, CONSISTENT),
        (0.51, 1 / 2, INCONCLUSIVE),  # a logarithm would do
        (0.59, 1 / 2, INCONCLUSIVE),
        (0.61, 1 / 2, VIOLATED),
        (0.65, 2 / 3, CONSISTENT),
        (0.75, 2 / 3, INCONCLUSIVE),
        (1.0, 3 / 4, VIOLATED),
    ],
)
def test_rates_against_exact_power_laws(exponent, rate, wanted):
    """log k adds 0.101 to the slope over these k, by hand: about 1 / log k, from .12 to .09."""
    row = px.check_bounds(power_law(exponent), [bounds.Rate(exponent=rate)]).table.iloc[0]
    assert row["verdict"] == wanted
    assert row["exponent"] == pytest.approx(exponent, abs=1e-9)
    assert row["mean"] == pytest.approx(2 * K**exponent)
    assert row["constant"] == pytest.approx(2 * K ** (exponent - rate))


def test_logarithms_are_allowed_for_as_often_as_asked():
    ds, slopes = power_law(0.75), {0.0: VIOLATED, 1.0: VIOLATED, 3.0: INCONCLUSIVE}
    for power, wanted in slopes.items():
        rate = bounds.Rate(exponent=0.5, log_power=power)
        assert px.check_bounds(ds, [rate]).table["verdict"].item() == wanted


def test_an_exponent_that_is_too_uncertain():
    row = px.check_bounds(
        power_law(0.5, noise=1.5, num_seeds=3), [bounds.Rate(exponent=0.9)]
    ).table.iloc[0]
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"].endswith("wider than 0.25")
    wide = px.check_bounds(
        power_law(0.5, noise=1.5, num_seeds=3), [bounds.Rate(exponent=2.0)], max_width=9.0
    )
    assert wide.table["verdict"].item() == CONSISTENT


def test_one_run_or_no_regret_has_no_verdict_on_a_rate():
    row = px.check_bounds(power_law(0.5, num_seeds=1), [bounds.Rate()]).table.iloc[0]
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"].endswith("too few runs for an interval")
    ds = power_law(0.5)
    none = ds.assign(welfare_regret=0 * ds["welfare_regret"])
    row = px.check_bounds(none, [bounds.Rate()]).table.iloc[0]
    assert row["verdict"] == INCONCLUSIVE
    assert row["reason"] == "the mean welfare regret is not positive throughout the window"


@pytest.mark.parametrize(("length", "wanted"), [(3000, CONSISTENT), (4000, INCONCLUSIVE)])
def test_a_window_dominated_by_phase_one(length, wanted):
    """The window begins at the first checkpoint from 1e5 / 10^1.5 = 3162 on, which is 3440."""
    ds = power_law(0.4)
    ends = np.minimum(ds["episode"], length)
    checks = px.check_bounds(
        ds.assign(phase_one=ds["phase_one"] + ends), [bounds.Rate(exponent=0.5)]
    )
    row = checks.table.iloc[0]
    assert row["verdict"] == wanted
    assert "k = 3,440..100,000" in row["reason"]
    assert ("phase one lasted 4,000 episodes" in row["reason"]) == (wanted == INCONCLUSIVE)


@pytest.mark.parametrize(("filled", "wanted"), [(0.98, CONSISTENT), (1.0, INCONCLUSIVE)])
def test_over_horizons_a_phase_one_that_fills_its_cap_dominates(filled, wanted):
    curve = {"mechanism": Curve(2.0, 0.4, 1.0, 0.1, 0.0)}
    studies = []
    for k in (10_000, 31_623, 100_000):
        ds = make_dataset(mechanisms=curve, agents=ONE_AGENT, noise=0.05, num_episodes=k)
        length = (filled if k == 10_000 else 0.1) * k / 2
        studies.append(ds.assign(phase_one=0 * ds["phase_one"] + length))
    row = px.check_bounds(studies, [bounds.Rate(exponent=0.5)]).table.iloc[0]
    assert row["verdict"] == wanted
    assert "over K = 10,000..100,000" in row["reason"]
    assert ("filled its cap at K = 10,000" in row["reason"]) == (wanted == INCONCLUSIVE)


def test_a_rate_in_k_is_not_about_one_run():
    """With the runs of several K it is."""
    curve = {"mechanism": Curve(2.0, 0.4, 1.0, 0.1, 0.0)}
    studies = [
        make_dataset(mechanisms=curve, agents=ONE_AGENT, num_episodes=k, noise=0.05)
        for k in (10_000, 31_623, 100_000)
    ]
    rate = bounds.Rate(exponent=0.5, is_over_horizons=True)
    along = px.check_bounds(studies[-1], [rate]).table.iloc[0]
    assert along["verdict"] == NOT_APPLICABLE
    assert "runs of different K fails: see pajax.statistics.by_horizon" in along["reason"]
    assert px.check_bounds(studies, [rate]).table["verdict"].item() == CONSISTENT


# Assumptions


def test_what_fails_comes_before_what_is_unclear_and_both_before_the_numbers():
    holds, fails, unclear = (
        Condition(x, x, f"evidence of {x}") for x in ("holds", "fails", "unclear")
    )
    case = case_of(np.ones(64))
    for assumed, wanted, reason in (
        ((holds,), CONSISTENT, "0 of 64 runs above"),
        ((unclear, holds), INCONCLUSIVE, "unclear unclear: evidence of unclear"),
        ((unclear, fails), NOT_APPLICABLE, "fails fails: evidence of fails"),
        ((fails, fails), NOT_APPLICABLE, "fails fails: evidence of fails; fails fails: evidence"),
    ):
        row = verdict_on(Given(side=2.0, assumed=assumed), case)
        assert row["verdict"] == wanted
        assert row["reason"].startswith(reason)
        assert row["share"] == 0.0  # numbers stay


def test_what_a_mechanism_lacks_comes_first():
    fails = Condition("x", "fails", "y")
    bound = Given(needs=("welfare_regret", "phase_one_cap"), assumed=(fails,))
    row = verdict_on(bound, case_of(np.ones(64)))
    assert row["verdict"] == NOT_APPLICABLE
    assert row["reason"] == "the mechanism has no phase one cap"


def test_an_unknown_assumption_is_an_error():
    with pytest.raises(ValueError, match="assumes: got 'A3', must be one of A1, A2"):
        verdict_on(Given(assumes=("A3",)), case_of(np.ones(3)))


def test_the_gap_regime_and_long_tests_are_conditions():
    mechanisms = {"two-phase": synthetic.MECHANISMS["two-phase"]}
    ds = make_dataset(mechanisms=mechanisms, agents=ONE_AGENT, num_seeds=40)
    width = float(ds["width"].item())
    for gap, wanted in ((5 * width * 1.01, CONSISTENT), (5 * width * 0.99, NOT_APPLICABLE)):
        changed = ds.assign(smallest_welfare_gap=("game", [gap]))
        row = px.check_bounds(changed, [bounds.GapRegime()]).table.iloc[0]
        assert row["verdict"] == wanted
    case = next(bounds.cases(ds))
    kappa, constant = case.rationality.kappa_used, case.rationality.constant.value
    needed = (4 * constant / (0.125 * width)) ** (1 / (1 - kappa))
    for factor, wanted in ((1.01, "holds"), (0.99, "fails")):
        changed = ds.assign(test_visits=(("game", "mechanism"), [[factor * needed]]))
        (condition,) = bounds.IntervalWidth().conditions(next(bounds.cases(changed)))
        assert condition.state == wanted
    assert bounds.Identification().conditions(case) == []


# Planted cases, each game a repetition


def planted(curve: Curve, *of: bounds.Bound, repetitions: int = 100, **options) -> np.ndarray:
    """How often each verdict was given, to any of the bounds."""
    ds = make_dataset(
        mechanisms={"mechanism": curve}, agents=ONE_AGENT, num_games=repetitions, **options
    )
    found = px.check_bounds(ds, of).table["verdict"]
    return np.array([(found == verdict).sum() for verdict in VERDICTS])


RATE = bounds.Rate(exponent=0.5, log_power=0.0)


@pytest.mark.parametrize(
    ("exponent", "noise"),
    [(0.5, 0.3), (0.5, 1.0), (0.4, 0.3), (0.75, 0.3), (0.75, 1.0), (1.0, 1.0)],
)
def test_planted_rates(exponent, noise):
    """A true rate, at the boundary too, is called violated at most in 2.5 % (4 % for very skewed
    runs, whose bootstrap intervals miss more): of 100, 13 or more with probability < 3e-4 at 4 %. A
    false one never is consistent, with probability > 0.999 a case. It is violated where intervals
    are narrow: in 88 at least, with probability > 1 - 3e-4 if the power is 97 %."""
    counts = planted(Curve(2.0, exponent, 1.0, np.nan, 0.0), RATE, num_seeds=32, noise=noise)
    consistent, violated, inconclusive, not_applicable = counts
    assert not_applicable == 0
    if exponent <= 0.5:
        assert violated < 13
    else:
        assert consistent == 0
        assert violated >= (88 if noise < 1.0 else 30)
    assert (consistent > 88) == (exponent < 0.5)
    assert inconclusive == 100 - consistent - violated


def test_planted_short_horizons_are_inconclusive():
    """Phase one ends at K / 3 in every run: no verdict is left to chance."""
    curve = Curve(1.7, 0.45, K / 3, 0.04, 2.1)
    for bound in (bounds.Rate(exponent=0.5), bounds.Rate(exponent=0.75)):
        assert planted(curve, bound, repetitions=10)[2] == 10


def test_planted_blind_agents_are_not_applicable():
    """Contracts under which losses grow like the age. The interval of the exponent of their 0.9
    quantile lies above 0.9 in nearly every repetition (298 of 300, measured); of 50, more than 6
    would miss it with probability < 1e-3 if 3 % do."""
    curve = Curve(1.7, 1.0, 30.0, 0.04, 2.1)
    assumed = bounds.theory()[0], bounds.WelfareRegret(), bounds.Deviations()
    counts = planted(curve, *assumed, repetitions=50, num_seeds=64)
    consistent, violated, _, not_applicable = counts
    assert consistent + violated == 0
    assert not_applicable >= 3 * 44


# The table


def small() -> "px.bounds.Checks":
    names = ("none", "two-phase")
    mechanisms = {name: synthetic.MECHANISMS[name] for name in names}
    agents = {"ucbvi": 1.0, "a<b": 1.4}
    return px.check_bounds(make_dataset(mechanisms=mechanisms, agents=agents, num_seeds=40))


@pytest.fixture(scope="module")
def checks() -> "px.bounds.Checks":
    return small()


def test_the_table_has_a_row_for_each_cell_and_bound(checks):
    table = checks.to_dataframe()
    assert len(table) == 4 * len(bounds.theory())
    assert set(table["verdict"]) <= set(VERDICTS)
    assert table["reason"].str.len().min() > 0
    assert (table["runs"] == 40).all()
    table["verdict"] = "changed"
    assert "changed" not in set(checks.table["verdict"])


def test_audits_are_in_the_table_of_audits(checks):
    ds = make_dataset(
        mechanisms={"two-phase": synthetic.MECHANISMS["two-phase"]}, agents=ONE_AGENT, num_seeds=40
    )
    (case,), row = bounds.cases(ds), px.check_bounds(ds).audits.iloc[0]
    assert row["rationality"] == case.rationality.state
    assert row["coverage"] == case.coverage.state
    for name, estimate in (
        ("kappa", case.rationality.kappa),
        ("constant", case.rationality.constant),
        ("realised_coverage", case.coverage.realised),
    ):
        found = row[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
        np.testing.assert_array_equal(found, np.array(estimate))
    assert len(checks.audits) == 4


def test_text_fits_a_terminal_and_says_every_verdict(checks):
    text = repr(checks)
    assert max(map(len, text.splitlines())) <= printing.WIDTH
    for mechanism in ("none", "two-phase"):
        assert f"Game 0, a<b / {mechanism}" in text
    assert "11 others" in text  # what the mechanism has no width for stands in one line
    for row in checks.table.to_dict("records"):
        if row["mechanism"] == "two-phase" and row["verdict"] != NOT_APPLICABLE:
            assert f"{row['bound']} " in text
    assert "of 56 checks up to 1.4 may call a true bound violated by chance" in " ".join(
        text.split()
    )


def test_long_reasons_take_several_lines():
    long = Condition("x", "fails", " ".join(f"word{i}" for i in range(60)))
    ds = make_dataset(mechanisms={"none": synthetic.MECHANISMS["none"]}, agents=ONE_AGENT)
    found = px.check_bounds(ds, [Given(assumed=(long,))])
    text = repr(found)
    assert max(map(len, text.splitlines())) <= printing.WIDTH
    assert long.evidence in " ".join(text.split())
    assert long.evidence in found.to_markdown()


def test_html_is_escaped_and_whole(checks):
    text = checks._repr_html_()
    assert "a&lt;b" in text
    assert "a<b" not in text
    assert text.count("<table") == 5
    assert text.count("<table") == text.count("</table>")
    reason = checks.table.query("agent == 'ucbvi' and mechanism == 'two-phase'")["reason"].iloc[0]
    assert reason in text


def test_markdown_has_the_same_rows(checks):
    lines = checks.to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| :")]
    assert sum(line.startswith("| ucbvi") or line.startswith("| 0 | ucbvi") for line in rows) == 2
    assert any("inconclusive" in line or "consistent" in line for line in rows)
    assert lines[-1].startswith("Intervals cover 95 %")


def test_many_cells_are_counted(checks):
    mechanisms = {"two-phase": synthetic.MECHANISMS["two-phase"]}
    ds = make_dataset(mechanisms=mechanisms, num_games=9, num_seeds=40)
    found = px.check_bounds(ds, [bounds.WelfareRegret(), bounds.Rate(exponent=0.75)])
    counts = found.counts()
    assert len(counts) == 6
    assert (counts[list(VERDICTS)].sum(axis=1) == 9).all()
    row = counts.query("agent == 'ucbvi' and bound == 'K^0.75'").iloc[0]
    of_cell = found.table.query("agent == 'ucbvi' and bound == 'K^0.75'")
    assert row["median_exponent"] == of_cell["exponent"].median()
    assert row["consistent"] == (of_cell["verdict"] == CONSISTENT).sum()
    text = repr(found)
    assert "Verdicts: number of games of 9" in text
    assert "Assumptions: number of games of 9" in text
    assert "Game 0" not in text
    assert found._repr_html_().count("<table") == found.to_markdown().count("**") // 2 == 2


def test_unfinished_studies():
    ds = make_dataset(mechanisms={"two-phase": synthetic.MECHANISMS["two-phase"]}, num_seeds=40)
    is_missing = np.zeros((1, 3, 1, 40), bool)
    is_missing[0, 0] = True
    is_missing[0, 1, :, 3:] = True
    found = px.check_bounds(synthetic.without_runs(ds, is_missing), [bounds.Compliance()])
    assert found.table["agent"].tolist() == ["q-learning", "ucb-q"]
    assert found.table["runs"].tolist() == [3, 40]
    assert found.table["verdict"].tolist() == [INCONCLUSIVE, CONSISTENT]
    alone = ds.isel(agent=[1], seed=slice(3))
    wanted = px.check_bounds(alone, [bounds.Compliance()]).table
    assert found.table.iloc[[0]].equals(wanted)


def test_a_study_that_has_not_begun_has_no_rows():
    ds = make_dataset(num_seeds=2)
    found = px.check_bounds(synthetic.without_runs(ds, np.ones((1, 3, 6, 2), bool)))
    assert len(found.table) == len(found.audits) == len(found.counts()) == 0
    assert "of 0 checks" in " ".join(repr(found).split())
    assert found.to_markdown()
    assert found._repr_html_()


def test_checks_depend_on_their_cell_alone():
    mechanisms = {name: synthetic.MECHANISMS[name] for name in ("none", "two-phase")}
    ds = make_dataset(mechanisms=mechanisms, agents=ONE_AGENT, num_games=2, num_seeds=12)
    both = px.check_bounds(ds).table.query("game == 1 and mechanism == 'two-phase'")
    alone = px.check_bounds(ds.isel(game=[1]).sel(mechanism=["two-phase"])).table
    assert both.reset_index(drop=True).equals(alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "level: got 1.0, must lie strictly between 0 and 1"),
        ({"decades": 0.0}, "decades: got 0.0, must be above 0"),
        ({"max_width": -1.0}, "max_width: got -1.0, must be above 0"),
        ({"bounds": ["K"]}, "bounds: got 'K', must be bounds"),
        ({"bounds": RATE}, "bounds: got Rate(.*), must be several, such as"),
    ],
)
def test_errors_of_check_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        px.check_bounds(make_dataset(num_seeds=2), **options)


def test_moments_are_refused():
    moments = synthetic.keep_moments(make_dataset(num_seeds=3))
    with pytest.raises(ValueError, match="ds: got keep='moments', must hold runs, not moments"):
        px.check_bounds(moments)


def test_the_level_is_that_of_every_interval():
    ds = make_dataset(mechanisms={"two-phase": synthetic.MECHANISMS["two-phase"]}, num_seeds=40)
    wide, narrow = (px.check_bounds(ds, level=level) for level in (0.99, 0.8))
    width = lambda table, name: (table[f"{name}_high"] - table[f"{name}_low"]).dropna()  # noqa: E731
    for name in ("exponent", "share"):
        assert (width(wide.table, name) > width(narrow.table, name)).all()
    assert (width(wide.audits, "kappa") > width(narrow.audits, "kappa")).all()
    assert "Intervals cover 80 %" in repr(narrow)
