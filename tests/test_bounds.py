"""pajax.bounds: right-hand sides and audits, against plain Python and closed forms."""

import dataclasses
import textwrap
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats
import synthetic
import xarray as xr
from exact_batches import to_pajax
from oracles import bounds as oracle
from oracles import exact
from oracles.exact import Shape
from synthetic import make_dataset

import pajax as px
from pajax import bounds
from pajax.bounds import audits, base
from pajax.bounds.base import Case, Place
from pajax.mechanisms import TwoPhase

TWO = {name: synthetic.MECHANISMS[name] for name in ("none", "two-phase")}
SIDES = {
    "interval_width": bounds.IntervalWidth(),
    "identification": bounds.Identification(),
    "phase_one_length": bounds.PhaseOneLength(),
    "compliance": bounds.Compliance(),
    "deviations": bounds.Deviations(),
    "welfare_regret": bounds.WelfareRegret(),
    "gap_regime": bounds.GapRegime(),
    "excess_payment": bounds.ExcessPayment(),
    "principal_regret": bounds.PrincipalRegret(),
}
WITH_CHECKS = bounds.PhaseOneLength(has_checks=True)


def two_horizons(num_seeds: int = 5) -> xr.Dataset:
    """Two games of different sizes: the second has H = 3, S = 4, A = 2 and another mechanism."""
    ds = make_dataset(mechanisms=TWO, num_games=2, num_seeds=num_seeds)
    sizes = {"horizon": [5, 3], "num_states": [3, 4], "num_actions": [3, 2]}
    found = ds.assign({name: ("game", np.array(x)) for name, x in sizes.items()})
    found = found.assign(min_visits=found["min_visits"] * xr.DataArray([1.0, 0.1], dims="game"))
    scale = xr.DataArray([1.0, 0.5], dims="game")
    return found.assign({name: found[name] * scale for name in ("width", "margin", "test_visits")})


def study() -> xr.Dataset:
    """Real runs, short, of a bandit: little to compile."""
    return px.study(
        jax.random.key(0),
        px.games.bandit(),
        agents={"ucb": px.agents.UCB1()},
        mechanisms={"two-phase": TwoPhase(width=0.3, test_visits=8, min_visits=5)},
        num_episodes=400,
        num_seeds=4,
        progress=False,
    )


def over_horizons() -> xr.Dataset:
    """Terms of the mechanism then depend on the checkpoint."""
    lengths = (10_000, 20_000, 100_000)
    return px.statistics.by_horizon(
        [make_dataset(mechanisms=TWO, num_seeds=5, num_episodes=k) for k in lengths]
    )


DATASETS = {"two horizons": two_horizons, "a study": study, "over K": over_horizons}


@pytest.fixture(scope="module", params=DATASETS)
def dataset(request) -> xr.Dataset:
    return DATASETS[request.param]()


def oracle_runs(ds: xr.Dataset, case: Case, seed: int):
    """What each checkpoint of a run shows to the oracle."""
    here = ds.sel(game=case.place.game, agent=case.place.agent, mechanism=case.place.mechanism)
    constant, kappa = case.rationality.constant.value, case.rationality.kappa_used
    for e in range(ds.sizes["episode"]):
        at = here.isel(seed=seed, episode=e)
        read = {field.name: field.name for field in dataclasses.fields(oracle.Run)}
        found = {name: float(at[name]) for name in read if name in at.data_vars}
        found |= {"constant": constant if np.isfinite(constant) else np.inf, "kappa": kappa}
        found |= {"coverage": float(case.coverage.realised.value)}
        yield oracle.Run(**(found | {"episodes": float(at["episode"])}))


@pytest.mark.parametrize("name", [*SIDES, "with checks"])
def test_right_hand_sides(dataset, name):
    """The same formula from plain loops: float64 rounding of a dozen operations, 1e-12."""
    bound = WITH_CHECKS if name == "with checks" else SIDES[name]
    found = bounds.evaluate(dataset, bound)
    assert found.dims == ("game", "agent", "mechanism", "seed", "episode")
    num_checked = 0
    for case in bounds.cases(dataset):
        here = found.sel(**case.place._asdict())
        if case.place.mechanism == "none":
            assert np.isnan(here).all()
            continue
        for seed in range(min(2, case.num_runs)):
            runs = list(oracle_runs(dataset, case, seed))
            if name == "with checks":
                wanted = [oracle.phase_one_length(run, has_checks=True) for run in runs]
            else:
                wanted = [getattr(oracle, name)(run) for run in runs]
            np.testing.assert_allclose(here[seed], wanted, rtol=1e-12)
            num_checked += 1
    assert num_checked >= 2


def test_excess_payment_bounds_what_the_ledger_calls_payments_beyond_tau(dataset):
    case = next(bounds.cases(dataset))
    found = bounds.ExcessPayment().observed(case)
    np.testing.assert_array_equal(found, case["principal_regret"] - case["welfare_regret"])


def test_the_terms_of_the_welfare_regret_sum_to_it(dataset):
    *_, case = bounds.cases(dataset)
    terms = bounds.PrincipalRegret().terms(case)
    assert list(terms) == ["phase one", "width", "deviations", "planning", "payments"]
    side = sum(np.broadcast_to(x, (case.num_runs, len(case.episodes))) for x in terms.values())
    np.testing.assert_allclose(base.right_side(bounds.PrincipalRegret(), case), side, rtol=1e-12)
    more = bounds.WelfareRegret(planning_constant=3.0).terms(case)["planning"]
    np.testing.assert_allclose(more, 3 * terms["planning"], rtol=1e-12)


def test_no_margin_bounds_no_deviation():
    ds = make_dataset(mechanisms=TWO, num_seeds=4)
    *_, case = bounds.cases(ds.assign(margin=0 * ds["margin"]))
    for bound in (bounds.Compliance(), bounds.Deviations()):
        assert np.isposinf(base.right_side(bound, case)).all()


def test_a_rate_meets_the_mean_at_the_end():
    case = next(bounds.cases(two_horizons()))
    side = base.right_side(bounds.Rate(exponent=0.6), case)
    mean = case["welfare_regret"].mean(0)
    np.testing.assert_allclose(side[0], mean[-1] * (case.episodes / case.episodes[-1]) ** 0.6)
    assert bounds.Rate(exponent=0.6).name == "K^0.6"


def test_evaluate_is_what_check_bounds_compares_with():
    ds = two_horizons(num_seeds=6)
    table = bounds.check_bounds(ds).to_dataframe().set_index(["game", "mechanism", "bound"])
    for bound in bounds.theory()[4:]:
        at_end = bounds.evaluate(ds, bound).isel(episode=-1).mean("seed")
        for game in (0, 1):
            wanted = float(at_end.sel(game=game, agent="ucbvi", mechanism="two-phase"))
            found = table.loc[(game, "two-phase", bound.name)].query("agent == 'ucbvi'")
            np.testing.assert_allclose(found["value"], wanted, rtol=1e-12)


def test_runs_that_were_not_done_have_no_bound():
    ds = two_horizons()
    is_missing = np.zeros((2, 3, 2, 5), bool)
    is_missing[0, 0, 1, [1, 3]] = True
    found = bounds.evaluate(synthetic.without_runs(ds, is_missing), bounds.WelfareRegret())
    is_nan = found.isnull().isel(agent=0, mechanism=1, game=0)
    assert is_nan.all("episode").to_numpy().tolist() == [False, True, False, True, False]


# A bound of one's own


def test_the_bound_in_the_docstring():
    """The example is run as it stands there."""
    code = textwrap.dedent(str(base.__doc__).split("`value`:\n\n")[1])
    names: dict[str, Any] = {"px": px, "np": np, "dataclasses": dataclasses}
    exec(code, names)
    root = names["Root"]()
    ds = two_horizons()
    found = bounds.evaluate(ds, root).isel(game=1, agent=0, mechanism=0, seed=2)
    np.testing.assert_allclose(found, 3 * np.sqrt(4 * 2 * ds["episode"]), rtol=1e-15)
    assert set(px.check_bounds(ds, [root]).table["bound"]) == {"3 sqrt(S A K)"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given(bounds.Bound):
    """A right-hand side as given."""

    side: object = 1.0

    def value(self, case):
        return self.side


def test_sides_of_any_shape_that_broadcasts():
    case = next(bounds.cases(make_dataset(mechanisms=TWO, num_seeds=3)))
    k = len(case.episodes)
    for side in (2.0, np.ones(k), np.ones((3, 1)), np.ones((1, k)), np.ones((3, k))):
        assert base.right_side(Given(side=side), case).shape == (3, k)
    for side in (np.ones(3), np.ones((k, 3)), np.ones((1, 1, k))):
        with pytest.raises(ValueError, match=r"value of 'mine': got shape .*broadcast against"):
            base.right_side(Given(name="mine", side=side), case)


def test_errors_name_argument_value_and_rule():
    ds = make_dataset(mechanisms=TWO, num_seeds=3)
    case = next(bounds.cases(ds))
    with pytest.raises(ValueError, match=r"variable: got magic, must be a variable of the Data"):
        case["magic"]
    with pytest.raises(NotImplementedError, match="Bound must say what its value is"):
        bounds.Bound().value(case)
    with pytest.raises(ValueError, match=r"exponent: got 3.0, must lie in \[0, 2\]"):
        bounds.Rate(exponent=3.0)
    with pytest.raises(ValueError, match=r"rate: got 1.5, must lie in \[0, 1\]"):
        bounds.ExplorationFloor.of(px.games.bandit(), 1.5)
    with pytest.raises(ValueError, match="ds: got keep='moments', must hold runs, not moments"):
        bounds.evaluate(synthetic.keep_moments(ds), bounds.Compliance())
    floor = bounds.ExplorationFloor.of(px.games.bandit(), 0.1, labels=["bandit"])
    with pytest.raises(ValueError, match="game: got 0, must be one of bandit"):
        bounds.evaluate(ds, floor)


# The floor of exploration


def small_games(number: int = 6):
    shapes = [Shape(2, 2, 1, 3), Shape(2, 3, 2, 2), Shape(1, 4, 1, 2, (False, False, False))]
    rng = np.random.default_rng(5)
    return [exact.random_game(rng, shapes[i % 3]) for i in range(number)]


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.4, 1.0])
def test_the_floor_is_the_loss_of_the_best_soft_policy(rate, x64):
    """All deterministic policies, softened; float64 rounding of H sums, 1e-12."""
    for game in small_games():
        floor = bounds.ExplorationFloor.of(to_pajax(game), rate)
        wanted = oracle.exploration_loss(game, rate)
        assert dict(floor.losses)[0] == pytest.approx(wanted, abs=1e-12)


def test_its_slope_at_no_exploration_is_the_theorys(x64):
    """The loss is a polynomial in eps whose slope at 0 is (T9)'s. What is left is of second order:
    two deviations or more in an episode have probability at most (eps H)^2 / 2 and cost at most
    2 H, twice for W_eps and for the first-order term: less than 2 eps H^3 of the ratio."""
    rate = 1e-6
    for game in small_games():
        floor = bounds.ExplorationFloor.of(to_pajax(game), rate)
        slope = dict(floor.losses)[0] / rate
        rounding = 1e-15 * 2 * game.horizon / rate
        wanted = oracle.exploration_slope(game)
        assert slope == pytest.approx(wanted, abs=2 * rate * game.horizon**3 + rounding)
        assert wanted > 0.01


def test_the_theorys_floor_can_be_above_what_an_explorer_loses():
    """So it is the sharpened one that is checked: at eps = 1 in 300 small games, float64."""
    rng = np.random.default_rng(8)
    games = [exact.random_game(rng, Shape(2, 2, 1, 3)) for _ in range(300)]
    excess = [oracle.exploration_slope(game) - oracle.exploration_loss(game, 1.0) for game in games]
    assert max(excess) > 0.01


def test_a_batch_of_games_has_a_floor_each():
    games = [px.games.bandit(), px.games.bandit(np.linspace(0, 1, 5), np.full(5, 0.5))]
    both = bounds.ExplorationFloor.of(px.stack_games(games), 0.2, labels=["one", "two"])
    alone = [dict(bounds.ExplorationFloor.of(game, 0.2).losses)[0] for game in games]
    assert [name for name, _ in both.losses] == ["one", "two"]
    np.testing.assert_allclose([loss for _, loss in both.losses], alone, rtol=1e-12)
    ds = make_dataset(mechanisms=TWO, num_games=2, num_seeds=2)
    found = bounds.evaluate(ds.assign_coords(game=["one", "two"]), both).isel(agent=0, seed=0)
    wanted = np.multiply.outer(alone, ds["episode"].to_numpy())
    np.testing.assert_allclose(found.isel(mechanism=0), wanted, rtol=1e-12)


# Quantiles by order statistics


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("number", [1, 8, 36, 64, 200])
def test_a_quantile_is_covered_exactly_as_said(number, probability, level):
    """Of numbers 0 .. n - 1 as samples, an end is its own rank; the rank of the quantile is
    binomial. Each side misses with (1 - level) / 2 at most, and no nearer rank would do."""
    found = bounds.quantile_interval(np.arange(number)[::-1], probability, level)
    outside = (1 - level) / 2
    at_most = scipy.stats.binom(number, probability)
    low = -1 if np.isnan(found.low) else int(found.low)
    high = number if np.isnan(found.high) else int(found.high)
    # the low end is above the quantile if at most `low` samples are below it, and so on
    assert low == -1 or at_most.cdf(low) <= outside
    assert at_most.cdf(low + 1) >= outside
    assert high == number or at_most.sf(high) <= outside
    assert high == 0 or at_most.sf(high - 1) > outside
    assert found.value == np.quantile(np.arange(number), probability, method="inverted_cdf")


# The audit of (A1)

EPISODES = np.unique(np.rint(np.geomspace(1, 1e5, 60))).astype(float)


def runs_with(ages: np.ndarray, lost: np.ndarray, **more: np.ndarray) -> Case:
    """A case with these points of contracts, [run, checkpoint]."""
    variables = {"contract_age": ages, "contract_regret": lost, "welfare_regret": lost} | more
    return Case(Place(0, "agent", "mechanism"), EPISODES, False, variables)


def fixed_contract(kappa: float, noise: float = 0.0, number: int = 40) -> Case:
    """One contract for ever, under which a run loses C n^kappa."""
    ages = np.tile(EPISODES, (number, 1))
    factor = np.exp(noise * np.random.default_rng(3).normal(size=(number, 1)))
    return runs_with(ages, 2.5 * factor * ages**kappa)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 0.5, 0.75])
def test_a_power_law_has_its_exponent_and_constant(kappa):
    """The regression is on a rounded grid of ages, between two checkpoints of ratio 1.22: M there
    is that of the checkpoint before. A slope over 1.5 decades is off by less than
    kappa log10(1.22) / 1.5 < 0.06 kappa."""
    audit = audits.audit_rationality(fixed_contract(kappa), delta=0.1)
    assert audit.state == "holds"
    assert audit.kappa.value == pytest.approx(kappa, abs=0.06 * kappa)
    ends = audit.kappa.low, audit.kappa.high
    assert ends == pytest.approx((audit.kappa.value,) * 2, abs=1e-12)  # runs are equal
    used = max(float(audit.kappa.value), 0.5)
    assert audit.kappa_used == used
    assert audit.constant.value == pytest.approx((2.5 * EPISODES ** (kappa - used)).max())


def test_the_constant_is_a_quantile_over_runs():
    case = fixed_contract(0.5, noise=0.5)
    audit = audits.audit_rationality(case, delta=0.2)
    ages, lost = case["contract_age"], case["contract_regret"]
    assert audit.constant.value == oracle.constant(ages, lost, audit.kappa_used, 0.8)
    assert audit.constant.low < audit.constant.value < audit.constant.high


def test_a_linear_loss_fails():
    audit = audits.audit_rationality(fixed_contract(1.0, noise=0.3), delta=0.1)
    assert audit.state == "fails"
    assert audit.kappa.low > audits.MOST_KAPPA
    assert "kappa = 1.0" in audit.evidence


def test_nothing_lost_holds():
    case = fixed_contract(0.5)
    audit = audits.audit_rationality(
        runs_with(case["contract_age"], 0 * EPISODES + 0.0 * case["contract_age"]), 0.1
    )
    assert audit.state == "holds"
    assert tuple(audit.kappa) == tuple(audit.constant) == (0.0, 0.0, 0.0)


def test_contracts_that_are_always_young_say_nothing():
    ages = np.tile(np.minimum(EPISODES, 9.0), (40, 1))
    audit = audits.audit_rationality(runs_with(ages, ages), delta=0.1)
    assert audit.state == "unclear"
    assert np.isnan([*audit.kappa, *audit.constant]).all()
    assert audit.evidence == "half of the contracts lasted 9 episodes at most"


def test_one_run_has_no_interval():
    audit = audits.audit_rationality(fixed_contract(1.0, number=1), delta=0.1)
    assert audit.state == "unclear"
    assert np.isfinite(audit.kappa.value)
    assert np.isnan(audit.kappa[1:]).all()


def test_changing_contracts_are_read_through_the_most_that_was_lost():
    """Contracts that end at random ages, each at sqrt(age): what they lost is a point each."""
    rng = np.random.default_rng(4)
    ages = np.ceil(EPISODES * rng.uniform(0.05, 1, (40, len(EPISODES))))
    case = runs_with(ages, 3.0 * np.sqrt(ages))
    audit = audits.audit_rationality(case, delta=0.1)
    assert audit.state == "holds"
    wanted = oracle.constant(ages, case["contract_regret"], audit.kappa_used, 0.9)
    assert audit.constant.value == wanted
    grid = np.array([1.0, 30.0, 5000.0])
    found = audits._envelope(ages, case["contract_regret"], grid)
    wanted = [
        [oracle.most_lost(*run, n) for n in grid]
        for run in zip(ages, case["contract_regret"], strict=True)
    ]
    np.testing.assert_array_equal(found, wanted)


# The audit of (A2)


@pytest.fixture(scope="module")
def two_phase() -> Case:
    *_, case = bounds.cases(make_dataset(mechanisms=TWO, agents={"one": 1.0}, num_seeds=12))
    return case


def with_coverage(case: Case, coverage: np.ndarray, cap: float) -> Case:
    changed = {"coverage": coverage, "phase_one_cap": np.float64(cap)}
    return dataclasses.replace(case, variables={**case.variables, **changed})


def test_realised_coverage_is_that_of_phase_one(two_phase):
    rng = np.random.default_rng(6)
    shape = (12, len(two_phase.episodes))
    length = rng.choice([0.0, 17.0, 900.0, 3000.0, 1e5], size=12)
    phase_one = np.minimum(two_phase.episodes, length[:, None])
    coverage = rng.uniform(size=shape)
    changed = {**two_phase.variables, "coverage": coverage, "phase_one": phase_one}
    case = dataclasses.replace(two_phase, variables=changed)
    wanted = oracle.coverage_at_end_of_phase_one(case.episodes, phase_one, coverage)
    assert len(set(length)) > 3
    assert audits.audit_coverage(case).realised.value == pytest.approx(np.mean(wanted), rel=1e-12)
    over_horizons = dataclasses.replace(case, is_over_horizons=True)
    realised = audits.audit_coverage(over_horizons).realised.value
    assert realised == pytest.approx(coverage[:, -1].mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("least", "most", "state"),
    [(0.105, 0.115, "holds"), (0.08, 0.12, "unclear"), (0.03, 0.04, "unclear"), (0, 0, "fails")],
)
def test_coverage_against_the_visits_that_tests_take(two_phase, least, most, state):
    needed = oracle.phase_one_length(
        dataclasses.replace(next(_terms(two_phase)), coverage=1.0)
    )  # in visits
    shares = np.linspace(least, most, 12)[:, None] * np.ones(len(two_phase.episodes))
    audit = audits.audit_coverage(with_coverage(two_phase, shares, cap=10 * needed))
    assert audit.needed == pytest.approx(needed, rel=1e-12)
    assert audit.allowed == pytest.approx(10 * needed)
    assert audit.state == state
    assert f"{needed:,.0f} visits needed" in audit.evidence


def _terms(case: Case):
    """What the oracle reads of a mechanism."""
    zeros = {field.name: 0.0 for field in dataclasses.fields(oracle.Run)}
    read = ("horizon", "num_states", "num_actions", "width", "test_visits", "min_visits", "margin")
    yield oracle.Run(**(zeros | {name: float(case[name]) for name in read}))


def test_without_tests_nothing_is_asked_of_coverage():
    case = next(bounds.cases(make_dataset(mechanisms=TWO, num_seeds=4)))
    audit = audits.audit_coverage(case)
    assert (audit.state, audit.needed, audit.allowed) == ("holds", 0.0, 100_000)
    assert audit.on_path == synthetic.EXACT["path_coverage"]
    assert audit.laissez_faire == synthetic.EXACT["laissez_faire_coverage"]
    assert audit.evidence.endswith("no tests")


def test_audits_are_made_once_and_at_the_level_asked(two_phase):
    assert two_phase.rationality is two_phase.rationality
    wide, narrow = (
        dataclasses.replace(two_phase, level=level).rationality.kappa for level in (0.99, 0.5)
    )
    assert wide.low < narrow.low < narrow.high < wide.high
