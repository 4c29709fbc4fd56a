"""Checking bounds on a study, and reading the verdicts (see `pajax.bounds.verdicts`)."""

import dataclasses
import functools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
import xarray as xr

from pajax import _checks, printing
from pajax.bounds.base import Bound, Case, cases
from pajax.bounds.theory import theory
from pajax.bounds.verdicts import NOT_APPLICABLE, VERDICTS, Rules, check, growth_exponent
from pajax.printing import Table

_CELL = ["game", "agent", "mechanism"]
_COLUMNS = [
    *_CELL,
    "bound",
    "tag",
    "verdict",
    "reason",
    "mean",
    "value",
    "constant",
    "slack",
    "exponent",
    "exponent_low",
    "exponent_high",
    "runs",
    "broken",
    "share",
    "share_low",
    "share_high",
    "delta",
]
#: Cells of a study that are still printed one by one.
_MOST_CELLS = 24
#: Letters of a reason that are printed in a line.
_MOST_LETTERS = 68


def check_bounds(
    ds: xr.Dataset | Sequence[xr.Dataset],
    bounds: Sequence[Bound] | None = None,
    *,
    level: float = 0.95,
    decades: float = 1.5,
    max_width: float = 0.25,
) -> "Checks":
    """Check bounds on the runs of a study, in every game, agent and mechanism.

    Args:
      ds: from `pajax.study` with keep="seeds"; or several that differ in the length K of their
        runs, to check how the final values grow with K (see `pajax.statistics.by_horizon`).
      bounds: by default the statements of the theory, `pajax.bounds.theory()`.
      level: coverage of every interval, in (0, 1); each is on its own.
      decades: length of the window of growth exponents, in powers of ten, ending with the last K.
      max_width: widest interval of a growth exponent that still says something.

    Returns:
      `Checks`, which print as a table.

    Raises:
      ValueError: an option is out of its range, `bounds` are no bounds, or a Dataset holds moments.
    """
    _checks.require(0 < level < 1, "level", level, "lie strictly between 0 and 1")
    _checks.require(decades > 0, "decades", decades, "be above 0")
    _checks.require(max_width > 0, "max_width", max_width, "be above 0")
    is_many = not isinstance(bounds, Bound)
    _checks.require(is_many, "bounds", repr(bounds), "be several, such as [bound]")
    bounds = theory() if bounds is None else tuple(bounds)
    for bound in bounds:
        _checks.require(isinstance(bound, Bound), "bounds", repr(bound), "be bounds")
    rules = Rules(level, decades, max_width)
    rows, audits = [], []
    for case in cases(ds, level=level):
        if case.num_runs == 0:
            continue
        audits.append(_audit_row(case))
        exponent = functools.cache(functools.partial(growth_exponent, case, rules))
        rows += [check(bound, case, rules, exponent) for bound in bounds]
    return Checks(pd.DataFrame(rows, columns=pd.Index(_COLUMNS)), pd.DataFrame(audits), rules)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Checks:
    """Verdicts on bounds; prints as tables, in a terminal and in a notebook.

    Attributes:
      table: a row for each game, agent, mechanism and bound: `verdict` and `reason`; `mean` of what
        is bounded and `value` of the bound at the last checkpoint (over runs), `constant` and
        `slack`, their ratios; `broken` of `runs`, `share` and its interval, `delta`; `exponent`
        and its interval. NaN where there is none.
      audits: a row for each game, agent and mechanism: the states and numbers of (A1) and (A2).
      rules: with what intervals and window.
    """

    table: pd.DataFrame
    audits: pd.DataFrame
    rules: Rules

    def to_dataframe(self) -> pd.DataFrame:
        """A copy of the table."""
        return self.table.copy()

    def counts(self) -> pd.DataFrame:
        """How many games have which verdict, by agent, mechanism and bound; with median numbers."""
        is_verdict = {verdict: self.table["verdict"] == verdict for verdict in VERDICTS}
        numbers = self.table.assign(**is_verdict)
        of_bound: Any = numbers.groupby(["agent", "mechanism", "bound"], sort=False)
        medians = {f"median_{name}": of_bound[name].median() for name in ("exponent", "slack")}
        return of_bound[list(VERDICTS)].sum().assign(**medians).reset_index()

    def as_tables(self) -> list[Table]:
        """The words: assumptions, then verdicts; of many cells, how many games have which."""
        if len(self.audits) <= _MOST_CELLS:
            cells: Any = self.table.groupby(_CELL, sort=False)
            found = [self._audits(), *(_verdicts(rows) for _, rows in cells)]
        else:
            found = [self._audit_counts(), self._verdict_counts()]
        return [*found[:-1], found[-1]._replace(notes=[self._note()])]

    def __repr__(self) -> str:
        return printing.text(map(_narrow, self.as_tables()))

    def to_markdown(self) -> str:
        """The same in Markdown."""
        return printing.markdown(self.as_tables())

    def to_html(self) -> str:
        """The same in HTML, as a notebook shows it."""
        return printing.to_html(self.as_tables())

    def _repr_html_(self) -> str:
        return self.to_html()

    def _audits(self) -> Table:
        headings = ["game", "agent", "mechanism", "(A1)", "kappa", "C", "(A2)", "coverage", "exact"]
        rows = [
            [
                str(row["game"]),
                row["agent"],
                row["mechanism"],
                row["rationality"],
                _interval(row, "kappa", "z.3f"),
                _number(row["constant"]),
                row["coverage"],
                _interval(row, "realised_coverage"),
                _number(row["path_coverage"]),
            ]
            for row in self.audits.to_dict("records")
        ]
        return Table("Assumptions", headings, rows)

    def _audit_counts(self) -> Table:
        headings = ["agent", "mechanism", "(A1) holds", "fails", "unclear", "median kappa"]
        headings += ["(A2) holds", "fails", "unclear"]
        rows = []
        cells: Any = self.audits.groupby(["agent", "mechanism"], sort=False)
        for (agent, mechanism), games in cells:
            count = lambda name, state, games=games: str((games[name] == state).sum())  # noqa: E731
            states = ("holds", "fails", "unclear")
            first = [count("rationality", state) for state in states]
            second = [count("coverage", state) for state in states]
            rows.append(
                [agent, mechanism, *first, _number(games["kappa"].median(), "z.3f"), *second]
            )
        title = f"Assumptions: number of games of {self.table['game'].nunique()}"
        return Table(title, headings, rows)

    def _verdict_counts(self) -> Table:
        headings = ["agent", "mechanism", "bound", *VERDICTS, "median exponent", "median slack"]
        rows = [
            [row["agent"], row["mechanism"], row["bound"]]
            + [str(row[verdict]) for verdict in VERDICTS]
            + [_number(row["median_exponent"], "z.3f"), _number(row["median_slack"])]
            for row in self.counts().to_dict("records")
        ]
        title = f"Verdicts: number of games of {self.table['game'].nunique()}"
        return Table(title, headings, rows)

    def _note(self) -> str:
        number, level = len(self.table), self.rules.level
        alarms = number * (1.0 - level) / 2.0
        return (
            f"Intervals cover {100 * level:g} %, each on its own, over seeds in one game; of "
            f"{number:,} checks up to {alarms:.2g} may call a true bound violated by chance. "
            "Slack: how many times the bound exceeds the mean at the last checkpoint. A verdict on "
            "a rate is about the window of K that it names, and proves nothing beyond. (A1): the "
            "agent's regret under one contract of n episodes is C n^kappa at most. (A2): least "
            "share of episodes that visited a state that matters; exact: on the path of the "
            "welfare optimum."
        )


def _verdicts(rows: Any) -> Table:
    """What is printed of a cell; rows that do not apply for one reason stand in one line."""
    headings = ["bound", "tag", "verdict", "slack", "reason"]
    is_out = (rows["verdict"] == NOT_APPLICABLE) & rows.duplicated(
        ["verdict", "reason"], keep=False
    )
    found = [
        [row["bound"], row["tag"], row["verdict"], _number(row["slack"]), row["reason"]]
        for row in rows.loc[~is_out].to_dict("records")
    ]
    for reason, same in rows.loc[is_out].groupby("reason", sort=False):
        tags = ", ".join(dict.fromkeys(same["tag"]))
        found.append([f"{len(same)} others", tags, NOT_APPLICABLE, printing.DASH, str(reason)])
    game, agent, mechanism = rows[_CELL].iloc[0]
    return Table(f"Game {game}, {agent} / {mechanism}", headings, found)


def _narrow(table: Table) -> Table:
    """The same with long last cells in several lines."""
    found = []
    for *cells, last in table.rows:
        first, *others = textwrap.wrap(last, _MOST_LETTERS) or [""]
        found += [[*cells, first], *([*[""] * len(cells), other] for other in others)]
    return table._replace(rows=found)


def _interval(row: dict[str, Any], name: str, form: str = ".3g") -> str:
    value, low, high = (_number(row[f"{name}{end}"], form) for end in ("", "_low", "_high"))
    return value if value == printing.DASH else f"{value} [{low}, {high}]"


def _number(value: Any, form: str = ".3g") -> str:
    is_known = value is not None and math.isfinite(value)
    return format(value, form) if is_known else printing.DASH


def _audit_row(case: Case) -> dict[str, Any]:
    """What the audits of a case say."""
    rationality, coverage = case.rationality, case.coverage
    return {
        **case.place._asdict(),
        "rationality": rationality.state,
        "kappa": rationality.kappa.value,
        "kappa_low": rationality.kappa.low,
        "kappa_high": rationality.kappa.high,
        "constant": rationality.constant.value,
        "constant_low": rationality.constant.low,
        "constant_high": rationality.constant.high,
        "longest_contract": rationality.longest,
        "coverage": coverage.state,
        "path_coverage": coverage.on_path,
        "laissez_faire_coverage": coverage.laissez_faire,
        "realised_coverage": coverage.realised.value,
        "realised_coverage_low": coverage.realised.low,
        "realised_coverage_high": coverage.realised.high,
        "visits_needed": coverage.needed,
        "episodes_allowed": coverage.allowed,
    }
