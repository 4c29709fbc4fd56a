"""The right-hand sides of the theory, as bounds.

Here H, S, A are the sizes of the game and k the episodes; w, n, gamma are the width, the visits of
a test and the margin of a mechanism; T1 the episodes of phase one and L the contracts after it, as
each run had them; (C, kappa) the audited constants of (A1) and p the realised coverage of (A2).

    IntervalWidth    (T6)  max |estimate - tau*| <= w / 2: tau* lies in an interval of width w,
                           of which the estimate is the middle, if 4 C n^(kappa - 1) <= iota w
    Identification   (T6)  max |estimate - tau*| <= w / 2 + 4 C n^(kappa - 1): answers of tests of
                           n visits, half of them counted, are right beyond this distance
    PhaseOneLength   (T6)  T1 <= A (1.64 n + nmin log_1.6(H / w)) / p
    Compliance       (T7)  off-target steps <= the agent's regret / gamma: each costs it gamma
    Deviations       (T7)  off-target steps <= C L^(1 - kappa) k^kappa / gamma
    WelfareRegret    (T8)  2 H T1 + k H w + 2 H C L^(1 - kappa) k^kappa / gamma
                           + c H^2 sqrt(S A k log k)
    GapRegime        (T8)  the same without k H w, if H w is below the smallest welfare gap
    ExcessPayment    (T3)  payments beyond tau* <= T1 H (H + 1) / 2
                           + k (H (gamma + w) + w H (H - 1) / 2)
    PrincipalRegret  (T3)  the sum of the last and of WelfareRegret
    ExplorationFloor (T9)  k (W* - W_eps), a lower bound on the mean; see there

The bounds on transfers hold for all (h, s, a) at once, so they ask for tau* also where hardly
anyone goes; the theory needs them along the optimal path only. c is 1: (T8) leaves the constant of
its last term open (O~), and this is a sketch's bound made definite, not a theorem.

What is not covered (the notebook `07_theory` has the proofs). IntervalWidth and Identification are
about tests at their full length by majority, half of whose visits count: with more than two actions
a plurality needs max(2, A) / 2 times the distance; the early tests of a bisection are shorter, and
what they miss is made good by checks alone; a gallop's tests are shorter still. PhaseOneLength is
about all steps at once: backward order takes them one by one, H times as long. GapRegime leaves out
a factor gap / (gap - H w) on its last term, whose constant is open anyway.

ExcessPayment. In phase one the offer on a step is at most H - h. In phase two the target is paid
hi + gamma + w (H - 1 - h), and hi <= tau* + w where tau* lies in its interval; nothing else is
paid, which can only lower the sum. Not counted: what repair adds to the margin, intervals that were
left unresolved, the w / 2 on top of a check, and a roll-in subsidy above H - h. By (T3), and for
any way to play, the principal's regret is the welfare regret and this excess (see `pajax.ledger`).

Rates (`Rate`) say how the mean regret grows. (T8) has three of them, by how w, n and gamma depend
on the length K of a run; so a rate of (T8) is about runs of different K
(`pajax.statistics.by_horizon`). Along one run, made for its own K, the exponent tells how the run
goes on after phase one; (T8) does not bound it, since k H w is linear in k. The principal's regret
is linear along a run whatever the mechanism does, as its margin is paid in every episode; its rate
is checked over horizons only.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pajax import _checks, lanes, planning
from pajax.bounds.audits import FAILS, HOLDS, at_end, visits_needed
from pajax.bounds.base import Bound, Case, Condition
from pajax.game import Game

_TERMS = ("width", "test_visits", "min_visits", "margin", "phase_one_cap")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate(Bound):
    """A rate statement: the mean of a variable grows no faster than k^exponent, up to logarithms.

    Attributes:
      exponent: of the power.
      is_over_horizons: about runs of different lengths K only, not along a run.
      log_power: a power of log k is allowed for before the rate counts as violated; what is
        consistent needs none.
    """

    delta: float | None = None
    exponent: float = 0.5
    log_power: float = 1.0
    is_over_horizons: bool = False

    def __post_init__(self) -> None:
        _checks.in_range("exponent", self.exponent, 0.0, 2.0)
        if not self.name:
            object.__setattr__(self, "name", f"K^{self.exponent:.3g}")

    def value(self, case: Case) -> np.ndarray:
        """The power with the constant that meets the mean at the last checkpoint, [episode]."""
        shape = case.episodes**self.exponent
        return shape * (self.observed(case)[:, -1].mean() / shape[-1])

    def conditions(self, case: Case) -> list[Condition]:
        """Runs of different lengths, if it is about them."""
        if case.is_over_horizons or not self.is_over_horizons:
            return []
        return [Condition("runs of different K", FAILS, "see pajax.statistics.by_horizon")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntervalWidth(Bound):
    """(T6): max |estimate - tau*| <= w / 2 over resolved transfers.

    Attributes:
      inflation: iota, of the mechanism's bisection.
    """

    inflation: float = 0.125
    name: str = "w/2"
    tag: str = "T6"
    variable: str = "worst_transfer_error"
    assumes: tuple[str, ...] = ("A1", "A2")
    needs: tuple[str, ...] = _TERMS

    def value(self, case: Case) -> Any:
        """In reward units."""
        return case["width"] / 2.0

    def conditions(self, case: Case) -> list[Condition]:
        """Tests long enough for their answers to be right: 4 C n^(kappa - 1) <= iota w."""
        constant, kappa = _rationality(case)
        error = 4.0 * constant * float(at_end(case["test_visits"])) ** (kappa - 1.0)
        allowed = self.inflation * float(at_end(case["width"]))
        state = HOLDS if error <= allowed else FAILS
        evidence = f"{error:.3g} against {allowed:.3g}"
        return [Condition("4 C n^(kappa-1) <= iota w", state, evidence)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identification(IntervalWidth):
    """(T6): max |estimate - tau*| <= w / 2 + 4 C n^(kappa - 1) over resolved transfers."""

    name: str = "w/2 + 4 C n^(kappa-1)"

    def value(self, case: Case) -> Any:
        """In reward units."""
        constant, kappa = _rationality(case)
        return case["width"] / 2.0 + 4.0 * constant * case["test_visits"] ** (kappa - 1.0)

    def conditions(self, case: Case) -> list[Condition]:
        """None: short tests are allowed for."""
        return []


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseOneLength(Bound):
    """(T6): T1 <= A (1.64 n + nmin log_1.6(H / w)) / p, at each checkpoint.

    Attributes:
      has_checks: also counts what the theory leaves out: the baseline, max(nmin, n / 10) visits,
        and two checks of max(nmin, n / 2) visits for each action.
    """

    has_checks: bool = False
    name: str = "A (1.64 n + nmin m) / p"
    tag: str = "T6"
    variable: str = "phase_one"
    assumes: tuple[str, ...] = ("A1", "A2")
    needs: tuple[str, ...] = _TERMS

    def value(self, case: Case) -> Any:
        """In episodes."""
        visits = visits_needed(case)
        if self.has_checks:
            least, tests = case["min_visits"], case["test_visits"]
            visits = visits + np.maximum(least, tests / 10.0)
            visits = visits + 2.0 * case["num_actions"] * np.maximum(least, tests / 2.0)
        return visits / max(float(case.coverage.realised.value), 1e-12)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compliance(Bound):
    """(T7), its first step: off-target steps <= the agent's regret / gamma."""

    name: str = "agent's regret / gamma"
    tag: str = "T7"
    variable: str = "off_target"
    needs: tuple[str, ...] = _TERMS

    def value(self, case: Case) -> Any:
        """In steps."""
        return _over(case["agent_regret"], case["margin"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deviations(Bound):
    """(T7): off-target steps <= C L^(1 - kappa) k^kappa / gamma."""

    name: str = "C L^(1-kappa) K^kappa / gamma"
    tag: str = "T7"
    variable: str = "off_target"
    assumes: tuple[str, ...] = ("A1",)
    needs: tuple[str, ...] = _TERMS

    def value(self, case: Case) -> Any:
        """In steps."""
        return _deviations(case)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WelfareRegret(Bound):
    """(T8): 2 H T1 + k H w + 2 H C L^(1 - kappa) k^kappa / gamma + c H^2 sqrt(S A k log k).

    Attributes:
      planning_constant: c, of the last term.
    """

    name: str = "welfare regret"
    tag: str = "T8"
    assumes: tuple[str, ...] = ("A1", "A2")
    needs: tuple[str, ...] = _TERMS
    planning_constant: float = 1.0

    def value(self, case: Case) -> Any:
        """In reward units."""
        return sum(self.terms(case).values())

    def terms(self, case: Case) -> dict[str, Any]:
        """The terms by name, each broadcasting against [seed, episode], in reward units.

        Args:
          case: the runs.
        """
        horizon, k = case["horizon"], case.episodes
        size = case["num_states"] * case["num_actions"]
        learning = np.sqrt(size * k * np.log(np.maximum(k, np.e)))
        return {
            "phase one": 2.0 * horizon * case["phase_one"],
            "width": k * horizon * case["width"],
            "deviations": 2.0 * horizon * _deviations(case),
            "planning": self.planning_constant * horizon**2 * learning,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class GapRegime(WelfareRegret):
    """(T8) where H w is below the smallest welfare gap: the term k H w vanishes."""

    name: str = "welfare regret, gap regime"

    def terms(self, case: Case) -> dict[str, Any]:
        """Those of (T8) but that of the width."""
        found = super().terms(case)
        del found["width"]
        return found

    def conditions(self, case: Case) -> list[Condition]:
        """H w below the smallest welfare gap."""
        reach = float(np.max(case["horizon"] * case["width"]))
        gap = float(case["smallest_welfare_gap"])
        state = HOLDS if reach < gap else FAILS
        return [Condition("H w < gap", state, f"H w = {reach:.3g}, smallest gap {gap:.3g}")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExcessPayment(Bound):
    """(T3): payments beyond tau* <= T1 H (H + 1) / 2 + k (H (gamma + w) + w H (H - 1) / 2)."""

    name: str = "payments beyond tau*"
    tag: str = "T3"
    variable: str = "principal_regret - welfare_regret"
    assumes: tuple[str, ...] = ("A1", "A2")
    needs: tuple[str, ...] = _TERMS

    def value(self, case: Case) -> Any:
        """In reward units."""
        return _excess(case)

    def observed(self, case: Case) -> np.ndarray:
        """Payments less tau* of what was played."""
        return case["principal_regret"] - case["welfare_regret"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrincipalRegret(WelfareRegret):
    """(T3) with (T8): the principal's regret against W* - rho . V0 an episode."""

    name: str = "principal's regret"
    tag: str = "T3, T8"
    variable: str = "principal_regret"

    def terms(self, case: Case) -> dict[str, Any]:
        """Those of (T8) and the payments beyond tau*."""
        return super().terms(case) | {"payments": _excess(case)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplorationFloor(Bound):
    """(T9), sharpened: an agent that explores at a rate eps loses k (W* - W_eps) in the mean.

    W_eps is the best welfare of any policy that plays a uniform action with probability eps at each
    step: backward induction with V = (1 - eps) max_a Q + eps mean_a Q. It holds for every agent
    that explores so, whatever it is paid; the theory's k eps / A sum d_h(s) sum_a gap is its first
    order in eps, with d that of the welfare optimum, and can be above it when eps is not small.

    Attributes:
      losses: W* - W_eps of each game by label; see `of`.
    """

    name: str = "exploration floor"
    tag: str = "T9"
    delta: float | None = None
    is_floor: bool = True
    losses: tuple[tuple[Any, float], ...] = ()

    @staticmethod
    def of(game: Game, rate: float, labels: Any = None) -> "ExplorationFloor":
        """The floor of a game, or of each of a batch.

        Args:
          game: of the study.
          rate: eps, in [0, 1].
          labels: of the games in the Dataset; by default their numbers.

        Raises:
          ValueError: `rate` is out of its range, or there are not as many labels as games.
        """
        _checks.in_range("rate", rate, 0.0, 1.0)
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda table: jnp.asarray(np.asarray(table, np.float64)), game)
            losses = np.atleast_1d(np.asarray(_exploration_loss(wide, rate)))
        labels = range(len(losses)) if labels is None else labels
        pairs = tuple(zip(labels, losses.tolist(), strict=True))
        return ExplorationFloor(name=f"floor of eps = {rate:g}", losses=pairs)

    def value(self, case: Case) -> Any:
        """In reward units.

        Args:
          case: the runs.

        Raises:
          ValueError: the floor was not made for the case's game.
        """
        known = dict(self.losses)
        rule = f"be one of {', '.join(map(str, known))}, for which the floor was made"
        _checks.require(case.place.game in known, "game", case.place.game, rule)
        return known[case.place.game] * case.episodes


def theory() -> tuple[Bound, ...]:
    """The statements of the theory that a Dataset alone can be checked against."""
    rate = functools.partial(Rate, tag="T8", assumes=("A1", "A2"))
    return (
        rate(exponent=1 / 2, name="K^1/2"),
        rate(exponent=2 / 3, name="K^2/3"),
        rate(exponent=3 / 4, name="K^3/4"),
        rate(
            exponent=3 / 4,
            name="K^3/4, principal",
            variable="principal_regret",
            needs=_TERMS,
            is_over_horizons=True,
        ),
        IntervalWidth(),
        Identification(),
        PhaseOneLength(),
        PhaseOneLength(name="the same with checks", has_checks=True),
        Compliance(),
        Deviations(),
        WelfareRegret(),
        GapRegime(),
        ExcessPayment(),
        PrincipalRegret(),
    )


def _rationality(case: Case) -> tuple[float, float]:
    """(C, kappa) of the audit; C is unbounded if it is unknown."""
    constant = float(case.rationality.constant.value)
    return (constant if np.isfinite(constant) else np.inf), case.rationality.kappa_used


def _deviations(case: Case) -> Any:
    """C L^(1 - kappa) k^kappa / gamma, [seed, episode]."""
    constant, kappa = _rationality(case)
    spread = np.maximum(case["contracts"], 1.0) ** (1.0 - kappa) * case.episodes**kappa
    return _over(constant * spread, case["margin"])


def _excess(case: Case) -> Any:
    """T1 H (H + 1) / 2 + k (H (gamma + w) + w H (H - 1) / 2), [seed, episode]."""
    horizon, width = case["horizon"], case["width"]
    offered = horizon * (horizon + 1.0) / 2.0
    beyond = horizon * (case["margin"] + width) + width * horizon * (horizon - 1.0) / 2.0
    return case["phase_one"] * offered + case.episodes * beyond


def _over(amount: Any, margin: np.ndarray) -> np.ndarray:
    """An amount by the margin, unbounded where there is none."""
    has_none = margin == 0.0
    return np.where(has_none, np.inf, amount / np.where(has_none, 1.0, margin))


@jax.jit
def _exploration_loss(game: Game, rate: Any) -> jax.Array:
    """W* - W_eps, [...]."""
    reward, last = planning.welfare_reward(game), jnp.zeros_like(game.initial)

    def back(values: jax.Array, h: jax.Array) -> tuple[jax.Array, None]:
        expected = planning.expectation(lanes.at_step(game.transition, h), values)
        q_values = lanes.at_step(reward, h) + expected
        mean = lanes.total(q_values, 1) / q_values.shape[1]
        return (1.0 - rate) * lanes.maximum(q_values, 1) + rate * mean, None

    values, _ = jax.lax.scan(back, last, jnp.arange(game.horizon), reverse=True)
    best = planning.expected(game, planning.welfare_values(game))
    return best - lanes.total(lanes.product(game.initial, values))
