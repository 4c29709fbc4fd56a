"""The command line: `pajax study pollution`."""

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax

import pajax as px
from pajax import _checks, results, tables

Part = Callable[[px.Game], Any]

GAMES: dict[str, Callable[[], px.Game]] = {
    "pollution": px.games.pollution,
    "insurance": px.games.insurance,
    "rand-insurance": px.games.rand_insurance,
    "market": px.games.market,
    "commons": px.games.commons,
    "garnet": lambda: px.games.garnet(jax.random.key(3)),  # of eight, laissez-faire loses most here
    "bandit": px.games.bandit,
    "two-player-bandit": px.games.two_player_bandit,
}
AGENTS: dict[str, Part] = {
    "ucbvi": lambda game: px.agents.UCBVI(),
    "q-learning": lambda game: px.agents.QLearning(),
    "ucb-q": lambda game: px.agents.UCBQ(),
    "ucbvi-blind": lambda game: px.agents.UCBVI(memory="blind"),
    "q-learning-blind": lambda game: px.agents.QLearning(memory="blind"),
    "posterior-sampling": lambda game: px.agents.PosteriorSampling(),
    "logit": lambda game: px.agents.Logit(),
    "policy-gradient": lambda game: px.agents.PolicyGradient(),
    "exp3": lambda game: px.agents.Exp3(),
    "neural-q": lambda game: px.agents.NeuralQ(),
    "ucb1": lambda game: px.agents.UCB1(),
    "thompson": lambda game: px.agents.ThompsonSampling(),
    "best-response": lambda game: px.agents.BestResponse(game=game),
}
MECHANISMS: dict[str, Part] = {
    "none": lambda game: px.mechanisms.NoTransfer(),
    "flat": px.mechanisms.FlatTransfer.best,
    "2-level": lambda game: px.mechanisms.QuantisedTransfers(game=game, levels=2),
    "4-level": lambda game: px.mechanisms.QuantisedTransfers(game=game, levels=4),
    "two-phase": lambda game: px.mechanisms.TwoPhase(),
    "two-phase-backward": lambda game: px.mechanisms.TwoPhase(order="backward"),
    "logit-transfers": lambda game: px.mechanisms.LogitTransfers(),
    "belgic": lambda game: px.mechanisms.Belgic(),
    "ipa": lambda game: px.mechanisms.IPA(),
    "epsilon-greedy": lambda game: px.mechanisms.EpsilonGreedyPrincipal(),
    "elimination": lambda game: px.mechanisms.EliminationPrincipal(),
    "residual-claimant": lambda game: px.mechanisms.ResidualClaimant(),
    "pigouvian": lambda game: px.mechanisms.PigouvianTax(),
    "pigouvian-oracle": px.mechanisms.PigouvianTax.oracle,
    "robust": lambda game: px.mechanisms.RobustSubsidy(game=game),
    "oracle": px.mechanisms.FixedTransfers.oracle,
}
DEFAULT_AGENTS = ("ucbvi", "q-learning", "ucb-q", "ucbvi-blind")
DEFAULT_MECHANISMS = ("none", "flat", "2-level", "4-level", "two-phase", "oracle")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for bad input, 130 after Ctrl-C)."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print(f"pajax {options.command}: interrupted, nothing was written", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"pajax {options.command}: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pajax", description="Learning in principal-agent games.")
    parser.add_argument("--version", action="version", version=f"pajax {px.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    study = commands.add_parser("study", help="simulate agents under mechanisms in a game")
    study.set_defaults(run=run_study)
    study.add_argument("game", help=f"one of {', '.join(GAMES)}")
    study.add_argument("--seeds", default="64", help="runs of each cell (default 64)")
    study.add_argument("--episodes", default="100000", help="episodes of a run (default 100000)")
    study.add_argument("--agents", nargs="+", default=DEFAULT_AGENTS, help=_names(AGENTS))
    study.add_argument(
        "--mechanisms", nargs="+", default=DEFAULT_MECHANISMS, help=_names(MECHANISMS)
    )
    study.add_argument("--out", default=None, help="folder of the results (default runs/GAME)")
    study.add_argument("--seed", default="0", help="seed of the study (default 0)")
    return parser


def run_study(options: argparse.Namespace) -> int:
    """`pajax study GAME`: a table on standard output, a Dataset and a picture in the folder."""
    make_game = _one("game", options.game, GAMES)
    seeds = _whole("--seeds", options.seeds, 1)
    episodes = _whole("--episodes", options.episodes, 1)
    seed = _whole("--seed", options.seed, 0)
    agents = {name: _one("--agents", name, AGENTS) for name in options.agents}
    mechanisms = {name: _one("--mechanisms", name, MECHANISMS) for name in options.mechanisms}
    folder = _writable(Path(options.out or f"runs/{options.game}"))
    px.configure()
    game = make_game()
    try:
        dataset = px.study(
            jax.random.key(seed),
            game,
            agents={name: make(game) for name, make in agents.items()},
            mechanisms={name: make(game) for name, make in mechanisms.items()},
            num_episodes=episodes,
            num_seeds=seeds,
        )
    except px.StudyInterrupted as stop:
        print(
            f"\nInterrupted: {stop.finished} of {stop.total} cells are finished.", file=sys.stderr
        )
        if stop.dataset is None:
            print(f"Nothing was written to {folder}.", file=sys.stderr)
        else:
            path = folder / "interrupted.npz"
            _set_aside(path)
            kept = px.save(stop.dataset, path)
            print(f"They are kept in {kept}; the rest is NaN there.", file=sys.stderr)
        return 130
    _write(dataset, folder, title=options.game.capitalize())
    return 0


def _write(dataset: Any, folder: Path, title: str) -> None:
    table = tables.format_summary(px.statistics.summary(dataset))
    print(table)
    path = folder / "results.npz"
    earlier = _set_aside(path)
    saved = px.save(dataset, path)
    picture = folder / "overview.png"
    with results.atomic_file(picture) as file:
        px.plotting.overview(dataset, title=title).savefig(file, format="png", dpi=160)
    print(f"\nWrote {saved} and {picture}.")
    if earlier is not None:
        print(f"Earlier results are in {earlier}.")


def _set_aside(path: Path) -> Path | None:
    """Rename a file that is in the way to the first free `name.N.suffix`."""
    if not path.exists():
        return None
    names = (path.with_name(f"{path.stem}.{n}{path.suffix}") for n in itertools.count(1))
    return path.rename(next(name for name in names if not name.exists()))


def _names(options: Any) -> str:
    return f"any of {', '.join(options)}"


def _one(argument: str, name: str, options: dict[str, Any]) -> Any:
    return options[_checks.choice(argument, name, options)]


def _whole(argument: str, text: str, low: int) -> int:
    """A whole number; 1e5 is one too."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    _checks.require(value.is_integer(), argument, repr(text), "be a whole number")
    return _checks.whole(argument, int(value), low)


def _writable(folder: Path) -> Path:
    """The folder, made if need be, after trying to write in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        rule = f"be a folder that can be written ({error.strerror})"
        _checks.require(False, "--out", folder, rule)
    return folder


if __name__ == "__main__":
    sys.exit(main())
