"""What a bound is: a right-hand side, what it bounds, when it holds, and how surely.

A bound is evaluated on a `Case`, the runs of one agent under one mechanism in one game, from which
it reads sizes, exact values of the game, the terms of the mechanism and what the runs did (such as
the length of phase one). So nothing in a bound is fitted, but for the constants of assumptions,
which are audited on the same runs (see `pajax.bounds.audits`).

A bound of one's own is a subclass with a `value`:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Root(px.Bound):
        name: str = "3 sqrt(S A K)"
        def value(self, case):
            return 3 * np.sqrt(case["num_states"] * case["num_actions"] * case.episodes)
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pajax import _checks, statistics
from pajax.bounds.audits import Coverage, Rationality, audit_coverage, audit_rationality
from pajax.studies.kept import NOT_RUN
from pajax.studies.results import is_moments

#: Share of runs that may break a bound with high probability, or exceed an audited constant. With
#: fewer than 36 runs the 95 % interval of a share holds it even if none does.
DELTA = 0.1


class Condition(NamedTuple):
    """Something that a bound assumes, and how it stands with it.

    Attributes:
      name: such as "(A1)".
      state: "holds", "fails" or "unclear".
      evidence: the numbers, for people.
    """

    name: str
    state: str
    evidence: str


class Place(NamedTuple):
    """Which runs, by label."""

    game: Any
    agent: str
    mechanism: str


@dataclasses.dataclass(frozen=True)
class Case:
    """The runs of one agent under one mechanism in one game, and the audits of assumptions on them.

    `case[name]` is a variable of the Dataset as float64: [seed, episode] of what each run has,
    [episode] or a number of what the mechanism or the game has.

    Attributes:
      place: which runs these are.
      episodes: [episode], the checkpoints; of a Dataset over horizons, each run's length K.
      is_over_horizons: whether `episodes` are lengths of runs (see `pajax.statistics.by_horizon`).
      variables: by name.
      delta: share of runs in which an audited constant may be exceeded.
      level: coverage of the intervals of audits.
      audited: the case on which assumptions are audited; None for this one.
    """

    place: Place
    episodes: np.ndarray
    is_over_horizons: bool
    variables: Mapping[str, np.ndarray]
    delta: float = DELTA
    level: float = 0.95
    audited: "Case | None" = None

    def __getitem__(self, name: str) -> np.ndarray:
        rule = f"be a variable of the Dataset: {', '.join(self.variables)}"
        _checks.require(name in self.variables, "variable", name, rule)
        return self.variables[name]

    def has(self, name: str) -> bool:
        """Whether there is such a variable, with numbers.

        Args:
          name: of the variable.
        """
        return name in self.variables and bool(np.isfinite(self.variables[name]).any())

    @property
    def num_runs(self) -> int:
        """Runs that were done."""
        return len(self.variables["welfare_regret"])

    @property
    def rationality(self) -> Rationality:
        """(A1), audited."""
        runs = self.audited or self
        return runs._once("_rationality", lambda: audit_rationality(runs, runs.delta, runs.level))

    @property
    def coverage(self) -> Coverage:
        """(A2), audited."""
        runs = self.audited or self
        return runs._once("_coverage", lambda: audit_coverage(runs, runs.level))

    def _once(self, name: str, audit: Any) -> Any:
        if name not in self.__dict__:
            object.__setattr__(self, name, audit())
        return self.__dict__[name]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
    """A bound on a variable of a study. Subclass it and write `value` (see `pajax.bounds.base`).

    Attributes:
      name: for people, mostly the formula.
      tag: of the statement, such as "T8"; empty if it has none.
      variable: what is bounded, by default the welfare regret.
      delta: share of runs that may break it; None if it bounds the mean over runs.
      is_floor: a lower bound.
      assumes: the assumptions that it rests on, of "A1" and "A2".
      needs: variables without which it says nothing, such as the `width` of a mechanism.
    """

    name: str = ""
    tag: str = ""
    variable: str = "welfare_regret"
    delta: float | None = DELTA
    is_floor: bool = False
    assumes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def value(self, case: Case) -> Any:
        """The right-hand side, broadcasting against [seed, episode], in the variable's units.

        Args:
          case: the runs.

        Raises:
          NotImplementedError: the subclass has none.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what its value is")

    def observed(self, case: Case) -> np.ndarray:
        """The left-hand side, [seed, episode], in the variable's units.

        Args:
          case: the runs.
        """
        return case[self.variable]

    def conditions(self, case: Case) -> list[Condition]:
        """What it assumes beyond `assumes` and `needs`, on these runs.

        Args:
          case: the runs.
        """
        return []


def evaluate(ds: xr.Dataset, bound: Bound, *, delta: float = DELTA) -> xr.DataArray:
    """The right-hand side of a bound on a Dataset, [game, agent, mechanism, seed, episode].

    NaN where runs were not done, or the bound needs what a mechanism does not have.

    Args:
      ds: from `pajax.study` with keep="seeds".
      bound: the bound.
      delta: share of runs in which an audited constant may be exceeded, in (0, 1).

    Raises:
      ValueError: the Dataset holds moments, or the bound's value has another shape.
    """
    _require_runs(ds)
    found: Any = np.full([ds.sizes[name] for name in _DIMS], np.nan)
    for at, is_done, case in _places(ds, delta):
        if all(case.has(name) for name in bound.needs) and case.num_runs:
            found[at][is_done] = right_side(bound, case)
    coords = {name: ds[name] for name in _DIMS}
    return xr.DataArray(found, coords, _DIMS, name=bound.name)


def right_side(bound: Bound, case: Case) -> np.ndarray:
    """The right-hand side of a bound in a case, [seed, episode]."""
    side, shape = np.asarray(bound.value(case), np.float64), (case.num_runs, len(case.episodes))
    axes = zip(side.shape[::-1], shape[::-1], strict=False)
    fits = side.ndim <= 2 and all(one in (1, other) for one, other in axes)
    rule = f"broadcast against [seed, episode], here {list(shape)}"
    _checks.require(fits, f"value of {bound.name!r}", f"shape {list(side.shape)}", rule)
    return np.broadcast_to(side, shape)


def cases(
    ds: xr.Dataset | Sequence[xr.Dataset], delta: float = DELTA, level: float = 0.95
) -> Iterator[Case]:
    """The cases of a Dataset of runs, game by game.

    Of several Datasets that differ in the length K of their runs, the cases over horizons (see
    `pajax.statistics.by_horizon`), with assumptions audited on the longest runs.

    Args:
      ds: from `pajax.study` with keep="seeds", or several.
      delta: share of runs in which an audited constant may be exceeded.
      level: coverage of the intervals of audits.

    Raises:
      ValueError: a Dataset holds moments, not runs, or Datasets differ in more than K.
    """
    if isinstance(ds, xr.Dataset):
        yield from (case for _, _, case in _places(ds, delta, level))
        return
    longest = max(ds, key=lambda one: one.attrs["num_episodes"])
    audited = {case.place: case for case in cases(longest, delta, level)}
    for case in cases(statistics.by_horizon(ds), delta, level):
        yield dataclasses.replace(case, audited=audited[case.place])


_DIMS = ("game", "agent", "mechanism", "seed", "episode")


def _require_runs(ds: xr.Dataset) -> None:
    rule = 'hold runs, not moments: make it with keep="seeds"'
    _checks.require(not is_moments(ds), "ds", f"keep={ds.attrs.get('keep')!r}", rule)


def _places(
    ds: xr.Dataset, delta: float, level: float = 0.95
) -> Iterator[tuple[tuple[int, int, int], np.ndarray, Case]]:
    """Each case, where it is, and which of its runs were done."""
    _require_runs(ds)
    ds = ds.drop_dims("quantile", errors="ignore").transpose(*_DIMS, missing_dims="ignore")
    arrays = {str(name): (x.dims, x.to_numpy()) for name, x in ds.data_vars.items()}
    status = arrays.pop("status")[1]
    labels = [ds[name].to_numpy().tolist() for name in _DIMS[:3]]
    for at in np.ndindex(status.shape[:3]):
        here = dict(zip(_DIMS[:3], at, strict=True))
        is_done = (status[at] & NOT_RUN) == 0
        variables = {}
        for name, (dims, array) in arrays.items():
            mine = array[tuple(here[d] for d in dims if d in here)]
            variables[name] = mine[is_done] if "seed" in dims else mine
        place = Place(*(names[i] for names, i in zip(labels, at, strict=True)))
        is_over_horizons = bool(ds.attrs.get("over_horizons", False))
        episodes = ds["episode"].to_numpy()
        yield at, is_done, Case(place, episodes, is_over_horizons, variables, delta, level)
