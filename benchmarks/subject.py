"""pajax on a benchmark's workload, through the interface that its users have.

What looks inside a study is here, too: clocks of its compiled blocks and of its compilation, and
studies of which a part is replaced.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable
from typing import Any
from unittest import mock

import jax
import numpy as np
from baselines import BONUS, EPSILON
from workload import Curves, Workload, as_game, as_mechanism

import pajax as px
from pajax.studies import batch

#: The learners that the baselines have, too.
AGENTS = {
    "q-learning": px.agents.QLearning(epsilon=EPSILON),
    "ucb-q": px.agents.UCBQ(bonus=BONUS),
}
#: All of pajax's; see `learner`.
LEARNERS = ("q-learning", "ucb-q", "ucbvi", "best-response")
MECHANISMS = ("fixed", "two-phase")


def learner(workload: Workload, name: str) -> Any:
    """An agent as pajax has it by default, one of `LEARNERS`."""
    if name == "best-response":
        return px.agents.BestResponse(game=as_game(workload))
    makers = {"q-learning": px.agents.QLearning, "ucb-q": px.agents.UCBQ, "ucbvi": px.agents.UCBVI}
    return makers[name]()


def mechanism_of(workload: Workload, name: str) -> Any:
    """One of `MECHANISMS`: the workload's contract, or the two-phase mechanism."""
    return as_mechanism(workload) if name == "fixed" else px.mechanisms.TwoPhase()


def study(
    workload: Workload, algorithm: str, seed: int = 0, devices: Any = None
) -> Callable[[], Curves]:
    """A function that runs what the baselines run: their learner under the workload's contract."""
    return cell(workload, AGENTS[algorithm], as_mechanism(workload), seed, devices)


def cell(
    workload: Workload, agent: Any, mechanism: Any, seed: int = 0, devices: Any = None
) -> Callable[[], Curves]:
    """A function that runs the workload by `px.study`; game and contract are made beforehand."""
    game = as_game(workload)

    def run() -> Curves:
        dataset = px.study(
            jax.random.key(seed),
            game,
            agents={"agent": agent},
            mechanisms={"mechanism": mechanism},
            num_episodes=workload.num_episodes,
            num_seeds=workload.num_seeds,
            record=workload.checkpoints,
            devices=devices,
            progress=False,
        )
        return _curves(dataset, workload)

    return run


def _curves(dataset: Any, workload: Workload) -> Curves:
    """The variables that the baselines return, too; the study has one agent and one mechanism."""
    welfare = dataset.episode * dataset.optimal_welfare - dataset.realised_regret
    shape = (workload.num_pairs, len(workload.checkpoints))
    found = (dataset.welfare_regret, dataset.payment, welfare)
    return Curves(*(np.asarray(x.transpose("game", ..., "episode")).reshape(shape) for x in found))


class Clocked:
    """A study that remembers how long its compiled blocks took, and how long JAX compiled.

    The rest of a call is the host's: it prepares the game, copies, adds up, makes the dataset.
    """

    def __init__(
        self, run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._run, self._clock = run, clock
        self._seconds: list[float] = []
        self._compiling: list[float] = []

    def __call__(self) -> Any:
        """Run once."""
        self._seconds.append(0.0)
        timed = (batch, "_advance", self._timed(batch._advance))
        with CompileClock() as clock, replaced(timed):
            result = self._run()
        self._compiling.append(clock.seconds())
        return result

    @property
    def seconds(self) -> np.ndarray:
        """Of the blocks, in each round; the warm-up is left out."""
        return np.array(self._seconds[1:])

    @property
    def compile_seconds(self) -> float:
        """Of the warm-up."""
        return self._compiling[0]

    def speeds(self, num_steps: int) -> np.ndarray:
        """Million steps a second of the blocks, in each round."""
        return num_steps / self.seconds / 1e6

    def _timed(self, advance: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._clock()
            result = jax.block_until_ready(advance(*args, **kwargs))
            self._seconds[-1] += self._clock() - start
            return result

        return timed


def replaced(*replacements: tuple[Any, str, Any]) -> contextlib.ExitStack:
    """A context in which attributes (module, name) are something else."""
    with contextlib.ExitStack() as stack:
        for module, name, stand_in in replacements:
            stack.enter_context(mock.patch.object(module, name, stand_in))
        return stack.pop_all()


def without(
    run: Callable[[], Any], replacements: Iterable[tuple[Any, str, Any]]
) -> Callable[[], Any]:
    """`run`, clocked or not, with functions of pajax replaced, in a program of its own."""
    advance = (batch, "_advance", _another(batch._advance.__wrapped__))

    def altered() -> Any:
        with replaced(*replacements, advance):
            return run()

    return altered


def _another(advance: Any) -> Any:
    """`pajax.studies.batch._advance`, jitted as there; its trace is not shared with the other's."""

    @functools.partial(jax.jit, static_argnames="mesh", donate_argnames="state")
    @functools.wraps(advance)
    def another(*args: Any, **kwargs: Any) -> Any:
        return advance(*args, **kwargs)

    return another


class CompileClock:
    """A context that measures what JAX says of tracing, lowering and compiling within it.

    Events of one stage may lie inside one another; what counts is the time that any covers.
    """

    STAGES = {  # noqa: RUF012, as JAX calls them
        "trace": "/jax/core/compile/jaxpr_trace_duration",
        "lower": "/jax/core/compile/jaxpr_to_mlir_module_duration",
        "compile": "/jax/core/compile/backend_compile_duration",
    }

    def __enter__(self) -> "CompileClock":
        self._spans: list[tuple[str, float, float]] = []
        _open_clocks.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _open_clocks.remove(self)

    def hear(self, event: str, duration: float) -> None:
        """Take note of an event that has just ended."""
        now = time.perf_counter()
        self._spans.append((event, now - duration, now))

    @property
    def programs(self) -> int:
        """Compiled so far."""
        return sum(event == self.STAGES["compile"] for event, *_ in self._spans)

    def seconds(self, *stages: str) -> float:
        """Time covered by these stages, by default by any of them."""
        events = {self.STAGES[stage] for stage in stages or self.STAGES}
        covered, until = 0.0, 0.0
        spans = ((start, end) for event, start, end in self._spans if event in events)
        for start, end in sorted(spans):
            covered += max(0.0, end - max(start, until))
            until = max(until, end)
        return covered


_open_clocks: list[CompileClock] = []


def _tell(event: str, duration: float, **_: Any) -> None:
    for clock in _open_clocks:
        clock.hear(event, duration)


jax.monitoring.register_event_duration_secs_listener(_tell)
