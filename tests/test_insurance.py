"""Insurance: the stylised game, the fit to the RAND data, the calibrated game, and its figure.

Oracles are plain loops. Tests of the data themselves need statsmodels, which ships them.
"""

import importlib.machinery
import importlib.util
import itertools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from game_figures import assert_figures
from matplotlib.figure import Figure
from oracles import exact

import pajax as px
from pajax import plotting
from pajax.games import rand_hie
from pajax.games.insurance import ACTIONS, CLASSES, insurance
from pajax.games.rand_hie import RandData, RandFit, fit_rand, load_rand, rand_insurance
from pajax.testing import check_game

NONE, SOME, FULL = range(3)

# The stylised game

DEFAULTS = {
    "claim": (0.05, 0.25, 0.5),
    "relapse": 1.2,
    "prevention": (0.0, 0.3, 0.8),
    "effort_cost": (0.0, 0.1, 0.25),
    "strain": (1.0, 1.2, 1.5),
    "coinsurance": 0.1,
    "worsening": (0.05, 0.5),
    "recovery": 0.8,
    "initial": (0.2, 0.4, 0.4),
    "horizon": 5,
}
SMALL = {
    "claim": (0.2, 0.6),
    "relapse": 1.5,
    "prevention": (0.1, 0.7),
    "effort_cost": (0.05, 0.2),
    "strain": (2.0, 1.0),
    "coinsurance": 0.3,
    "worsening": (0.1, 0.9),
    "recovery": 0.4,
    "initial": (0.6, 0.4),
    "horizon": 3,
}
ONE_CLASS = SMALL | {"claim": (0.4,), "strain": (1.0,), "initial": (1.0,)}
GAMES = {"default": DEFAULTS, "small": SMALL, "one class": ONE_CLASS}
STATED = {"W*": 6.9769, "rho . V0": 3.3048, "laissez-faire": 5.3364}


def in_one_unit(insured: np.ndarray, insurer: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rewards of two tables of costs [S, A], and the costs in a reward unit."""
    unit = max(insured.max() - insured.min(), insurer.max() - insurer.min())
    return (insured.max() - insured) / unit, (insurer.max() - insurer) / unit, unit


def stylised(given: dict) -> tuple[exact.NumpyGame, float]:
    """The game a cell and a successor at a time, and the claims in a reward unit."""
    num_classes, num_actions = len(given["claim"]), len(given["prevention"])
    kernel = np.zeros((2 * num_classes, num_actions, 2 * num_classes))
    insured, insurer = np.zeros((2, 2 * num_classes, num_actions))
    start = np.zeros(2 * num_classes)
    for k, j, a in itertools.product(range(num_classes), range(2), range(num_actions)):
        prevented = given["prevention"][a]
        odds = (1 - prevented) * given["claim"][k] * (given["relapse"] if j == 1 else 1)
        effort = given["strain"][k] * given["effort_cost"][a]
        insured[2 * k + j, a] = given["coinsurance"] * odds + effort
        insurer[2 * k + j, a] = (1 - given["coinsurance"]) * odds
        worse = (1 - prevented) * given["worsening"][j] if k < num_classes - 1 else 0.0
        better = prevented * given["recovery"] if k > 0 else 0.0
        for move, part in ((1, worse), (-1, better), (0, 1 - worse - better)):
            if part > 0:
                kernel[2 * k + j, a, 2 * (k + move)] += part * (1 - odds)
                kernel[2 * k + j, a, 2 * (k + move) + 1] += part * odds
        start[2 * k] = given["initial"][k]
    u, v, unit = in_one_unit(insured, insurer)
    return exact.stationary_game(kernel, u, v, start, given["horizon"]), unit


def assert_tables(game: px.Game, oracle: exact.NumpyGame, atol: float) -> None:
    assert (game.horizon, game.lanes) == (oracle.horizon, ())
    for name in ("transition", "agent_reward", "principal_reward", "initial"):
        found, expected = np.asarray(getattr(game, name)), getattr(oracle, name)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=atol)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("given", GAMES.values(), ids=GAMES.keys())
def test_tables(given):
    oracle, _ = stylised(given)
    # A dozen operations on numbers up to 1, divided by a unit above 1/3; rows by their own total.
    assert_tables(insurance(**given), oracle, (40 + oracle.num_states) * exact.EPSILON)


@pytest.mark.usefixtures("x64")
def test_figures():
    oracle, unit = stylised(DEFAULTS)
    assert_figures(insurance(), oracle, STATED, share=76.5)
    assert unit == pytest.approx(0.531, abs=1e-12)
    assert (len(CLASSES), len(ACTIONS)) == (3, 3)


@pytest.mark.usefixtures("x64")
def test_policies():
    game = insurance()
    plan = px.planning.greedy(px.planning.welfare_values(game).q_values)
    early, last = [NONE, NONE, FULL, FULL, FULL, FULL], [NONE] * 4 + [FULL] * 2
    np.testing.assert_array_equal(plan, [early] * 4 + [last])
    np.testing.assert_array_equal(px.planning.best_response(game), np.full((5, 6), NONE))


@pytest.mark.usefixtures("x64")
def test_a_single_rebate_is_not_enough():
    game, (oracle, _) = insurance(), stylised(DEFAULTS)
    # Half a unit in the last place printed.
    share = px.transfers.best_flat_contract(game).welfare / exact.optimal_welfare(oracle)
    assert abs(100 * share - 84.8) <= 0.05
    amounts = np.linspace(0.0, exact.minimal_transfers(oracle).max(), 41)
    found = px.transfers.best_flat_contract(game, amounts).welfare
    expected = exact.flat_contract(oracle, amounts).welfare
    assert abs(found - expected) <= exact.rounding(oracle, 2.0)


@pytest.mark.usefixtures("x64")
def test_optimum_is_the_best_of_all_policies():
    given = SMALL | {"horizon": 2}
    game, (oracle, _) = insurance(**given), stylised(given)
    best = max(exact.policy_welfare(oracle, policy) for policy in exact.all_policies(oracle))
    found = px.planning.expected(game, px.planning.welfare_values(game))
    assert abs(found - best) <= exact.rounding(oracle, 2.0)


@pytest.mark.usefixtures("x64")
def test_rewards_are_money():
    """Welfare lost, in reward units, is the cost of claims and effort above the least."""
    game, (_, unit) = insurance(), stylised(DEFAULTS)
    welfare = np.asarray(game.agent_reward + game.principal_reward[..., 0])[0]
    for s, a in np.ndindex(6, 3):
        k, j = s // 2, s % 2
        claim = (1 - DEFAULTS["prevention"][a]) * DEFAULTS["claim"][k] * 1.2**j
        cost = claim + DEFAULTS["strain"][k] * DEFAULTS["effort_cost"][a]
        lost = unit * (welfare[0, 0] - welfare[s, a])
        # A dozen operations on numbers up to 2.
        assert abs(lost - (cost - 0.05)) <= 30 * exact.EPSILON


def test_stylised_game_passes_the_check():
    check_game(insurance())


REFUSED = {
    "a claim over 1": ("claim", {"claim": (0.1, 0.2, 1.1)}),
    "no class": ("claim", {"claim": ()}),
    "claims by state": ("claim", {"claim": ((0.1, 0.2), (0.3, 0.4))}),
    "a relapse beyond certainty": ("relapse", {"relapse": 2.1}),
    "prevention over 1": ("prevention", {"prevention": (0.0, 0.5, 1.2)}),
    "a cost short": ("effort_cost", {"effort_cost": (0.0, 0.2)}),
    "a negative cost": ("effort_cost", {"effort_cost": (0.0, -0.1, 0.2)}),
    "a strain short": ("strain", {"strain": (1.0, 1.0)}),
    "co-insurance in per cent": ("coinsurance", {"coinsurance": 25.0}),
    "one worsening": ("worsening", {"worsening": (0.5,)}),
    "recovery over 1": ("recovery", {"recovery": 1.5}),
    "initial short of 1": ("initial", {"initial": (0.5, 0.3, 0.1)}),
    "initial of other classes": ("initial", {"initial": (0.5, 0.5)}),
    "nothing at stake": ("costs", {"claim": (0.0, 0.0, 0.0), "effort_cost": (0.0, 0.0, 0.0)}),
    "horizon 0": ("horizon", {"horizon": 0}),
    "an unknown noise": ("noise", {"noise": "cauchy"}),
}


@pytest.mark.parametrize(("name", "change"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(name, change):
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        insurance(**change)
    assert "\n" not in str(caught.value)


# The fit, on data from the model


class Truth(NamedTuple):
    intercept: tuple[float, ...] = (0.6, 0.7, 0.9, 1.2)
    slope: float = -0.06
    history: float = 1.2
    dispersion: tuple[float, float] = (1.2, 0.7)
    shares: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)

    @property
    def parameters(self) -> np.ndarray:
        return np.array([*self.intercept, self.slope, self.history])

    def mean(self, k: int, j: int, rate: float) -> float:
        return math.exp(
            self.intercept[k] + self.slope * math.log(1 + 100 * rate) + self.history * j
        )


TRUTH, MANY, RATES = Truth(), 4, (0.0, 0.25, 0.5, 0.95)


def draw(seed: int, num_persons: int, num_years: int = 4) -> RandData:
    """Person-years of the model; the first year of each has no history."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(num_persons):
        k, rate, previous = rng.choice(4, p=TRUTH.shares), rng.choice(RATES), -1
        for _ in range(num_years):
            j = int(previous >= MANY)
            size, mean = 1 / TRUTH.dispersion[j], TRUTH.mean(k, j, rate)
            visits = rng.negative_binomial(size, size / (size + mean))
            rows.append((visits, previous, k, rate, person))
            previous = visits
    visits, previous, health, rate, person = zip(*rows, strict=True)
    whole = [np.array(column, int) for column in (visits, previous, health, person)]
    return RandData(*whole[:3], np.array(rate), whole[3])


@pytest.fixture(scope="module")
def data() -> RandData:
    return draw(0, num_persons=3000)


@pytest.fixture(scope="module")
def fit(data: RandData) -> RandFit:
    return fit_rand(data, many=MANY)


def rows(data: RandData) -> list[tuple[int, int, int, float, int]]:
    """(visits, history, class, rate, person) of the person-years that have a history."""
    found = zip(*(column.tolist() for column in data), strict=True)
    return [(y, int(last >= MANY), k, rate, who) for y, last, k, rate, who in found if last >= 0]


def estimates(fit: RandFit) -> np.ndarray:
    return np.array([*fit.intercept, fit.slope, fit.history])


def fitted_mean(fit: RandFit, k: int, j: int, rate: float) -> float:
    return math.exp(fit.intercept[k] + fit.slope * math.log(1 + 100 * rate) + fit.history * j)


def fewer(many: int, mean: float, dispersion: float) -> float:
    """P(y < many) of a negative binomial: its probabilities one after the other."""
    size, odds = 1 / dispersion, dispersion * mean / (1 + dispersion * mean)
    probability, total = (1 + dispersion * mean) ** -size, 0.0
    for y in range(many):
        total += probability
        probability *= (y + size) / (y + 1) * odds
    return total


def dispersion_score(x: float, counts: list[tuple[int, float]]) -> tuple[float, float]:
    """d log-likelihood / d x, and the sum of the sizes of its terms.

    log P(y) = sum_{r < y} log(1 + r x) - (y + 1 / x) log(1 + x m) + y log m - log y!.
    """
    total, size = 0.0, 0.0
    for y, mean in counts:
        terms = [r / (1 + r * x) for r in range(y)]
        terms += [math.log1p(x * mean) / x**2, -(y + 1 / x) * mean / (1 + x * mean)]
        total, size = total + sum(terms), size + sum(abs(term) for term in terms)
    return total, size


def counts_of(fit: RandFit, data: RandData, history: int) -> list[tuple[int, float]]:
    return [(y, fitted_mean(fit, k, j, rate)) for y, j, k, rate, _ in rows(data) if j == history]


def test_fit_recovers_the_truth(fit, data):
    # Asymptotically normal: eight z-scores beyond five happen 5e-6 of the time.
    z = (estimates(fit) - TRUTH.parameters) / fit.errors
    assert np.abs(z).max() <= 5.0
    for j in (0, 1):
        counts = counts_of(fit, data, j)
        at, step = TRUTH.dispersion[j], 1e-3
        ends = [dispersion_score(at + side * step, counts)[0] for side in (-1, 1)]
        information = (ends[0] - ends[1]) / (2 * step)
        assert abs(fit.dispersion[j] - at) * math.sqrt(information) <= 5.0
    assert (fit.num_rows, fit.num_persons, fit.many) == (9000, 3000, MANY)
    # Shares of 3,000 persons drawn with these odds: five standard errors.
    assert np.abs(fit.class_shares - TRUTH.shares).max() <= 5 * 0.5 / math.sqrt(3000)


def test_scores_are_zero(fit, data):
    score, size = np.zeros(6), np.zeros(6)
    for y, j, k, rate, _ in rows(data):
        residual = y - fitted_mean(fit, k, j, rate)
        x = np.array([*np.eye(4)[k], math.log(1 + 100 * rate), j])
        score, size = score + residual * x, size + abs(residual) * x
    # Newton's last step was under 1e-12, and information is within a factor of ten of these sizes.
    assert (np.abs(score) <= 1e-11 * size).all()
    for j in (0, 1):
        total, terms = dispersion_score(fit.dispersion[j], counts_of(fit, data, j))
        # A root to 1e-14, of a score whose slope is at most ten times its terms.
        assert abs(total) <= 1e-12 * terms


def test_errors_are_those_of_the_sandwich(fit, data):
    information, scores = np.zeros((6, 6)), {}
    for y, j, k, rate, who in rows(data):
        mean = fitted_mean(fit, k, j, rate)
        x = np.array([*np.eye(4)[k], math.log(1 + 100 * rate), j])
        information += mean * np.outer(x, x)
        scores[who] = scores.get(who, 0.0) + (y - mean) * x
    inverse = np.linalg.inv(information)
    expected = inverse @ sum(np.outer(g, g) for g in scores.values()) @ inverse
    # Inverses with a condition number under 1e4.
    np.testing.assert_allclose(fit.covariance, expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(fit.errors, np.sqrt(np.diag(expected)), rtol=1e-9)


def test_copies_of_a_person_teach_nothing(fit, data):
    """Clustering: every row twice, under the same person, leaves estimates and errors."""
    twice = fit_rand(RandData(*(np.concatenate([column, column]) for column in data)), many=MANY)
    np.testing.assert_allclose(estimates(twice), estimates(fit), rtol=1e-9)
    np.testing.assert_allclose(twice.covariance, fit.covariance, rtol=1e-9, atol=1e-14)
    errors = twice.moments.visits_error
    np.testing.assert_allclose(errors, fit.moments.visits_error, rtol=1e-9)


def test_errors_say_how_estimates_scatter():
    squares = []
    for seed in range(100):
        fit = fit_rand(draw(100 + seed, num_persons=300), many=MANY)
        distance = estimates(fit) - TRUTH.parameters
        squares.append(distance @ np.linalg.solve(fit.covariance, distance))
    # Chi-square with 6 degrees of freedom, mean 6 and variance 12, up to a tenth for the bias of a
    # sandwich on 300 persons; five standard errors are passed 6e-7 of the time.
    assert abs(np.mean(squares) - 6.0) <= 0.6 + 5 * math.sqrt(12 / len(squares))


def moments_by_loops(fit: RandFit, data: RandData) -> dict[str, np.ndarray]:
    found = {}
    for kind, k, place in itertools.product(("visits", "none", "many"), range(4), range(4)):
        rate, observed, model = RATES[place], [], []
        for y, j, of, at, who in rows(data):
            if (of, at) == (k, rate):
                mean, x = fitted_mean(fit, k, j, rate), fit.dispersion[j]
                value = {"visits": y, "none": y == 0, "many": y >= MANY}[kind]
                observed.append((float(value), who))
                chance = {
                    "visits": mean,
                    "none": fewer(1, mean, x),
                    "many": 1 - fewer(MANY, mean, x),
                }
                model.append(chance[kind])
        average = sum(value for value, _ in observed) / len(observed)
        sums = {}
        for value, who in observed:
            sums[who] = sums.get(who, 0.0) + value - average
        error = math.sqrt(sum(total**2 for total in sums.values())) / len(observed)
        parts = {"": average, "_error": error, "_model": sum(model) / len(model)}
        for suffix, part in parts.items():
            found.setdefault(kind + suffix, np.zeros((4, 4)))[k, place] = part
        found.setdefault("num_rows", np.zeros((4, 4)))[k, place] = len(observed)
    return found


def test_moments(fit, data):
    np.testing.assert_array_equal(fit.moments.coinsurance, RATES)
    for name, expected in moments_by_loops(fit, data).items():
        # Sums of up to a thousand terms of one sign, or nearly.
        np.testing.assert_allclose(getattr(fit.moments, name), expected, rtol=1e-11, err_msg=name)
    for kind in ("visits", "none", "many"):
        z = fit.moments.z_scores(kind)
        # The model is true here: 16 normal z-scores (a little less, being fitted), each beyond 4.5
        # 7e-6 of the time.
        assert np.abs(z).max() <= 4.5
    with pytest.raises(ValueError, match=r"^kind: "):
        fit.moments.z_scores("cost")


@pytest.mark.parametrize("many", [1, 4, 9])
def test_at_least(many):
    for mean, dispersion in itertools.product((0.1, 2.0, 30.0), (0.05, 1.0, 5.0)):
        found = rand_hie.at_least(many, np.array(mean), np.array(dispersion))
        # One minus a sum of a few probabilities; the incomplete beta function is good to 1e-13.
        assert abs(found - (1 - fewer(many, mean, dispersion))) <= 1e-12


def test_data_that_cannot_tell():
    data = draw(1, num_persons=60)
    one_class = data._replace(health=np.zeros_like(data.health))
    one_rate = data._replace(coinsurance=np.zeros_like(data.coinsurance))
    regular = data._replace(visits=np.where(data.previous >= MANY, 5, 2))
    silent = data._replace(visits=np.where(data.health == 0, 0, data.visits))
    for changed in (one_class, one_rate, regular, silent):
        with pytest.raises(ValueError, match=r"^data: "):
            fit_rand(changed, many=MANY)
    with pytest.raises(ValueError, match=r"^many: "):
        fit_rand(data, many=0)


# From the table to person-years

FREE, QUARTER = 0.0, math.log(26.0)


def table_row(visits: int, lncoins: float, health: int, disea: float, idp: int = 0) -> list[float]:
    grades = [float(health == grade) for grade in (1, 2, 3)]
    return [visits, lncoins, idp, 0.0, 0.0, 0.0, disea, *grades]


def test_table_becomes_person_years():
    three = [table_row(y, FREE, 0, 1.0) for y in (1, 5, 2)]
    four = [table_row(y, FREE, 1, 2.0) for y in (7, 7, 7, 7)]  # perhaps two persons
    five = [table_row(y, QUARTER, 3, 2.0) for y in (0, 9, 0, 4, 0)]
    left_out = [table_row(3, FREE, 0, 3.0, idp=1) for _ in range(3)]
    single = [table_row(6, QUARTER, 2, 3.0)]
    found = rand_hie.rand_data(np.array([*three, *four, *left_out, *five, *single]))
    assert found.visits.tolist() == [1, 5, 2, 7, 7, 7, 7, 0, 9, 0, 4, 0, 6]
    assert found.previous.tolist() == [-1, 1, 5, -1, -1, -1, -1, -1, 0, 9, 0, 4, -1]
    assert found.health.tolist() == [0] * 3 + [1] * 4 + [3] * 5 + [2]
    assert found.coinsurance.tolist() == [0.0] * 7 + [0.25] * 6
    assert [len(set(found.person[i:j])) for i, j in ((0, 3), (3, 7), (7, 12))] == [1, 1, 1]
    assert len(set(found.person)) == 4


def test_without_statsmodels_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for needs_data in (load_rand, fit_rand, rand_insurance):
        with pytest.raises(ImportError, match=r"pip install 'pajax\[data\]'"):
            needs_data()


def test_another_table_is_refused(monkeypatch, tmp_path):
    place = tmp_path / "datasets" / "randhie"
    place.mkdir(parents=True)
    (place / "randhie.csv").write_text("visits,price\n1,2\n")
    spec = importlib.machinery.ModuleSpec("statsmodels", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=r"^randhie\.csv: "):
        load_rand()


# The experiment


@pytest.fixture(scope="module")
def rand_fit() -> RandFit:
    pytest.importorskip("statsmodels")
    return fit_rand()


def shipped(path: str) -> dict[str, np.ndarray]:
    """Columns of a file of the experiment."""
    folder = Path(pytest.importorskip("statsmodels").__file__).parent / "datasets/randhie"
    if not (folder / path).exists():
        pytest.skip(f"this version of statsmodels does not ship {path}")
    table = np.genfromtxt(folder / path, delimiter=",", names=True)
    return {name: table[name] for name in table.dtype.names}


def test_loaded_data(rand_fit):
    data = load_rand()
    assert len(data.visits) == 14_941
    assert np.bincount(data.health).tolist() == [8261, 5294, 1161, 225]
    assert np.unique(data.coinsurance).tolist() == [0.0, 0.25, 0.5, 0.95]
    assert (data.visits.min(), data.visits.max()) == (0, 77)
    assert (rand_fit.num_rows, rand_fit.num_persons) == (8222, 3188)
    assert rand_fit.moments.num_rows.sum() == 8222


def test_stated_estimates(rand_fit):
    # Half a unit in the last place printed.
    np.testing.assert_allclose(rand_fit.intercept, [0.634, 0.735, 0.863, 1.155], atol=5e-4)
    errors = [0.035, 0.042, 0.069, 0.125, 0.0105, 0.039]
    assert np.abs(rand_fit.errors - errors).max() <= 5e-4
    assert abs(rand_fit.slope + 0.0557) <= 5e-5
    assert abs(rand_fit.history - 1.183) <= 5e-4
    np.testing.assert_allclose(rand_fit.dispersion, [1.17, 0.73], atol=5e-3)
    assert abs(100 * (1 - 96**rand_fit.slope) - 22) <= 0.5


def test_stated_fit(rand_fit):
    moments = rand_fit.moments
    sums = [(moments.z_scores(kind) ** 2).sum() for kind in ("visits", "many", "none")]
    np.testing.assert_allclose(sums, [11.4, 11.4, 74], atol=0.5)
    largest = [np.abs(moments.z_scores(kind)).max() for kind in ("visits", "many")]
    np.testing.assert_allclose(largest, [1.7, 2.1], atol=0.05)
    ends = [0, 3]
    np.testing.assert_allclose(100 * moments.none[0, ends], [23, 44], atol=0.5)
    np.testing.assert_allclose(100 * moments.none_model[0, ends], [28, 37], atol=0.5)
    assert moments.num_rows[3].sum() == 154 and moments.num_rows[3, 2] == 12


def test_runs_of_equal_rows_are_persons():
    """Against the person numbers that some versions of statsmodels ship in the source file."""
    table, source, data = shipped("randhie.csv"), shipped("src/randhie.csv"), load_rand()
    np.testing.assert_array_equal(table["mdvis"], source["mdvis"])
    kept = table["idp"] == 0
    person, year = source["zper"][kept], source["year"][kept]
    known = np.flatnonzero(data.previous >= 0)
    is_next = (person[known] == person[known - 1]) & (year[known] == year[known - 1] + 1)
    runs = [person[data.person == run] for run in np.unique(data.person[known])]
    pure = [len(set(run)) == 1 for run in runs]
    outside = ~np.isin(data.person, data.person[known])
    # As the module states, to half a unit in the last place printed.
    assert abs(100 * np.mean(is_next) - 99.8) <= 0.05
    assert abs(100 * np.mean(pure) - 99.7) <= 0.05
    assert abs(100 * np.mean(outside) - 24) <= 0.5


def test_history_is_partly_who_one_is():
    """The first year as a control, in rows from the third year of a run on."""
    pytest.importorskip("statsmodels")
    data = load_rand()
    since, first = 0, np.zeros(len(data.visits), int)
    place = np.zeros(len(data.visits), int)
    for i in range(len(data.visits)):
        since = since if data.previous[i] >= 0 else i
        first[i], place[i] = data.visits[since], i - since
    late = place >= 2
    x = [data.health == k for k in range(4)]
    x += [np.log1p(100 * data.coinsurance), data.previous >= 4, first >= 4]
    design, visits = np.stack(x, 1)[late].astype(float), data.visits[late]
    for columns, stated in ((6, 1.19), (7, 0.97)):
        part, b = design[:, :columns], np.append(np.ones(4), np.zeros(columns - 4))
        for _ in range(30):
            mean = np.exp(part @ b)
            b = b + np.linalg.solve(part.T @ (mean[:, None] * part), part.T @ (visits - mean))
        assert abs(b[5] - stated) <= 5e-3


# The calibrated game

STATED_RAND = {"W*": 5.1480, "rho . V0": 0.8814, "laissez-faire": 4.4792}
RAND_DEFAULTS = {
    "coinsurance": 0.0,
    "prevention": (0.0, 0.3, 0.5),
    "effort_cost": (0.0, 0.5, 1.5),
    "trouble": 0.1,
    "persistence": 0.8,
    "horizon": 5,
}
CHANGED = {
    "coinsurance": 0.4,
    "prevention": (0.1, 0.6),
    "effort_cost": (0.2, 0.9),
    "trouble": 0.0,
    "persistence": 0.3,
    "horizon": 3,
}


def year_of(fit: RandFit, given: dict, prevented: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean visits [8] and transitions [8, 8] of a year in which this share is prevented."""
    visits, kernel = np.zeros(8), np.zeros((8, 8))
    for k, j in itertools.product(range(4), range(2)):
        s = 2 * k + j
        visits[s] = (1 - prevented) * fitted_mean(fit, k, j, given["coinsurance"])
        many = 1 - fewer(fit.many, visits[s], fit.dispersion[j])
        chance = {}
        for step in (1, -1):
            if 0 <= k + step < 4:
                ratio = fit.class_shares[k + step] / fit.class_shares[k]
                chance[step] = (1 - given["persistence"]) / 2 * min(1, ratio)
        chance[1] = chance.get(1, 0.0) * (1 - prevented)
        chance[0] = 1 - sum(chance.values())
        for step, odds in chance.items():
            if odds > 0:
                kernel[s, 2 * (k + step)] += odds * (1 - many)
                kernel[s, 2 * (k + step) + 1] += odds * many
    return visits, kernel


def calibrated(fit: RandFit, given: dict) -> tuple[exact.NumpyGame, float]:
    """The game a cell at a time, and the visits in a reward unit."""
    num_actions = len(given["prevention"])
    kernel, (insured, insurer) = np.zeros((8, num_actions, 8)), np.zeros((2, 8, num_actions))
    for a, (prevented, effort) in enumerate(
        zip(given["prevention"], given["effort_cost"], strict=True)
    ):
        visits, kernel[:, a] = year_of(fit, given, prevented)
        insured[:, a] = (given["coinsurance"] + given["trouble"]) * visits + effort
        insurer[:, a] = (1 - given["coinsurance"]) * visits
    idle = year_of(fit, given, 0.0)[1]
    start = np.full(8, 1 / 8)
    for _ in range(5000):  # the slowest mode shrinks by a factor under 0.98 a year
        start = start @ idle
    u, v, unit = in_one_unit(insured, insurer)
    return exact.stationary_game(kernel, u, v, start / start.sum(), given["horizon"]), unit


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("given", [RAND_DEFAULTS, CHANGED], ids=["default", "changed"])
def test_calibrated_tables(fit, given):
    oracle, _ = calibrated(fit, given)
    # Exponentials and the incomplete beta function are good to some 1e-14; rows to S roundings.
    assert_tables(rand_insurance(fit, **given), oracle, 1e-12)


@pytest.mark.usefixtures("x64")
def test_classes_are_stationary_at_no_effort(fit):
    game = rand_insurance(fit)
    idle, start = np.asarray(game.transition[0, :, 0]), np.asarray(game.initial)
    # Eight products and sums of numbers up to 1, and the shares of a solved system.
    np.testing.assert_allclose(start @ idle, start, rtol=0.0, atol=1e-13)
    np.testing.assert_allclose(start.reshape(4, 2).sum(1), fit.class_shares, rtol=0.0, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_calibrated_values(fit):
    """W* and the rest on the synthetic fit, so that they are tested without the data too."""
    game, (oracle, _) = rand_insurance(fit), calibrated(fit, RAND_DEFAULTS)
    welfare = px.planning.expected(game, px.planning.welfare_values(game))
    alone = px.planning.policy_welfare(game, px.planning.best_response(game))
    # Tables differ by 1e-12, a value by that in each of five rewards and four kernels of values
    # up to 10.
    assert abs(welfare - exact.optimal_welfare(oracle)) <= 1e-10
    assert abs(alone - exact.best_response_welfare(oracle)) <= 1e-10
    assert alone < welfare


@pytest.mark.usefixtures("x64")
def test_calibrated_figures(rand_fit):
    game, (oracle, unit) = rand_insurance(rand_fit), calibrated(rand_fit, RAND_DEFAULTS)
    found = {
        "W*": px.planning.expected(game, px.planning.welfare_values(game)),
        "rho . V0": px.planning.expected(game, px.planning.agent_values(game)),
        "laissez-faire": px.planning.policy_welfare(game, px.planning.best_response(game)),
    }
    values, _ = exact.backward_induction(oracle, exact.agent_rewards(oracle))
    expected = {
        "W*": exact.optimal_welfare(oracle),
        "rho . V0": exact.expected(oracle, values),
        "laissez-faire": exact.best_response_welfare(oracle),
    }
    for name, stated in STATED_RAND.items():
        assert abs(found[name] - expected[name]) <= 1e-10  # as above
        assert abs(found[name] - stated) <= 5e-5  # as printed
    assert abs(unit - 9.41) <= 5e-3
    assert abs(unit * (found["W*"] - found["laissez-faire"]) - 6.3) <= 0.05
    assert abs(100 * found["laissez-faire"] / found["W*"] - 87.0) <= 0.05
    np.testing.assert_array_equal(px.planning.best_response(game), np.full((5, 8), NONE))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("coinsurance", "gap"), [(0.25, 4), (0.5, 3), (0.95, 0)])
def test_the_gap_closes_with_coinsurance(rand_fit, coinsurance, gap):
    game = rand_insurance(rand_fit, coinsurance=coinsurance)
    welfare = px.planning.expected(game, px.planning.welfare_values(game))
    alone = px.planning.policy_welfare(game, px.planning.best_response(game))
    assert abs(100 * (1 - alone / welfare) - gap) <= 0.5


@pytest.mark.slow
def test_calibrated_game_passes_the_check(fit):
    check_game(rand_insurance(fit))


RAND_REFUSED = {
    "co-insurance in per cent": ("coinsurance", {"coinsurance": 25.0}),
    "prevention under 0": ("prevention", {"prevention": (-0.1, 0.5)}),
    "a cost short": ("effort_cost", {"effort_cost": (0.0, 0.2)}),
    "negative trouble": ("trouble", {"trouble": -0.1}),
    "health that never moves": ("persistence", {"persistence": 1.0}),
    "horizon 0": ("horizon", {"horizon": 0}),
}


@pytest.mark.parametrize(("name", "change"), RAND_REFUSED.values(), ids=RAND_REFUSED.keys())
def test_calibrated_refused_by_name(fit, name, change):
    with pytest.raises(ValueError, match=f"^{name}: "):
        rand_insurance(fit, **change)


# The figure


def test_figure_of_the_fit(fit):
    ax = Figure().subplots()
    assert plotting.insurance_fit(fit, ax=ax) is ax
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "visits a year")
    markers = [bars.lines[0] for bars in ax.containers]
    models = [line for line in ax.lines if line.get_marker() in ("", "None")]
    models = [line for line in models if len(np.atleast_1d(line.get_xdata())) == 4]
    assert len(markers) == len(models) == 4
    for k in range(4):
        np.testing.assert_array_equal(markers[k].get_ydata(), fit.moments.visits[k])
        np.testing.assert_array_equal(models[k].get_ydata(), fit.moments.visits_model[k])
        np.testing.assert_array_equal(markers[k].get_xdata(), models[k].get_xdata())
        bars = np.array(ax.containers[k].lines[2][0].get_segments())[:, :, 1]
        reach = 1.96 * fit.moments.visits_error[k]
        high, low = fit.moments.visits[k] + reach, fit.moments.visits[k] - reach
        np.testing.assert_allclose(bars[:, 1], high, rtol=1e-12)
        assert (low > 0).all()
        np.testing.assert_allclose(bars[:, 0], low, rtol=1e-12)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [name.split()[0] for name in names] == list(rand_hie.CLASSES)
    assert names[0] == f"excellent (n = {fit.moments.num_rows[0].sum():,})"


def test_figure_of_a_thin_fit():
    """Cells without rows or without visits, and bars that reach zero."""
    data = draw(2, num_persons=80)
    empty = (data.health == 1) & (data.coinsurance == 0.5)
    idle = (data.health == 0) & (data.coinsurance == 0.95)
    thin = RandData(*(column[~empty] for column in data))
    thin = thin._replace(visits=np.where(idle[~empty], 0, thin.visits))
    fit = fit_rand(thin, many=MANY)
    cells = fit.moments
    assert np.isnan(cells.visits[1, 2]) and cells.visits[0, 3] == 0
    wide = fit._replace(moments=cells._replace(visits_error=cells.visits))  # every bar reaches zero
    figure = Figure()
    ax = plotting.insurance_fit(wide, ax=figure.subplots())
    figure.canvas.draw()
    ends = [end for bars in ax.containers for end in bars.lines[2][0].get_segments() if len(end)]
    heights = np.concatenate(ends)[:, 1]
    assert (heights[np.isfinite(heights)] > 0).all()
    assert np.isfinite(heights).sum() == 2 * 14
