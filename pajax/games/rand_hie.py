"""Insurance calibrated on the RAND Health Insurance Experiment (1974-82).

**Data.** The table that ships with statsmodels (`statsmodels.datasets.randhie`, public domain, from
Cameron and Trivedi, Microeconometrics, 2005): 20,190 person-years with outpatient visits to a
doctor, self-rated health *at enrolment* (excellent, good, fair, poor), and the co-insurance rate c
of a plan that families drew by lot. It has neither person nor year. `load_rand` makes of it:

- *Plans.* The individual deductible plan (`idp = 1`, 26 % of rows) is left out: it let the insured
  pay 95 % below a deductible and nothing above, and the table calls it free in four rows of five.
  The others have one rate each: 0, 25, 50 or 95 %. Care was free above a yearly maximum; that is
  ignored here.
- *Persons.* Rows lie person by person and year by year, and all columns but visits are constant in
  a person. People enrolled for three or five years. So a run of three or five rows with equal
  columns is taken to be one person. By the person numbers in the experiment's own file, 99.7 % of
  such runs are one person, and 99.8 % of neighbouring rows in them successive years of one. Other
  runs (24 % of rows) may mix relatives; they count in the shares of health, nowhere else.

**Model of visits.** Health class k, and history j = 1 if last year had `many` visits or more:

    E[y | k, j, c] = m(k, j, c) = exp(intercept[k] + slope log(1 + 100 c) + history j),

fitted by Poisson quasi-likelihood: consistent if this mean is right, whatever the distribution
(Gourieroux, Monfort and Trognon, 1984). Standard errors are clustered by person. Given the means, y
is negative binomial with variance m + dispersion[j] m^2, the dispersions by maximum likelihood;
they matter only for P(y >= many), the chance of a history.

**The fit**, with many = 4 (8,222 person-years with a history, of 3,188 persons; standard errors in
brackets): intercepts 0.634 (0.035), 0.735 (0.042), 0.863 (0.069), 1.155 (0.125); slope -0.0557
(0.0105), which is 22 % fewer visits at 95 % than at 0, given the history; history 1.183 (0.039);
dispersions 1.17 and 0.73. Over the 16 cells of class and rate, mean visits and shares with many
visits agree with the data up to sampling error: squared z-scores sum to 11.4 and 11.4, the largest
|z| is 1.7 and 2.1. Shares *without* a visit do not (sum 74): in excellent health 28 % in the model
against 23 % in the data make none when care is free, and 37 % against 44 % at 95 %. A price keeps
people from the first visit more than from the next, which this model cannot say. The game uses
means and shares with many only. Of people in poor health there are 154 rows, 12 of them at 50 %:
the level of that class can be learnt from them, its response to the rate cannot.

**What the data do not tell, and what stands in.**

- *Health over time* is not observed. The restriction: at no effort the shares of the classes are
  stationary, in a chain of steps to neighbours whose `persistence` is stated, not estimated.
- *The effect of effort*, on visits and on health, is stated.
- *History as a cause.* Part of what history predicts is that persons differ; yet in the game few
  visits now make the next year cheaper by all of it. So this carry-over is an upper bound: in third
  and later years, the first year's history as a control takes 1.19 to 0.97.
- *The value of care.* A visit is a cost and nothing else. Welfare compares efforts under one
  co-insurance rate; between rates it would count care forgone as a gain.
- *Prices.* Money is counted in prices of a visit, one for all; hospital care is left out.

**The game**, `rand_insurance()`: free care, horizon 5, one reward unit 9.41 visits. W* = 5.1480,
rho . V0 = 0.8814, and without rebates the insured makes no effort anywhere, of welfare 4.4792,
87.0 % of W*: the gap is 6.3 prices of a visit in five years. The gap closes as the insured pays
more itself: 4 % of W* at c = 0.25, 3 % at 0.5, none at 0.95.
"""

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special

from pajax import _checks
from pajax.game import Game, make_game
from pajax.games.insurance import class_moves, history_kernel, savings, series

CLASSES = ("excellent", "good", "fair", "poor")
COLUMNS = ("mdvis", "lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp")
_RUNS = (3, 5)  # years of enrolment
_KINDS = ("visits", "none", "many")  # of moments


class RandData(NamedTuple):
    """Person-years of plans with one co-insurance rate, [N]; years of a person in order.

    Attributes:
      visits: y, outpatient visits in the year.
      previous: visits of the same person in the year before; -1 where not known.
      health: k, int 0..3.
      coinsurance: c, in [0, 1].
      person: its number, int.
    """

    visits: np.ndarray
    previous: np.ndarray
    health: np.ndarray
    coinsurance: np.ndarray
    person: np.ndarray


class Moments(NamedTuple):
    """Data against model by health class and co-insurance rate, [K, L]; rows with a history.

    The model is averaged over the histories in the cell. Standard errors are of the data's means,
    clustered by person; they leave out that the model is estimated from the same data.

    Attributes:
      coinsurance: the rates, [L].
      num_rows: person-years in the cell.
      visits, visits_error, visits_model: mean visits a year, with standard error; in the model.
      none, none_error, none_model: share without a visit, likewise.
      many, many_error, many_model: share with `many` visits or more, likewise.
    """

    coinsurance: np.ndarray
    num_rows: np.ndarray
    visits: np.ndarray
    visits_error: np.ndarray
    visits_model: np.ndarray
    none: np.ndarray
    none_error: np.ndarray
    none_model: np.ndarray
    many: np.ndarray
    many_error: np.ndarray
    many_model: np.ndarray

    def z_scores(self, kind: str) -> np.ndarray:
        """(data - model) / standard error, [K, L].

        Args:
          kind: "visits", "none" or "many".

        Raises:
          ValueError: it is another.
        """
        _checks.choice("kind", kind, _KINDS)
        data, error, model = (getattr(self, kind + suffix) for suffix in ("", "_error", "_model"))
        return (data - model) / error


class RandFit(NamedTuple):
    """Estimates, and how they fit.

    Attributes:
      intercept: by health class, [K].
      slope: on log(1 + 100 c).
      history: on having a history.
      dispersion: of the negative binomial, by history, [2].
      covariance: of (intercept, slope, history), [K + 2, K + 2], clustered by person.
      class_shares: of all person-years, [K].
      many: visits in a year that make a history.
      num_rows: person-years with a history.
      num_persons: persons that these are of.
      moments: data against model.
    """

    intercept: np.ndarray
    slope: float
    history: float
    dispersion: np.ndarray
    covariance: np.ndarray
    class_shares: np.ndarray
    many: int
    num_rows: int
    num_persons: int
    moments: Moments

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of (intercept, slope, history), [K + 2]."""
        return np.sqrt(np.diag(self.covariance))

    def mean_visits(self, coinsurance: float) -> np.ndarray:
        """m(k, j, c), mean visits a year, [K, 2].

        Args:
          coinsurance: c, in [0, 1].
        """
        at_rate = self.intercept + self.slope * np.log1p(100.0 * coinsurance)
        return np.exp(at_rate[:, None] + self.history * np.arange(2))


def load_rand() -> RandData:
    """The person-years of the experiment, from the file that statsmodels ships.

    Raises:
      ImportError: statsmodels is not installed.
      ValueError: the file has other columns.
    """
    # reads the file alone: importing statsmodels takes seconds
    found = importlib.util.find_spec("statsmodels")
    if found is None or found.origin is None:
        raise ImportError(
            "the RAND data ship with statsmodels, not installed: pip install 'pajax[data]'"
        )
    with (Path(found.origin).parent / "datasets/randhie/randhie.csv").open() as file:
        header = tuple(next(csv.reader(file)))
        _checks.require(header == COLUMNS, "randhie.csv", header, f"have the columns {COLUMNS}")
        return rand_data(np.loadtxt(file, delimiter=","))


def rand_data(table: np.ndarray) -> RandData:
    """`RandData` of a table [N, 10] with the columns `COLUMNS`: plans, persons and years."""
    is_new = np.append(True, (table[1:, 1:] != table[:-1, 1:]).any(1))
    run = np.cumsum(is_new) - 1
    is_person = np.isin(np.bincount(run)[run], _RUNS)
    visits = table[:, 0].astype(int)
    previous = np.where(is_person & ~is_new, np.roll(visits, 1), -1)
    column = dict(zip(COLUMNS, table.T, strict=True))
    health = column["hlthg"] + 2 * column["hlthf"] + 3 * column["hlthp"]
    rate = np.round(np.expm1(column["lncoins"])) / 100.0
    rows = (visits, previous, health.astype(int), rate, run)
    return RandData(*(row[column["idp"] == 0.0] for row in rows))


def fit_rand(data: RandData | None = None, *, many: int = 4) -> RandFit:
    """Fit the model of visits; `pajax.games.rand_hie` says what is assumed.

    Args:
      data: from `load_rand`, which it is by default, or of the same form. Every class needs rows
        with a history, and both histories must occur.
      many: visits in a year that make a history, at least 1.

    Raises:
      ImportError: without data, if statsmodels is not installed.
      ValueError: if the data cannot tell the parameters.
    """
    many = _checks.whole("many", many)
    data = load_rand() if data is None else data
    shares = np.bincount(data.health, minlength=len(CLASSES)) / len(data.health)
    known = RandData(*(row[data.previous >= 0] for row in data))
    history = (known.previous >= many).astype(int)
    design = _design(known, history)
    parameters = _poisson(design, known.visits)
    mean = np.exp(design @ parameters)
    of = [history == j for j in (0, 1)]
    dispersion = np.array([_dispersion(known.visits[rows], mean[rows]) for rows in of])
    return RandFit(
        intercept=parameters[:-2],
        slope=float(parameters[-2]),
        history=float(parameters[-1]),
        dispersion=dispersion,
        covariance=_clustered(design, known.visits - mean, mean, known.person),
        class_shares=shares,
        many=many,
        num_rows=len(mean),
        num_persons=len(np.unique(known.person)),
        moments=_moments(known, mean, dispersion[history], many),
    )


def at_least(many: int, mean: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    """P(y >= many) of a negative binomial with variance mean + dispersion mean^2."""
    spread = dispersion * mean
    return special.betainc(many, 1.0 / dispersion, spread / (1.0 + spread))


def rand_insurance(
    fit: RandFit | None = None,
    *,
    coinsurance: float = 0.0,
    prevention: Sequence[float] = (0.0, 0.3, 0.5),
    effort_cost: Sequence[float] = (0.0, 0.5, 1.5),
    trouble: float = 0.1,
    persistence: float = 0.8,
    horizon: int = 5,
    noise: str = "bernoulli",
) -> Game:
    """A game with the fitted visits: S = 8 states s = 2 k + j (health, many visits last year).

    In a year of effort a, with p = prevention[a] and money in prices of a visit,

        visits            y(s, a) = (1 - p) m(k, j, c),    history j' = 1 if there are `many`
        insured's cost    (c + trouble) y(s, a) + effort_cost[a]
        insurer's cost    (1 - c) y(s, a)
        worse by a class  (1 - p) (1 - persistence) / 2 min(1, share[k + 1] / share[k])
        better            (1 - persistence) / 2 min(1, share[k - 1] / share[k])

    so that at no effort the observed shares of health are stationary. The game starts in the
    stationary distribution of no effort. Rewards are savings, as in `pajax.games.insurance`. Data:
    the RAND Health Insurance Experiment (see `pajax.games.rand_hie`).

    Args:
      fit: from `fit_rand`, which it is by default.
      coinsurance: c in [0, 1]; rates of the experiment are 0, 0.25, 0.5 and 0.95.
      prevention: p, share of visits and of worsening that each effort prevents, [A]; not in the
        data.
      effort_cost: what each effort costs the insured, [A], at least 0; not in the data.
      trouble: the insured's own cost of a visit beside c, at least 0; not in the data.
      persistence: least probability that health stays in a year, in [0, 1); not in the data.
      horizon: H >= 1, years.
      noise: see `make_game`.

    Raises:
      ImportError: without a fit, if statsmodels is not installed.
      ValueError: a one-line message with the argument, the value and the rule.
    """
    c = float(_checks.in_range("coinsurance", coinsurance, 0.0, 1.0))
    prevented = series("prevention", prevention, high=1.0)
    cost = series("effort_cost", effort_cost, like=prevented)
    trouble = float(_checks.in_range("trouble", trouble, 0.0, np.inf))
    mobility = 1.0 - float(_checks.in_range("persistence", persistence, 0.0, 1.0))
    _checks.require(mobility > 0.0, "persistence", persistence, "be less than 1")
    fit = fit_rand() if fit is None else fit

    visits, kernel = _year(fit, c, mobility, prevented)
    _, idle = _year(fit, c, mobility, np.zeros(1))
    u, v = savings((c + trouble) * visits + cost, (1.0 - c) * visits)
    return make_game(
        transition=kernel,
        agent_reward=u,
        principal_reward=v,
        initial=_stationary(idle[:, 0]),
        horizon=horizon,
        noise=noise,
    )


# The game


def _year(
    fit: RandFit, coinsurance: float, mobility: float, prevented: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean visits [K, 2, A] and kernel [S, A, S'] of efforts that prevent these shares."""
    visits = fit.mean_visits(coinsurance)[:, :, None] * (1.0 - prevented)
    many = at_least(fit.many, visits, fit.dispersion[:, None])
    # the Metropolis chain of the shares: each neighbour is proposed half of the time
    shares = fit.class_shares
    down = mobility / 2 * np.minimum(1.0, np.roll(shares, 1) / shares)
    up = mobility / 2 * np.minimum(1.0, np.roll(shares, -1) / shares)
    moves = class_moves(len(shares), down[:, None, None], up[:, None, None] * (1.0 - prevented))
    return visits, history_kernel(moves, many)


def _stationary(kernel: np.ndarray) -> np.ndarray:
    """The distribution d = d P of an irreducible kernel [S, S']."""
    size = len(kernel)
    system = np.vstack([kernel.T - np.eye(size), np.ones(size)])
    solution = np.linalg.lstsq(system, np.eye(size + 1)[-1], rcond=None)[0]
    return np.maximum(solution, 0.0)  # a state hardly ever met may round to below zero


# The fit


def _design(data: RandData, history: np.ndarray) -> np.ndarray:
    """Regressors [N, K + 2]: a column a class, log(1 + 100 c), history."""
    classes = data.health[:, None] == np.arange(len(CLASSES))
    return np.column_stack([classes, np.log1p(100.0 * data.coinsurance), history]).astype(float)


def _poisson(design: np.ndarray, visits: np.ndarray) -> np.ndarray:
    """Solves the score equations X' (y - exp(X b)) = 0 by Newton's method."""
    rank = np.linalg.matrix_rank(design)
    rule = f"tell {design.shape[1]} parameters: all classes, both histories and two rates"
    _checks.require(rank == design.shape[1], "data", f"a design of rank {rank}", rule)
    # start at the mean of all rows; the first K columns sum to 1
    parameters = np.append(np.full(design.shape[1] - 2, np.log(visits.mean())), [0.0, 0.0])
    for _ in range(50):
        mean = np.exp(design @ parameters)
        step = np.linalg.solve(design.T @ (mean[:, None] * design), design.T @ (visits - mean))
        parameters = parameters + step
        if np.abs(step).max() < 1e-12:
            return parameters
    raise ValueError("data: Newton's method did not settle in 50 steps; is a class without visits?")


def _dispersion(visits: np.ndarray, mean: np.ndarray) -> float:
    """The negative binomial's dispersion x, by maximum likelihood given the means."""

    def score(x: float) -> float:
        missing = np.log1p(x * mean) - special.digamma(visits + 1 / x) + special.digamma(1 / x)
        return float((missing / x**2 + (visits - mean) / (x * (1 + x * mean))).sum())

    low, high = 1e-3, 1e3
    rule = f"vary more than a Poisson, with a dispersion in [{low:g}, {high:g}]"
    _checks.require(score(low) > 0.0 > score(high), "data", "visits that do not", rule)
    return optimize.root_scalar(score, bracket=(low, high), xtol=1e-14).root


def _clustered(
    design: np.ndarray, residual: np.ndarray, mean: np.ndarray, person: np.ndarray
) -> np.ndarray:
    """Covariance A^-1 B A^-1: A the information, B the squared scores of persons."""
    bread = np.linalg.inv(design.T @ (mean[:, None] * design))
    scores = _by_person(design * residual[:, None], person)
    return bread @ (scores.T @ scores) @ bread


def _by_person(values: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Sums over the rows of each person, [persons, ...]."""
    numbers = np.unique(person, return_inverse=True)[1]
    sums = np.zeros((numbers.max() + 1, *values.shape[1:]))
    np.add.at(sums, numbers, values)
    return sums


def _moments(data: RandData, mean: np.ndarray, dispersion: np.ndarray, many: int) -> Moments:
    """`Moments` of rows with a history."""
    rates, level = np.unique(data.coinsurance, return_inverse=True)
    observed = (data.visits, data.visits == 0, data.visits >= many)
    model = (mean, 1.0 - at_least(1, mean, dispersion), at_least(many, mean, dispersion))
    shape = (len(CLASSES), len(rates))
    columns: dict[str, Any] = {"coinsurance": rates, "num_rows": np.zeros(shape, int)}
    for kind, of_data, of_model in zip(_KINDS, observed, model, strict=True):
        parts = np.full((3, *shape), np.nan)
        for k, place in np.ndindex(shape):
            inside = (data.health == k) & (level == place)
            columns["num_rows"][k, place] = inside.sum()
            if inside.any():
                parts[:2, k, place] = _clustered_mean(of_data[inside], data.person[inside])
                parts[2, k, place] = of_model[inside].mean()
        columns |= dict(zip((kind, kind + "_error", kind + "_model"), parts, strict=True))
    return Moments(**columns)


def _clustered_mean(values: np.ndarray, person: np.ndarray) -> tuple[float, float]:
    """A mean, and its standard error when the rows of a person go together."""
    mean = float(values.mean())
    sums = _by_person(values - mean, person)
    return mean, float(np.sqrt((sums**2).sum()) / len(values))
