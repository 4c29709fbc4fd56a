"""How long does a full study of a billion steps take, files and all?

Q-learning under the two-phase mechanism in the pollution game, 1000 seeds of 200 000 episodes of 5
steps, through `px.study` and `px.save`. Beside it, in turns, the kernel: only the compiled blocks
of the same agent under the oracle's fixed transfers, with fewer episodes. `blocks share` is the
share of a full study that its own compiled blocks take; compilation is left out of the speeds. On
all cores. Some minutes.
"""

import argparse
import functools
import tempfile
from pathlib import Path
from typing import Any

import harness
import jax
import numpy as np
import subject

import pajax as px


def run(args: argparse.Namespace, game: px.Game, mechanism: Any, episodes: int) -> Any:
    """A study of Q-learning."""
    return px.study(
        jax.random.key(0),
        game,
        agents={"q-learning": px.agents.QLearning()},
        mechanisms={"mechanism": mechanism},
        num_episodes=episodes,
        num_seeds=args.pairs,
        progress=False,
    )


def contest(args: argparse.Namespace, path: Path) -> dict[str, Any]:
    """The row."""
    game = px.games.pollution()
    fixed = px.mechanisms.FixedTransfers.oracle(game)
    study = functools.partial(run, args, game, px.mechanisms.TwoPhase(), args.episodes)
    full = subject.Clocked(study)
    kernel = subject.Clocked(functools.partial(run, args, game, fixed, args.kernel_episodes))
    turns = {"full": lambda: px.save(full(), path), "kernel": kernel}
    seconds = np.array(harness.interleave(turns, args.repeats)["full"])
    steps = args.pairs * game.horizon * args.episodes
    speeds = steps / seconds / 1e6
    kernel_speeds = kernel.speeds(args.pairs * game.horizon * args.kernel_episodes)
    return {
        "steps": float(steps),
        "seconds": float(np.median(seconds)),
        "full M/s": float(np.median(speeds)),
        "kernel M/s": float(np.median(kernel_speeds)),
        **harness.compare(speeds, kernel_speeds)._asdict(),
        "blocks share": float(np.median(full.seconds / seconds)),
        "compile s": full.compile_seconds,
        "file MB": path.stat().st_size / 1e6,
    }


def main() -> None:
    """One row."""
    parser = harness.options(__doc__, ("pairs", "repeats"))
    parser.set_defaults(pairs=1000, repeats=3)
    parser.add_argument("--episodes", type=int, default=200_000)
    parser.add_argument("--kernel-episodes", type=int, default=20_000)
    args = harness.parse(parser, episodes=2000, kernel_episodes=1000)
    px.configure()
    with tempfile.TemporaryDirectory() as folder:
        row = contest(args, Path(folder, "study.npz"))
    harness.report(__doc__.splitlines()[0], [row], options=vars(args))


if __name__ == "__main__":
    main()
