"""How often `pajax.check_bounds` says what is right, where it is known.

Question: is a false bound called violated, a horizon too short inconclusive, a contract-blind agent
not applicable, and how often is a verdict wrong?

Wrong is *violated* of what is true, *consistent* of what is false, and either of what cannot be
known. Intervals are at 95 %, so that 2.5 % of verdicts may be wrong where a bound is true or false
by a hair (`at the edge`), nearly none elsewhere. `error` is the standard error of `wrong`, from the
number of repetitions.

Made cases are studies of runs drawn at random, a game for each repetition. `share p`: a run breaks
the bound of delta = 0.1 with probability p. Rates: the mean regret is t^a exactly, and runs have
its increments times correlated log-normal noise, s = 0.3, or 1, which is very skew. No logarithms
are allowed for, so that a rate is false by any excess. Real cases are simulations of the pollution
game, one large study cut into small ones. The bounds on its runs are planted in all of them
together: a tenth of the mean regret, which is false, and the 0.9 quantile, which is at the edge.

Run `python benchmarks/planted_verdicts.py` (about five minutes on two busy cores).
"""

import dataclasses
import sys
import time
from typing import Any, NamedTuple

import harness
import jax
import numpy as np
import xarray as xr

import pajax as px
from pajax import bounds
from pajax.bounds.verdicts import CONSISTENT, INCONCLUSIVE, NOT_APPLICABLE, VERDICTS, VIOLATED

DIMS = ("game", "agent", "mechanism", "seed", "episode")
EPISODES = np.unique(np.rint(np.geomspace(1, 1e5, 42)))
K = EPISODES[-1]
CHUNK = 50
WRONG = {
    CONSISTENT: (VIOLATED, NOT_APPLICABLE),
    VIOLATED: (CONSISTENT, NOT_APPLICABLE),
    "either": (NOT_APPLICABLE,),
    INCONCLUSIVE: (CONSISTENT, VIOLATED, NOT_APPLICABLE),
    NOT_APPLICABLE: (CONSISTENT, VIOLATED, INCONCLUSIVE),
}
LEARNS = bounds.Rate(exponent=3 / 4, assumes=("A1",))
RATE = bounds.Rate(exponent=3 / 4, assumes=("A1", "A2"))


class Case(NamedTuple):
    """A planted case."""

    name: str
    bound: bounds.Bound
    right: str
    wrong: tuple[str, ...]
    table: Any  # of checks, a row for each repetition


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flat(bounds.Bound):
    """A number."""

    number: float = 0.0

    def value(self, case):
        """The same everywhere."""
        return self.number


# Made studies


def correlated_noise(rng, shape, scale, correlation=0.9):
    """The exp of a stationary AR(1) along the last axis, of mean 1."""
    steps = rng.normal(size=shape)
    steps[..., 1:] *= np.sqrt(1 - correlation**2)
    for at in range(1, shape[-1]):
        steps[..., at] += correlation * steps[..., at - 1]
    return np.exp(scale * steps - scale**2 / 2)


def growing(rng, repetitions, seeds, exponent, scale):
    """Regret [game, seed, episode] whose mean is t^exponent."""
    increments = np.diff(EPISODES**exponent, prepend=0.0)
    noise = correlated_noise(rng, (repetitions, seeds, len(EPISODES)), scale)
    return (increments * noise).cumsum(-1)


def made(regret, *, phase_one=0.0, lost=None):
    """A Dataset of these runs; `lost` under the one contract, by default like sqrt(age)."""
    repetitions, seeds, _ = regret.shape
    lost = np.sqrt(EPISODES) * np.ones_like(regret) if lost is None else lost
    of_runs = {
        "welfare_regret": regret,
        "phase_one": np.minimum(EPISODES, phase_one) * np.ones_like(regret),
        "contract_age": EPISODES * np.ones_like(regret),
        "contract_regret": lost,
        "coverage": np.full_like(regret, 0.1),
    }
    exact = ("path_coverage", "laissez_faire_coverage")
    return xr.Dataset(
        {name: (DIMS, values[:, None, None]) for name, values in of_runs.items()}
        | {name: ("game", np.full(repetitions, 0.1)) for name in exact}
        | {"status": (DIMS[:-1], np.zeros((repetitions, 1, 1, seeds), np.int8))},
        coords={
            "game": np.arange(repetitions),
            "agent": ["agent"],
            "mechanism": ["mechanism"],
            "episode": EPISODES.astype(np.int64),
        },
    )


def cases_of_shares(rng, repetitions):
    """Bounds on runs, of 64 seeds, and of 20, which are too few to support one."""
    settings = [(64, 0.1, "either"), (64, 0.02, CONSISTENT), (64, 0.3, VIOLATED)]
    settings += [(64, 0.5, VIOLATED), (20, 0.0, INCONCLUSIVE), (20, 0.5, VIOLATED)]
    for seeds, share, right in settings:
        ends = rng.random((repetitions, seeds, 1))
        name = f"share {share}, {seeds} seeds" + (", at the edge" if share == 0.1 else "")
        wrong = (VIOLATED,) if right == "either" else WRONG[right]
        bound = Flat(name="share of runs", number=1 - share)
        yield Case(name, bound, right, wrong, checked(made(ends * np.ones(len(EPISODES))), bound))


def cases_of_rates(rng, repetitions):
    """Rates: at the edge, true, false, too uncertain, dominated by phase one."""
    settings = [
        (0.5, 1 / 2, 0.3, 32, "either"),
        (0.5, 1 / 2, 1.0, 32, "either"),
        (0.5, 1 / 2, 0.3, 8, "either"),
        (0.5, 2 / 3, 0.3, 32, CONSISTENT),
        (0.5, 2 / 3, 1.0, 32, CONSISTENT),
        (0.75, 2 / 3, 0.3, 32, VIOLATED),
        (0.75, 2 / 3, 1.0, 32, VIOLATED),
        (0.75, 1 / 2, 0.3, 32, VIOLATED),
        (0.75, 1 / 2, 1.0, 32, VIOLATED),
        (1.0, 3 / 4, 0.3, 32, VIOLATED),
        (1.0, 3 / 4, 1.0, 32, VIOLATED),
        (0.75, 2 / 3, 1.0, 3, INCONCLUSIVE),
    ]
    for exponent, rate, scale, seeds, right in settings:
        ds = made(growing(rng, repetitions, seeds, exponent, scale))
        bound = bounds.Rate(exponent=rate, log_power=0.0)
        name = f"regret K^{exponent}, s = {scale}, {seeds} seeds"
        if right == "either":
            yield Case(f"{name}, at the edge", bound, right, (VIOLATED,), checked(ds, bound))
        elif right == INCONCLUSIVE:  # it is false, and too few seeds to say so
            yield Case(name, bound, right, (CONSISTENT,), checked(ds, bound))
        else:
            yield Case(name, bound, right, WRONG[right], checked(ds, bound))


def cases_of_assumptions(rng, repetitions):
    """Windows that phase one dominates, and agents that lose as much under old contracts."""
    short = made(growing(rng, repetitions, 32, 0.5, 0.3), phase_one=K / 10)
    name = "phase one lasts K / 10"
    yield Case(name, LEARNS, INCONCLUSIVE, WRONG[INCONCLUSIVE], checked(short, LEARNS))
    for exponent, scale, seeds, right in (
        (1.0, 0.3, 32, NOT_APPLICABLE),
        (1.0, 1.0, 32, NOT_APPLICABLE),
        (1.0, 0.3, 8, NOT_APPLICABLE),
        (0.5, 0.3, 32, CONSISTENT),
        (0.75, 1.0, 32, CONSISTENT),
    ):
        regret = growing(rng, repetitions, seeds, 0.5, 0.3)
        ds = made(regret, lost=growing(rng, repetitions, seeds, exponent, scale))
        name = f"agent loses n^{exponent}, s = {scale}, {seeds} seeds"
        wrong = WRONG[right] if right == CONSISTENT else (CONSISTENT, VIOLATED)
        yield Case(name, LEARNS, right, wrong, checked(ds, LEARNS))


# Simulations


def cases_of_simulations(args):
    """The pollution game, cut into studies of 40 seeds."""
    seeds, length = 40, args.length
    agents = {"aware": px.agents.UCBVI(), "blind": px.agents.UCBVI(memory="blind")}
    two_phase = {"two-phase": px.mechanisms.TwoPhase()}
    nothing = {"none": px.mechanisms.NoTransfer()}
    make = lambda agents, mechanisms, num_episodes: px.study(  # noqa: E731
        jax.random.key(args.seed),
        px.games.pollution(),
        agents=agents,
        mechanisms=mechanisms,
        num_episodes=num_episodes,
        num_seeds=args.studies * seeds,
        progress=False,
    )
    long = make(agents, two_phase, length)
    aware, blind = (long.sel(agent=[name]) for name in agents)
    ends = aware["welfare_regret"].isel(episode=-1)
    tenth = Flat(name="a tenth of the mean", number=float(ends.mean()) / 10)
    edge = Flat(name="the 0.9 quantile", number=float(ends.quantile(0.9)))
    t8 = bounds.WelfareRegret()
    yield real("two-phase, aware", aware, tenth, VIOLATED)
    yield real("two-phase, aware, at the edge", aware, edge, "either", (VIOLATED,))
    yield real("two-phase, aware", aware, t8, CONSISTENT)
    yield real("two-phase, aware", aware, RATE, CONSISTENT)
    for bound in (t8, RATE, bounds.Deviations()):
        yield real("two-phase, blind", blind, bound, NOT_APPLICABLE)
    short = make({"aware": agents["aware"]}, two_phase, 1000)
    for bound in (t8, RATE):
        yield real("two-phase, aware, K = 1000", short, bound, INCONCLUSIVE)
    free = make({"aware": agents["aware"]}, nothing, 10_000)
    yield real("nothing paid, K = 10000", free, RATE, VIOLATED)


def real(name, ds, bound, right, wrong=None):
    """A case of a large study cut into small ones."""
    studies = [ds.isel(seed=slice(at, at + 40)) for at in range(0, ds.sizes["seed"], 40)]
    rows = [px.check_bounds(one, [bound]).table for one in studies]
    return Case(f"{name}, 40 seeds", bound, right, wrong or WRONG[right], rows)


# Tables


def checked(ds, bound):
    """The rows of a bound, a few repetitions at a time."""
    parts = range(0, ds.sizes["game"], CHUNK)
    return [px.check_bounds(ds.isel(game=slice(at, at + CHUNK)), [bound]).table for at in parts]


def shown(case):
    """The shares of verdicts in a case."""
    found = np.concatenate([table["verdict"].to_numpy() for table in case.table])
    share = float(np.isin(found, case.wrong).mean())
    return {
        "case": case.name,
        "bound": case.bound.name,
        "right": case.right,
        **{f"{verdict} %": 100 * float((found == verdict).mean()) for verdict in VERDICTS},
        "wrong %": 100 * share,
        "error %": 100 * float(np.sqrt(share * (1 - share) / len(found))),
        "repetitions": len(found),
    }


def main():
    parser = harness.options(__doc__, ["seed"])
    parser.add_argument("--repetitions", type=int, default=400, help="of each made case")
    parser.add_argument("--studies", type=int, default=16, help="that simulations are cut into")
    parser.add_argument("--length", type=int, default=100_000, help="of the simulations")
    args = harness.parse(parser, repetitions=20, studies=2, length=3000)
    px.configure()
    rng, rows = np.random.default_rng(args.seed), []
    for part in (cases_of_shares, cases_of_rates, cases_of_assumptions):
        start = time.perf_counter()
        rows += [shown(case) for case in part(rng, args.repetitions)]
        print(f"{part.__name__}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    start = time.perf_counter()
    rows += [shown(case) for case in cases_of_simulations(args)]
    print(f"cases_of_simulations: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    harness.report("How often are verdicts wrong?", rows, options=vars(args))


if __name__ == "__main__":
    main()
