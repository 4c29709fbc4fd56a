"""Figures of record of the bounds.

Question: which rate of welfare regret in K do simulations support, K^(1/2), K^(2/3) or K^(3/4), for
which learner in which game; what do margins cost the principal; and how loose are the bounds
(T6)-(T8)? Seven studies, K = 1e4 .. 1e6:

    bandit      one game, the three presets of (T8): w ~ K^-1/4, w ~ K^-1/3, and w below the gap
    pollution   one game, the first two presets, laissez-faire and oracle transfers, and a
                contract-blind learner, of which nothing can be said
    garnet      64 random games, the first two presets
    games       the same at K = 1e5 with more seeds, enough for verdicts on single games
    orders      pollution at K = 316,228: the mechanism's two orders, with tests of n visits and of
                ten times as many, to see how far estimates of transfers are from tau*
    margins     pollution at K = 1e6, over the margin gamma
    widths      pollution at K = 1e6, over the width w, with gamma = 0 and n = 1 / w^2

The presets are the same at K = 1e5, so that they differ in rates alone; all have n w^2 = 1.
Intervals are over seeds in one game, but for `garnet`, where they are over games. Studies are kept
in a store, go on where they stopped, and each gets its report page. Run all with `python
benchmarks/bounds_record.py` (some two hours on two busy cores), or some by name.
"""

import argparse
import json
from pathlib import Path

import pajax as px

px.configure()

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pajax import statistics

HORIZONS = (10_000, 31_623, 100_000, 316_228, 1_000_000)
SEEDS = {"bandit": 64, "pollution": 160, "garnet": 16, "games": 40, "orders": 64}
SEEDS |= {"margins": 48, "widths": 48}
ONE_LENGTH = {"games": 100_000, "orders": 316_228, "margins": 1_000_000, "widths": 1_000_000}
VERDICTS = ("consistent", "violated", "inconclusive", "not applicable")
MARGINS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
WIDTHS = (0.4, 0.2, 0.1, 0.05, 0.025)


def learners():
    """Those of the question."""
    return {
        "ucbvi": px.agents.UCBVI(),
        "q-learning": px.agents.QLearning(),
        "ucb-q": px.agents.UCBQ(),
    }


def presets(num_episodes, scale=2.0):
    """The first two presets of (T8); equal at K = 1e5 but for the margin."""
    slow = scale * num_episodes**-0.25
    fast = scale * 100_000 ** (1 / 12) * num_episodes ** (-1 / 3)
    two_phase = lambda width, margin: px.mechanisms.TwoPhase(  # noqa: E731
        width=width, test_visits=1 / width**2, margin=margin
    )
    return {"K^3/4": two_phase(slow, slow), "K^2/3": two_phase(fast, 0.1)}


def bandit(num_episodes):
    """Three presets; the third has H w = 0.1, below the smallest welfare gap 0.25."""
    gap = px.mechanisms.TwoPhase(width=0.1, test_visits=100.0, margin=0.1)
    mechanisms = presets(num_episodes, 1.0) | {"K^1/2": gap}
    return {"game": px.games.bandit(), "agents": learners(), "mechanisms": mechanisms}


def pollution(num_episodes):
    """Two presets beside nothing and everything, and the learner that breaks (A1)."""
    game = px.games.pollution()
    fixed = {
        "none": px.mechanisms.NoTransfer(),
        "oracle": px.mechanisms.FixedTransfers.oracle(game),
    }
    agents = learners() | {"ucbvi-blind": px.agents.UCBVI(memory="blind")}
    return {"game": game, "agents": agents, "mechanisms": presets(num_episodes) | fixed}


def garnet(num_episodes):
    """A population of games."""
    games = px.games.garnet(jax.random.key(64), num_games=64)
    return {"game": games, "agents": learners(), "mechanisms": presets(num_episodes)}


def margins(num_episodes):
    """Margins of the default mechanism."""
    mechanisms = px.grid(px.mechanisms.TwoPhase(), {"margin": MARGINS}, name="two-phase")
    return {"game": px.games.pollution(), "agents": learners(), "mechanisms": mechanisms}


def widths(num_episodes):
    """Widths without a margin: what is posted beyond hi grows with w too."""
    mechanisms = {
        f"two-phase(width={width})": px.mechanisms.TwoPhase(
            width=width, test_visits=1 / width**2, margin=0.0
        )
        for width in WIDTHS
    }
    return {"game": px.games.pollution(), "agents": learners(), "mechanisms": mechanisms}


def orders(num_episodes):
    """All steps at once or one after the other, with short and long tests."""
    visits = np.sqrt(num_episodes) / 4
    mechanisms = {
        f"{order}, {name}": px.mechanisms.TwoPhase(order=order, test_visits=times * visits)
        for order in ("parallel", "backward")
        for name, times in (("n", 1.0), ("10 n", 10.0))
    }
    return {"game": px.games.pollution(), "agents": learners(), "mechanisms": mechanisms}


STUDIES = {
    "bandit": bandit,
    "pollution": pollution,
    "garnet": garnet,
    "games": garnet,
    "orders": orders,
    "margins": margins,
    "widths": widths,
}


def run(name, num_episodes, args):
    """A study of one length, kept in its store."""
    return px.study(
        jax.random.key(6),
        **STUDIES[name](num_episodes),
        num_episodes=num_episodes,
        num_seeds=args.seeds or SEEDS[name],
        store=args.store / f"{name}-{num_episodes}",
    )


def growth(datasets):
    """Exponents of the final regrets in K, over seeds in one game or over games."""
    of_lengths = statistics.by_horizon(datasets)
    is_sample = of_lengths.sizes["game"] > 1
    over = statistics.exponent_over_games if is_sample else statistics.exponent_over_runs
    names = ("welfare_regret", "principal_regret")
    return side_by_side({name: over(of_lengths, name, decades=10.0) for name in names})


def side_by_side(estimates):
    """Estimates [agent, mechanism] by name, each with the ends of its interval."""
    columns = {
        f"{name}{end}": part.isel(game=0, missing_dims="ignore").to_series()
        for name, parts in estimates.items()
        for end, part in zip(("", "_low", "_high"), parts, strict=True)
    }
    return pd.DataFrame(columns).rename_axis(index=["agent", "mechanism"]).reset_index()


def verdicts(checks):
    """Of each bound its verdict, or in how many games it is which (in the order of VERDICTS)."""
    counts = checks.counts()
    is_one = len(checks.audits) == len(counts.groupby(["agent", "mechanism"]))
    told = lambda row: next(v for v in VERDICTS if row[v]) if is_one else count(row)  # noqa: E731
    count = lambda row: "/".join(str(row[verdict]) for verdict in VERDICTS)  # noqa: E731
    return by_bound(counts.assign(told=counts.apply(told, axis=1)), "told")


def slack(checks):
    """How many times each bound exceeds the mean at the last K, median over games."""
    return by_bound(checks.counts(), "median_slack").dropna(axis=1, how="all")


def by_bound(counts, column):
    """A column of counts with the bounds side by side."""
    wide = counts.pivot(index=["agent", "mechanism"], columns="bound", values=column)
    order = pd.MultiIndex.from_frame(counts[["agent", "mechanism"]]).unique()
    return wide.loc[order, counts["bound"].unique()].reset_index()


def terms(dataset):
    """The terms of (T8) and the welfare regret itself at the last K, an episode, mean over runs."""
    rows = []
    for case in px.bounds.cases(dataset):
        if case.has("width"):
            parts = px.bounds.WelfareRegret().terms(case)
            shape = case["welfare_regret"].shape
            at_end = {name: np.broadcast_to(x, shape)[:, -1].mean() for name, x in parts.items()}
            here = {"agent": case.place.agent, "mechanism": case.place.mechanism}
            rows.append(here | at_end | {"regret": case["welfare_regret"][:, -1].mean()})
    table = pd.DataFrame(rows).groupby(["agent", "mechanism"], sort=False).mean().reset_index()
    numbers = table.columns[2:]
    return table.assign(**{name: table[name] / dataset.attrs["num_episodes"] for name in numbers})


def errors(dataset):
    """How far estimates of transfers are from tau*, and how long phase one took."""
    last = dataset.isel(episode=-1, game=0)
    names = ("worst_transfer_error", "transfer_error", "unresolved", "phase_one")
    return side_by_side({name: statistics.mean_over_runs(last, name) for name in names})


def trade_off(dataset):
    """What each margin or width costs an episode: to welfare, and to the principal."""
    last, number = dataset.isel(episode=-1, game=0), dataset.attrs["num_episodes"]
    names = ("welfare_regret", "principal_regret", "payment")
    each = last.assign({name: last[name] / number for name in names})
    return side_by_side({name: statistics.mean_over_runs(each, name) for name in names})


def draw_frontiers(dataset, over, path):
    """The principal's regret against welfare regret over a term, a panel an agent."""
    agents = dataset["agent"].to_numpy().tolist()
    figure = Figure(figsize=(4.2 * len(agents), 4.4), layout="constrained")
    panels = figure.subplots(1, len(agents), sharey=True)
    for ax, agent in zip(panels, agents, strict=True):
        options = {"over": over, "variable": "principal_regret", "agent": agent}
        px.plotting.frontier(dataset, ax=ax, **options)
        ax.set_title(agent)
        if ax is not panels[-1]:
            ax.get_legend().remove()  # all are alike
    figure.savefig(path, dpi=90)


def show(name, part, table):
    """A table for people and a JSON line."""
    print(f"\n## {name}: {part}\n\n{table.to_string(index=False, float_format='{:.4g}'.format)}\n")
    records = json.loads(table.to_json(orient="records", double_precision=6))
    print(json.dumps({"benchmark": "bounds_record", "study": name, "part": part, "rows": records}))


def report(name, args):
    """All that one study has to say."""
    lengths = [ONE_LENGTH[name]] if name in ONE_LENGTH else HORIZONS
    lengths = [min(length, args.episodes) for length in lengths if length <= args.episodes]
    lengths = lengths or [args.episodes]
    datasets = [run(name, length, args) for length in lengths]
    folders = [args.store / f"{name}-{length}" for length in lengths]
    if name == "orders":
        show(name, "errors", errors(datasets[-1]))
    if name in ("margins", "widths"):
        show(name, "trade-off", trade_off(datasets[-1]))
        draw_frontiers(datasets[-1], name.removesuffix("s"), args.out / f"{name}.png")
    if len(datasets) > 1:
        show(name, "growth", growth(datasets))
        rates = [bound for bound in px.bounds.theory() if isinstance(bound, px.bounds.Rate)]
        show(name, "rates in K", verdicts(px.check_bounds(datasets, rates)))
    bounds = [bound for bound in px.bounds.theory() if not isinstance(bound, px.bounds.Rate)]
    checks = px.check_bounds(datasets[-1], bounds)
    show(name, "verdicts at the last K", verdicts(checks))
    show(name, "slack at the last K", slack(checks))
    show(name, "terms", terms(datasets[-1]))
    show(name, "assumptions", assumptions(checks))
    print(px.report(folders, args.out / f"{name}.html"))


def assumptions(checks):
    """Of how many games (A1) holds, fails or is unclear, with medians of its numbers."""
    audits = checks.audits
    of_cell = audits.groupby(["agent", "mechanism"], sort=False)
    states = {
        state: of_cell["rationality"].agg(lambda found, state=state: (found == state).sum())
        for state in ("holds", "fails", "unclear")
    }
    numbers = ["kappa", "constant", "path_coverage", "realised_coverage", "visits_needed"]
    return pd.DataFrame(states).join(of_cell[numbers].median()).reset_index()


def main():
    """The studies named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", help=f"any of {', '.join(STUDIES)}")
    parser.add_argument("--episodes", type=int, default=HORIZONS[-1], help="longest runs")
    parser.add_argument("--seeds", type=int, help="of each game, instead of those of record")
    parser.add_argument("--store", type=Path, default=Path("runs/bounds"), help="of the runs")
    parser.add_argument("--out", type=Path, default=Path("runs/bounds"), help="of pages, pictures")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    args = parser.parse_args()
    if args.quick:
        args.episodes, args.seeds, args.store = 10_000, 4, args.store / "quick"
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.studies or STUDIES:
        report(name, args)


if __name__ == "__main__":
    main()
