"""How many environment steps a second does pajax make beside rlberry and SMPyBandits?

The same kind of learner for many seeds of one game without a principal (pajax: under `NoTransfer`),
for as many episodes, each library on one thread. They run in interpreters of their own, where they
are installed; one that is not given is left out:

    python benchmarks/against_libraries.py --rlberry PYTHON --smpybandits PYTHON

(rlberry and rlberry-scool 0.7.3, with numba for the rows `compiled`; SMPyBandits 0.9.7, which needs
numpy < 2 and scipy < 1.12.) Training alone is timed, without imports and compilation: of theirs,
making the agents and their `fit`, or a whole `Evaluator`; of pajax a whole `px.study`, its dataset
included. They train one seed after the other, as many as fill `--seconds`; pajax trains `--pairs`
side by side. All three can use more cores; here none does.

Learners, and what differs:

- `ucbvi`. rlberry plans after every episode, pajax when a stage begins (240 times in 1,000
  episodes), so part of the ratio is the algorithm's. rlberry's bonus is sqrt(1 / n) + (H - h) / n,
  kept for each (h, s, a) and renewed only when that is visited; pajax's is 0.2 (H - h) sqrt(log K /
  n) on all visits of (s, a). `rlberry` is the library as it is, whose planning is plain Python; in
  `compiled` the same function is compiled by numba.
- `ucbvi, each episode`. pajax, too, plans after every episode; K is 256.
- `q-learning`, epsilon = alpha = 0.1, Q = 0 at first. rlberry's has no horizon: it sees (h, s). In
  the last step it sets Q to the reward, where pajax moves Q towards it by alpha.
- `ucb1`. The same algorithm, but for ties. SMPyBandits draws among them, pajax takes the lowest.

Rewards are their means in rlberry's finite MDPs, and so in pajax; in the bandit they are Bernoulli.
pajax records regrets, payments and more at some 40 checkpoints; rlberry records nothing (its
writer is off, which makes it faster), SMPyBandits every choice and reward.

`regret` is the agent's own, an episode, mean over all seeds and rounds: that both learn, not that
they learn the same, since constants differ. `z` of their difference is standard normal if they are
the same learner, which is claimed of `ucb1` alone. `pays off` is how many steps the other makes
while pajax compiles and runs as many: shorter studies are faster with the other.
"""

import argparse
import contextlib
import functools
import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import numpy as np
from workload import random_workload

import pajax as px

POOLS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
QUIET = {f"{pool}_NUM_THREADS": "1" for pool in POOLS} | {"TQDM_DISABLE": "1"}
BASELINES = Path(__file__).parent / "baselines"


@px.pytree
class Reposted(px.mechanisms.NoTransfer):
    """No transfers, in stages of one episode for the first 256, so that agents plan in each."""

    adapting_until = 1.0


class Match(NamedTuple):
    """A learner in pajax, and in another library as these competitors have it."""

    agent: Any
    mechanism: Any
    episodes: int
    others: Mapping[str, Mapping[str, Any]]  # name: what its worker is told


AS_IS = {"learner": "ucbvi", "compiled": False}
COMPILED = AS_IS | {"compiled": True}
IN_MDPS = {
    "ucbvi": Match(
        px.agents.UCBVI(),
        px.mechanisms.NoTransfer(),
        1_000,
        {"rlberry": AS_IS, "rlberry, compiled": COMPILED},
    ),
    "ucbvi, each episode": Match(
        px.agents.UCBVI(), Reposted(), 256, {"rlberry, compiled": COMPILED}
    ),
    "q-learning": Match(
        px.agents.QLearning(epsilon=0.1, learning_rate=0.1),
        px.mechanisms.NoTransfer(),
        1_000,
        {"rlberry": {"learner": "q-learning", "compiled": False}},
    ),
}
IN_BANDITS = {
    "ucb1": Match(px.agents.UCB1(), px.mechanisms.NoTransfer(), 10_000, {"SMPyBandits": {}})
}
MDPS, BANDITS = ("mid", "pollution"), ("bandit",)


class Worker:
    """Another interpreter, which answers a line of JSON with a line of JSON."""

    def __init__(self, python: str, script: str) -> None:
        self._process = subprocess.Popen(
            [python, str(BASELINES / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | QUIET,
        )
        self.versions = self._read()

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Its answer."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._read()

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()

    def _read(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("against_libraries: a worker has ended; it said why above")
        return json.loads(line)


class Contestant:
    """Something that trains many seeds, and remembers how its calls went."""

    def __init__(self, game: px.Game, episodes: int) -> None:
        self.game, self.episodes = game, episodes
        self.seeds: list[int] = []  # of each call
        self.regrets: list[np.ndarray] = []  # of each call, an episode
        self._wall: list[float] = []
        self._processor: list[float] = []

    def __call__(self) -> None:
        """Train once; the first call is a warm-up."""
        start = time.perf_counter()
        regrets, processor = self.train()
        self._wall.append(time.perf_counter() - start)
        self._processor.append(processor)
        self.seeds.append(len(regrets))
        self.regrets.append(np.asarray(regrets) / self.episodes)

    def train(self) -> tuple[Any, float]:
        """Final regret of each seed, and seconds of processor."""
        raise NotImplementedError

    @property
    def speeds(self) -> np.ndarray:
        """Environment steps a second, in each round; the warm-up is left out."""
        steps = np.array(self.seeds) * self.episodes * self.game.horizon
        return (steps / self._wall)[1:]

    @property
    def busy_cores(self) -> float:
        """Processor seconds a second."""
        return float(np.median(np.divide(self._processor, self._wall)[1:]))

    @property
    def compile_seconds(self) -> float:
        """What the warm-up took longer than the other calls; for one whose warm-up is as large."""
        return self._wall[0] - float(np.median(self._wall[1:]))

    @property
    def regret(self) -> tuple[float, float]:
        """Mean over all seeds of all calls, and its standard error."""
        regrets = np.concatenate(self.regrets)
        return float(regrets.mean()), float(regrets.std(ddof=1) / np.sqrt(len(regrets)))


class Pajax(Contestant):
    """`px.study` on one device."""

    def __init__(self, game: px.Game, match: Match, pairs: int) -> None:
        super().__init__(game, match.episodes)
        self._match, self._pairs = match, pairs

    def train(self) -> tuple[np.ndarray, float]:
        """One study."""
        start = time.process_time()
        dataset = px.study(
            jax.random.key(len(self.seeds)),
            self.game,
            agents={"agent": self._match.agent},
            mechanisms={"mechanism": self._match.mechanism},
            num_episodes=self.episodes,
            num_seeds=self._pairs,
            progress=False,
        )
        regrets = dataset.agent_regret.isel(episode=-1).to_numpy().ravel()
        return regrets, time.process_time() - start


class Other(Contestant):
    """A worker: the warm-up is one seed, a round as many as fill the seconds."""

    def __init__(
        self, game: px.Game, episodes: int, ask: Callable[[Sequence[int]], Any], seconds: float
    ) -> None:
        super().__init__(game, episodes)
        self._ask, self._seconds, self._count = ask, seconds, 1

    def train(self) -> tuple[np.ndarray, float]:
        """One seed after the other, none twice."""
        first = sum(self.seeds) + 1
        answer = self._ask(range(first, first + self._count))
        if not self.seeds:
            self._count = self._count_of_round()
        return answer

    def _count_of_round(self) -> int:
        start = time.perf_counter()
        self._ask([0])
        return max(1, round(self._seconds / (time.perf_counter() - start)))


def in_mdp(
    worker: Worker, game: px.Game, episodes: int, told: Mapping[str, Any], seeds: Sequence[int]
) -> tuple[np.ndarray, float]:
    """Regrets of rlberry's agents, from what they earned."""
    request = told | {"tables": _tables(game), "episodes": episodes, "seeds": list(seeds)}
    reply = worker.ask(request)
    value = float(px.planning.expected(game, px.planning.agent_values(game).values[0]))
    return episodes * value - np.array(reply["earned"]), reply["processor"]


def in_bandit(
    worker: Worker, game: px.Game, episodes: int, told: Mapping[str, Any], seeds: Sequence[int]
) -> tuple[np.ndarray, float]:
    """Regrets of SMPyBandits' policies, from how often they played what."""
    means = np.asarray(game.agent_reward[0, 0], np.float64)
    request = told | {"means": means.tolist(), "episodes": episodes, "seeds": list(seeds)}
    reply = worker.ask(request)
    return np.array(reply["plays"]) @ (means.max() - means), reply["processor"]


def _tables(game: px.Game) -> dict[str, Any]:
    """The agent's side of a game with one step's tables, in the shape of a finite MDP."""
    return {
        "P": _distribution(game.transition[0]),
        "R": np.asarray(game.agent_reward[0], np.float64).tolist(),
        "initial": _distribution(game.initial),
        "horizon": game.horizon,
    }


def _distribution(table: Any) -> list[Any]:
    """Rows that add up to 1 in float64."""
    table = np.asarray(table, np.float64)
    return (table / table.sum(-1, keepdims=True)).tolist()


def game_of(name: str, seed: int) -> px.Game:
    """One of `MDPS` or `BANDITS`."""
    if name == "bandit":
        return px.games.bandit()
    if name == "pollution":
        return px.games.pollution(noise="deterministic")
    drawn = random_workload(name, num_games=1, num_seeds=1, num_episodes=1, seed=seed)
    return px.make_game(
        transition=drawn.transition[0],
        agent_reward=drawn.agent_reward[0],
        principal_reward=drawn.principal_reward[0],
        initial=drawn.initial[0],
        horizon=drawn.horizon,
        noise="deterministic",
    )


def contest(
    args: argparse.Namespace, game_name: str, learner: str, match: Match, train: Any
) -> list[dict[str, Any]]:
    """Rows of one learner in one game; `train` asks a worker."""
    game = game_of(game_name, args.seed)
    pajax = Pajax(game, match, args.pairs)
    others = {
        name: Other(
            game, match.episodes, functools.partial(train, game, match.episodes, told), args.seconds
        )
        for name, told in match.others.items()
    }
    harness.interleave({"pajax": pajax, **others}, args.repeats)
    about = {"game": game_name, "learner": learner}
    return [about | {"other": name} | duel(pajax, other) for name, other in others.items()]


def duel(pajax: Contestant, other: Contestant) -> dict[str, Any]:
    """A row: speeds, their ratio, and what both have learned."""
    (regret, error), (other_regret, other_error) = pajax.regret, other.regret
    speed, other_speed = np.median(pajax.speeds), np.median(other.speeds)
    return {
        "episodes": pajax.episodes,
        "seeds": pajax.seeds[-1],
        "other seeds": other.seeds[-1],
        "pajax M/s": float(speed / 1e6),
        "other M/s": float(other_speed / 1e6),
        **harness.compare(pajax.speeds, other.speeds)._asdict(),
        "pajax busy": pajax.busy_cores,
        "other busy": other.busy_cores,
        "pajax compile s": pajax.compile_seconds,
        "pays off": float(pajax.compile_seconds / (1 / other_speed - 1 / speed)),
        "pajax regret": regret,
        "other regret": other_regret,
        "z": (regret - other_regret) / float(np.hypot(error, other_error)),
    }


class Library(NamedTuple):
    """Where a library runs, and what it is asked to do."""

    worker: str
    games: Sequence[str]
    matches: Mapping[str, Match]
    train: Callable[..., tuple[np.ndarray, float]]


LIBRARIES = {
    "rlberry": Library("rlberry_worker.py", MDPS, IN_MDPS, in_mdp),
    "smpybandits": Library("smpybandits_worker.py", BANDITS, IN_BANDITS, in_bandit),
}


def contests(
    args: argparse.Namespace, worker: Worker, library: Library
) -> Iterator[list[dict[str, Any]]]:
    """Rows of each learner of a library in each game."""
    train = functools.partial(library.train, worker)
    for game in (name for name in library.games if name in args.games):
        for learner, match in library.matches.items():
            yield contest(args, game, learner, match, train)


def main() -> None:
    """Every learner of the libraries given, in every game."""
    games = [*MDPS, *BANDITS]
    parser = harness.options(__doc__, ("pairs", "repeats", "seed"))
    parser.set_defaults(repeats=5)
    for name in LIBRARIES:
        parser.add_argument(f"--{name}", metavar="PYTHON", help="an interpreter that has it")
    parser.add_argument("--games", nargs="+", choices=games, default=games)
    parser.add_argument("--seconds", type=float, default=6.0, help="of a round of the others")
    args = harness.parse(parser, games=["pollution", "bandit"], seconds=0.5)
    pythons = {name: vars(args)[name] for name in LIBRARIES if vars(args)[name]}
    if not pythons:
        parser.error("give --rlberry PYTHON or --smpybandits PYTHON, or both")
    px.configure(cpu_devices=1)
    rows, versions = [], {}
    for name, python in pythons.items():
        with contextlib.closing(Worker(python, LIBRARIES[name].worker)) as worker:
            versions[name] = worker.versions
            rows += itertools.chain(*contests(args, worker, LIBRARIES[name]))
    options = {name: value for name, value in vars(args).items() if name not in LIBRARIES}
    harness.report(__doc__.splitlines()[0], rows, options=options, others=versions)


if __name__ == "__main__":
    main()
