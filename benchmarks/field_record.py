"""Figures of record of the field: games x mechanisms.

Question: what share of W* does each mechanism reach late in a run, how does its welfare regret
grow, what does it pay, and what is left to the principal, with learning agents (UCBVI and
Q-learning), in every game?

One block a game, one row an agent and mechanism. All intervals are over seeds, in that one game.
Run `python benchmarks/field_record.py` (about an hour on two cores, mostly compilation), or name
some games.
"""

import argparse
import json
import sys

import pajax as px

px.configure()

import jax

from pajax.__main__ import AGENTS, GAMES, MECHANISMS

LEARNERS = ("ucbvi", "q-learning")
NUMBERS = (
    "late_share",
    "growth_exponent",
    "payment_per_episode",
    "principal_utility_per_episode",
    "welfare_regret_per_episode",
)
IN_TABLE = tuple(name for name in MECHANISMS if name != "2-level")


def block(name, args):
    """The table of a game and its JSON line."""
    game = GAMES[name]()
    dataset = px.study(
        jax.random.key(4),
        game,
        agents={learner: AGENTS[learner](game) for learner in LEARNERS},
        mechanisms={mechanism: MECHANISMS[mechanism](game) for mechanism in args.mechanisms},
        num_episodes=args.episodes,
        num_seeds=args.seeds,
    )
    table = px.table(dataset)
    summary = table.summary
    print(f"\n## {name}\n\n{table}\n")
    here = summary.isel(game=0)
    cells = {
        f"{mechanism}/{agent}": [
            round(float(here[number].sel(agent=agent, mechanism=mechanism)), 4)
            for number in NUMBERS
        ]
        for mechanism in dataset.mechanism.values
        for agent in dataset.agent.values
    }
    coase = float(here.optimal_welfare - here.agent_value)
    line = {"benchmark": "field_record", "game": name, "episodes": args.episodes}
    line |= {"seeds": args.seeds, "optimal_welfare": round(float(here.optimal_welfare), 4)}
    print(json.dumps(line | {"coase_value": round(coase, 4), "numbers": NUMBERS, **cells}))
    sys.stdout.flush()


def main():
    """Blocks of the games named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("games", nargs="*", help=f"any of {', '.join(GAMES)}")
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--mechanisms", nargs="+", choices=MECHANISMS, default=IN_TABLE)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    args = parser.parse_args()
    if args.quick:
        args.episodes, args.seeds = 2_000, 2
    for name in args.games or GAMES:
        block(name, args)


if __name__ == "__main__":
    sys.exit(main())
