"""Figures of record of the Coase bandit: BELGIC's setting.

Question: with property rights (transfers), do learning players reach the efficient arm, and how
fast? Two parts:

    actions    a figure: what the upstream player plays, without transfers and under each mechanism
    scaling    exponent of the final welfare regret in K, K = 1e4 .. 1e6

In the published analyses regret grows like K^(3/4) for BELGIC with a no-regret agent (up to logs),
and between log K and K^(1/2) for IPA with an agent that knows the game. Both games are played: the
one-player bandit (B = 1) and the two-player one, where the downstream player acts too (B = 3).
Intervals are over seeds, in each one game. Run all with `python benchmarks/coase_bandit_record.py`;
about ten minutes on two cores.
"""

import argparse
import json
import sys
from pathlib import Path

import pajax as px

px.configure()

import jax
import numpy as np
from matplotlib.figure import Figure

from pajax import statistics

FIGURE = Path(__file__).parent / "figures" / "coase_bandit.png"
SCALING_EPISODES = (10_000, 100_000, 1_000_000)
GAMES = {"bandit": px.games.bandit, "two-player": px.games.two_player_bandit}


def agents(game):
    """Who plays upstream."""
    return {
        "best response": px.agents.BestResponse(game=game),
        "ucb1": px.agents.UCB1(),
        "thompson": px.agents.ThompsonSampling(),
    }


def mechanisms():
    """What the downstream player does."""
    return {
        "none": px.mechanisms.NoTransfer(),
        "Belgic": px.mechanisms.Belgic(),
        "IPA": px.mechanisms.IPA(),
        "two-phase": px.mechanisms.TwoPhase(),
    }


def actions(args):
    """Upstream's action frequencies."""
    game = px.games.two_player_bandit()
    figure = Figure(figsize=(13.0, 3.2), layout="constrained", dpi=130)
    axes = figure.subplots(1, len(mechanisms()), sharey=True)
    keys = jax.random.split(jax.random.key(5), args.runs)
    arms = [f"arm {a}" for a in range(game.num_actions)]
    line = {"part": "actions", "episodes": args.episodes, "runs": args.runs}
    for ax, (name, mechanism) in zip(axes, mechanisms().items(), strict=True):
        agent = px.agents.BestResponse(game=game) if name == "IPA" else px.agents.UCB1()
        log, _ = px.testing.trajectories(keys, game, agent, mechanism, num_episodes=args.episodes)
        played = np.asarray(log.episodes.actions)[:, 0]
        px.plotting.actions(played, game.num_actions, names=arms, ax=ax)
        ax.set_title(f"{name}, {'best response' if name == 'IPA' else 'UCB1'} upstream")
        if ax is not axes[-1]:
            ax.get_legend().remove()
        ax.label_outer()
        late = played[-args.episodes // 10 :]
        line[name] = [round(float((late == a).mean()), 4) for a in range(game.num_actions)]
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE)
    print(f"\n## actions\n\nlate shares of upstream's arms; the figure is in {FIGURE.name}")
    for name in mechanisms():
        print(f"{name:12s} {'  '.join(f'{100 * x:5.1f} %' for x in line[name])}")
    print(json.dumps(line), flush=True)


def scaling(args):
    """Least-squares slope of log mean R(K) on log K, bootstrapped over runs within each K."""
    lengths = [episodes for episodes in SCALING_EPISODES if episodes <= args.longest]
    print("\n## scaling\n\nexponent of final welfare regret in K; late share of W* at the last K")
    for name, make in GAMES.items():
        game = make()
        line = {"part": "scaling", "game": name, "episodes": lengths, "seeds": args.seeds}
        for mechanism_name, mechanism in mechanisms().items():
            final, share = [], None
            for i, episodes in enumerate(lengths):
                dataset = px.study(
                    jax.random.key(20 + i),
                    game,
                    agents=agents(game),
                    mechanisms={mechanism_name: mechanism},
                    num_episodes=episodes,
                    num_seeds=args.seeds,
                    record=[int(0.9 * episodes), episodes],
                    progress=False,
                )
                final.append(dataset.welfare_regret.isel(game=0, mechanism=0, episode=-1).values)
                share = statistics.late_share(dataset).mean("seed").squeeze().values
            regret = np.stack(final, -1)  # [agent, seed, K]
            for j, agent in enumerate(agents(game)):
                found = statistics.growth_exponent(regret[j], lengths, decades=2.0)
                text = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
                print(f"{name:11s} {mechanism_name:10s} {agent:14s} {text:20s} {share[j]:.4f}")
                numbers = [round(float(x), 3) for x in found]
                line[f"{mechanism_name}/{agent}"] = [*numbers, round(float(share[j]), 4)]
            sys.stdout.flush()
        print(json.dumps(line), flush=True)


PARTS = {"actions": actions, "scaling": scaling}


def main():
    """Run the parts named on the command line, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--episodes", type=int, default=100_000, help="of the figure")
    parser.add_argument("--runs", type=int, default=32, help="of the figure")
    parser.add_argument("--seeds", type=int, default=64, help="of the scaling")
    parser.add_argument("--longest", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    args = parser.parse_args()
    if args.quick:
        args.episodes, args.runs, args.seeds, args.longest = 2_000, 4, 2, 31_623
    for name in args.parts or PARTS:
        PARTS[name](args)


if __name__ == "__main__":
    sys.exit(main())
