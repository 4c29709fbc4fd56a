"""How fast is each learner and each mechanism, beside Q-learning under no transfers?

Whole `px.study` calls on the pollution game (the learners for bandits alone: on the bandit), in
turns: every learner under no transfers, and every mechanism with Q-learning. Compilation is left
out and told apart; `times` is how many times as long a step takes as that of Q-learning under no
transfers in the same game. On all cores. About ten minutes, most of it compilation.
"""

import functools
from typing import Any

import harness
import jax
import numpy as np

import pajax as px
from pajax.__main__ import AGENTS, GAMES, MECHANISMS

REFERENCE = ("q-learning", "none")
BANDITS_ONLY = ("ucb1", "thompson")


def study(game: px.Game, agent: Any, mechanism: Any, args: Any) -> Any:
    """One cell."""
    return px.study(
        jax.random.key(0),
        game,
        agents={"agent": agent},
        mechanisms={"mechanism": mechanism},
        num_episodes=args.episodes,
        num_seeds=args.pairs,
        progress=False,
    )


def rows(game_name: str, pairs: list[tuple[str, str]], args: Any) -> list[dict[str, Any]]:
    """A row for each agent and mechanism, in turns with the reference."""
    game = GAMES[game_name]()
    contestants = {}
    for agent, mechanism in dict.fromkeys([REFERENCE, *pairs]):
        run = functools.partial(study, game, AGENTS[agent](game), MECHANISMS[mechanism](game), args)
        contestants[agent, mechanism] = run
    seconds = harness.interleave(contestants, args.repeats)
    reference = np.array(seconds[REFERENCE])
    steps = args.pairs * args.episodes * game.horizon
    return [
        {
            "game": game_name,
            "agent": agent,
            "mechanism": mechanism,
            "M steps/s": float(steps / np.median(found) / 1e6),
            "times": float(np.median(np.array(found) / reference)),
        }
        for (agent, mechanism), found in seconds.items()
    ]


def main() -> None:
    """The table."""
    parser = harness.options(__doc__, ("pairs", "repeats"))
    parser.set_defaults(pairs=256, repeats=3)
    parser.add_argument("--episodes", type=int, default=10_000)
    args = harness.parse(parser, episodes=200)
    px.configure()
    learners = [(agent, "none") for agent in AGENTS if agent not in BANDITS_ONLY]
    mechanisms = [("q-learning", mechanism) for mechanism in MECHANISMS]
    found = rows("pollution", [*learners, *mechanisms], args)
    found += rows("bandit", [(agent, "none") for agent in BANDITS_ONLY], args)
    harness.report(__doc__.splitlines()[0], found, options=vars(args))


if __name__ == "__main__":
    main()
