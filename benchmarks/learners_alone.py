"""Figures of record of the learners alone.

Question: does each learner, left alone (no transfers), learn: does its own regret grow sublinearly
in the bandit, in Garnet games and in pollution, and with what exponent?

The agent's regret is against its own optimum in the true game, along the trajectory (T1). The
exponent is the slope of log mean regret on log episodes over the last decade and a half of K; its
interval is over seeds (for Garnet over seeds and games together: whole runs are resampled). A
second number is the regret an episode over the last tenth of the run, as a share of that of a
uniformly random agent: an exponent near 1 may belong to a learner that loses little.

Run `python benchmarks/learners_alone.py` (about fifteen minutes on two cores).
"""

import argparse
import json
import sys

import pajax as px

px.configure()

import jax
import numpy as np

from pajax import statistics

BANDITS_ONLY = ("ucb1", "thompson")


def games(num_games):
    """Where learners learn."""
    garnet = px.games.garnet(jax.random.key(7), num_games=num_games)
    return {"bandit": px.games.bandit(), "garnet": garnet, "pollution": px.games.pollution()}


def learners():
    """Every learner of the library, as it is by default."""
    return {
        "ucbvi": px.agents.UCBVI(),
        "q-learning": px.agents.QLearning(),
        "ucb-q": px.agents.UCBQ(),
        "posterior sampling": px.agents.PosteriorSampling(),
        "logit": px.agents.Logit(),
        "policy gradient": px.agents.PolicyGradient(),
        "exp3": px.agents.Exp3(),
        "neural q": px.agents.NeuralQ(),
        "ucb1": px.agents.UCB1(),
        "thompson": px.agents.ThompsonSampling(),
    }


def uniform_regret(game):
    """Regret an episode of an agent that draws its actions uniformly, mean over games."""
    options = {"num_episodes": 1_000, "num_seeds": 64, "progress": False}
    agents = {"uniform": px.agents.QLearning(epsilon=1.0)}
    mechanisms = {"none": px.mechanisms.NoTransfer()}
    dataset = px.study(jax.random.key(1), game, agents=agents, mechanisms=mechanisms, **options)
    return float(dataset.agent_regret.isel(episode=-1).mean()) / 1_000


def row(game, learner, args):
    """Exponent with interval, and late regret an episode."""
    dataset = px.study(
        jax.random.key(0),
        game,
        agents={"learner": learner},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=args.episodes,
        num_seeds=max(1, args.runs // (game.lanes or (1,))[0]),
        progress=False,
    )
    regret = dataset.agent_regret.isel(agent=0, mechanism=0)
    runs = regret.stack(run=("game", "seed")).transpose("run", "episode").values
    episodes = dataset.episode.values
    found = statistics.growth_exponent(runs, episodes)
    start = int(np.abs(episodes - 0.9 * args.episodes).argmin())
    late = (runs[:, -1] - runs[:, start]).mean() / (args.episodes - episodes[start])
    return found, late


def main():
    """A table, a row a learner and game."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=64, help="seeds, or games x seeds")
    parser.add_argument("--games", type=int, default=16, help="Garnet games")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    args = parser.parse_args()
    if args.quick:
        args.episodes, args.runs, args.games = 2_000, 4, 2
    print(f"K = {args.episodes:,}, {args.runs} runs, {args.games} Garnet games")
    print(f"{'game':10s} {'learner':20s} {'exponent [95 % interval]':26s} late, % of uniform")
    line = {"benchmark": "learners_alone", "episodes": args.episodes, "runs": args.runs}
    for game_name, game in games(args.games).items():
        scale = uniform_regret(game)
        for name, learner in learners().items():
            if name in BANDITS_ONLY and game_name != "bandit":
                continue
            found, late = row(game, learner, args)
            exponent = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
            share = 100 * late / scale
            print(f"{game_name:10s} {name:20s} {exponent:26s} {share:6.2f}", flush=True)
            line[f"{game_name}/{name}"] = [*(round(float(x), 3) for x in found), round(share, 3)]
    print(json.dumps(line))


if __name__ == "__main__":
    sys.exit(main())
