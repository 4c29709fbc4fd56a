"""Figures of record of the two-phase mechanism on the pollution game.

Question: does the mechanism steer learning agents to the welfare optimum, and how does its welfare
regret grow with K? Three parts, each with its own table:

    table      K = 1e5, 200 seeds: regret per episode of every mechanism and agent
    long       K = 1e6, 50 seeds: share of W* in the last tenth of the run, growth along a run
    scaling    K = 1e4 .. 1e6, 50 seeds each: exponent of the final regret R(K) in K

Intervals are over seeds, in this one game. Run all with `python benchmarks/pollution_record.py`,
one with its name; about ten minutes on two cores.
"""

import argparse
import json
import sys

import pajax as px

px.configure()

import jax
import numpy as np

from pajax import statistics

SCALING_EPISODES = (10_000, 31_623, 100_000, 316_228, 1_000_000)


def agents():
    """The learners of the reference table."""
    return {
        "ucbvi": px.agents.UCBVI(bonus=0.2),
        "q-learning": px.agents.QLearning(),
        "ucb-q": px.agents.UCBQ(),
    }


def mechanisms(game):
    """What they are posted."""
    return {
        "none": px.mechanisms.NoTransfer(),
        "flat": px.mechanisms.FlatTransfer.best(game),
        "2-level": px.mechanisms.QuantisedTransfers(game=game, levels=2),
        "4-level": px.mechanisms.QuantisedTransfers(game=game, levels=4),
        "two-phase": px.mechanisms.TwoPhase(),
        "two-phase-backward": px.mechanisms.TwoPhase(order="backward"),
        "oracle": px.mechanisms.FixedTransfers.oracle(game),
    }


def report(name, dataset):
    """Print the table of a study and one JSON line."""
    table = px.table(dataset)
    summary = table.summary
    print(f"\n## {name}\n\n{table}\n", flush=True)
    keys = ("welfare_regret_per_episode", "growth_exponent", "late_share", "transfer_error")
    cells = {
        f"{mechanism}/{agent}": {
            key: round(float(summary[key].isel(game=0).sel(agent=agent, mechanism=mechanism)), 5)
            for key in keys
        }
        for mechanism in dataset.mechanism.values
        for agent in dataset.agent.values
    }
    print(json.dumps({"part": name, "num_episodes": dataset.attrs["num_episodes"], **cells}))


def table(game):
    """K = 1e5, 200 seeds; and the contract-blind UCBVI, which fails."""
    learners = agents() | {"ucbvi-blind": px.agents.UCBVI(memory="blind")}
    key = jax.random.key(2)
    options = {"num_episodes": 100_000, "num_seeds": 200}
    report("table", px.study(key, game, agents=learners, mechanisms=mechanisms(game), **options))


def long(game):
    """K = 1e6, 50 seeds."""
    options = {"num_episodes": 1_000_000, "num_seeds": 50}
    key = jax.random.key(3)
    report("long", px.study(key, game, agents=agents(), mechanisms=mechanisms(game), **options))


def scaling(game):
    """Least-squares slope of log mean R(K) on log K, bootstrapped over runs within each K."""
    chosen = {"two-phase": px.mechanisms.TwoPhase()}
    chosen["two-phase-backward"] = px.mechanisms.TwoPhase(order="backward")
    final = []
    for i, episodes in enumerate(SCALING_EPISODES):
        dataset = px.study(
            jax.random.key(10 + i),
            game,
            agents=agents(),
            mechanisms=chosen,
            num_episodes=episodes,
            num_seeds=50,
            record=[episodes],
        )
        final.append(dataset.welfare_regret.isel(game=0, episode=0).values)
    regret = np.stack(final, -1)  # [agent, mechanism, seed, K]
    line = {"part": "scaling", "episodes": SCALING_EPISODES}
    print("\n## scaling\n\nexponent of final welfare regret in K, 95 % interval over seeds")
    for i, agent in enumerate(agents()):
        for j, mechanism in enumerate(chosen):
            found = statistics.growth_exponent(regret[i, j], SCALING_EPISODES, decades=2.0)
            means = ", ".join(f"{x:,.0f}" for x in regret[i, j].mean(0))
            low, high = found.low, found.high
            print(f"{mechanism:20s} {agent:12s} {found.value:.3f} [{low:.3f}, {high:.3f}]  {means}")
            line[f"{mechanism}/{agent}"] = [round(float(x), 4) for x in found]
    print(json.dumps(line), flush=True)


PARTS = {"table": table, "long": long, "scaling": scaling}


def main():
    """Run the parts named on the command line, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}")
    for name in parser.parse_args().parts or PARTS:
        PARTS[name](px.games.pollution())


if __name__ == "__main__":
    sys.exit(main())
