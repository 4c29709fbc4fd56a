"""Bisection for each action's transfer, then a bandit: what `Belgic` and `IPA` have in common.

The actions are searched one after the other. About action a, low = 0 and high = H at first, which
bounds tau* (T2). A question offers the middle x of [low, high] on a, and nothing else, until enough
rounds are over. If a was played in more than a share `threshold` of them, then

    high = x + inflation,    else    low = x - inflation.

After the last question tau_hat[a] = high + margin. When all are found, a bandit chooses arms on the
shifted rewards v(a, b) - tau_hat[a] (see `pajax.mechanisms.stateless`), and the principal posts
tau_hat[a] on the arm and nothing elsewhere. While it searches, it plays the own action that it
tried least, so that the bandit starts with what was seen.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax.mechanisms import stateless
from pajax.mechanisms.own_actions import OwnRewards
from pajax.mechanisms.stateless import Offer, Stateless
from pajax.protocols import Contract, Report, Spec, Stage


class Search(NamedTuple):
    """How an action's transfer is searched for; numbers."""

    rounds: Array  # of a question, at least
    questions: Array  # about an action
    threshold: Array  # share of the rounds
    inflation: Array  # reward units
    margin: Array  # reward units


class State(NamedTuple):
    """What was found, and what the bandit has seen."""

    search: Search
    log_rounds: Array
    low: Array  # [A, ...]
    high: Array  # [A, ...]
    action: Array  # int32 [...], searched for now; A when all are found
    answers: Array  # [...], about it
    rounds: Array  # [...], of the question under way
    hits: Array  # [...], of them those in which the action was played
    seen: OwnRewards
    contract: Contract


class SearchThenBandit(Stateless):
    """The methods of such a mechanism; `bonus` is the scale of the index."""

    bonus: Any

    def search(self, spec: Spec) -> Search:
        """How it searches.

        Args:
          spec: the sizes of the game and of the run.
        """
        raise NotImplementedError

    def init(self, spec: Spec) -> State:
        """Nothing found; the first question."""
        none, zero = spec.zeros(spec.num_actions), spec.zeros()
        state = State(
            search=self.search(spec),
            log_rounds=stateless.log_rounds(spec),
            low=none,
            high=none + float(spec.horizon),
            action=jnp.zeros(spec.lanes, jnp.int32),
            answers=zero,
            rounds=zero,
            hits=zero,
            seen=stateless.nothing_seen(spec),
            contract=stateless.no_contract(spec),
        )
        return self._prepare(state)

    def observe(self, state: State, stage: Stage) -> State:
        """Answers a question that is over, and prepares the next one, or an arm."""
        plays = stateless.plays(stage)
        asked = stateless.on_action(state.action, plays, len(plays))
        counted = state._replace(
            rounds=state.rounds + lanes.total(plays), hits=state.hits + lanes.total(asked)
        )
        return self._prepare(_answer(counted))

    def report(self, state: State) -> Report:
        """The middles of the intervals; resolved where the search is over."""
        shape = state.contract.transfer.shape
        actions = jnp.arange(len(state.low), dtype=jnp.int32)
        is_found = actions.reshape((-1,) + (1,) * state.action.ndim) < state.action
        return Report(
            is_estimating=_is_searching(state),
            transfer=jnp.broadcast_to(_middle(state), shape),
            is_resolved=jnp.broadcast_to(is_found, shape),
        )

    def _prepare(self, state: State) -> State:
        """With the contract of the coming stage."""
        is_searching, num_actions = _is_searching(state), len(state.low)
        question = stateless.on_action(state.action, _middle(state), num_actions)
        value, own_action = stateless.optimistic(state.seen, self.bonus, state.log_rounds)
        tau_hat = state.high + state.search.margin
        arm, _ = lanes.argmax(value - tau_hat)
        paid = stateless.on_action(arm, tau_hat, num_actions)
        tried = stateless.least_tried(state.seen)
        offer = Offer(
            transfer=jnp.where(is_searching, question, paid),
            own_action=jnp.where(is_searching, tried, lanes.lookup(own_action, arm)),
            target=jnp.where(is_searching, -1, arm),
        )
        return state._replace(contract=stateless.everywhere(offer, state.contract))


def _is_searching(state: State) -> Array:
    return state.action < len(state.low)


def _middle(state: State) -> Array:
    return 0.5 * (state.low + state.high)


def _answer(state: State) -> State:
    """If the question is over, moves an end, and goes on to the next question or action."""
    search, num_actions = state.search, len(state.low)
    is_over = state.rounds >= search.rounds
    yes = state.hits > search.threshold * state.rounds
    is_answered = lanes.one_hot(state.action, num_actions, 0) & is_over
    answers = jnp.where(is_over, state.answers + 1.0, state.answers)
    is_found = answers >= search.questions
    return state._replace(
        low=jnp.where(is_answered & ~yes, _middle(state) - search.inflation, state.low),
        high=jnp.where(is_answered & yes, _middle(state) + search.inflation, state.high),
        action=jnp.where(is_found, jnp.minimum(state.action + 1, num_actions), state.action),
        answers=jnp.where(is_found, 0.0, answers),
        rounds=jnp.where(is_over, 0.0, state.rounds),
        hits=jnp.where(is_over, 0.0, state.hits),
    )
