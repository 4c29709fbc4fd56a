"""What does the full two-phase mechanism cost, and which part costs it?

The first table: agents under a fixed contract and under the mechanism, all in turns. A fixed
contract has longer stages, so agents that plan when a stage begins plan less often under it.

The second: the share of a two-phase run that goes when a part is replaced by next to nothing,

    mechanism       a fixed contract, in the mechanism's stages; it does not change, so that pricing
                    it anew for the record goes, too
    planning        no backward induction, in the mechanism, the agent or the record
    learner         plays action 0, learns nothing
    random words    a few multiplications instead of threefry
    recording       no contract is priced, nothing is summed up

Shares need not add up to one: some work is in two parts, and the host's is in none. On one device;
K about 1e4 by default, on which shares depend, since stages grow with time. A quarter of an hour.
"""

from collections.abc import Callable
from typing import Any

import harness
import jax.numpy as jnp
import numpy as np
import subject
from jax import Array
from workload import SIZES, Workload

import pajax as px
from pajax import draws, lanes, ledger, model, planning
from pajax.planning import Values


@px.pytree
class Staged(px.mechanisms.FixedTransfers):
    """A fixed contract that asks for the stages of the two-phase mechanism."""

    adapting_until = px.mechanisms.TwoPhase.adapting_until


@px.pytree
class Inert:
    """An agent that plays action 0 and learns nothing."""

    num_words = 0

    def init(self, spec: px.Spec) -> tuple:
        """Nothing."""
        return ()

    def begin(self, state: tuple, contract: px.Contract) -> tuple:
        """Nothing."""
        return state

    def act(self, state: tuple, h: Array, s: Array, words: Array) -> tuple[Array, None]:
        """Action 0."""
        return jnp.zeros_like(s), None

    def update(self, state: tuple, episode: px.Episode, memo: None) -> tuple:
        """Nothing."""
        return state


def cheap_words(key: tuple[Array, Array], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Words in place of threefry's: random enough that runs go on as they would."""
    mixed = (counter[0] * jnp.uint32(0x9E3779B1) + counter[1]) * jnp.uint32(0x85EBCA77) ^ key[0]
    mixed = (mixed ^ (mixed >> jnp.uint32(15))) * jnp.uint32(0xC2B2AE3D)
    return mixed, (mixed ^ key[1]) * jnp.uint32(0x27D4EB2F)


def myopic_values(game: px.Game, transfer: Array | None = None) -> Values:
    """In place of `planning.agent_values`: the reward of this step only."""
    reward = game.agent_reward if transfer is None else game.agent_reward + transfer
    return _without_future(jnp.broadcast_to(reward, (game.horizon, *reward.shape[1:])))


def myopic_plan(seen: model.Model, mean_rewards: Array, bonus: Array, bound: Array) -> Values:
    """In place of `model.optimistic_plan`: the same without successors."""
    return _without_future(jnp.minimum(bound, mean_rewards + bonus))


def _without_future(rewards: Array) -> Values:
    steps, states = rewards.shape[:2]
    return Values(jnp.zeros((steps + 1, states, *rewards.shape[3:])), rewards)


def no_prices(game: px.Game, oracle: Any, contract: px.Contract) -> Any:
    """Only the payments, which agents get."""
    payment = lanes.flat(contract.transfer)
    none = jnp.zeros_like(payment)
    return ledger.Prices(none, none, payment, none)


def no_sums(prices: Any, seen: Any, is_estimating: Array, length: Array) -> px.Record:
    """A record of zeros."""
    zero = jnp.zeros_like(seen.agent_rewards)
    return px.Record(*(zero for _ in px.Record._fields))


def no_error(oracle: Any, report: px.Report) -> tuple[Array, Array]:
    """Zeros."""
    zero = jnp.zeros(report.is_estimating.shape)
    return zero, zero


REPLACEMENTS = {
    "mechanism": [],
    "planning": [
        (planning, "agent_values", myopic_values),
        (model, "optimistic_plan", myopic_plan),
    ],
    "learner": [],
    "random words": [(draws, "threefry2x32", cheap_words)],
    "recording": [
        (ledger, "price", no_prices),
        (ledger, "settle", no_sums),
        (ledger, "transfer_error", no_error),
    ],
}


def run_without(workload: Workload, learner: str, part: str) -> Callable[[], Any]:
    """A two-phase run of which a part costs next to nothing."""
    agent = Inert() if part == "learner" else subject.learner(workload, learner)
    mechanism = px.mechanisms.TwoPhase()
    if part == "mechanism":
        fixed = subject.mechanism_of(workload, "fixed")
        mechanism = Staged(
            transfer=fixed.transfer, target=fixed.target, own_action=fixed.own_action
        )
    return subject.without(subject.cell(workload, agent, mechanism), REPLACEMENTS[part])


def costs(workload: Workload, learners: list[str], repeats: int) -> list[dict[str, Any]]:
    """A row for each agent: its speed under both mechanisms."""
    runs = {(x, y): _contestant(workload, x, y) for x in learners for y in subject.MECHANISMS}
    harness.interleave(runs, repeats)
    first = runs[learners[0], "two-phase"]
    return [
        {
            "learner": name,
            "episodes": workload.num_episodes,
            "fixed M/s": float(np.median(runs[name, "fixed"].speeds)),
            "two-phase M/s": float(np.median(runs[name, "two-phase"].speeds)),
            **_to(runs[name, "two-phase"], runs[name, "fixed"], "fixed"),
            **_to(runs[name, "two-phase"], first, learners[0]),
        }
        for name in learners
    ]


def _contestant(workload: Workload, learner: str, mechanism: str) -> harness.Contestant:
    parts = subject.learner(workload, learner), subject.mechanism_of(workload, mechanism)
    return harness.Contestant(subject.cell(workload, *parts), workload)


def _to(run: harness.Contestant, other: harness.Contestant, name: str) -> dict[str, float]:
    """The ratio of speeds, with its least and largest value."""
    ratio, low, high, _ = harness.compare(run.speeds, other.speeds)
    return {f"to {name}": ratio, f"low to {name}": low, f"high to {name}": high}


def shares(workload: Workload, learner: str, repeats: int) -> list[dict[str, Any]]:
    """A row for each part of a two-phase run of this agent."""
    runs = {"whole": _contestant(workload, learner, "two-phase")}
    for part in REPLACEMENTS:
        runs[part] = harness.Contestant(run_without(workload, learner, part), workload)
    harness.interleave(runs, repeats)
    rows = []
    for part in REPLACEMENTS:
        kept, low, high, _ = harness.compare(runs["whole"].speeds, runs[part].speeds)
        share = {"share": 1.0 - kept, "low": 1.0 - high, "high": 1.0 - low}
        rows.append({"learner": learner, "part": part, **share})
    return rows


def main() -> None:
    """Both tables."""
    parser = harness.options(__doc__)
    parser.set_defaults(pairs=256, steps=2.5e7, repeats=5)
    parser.add_argument("--size", choices=SIZES, default="mid")
    names = subject.LEARNERS
    parser.add_argument("--learners", nargs="+", choices=names, default=list(names))
    args = harness.parse(parser, learners=["q-learning"])
    px.configure(cpu_devices=1)
    workload = harness.workload_of(args, args.size, args.pairs, args.steps)
    rows = costs(workload, args.learners, args.repeats)
    harness.report("What does the two-phase mechanism cost?", rows, options=vars(args))
    rows = [row for name in args.learners for row in shares(workload, name, args.repeats)]
    harness.report("What share of a two-phase run goes with a part?", rows, options=vars(args))


if __name__ == "__main__":
    main()
