"""The command line: `pajax demo`, `pajax study pollution`, `pajax study spec.toml`, and more.

Exit codes: 0 for done, 1 for a failure on the way (a full disk, too little memory), 2 for bad
input, 3 for a study that is finished but has runs whose numbers are not finite, 128 and the signal
after Ctrl-C (130) or a request to end (143).
"""

import argparse
import contextlib
import errno
import math
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import xarray as xr

import pajax as px
from pajax import _checks
from pajax.report import report, sources
from pajax.studies import archive, kept, results
from pajax.studies.design import KEEPS

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


FAILED, BAD_INPUT, NOT_FINITE = 1, 2, 3
#: Agents of a study that still gets a picture, which has a column for each.
MOST_COLUMNS = 12
_BAD_PATHS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings(), _ends_gently() as received:
        warnings.showwarning = lambda message, *_, **__: _say(options, f"warning: {message}")
        try:
            return options.run(options)
        except KeyboardInterrupt as stop:
            _say(options, str(stop) or "interrupted")
            return 128 + (received or [signal.SIGINT])[0]
        except ValueError as error:
            _say(options, f"error: {error}")
            return BAD_INPUT
        except _BAD_PATHS as error:
            _say(options, f"error: {error.filename}: {error.strerror}")
            return BAD_INPUT
        except OSError as error:
            place = error.filename or _folder(options)
            _say(options, f"failed: {place}: {error.strerror or error}")
            return FAILED
        except (MemoryError, RuntimeError) as error:
            _say(options, f"failed: {' '.join(str(error).split())}")
            return FAILED


@contextlib.contextmanager
def _ends_gently() -> Iterator[list[int]]:
    """A request to end, as schedulers make it before they kill, is an interruption.

    Yields:
      The signals that came.
    """
    received = []

    def note(number: int, _: Any) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(options: argparse.Namespace, message: str) -> None:
    print(f"pajax {options.command}: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pajax", description="Learning in principal-agent games.")
    parser.add_argument("--version", action="version", version=f"pajax {px.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    demo = commands.add_parser("demo", help="a small study, to see a table and a picture")
    demo.set_defaults(run=run_demo)
    demo.add_argument("--out", default="pajax-demo.png", help="the picture (default %(default)s)")
    study = commands.add_parser("study", help="simulate agents under mechanisms in a game")
    plan = commands.add_parser("plan", help="what a study will take, before it runs")
    for command, run in ((study, run_study), (plan, run_plan)):
        command.set_defaults(run=run)
        _add_study(command)
    plan.add_argument("--no-time", action="store_true", help="do not measure how long it takes")
    status = commands.add_parser("status", help="how far a stored study is")
    status.set_defaults(run=run_status)
    report = commands.add_parser("report", help="table, picture and page of what is finished")
    report.set_defaults(run=run_report)
    merge = commands.add_parser("merge", help="copy stores of one study into one")
    merge.set_defaults(run=run_merge)
    for command in (status, report, merge):
        command.add_argument("folder", help="of the study")
    merge.add_argument("others", nargs="+", help="folders to copy from")
    report.add_argument("others", nargs="*", help="folders of the same with other --episodes")
    report.add_argument("--out", help="the page (default report.html, in the folder if it is one)")
    return parser


def _add_study(command: argparse.ArgumentParser) -> None:
    """What describes a study, and how it is run."""
    command.add_argument("study", help=f"a spec, NAME.toml, or one of {', '.join(GAMES)}")
    command.add_argument("--seeds", help="runs of each cell (default 64)")
    command.add_argument("--episodes", help="episodes of a run (default 100000)")
    command.add_argument("--seed", help="seed of the study (default 0)")
    command.add_argument("--keep", help="seeds (default) or moments")
    command.add_argument("--agents", nargs="+", help=_names(AGENTS))
    command.add_argument("--mechanisms", nargs="+", help=_names(MECHANISMS))
    command.add_argument("--out", dest="folder", help="folder of the study (default runs/NAME)")
    command.add_argument("--worker", help="i/n: only the i-th of n parts, from 0")
    command.add_argument("--shard-runs", help="runs in a shard (default: some ten seconds' work)")


# Commands


def run_demo(options: argparse.Namespace) -> int:
    """`pajax demo`: the two-phase mechanism beside no transfers; a table, and a picture."""
    picture = Path(options.out)
    if not picture.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(picture.parent))
    px.configure()
    parts = {"agents": ["ucbvi"], "mechanisms": ["none", "two-phase"]}
    demo = argparse.Namespace(study="pollution", **parts)
    smaller: dict[str, Any] = {"num_episodes": 10_000, "num_seeds": 16}
    dataset = px.study(**_of_names(demo) | smaller)
    _show(dataset)
    _draw(dataset, picture, "Pollution")
    print(f"Wrote {picture}. Next: pajax study pollution")
    return _code(dataset)


def run_study(options: argparse.Namespace) -> int:
    """`pajax study`: goes on where it stopped; a table, and Dataset and picture in the folder."""
    folder = _folder(options)
    px.configure()
    arguments = _arguments(options)
    try:
        dataset = px.study(**arguments, store=folder)
    except px.StudyInterrupted as stop:
        message = f"{stop}, and kept in {folder}; the same command goes on from there"
        raise KeyboardInterrupt(message) from None
    if options.worker is not None and not _is_complete(dataset):
        print(px.status(folder))
        return 0
    _show(dataset)
    _save(dataset, folder)
    return _code(dataset)


def run_plan(options: argparse.Namespace) -> int:
    """`pajax plan`: what the study will take."""
    px.configure()
    planned = px.plan(**_arguments(options), store=_folder(options), measure=not options.no_time)
    print(planned)
    return 0 if planned.fits else BAD_INPUT


def run_status(options: argparse.Namespace) -> int:
    """`pajax status`: what is finished, running, failed, and how long it will take."""
    print(px.status(options.folder))
    return 0


def run_report(options: argparse.Namespace) -> int:
    """`pajax report`: table, Dataset and picture of what is finished, and a page of all."""
    given = [options.folder, *options.others]
    found = [sources.read(one) for one in given]
    for source, place in zip(found, map(Path, given), strict=True):
        _show(source.dataset)
        if source.manifest is not None:  # the folder of a store, not a file
            _save(source.dataset, place)
    page = report(given, options.out)
    print(f"Wrote {page} ({page.stat().st_size / 1e6:.1f} MB).")
    return max(_code(source.dataset) for source in found)


def run_merge(options: argparse.Namespace) -> int:
    """`pajax merge`: the shards of several folders in one."""
    px.merge(options.folder, *options.others)
    print(px.status(options.folder))
    return 0


def _show(dataset: xr.Dataset) -> None:
    print(f"{px.table(dataset)}\n")


def _save(dataset: xr.Dataset, folder: Path) -> None:
    """Write the Dataset and, of the first game, the picture."""
    written = [px.save(dataset, folder / "results.npz")]
    if dataset.sizes["agent"] <= MOST_COLUMNS:
        written.append(folder / "overview.png")
        _draw(dataset, written[-1], folder.resolve().name.capitalize())
    print(f"Wrote {' and '.join(map(str, written))}.")


def _draw(dataset: xr.Dataset, picture: Path, title: str) -> None:
    """The picture of the first game."""
    with archive.atomic_file(picture) as file:
        px.plotting.overview(dataset, title=title).savefig(file, format="png", dpi=160)


def _code(dataset: xr.Dataset) -> int:
    return 0 if _is_finite(dataset) else NOT_FINITE


def _is_complete(dataset: xr.Dataset) -> bool:
    if results.is_moments(dataset):
        return bool((dataset["num_runs"] == dataset.attrs["num_seeds"]).all())
    return bool(results.was_run(dataset).all())


def _is_finite(dataset: xr.Dataset) -> bool:
    if results.is_moments(dataset):
        return not bool((dataset["share_non_finite"] > 0).any())
    return not bool((dataset["status"] & kept.NON_FINITE).any())


# Arguments


def _folder(options: argparse.Namespace) -> Path:
    return Path(options.folder or f"runs/{Path(options.study).stem}")


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What `pajax.study` and `pajax.plan` are asked."""
    numbers = _numbers(options)  # first: parts may take seconds to make
    if not options.study.endswith(".toml"):
        return _of_names(options) | numbers
    for name in ("agents", "mechanisms"):
        given = getattr(options, name)
        _checks.require(given is None, f"--{name}", given, "be named in the spec instead")
    return px.load_spec(options.study) | numbers


def _numbers(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say of a study, however its parts are named, and how it is run."""
    found: dict[str, Any] = {}
    if options.seeds is not None:
        found["num_seeds"] = _whole("--seeds", options.seeds, 1)
    if options.episodes is not None:
        found["num_episodes"] = _whole("--episodes", options.episodes, 1)
    if options.seed is not None:
        found["key"] = jax.random.key(_whole("--seed", options.seed, 0))
    if options.keep is not None:
        found["keep"] = _checks.choice("--keep", options.keep, KEEPS)
    if options.shard_runs is not None:
        found["shard_pairs"] = _whole("--shard-runs", options.shard_runs, 1)
    if options.worker is not None:
        parts = options.worker.split("/")
        is_pair = len(parts) == 2
        _checks.require(is_pair, "--worker", repr(options.worker), "be i/n, the i-th of n from 0")
        found["worker"] = tuple(_whole("--worker", part, 0) for part in parts)
    return found


def _of_names(options: argparse.Namespace) -> dict[str, Any]:
    """A study of one game by the names of its parts."""
    game = _one("study", options.study, GAMES)()
    agents, mechanisms = options.agents or DEFAULT_AGENTS, options.mechanisms or DEFAULT_MECHANISMS
    return {
        "key": jax.random.key(0),
        "game": game,
        "agents": {name: _one("--agents", name, AGENTS)(game) for name in agents},
        "mechanisms": {name: _one("--mechanisms", name, MECHANISMS)(game) for name in mechanisms},
        "num_episodes": 100_000,
        "num_seeds": 64,
    }


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


if __name__ == "__main__":
    sys.exit(main())
