"""Elimination of arms with an agent that learns.

Source: Liu and Ratliff, *Principal-Agent Bandit Games with Self-Interested and Exploratory Learning
Agents*, ICML 2025, arXiv:2412.16318. The agent plays the arm whose empirical mean with the transfer
is the largest, and explores with a vanishing probability. So what makes it play an arm moves while
it learns, and an arm that it has long not played it may misjudge for ever.

Phases m = 1, 2, .. keep a set of active arms, at first all, and do in turn (L = log T)

    SAMPLE   each eliminated arm, paid H + 1/T, for Z_m rounds: the agent must not forget it
    SEARCH   for each active arm a transfer y that suffices now, to 2^(-m)
    PLAY     each active arm, paid y + 4 C_m + 1 / Z_m, at most H + 1/T, for T_m rounds
    COMPARE  each active arm, if there are several: post H + mean v(j) on every active j, and on
             this one 3 2^(-m) more; if the agent does not play it, it is eliminated

    T_m = c 4^m L,    C_m = sqrt(L / (2 T_(m-1))),    Z_m = sqrt(T_(m-1) active / eliminated).

COMPARE lets the agent add the two means: it plays the arm with the largest mean u + mean v, so that
the arms which survive are those of welfare, and the principal never learns u. C_m bounds how far a
mean moves that was taken over T_(m-1) rounds. A question of SEARCH or COMPARE is asked for r L
rounds and answered *yes* if the arm was played in more than half: the median of repeated answers,
which tolerates an agent that explores. SEARCH bisects asymmetrically: after a *no* it asks the
upper end, the last offer that worked, again. If that works still, the lower end moves up; if not,
the agent has changed, and the search ends with that upper end.

Taken from the paper, which was known here by its abstract and by accounts of its algorithms: the
four parts of a phase, the asymmetric search, Z_m, C_m up to its logarithm, what PLAY pays, that the
principal's means enter what COMPARE posts, and its 3 2^(-m), and questions repeated some log T
times. Chosen here: T_m, with c = 1/2; r = 1; L for the paper's log(4 A T / delta); what exactly
COMPARE posts; SEARCH to 2^(-m) instead of 1/T, less than the 4 C_m that come on top; phases counted
in rounds, whether the agent complied or not; H for the paper's 1, in a game of H steps. Among own
actions, which the paper does not have, it plays the one with the largest index for the arm (see
`pajax.mechanisms.stateless`), and compares arms by the means of their best ones.

Measured on the default bandit, 20 seeds, against best responses, UCBVI and Q-learning: the last
tenth of K = 1e5 episodes earns 100, 100 and 99.8 % of W*; from K = 3e3 to 1e5 the regret of whole
runs grows like K^0.33, K^0.32 and K^0.35, and the principal's own like K^0.55, K^0.56 and K^0.56.
In the pollution game it earns 87 % of W* (K = 3e4), but 84 % against Q-learning, whose values keep
what SAMPLE and COMPARE once paid later in the episode, and which then takes 8 an episode.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax._pytree import axes, pytree, static
from pajax.mechanisms import stateless
from pajax.mechanisms.own_actions import OwnRewards
from pajax.mechanisms.stateless import Offer, Stateless
from pajax.protocols import Contract, Report, Spec, Stage

SAMPLE, SEARCH, PLAY, COMPARE = range(4)


class Numbers(NamedTuple):
    """What does not change in a run."""

    horizon: Array  # H
    cap: Array  # H + 1/T, enough for any arm, reward units
    log_rounds: Array  # L


class Arms(NamedTuple):
    """What is known of the arms; each [A, ...]."""

    is_active: Array  # bool, in this phase
    is_kept: Array  # bool, for the next one
    transfer: Array  # y, what sufficed when it was searched for last


class Search(NamedTuple):
    """The search under way; each [...]."""

    low: Array
    high: Array
    is_again: Array  # bool: the upper end is being asked again


class State(NamedTuple):
    """Where the principal is, and what it knows."""

    numbers: Numbers
    phase: Array  # [...], m
    step: Array  # int32 [...], A times the part of the phase, plus the arm
    rounds: Array  # [...], of the step, or of the question under way
    hits: Array  # [...], of them those in which the arm was played
    search: Search
    arms: Arms
    seen: OwnRewards
    contract: Contract


@pytree
class EliminationPrincipal(Stateless):
    """Eliminates arms in phases, by what the agent says of them.

    Source: Liu and Ratliff, ICML 2025, arXiv:2412.16318 (see `pajax.mechanisms.elimination`).

    Attributes:
      plays: c, in T_m = c 4^m log T, rounds.
      repeats: r, a question takes r log T rounds.
      safety: what is paid above y, in units of C_m.
      lead: welfare by which an eliminated arm is behind, in units of 2^(-m).
      bonus: scale of the index of an own action.
      adapting_until: share of the K episodes with short stages (see `pajax.protocols.Mechanism`).
    """

    plays: float | Array = axes(low=1e-06, default=0.5)
    repeats: float | Array = axes(low=0.0, default=1.0)
    safety: float | Array = axes(low=0.0, default=4.0)
    lead: float | Array = axes(low=0.0, default=3.0)
    bonus: float | Array = axes(low=0.0, default=0.5**0.5)
    adapting_until: float = static(default=1.0)

    def init(self, spec: Spec) -> State:
        """All arms active, the first search."""
        none, zero = spec.zeros(spec.num_actions), spec.zeros()
        horizon = jnp.asarray(float(spec.horizon))
        is_arm = none == 0.0
        state = State(
            numbers=Numbers(
                horizon=horizon,
                cap=horizon + 1.0 / stateless.num_rounds(spec),
                log_rounds=stateless.log_rounds(spec),
            ),
            phase=zero + 1.0,
            step=jnp.full(spec.lanes, SEARCH * spec.num_actions, jnp.int32),
            rounds=zero,
            hits=zero,
            search=Search(zero, zero + horizon, zero > 0.0),
            arms=Arms(is_arm, is_arm, none + horizon),
            seen=stateless.nothing_seen(spec),
            contract=stateless.no_contract(spec),
        )
        return self._prepare(state)

    def observe(self, state: State, stage: Stage) -> State:
        """Ends a question or a step that is over, and prepares the next one."""
        plays = stateless.plays(stage)
        part, arm = _part_and_arm(state)
        rounds = state.rounds + lanes.total(plays)
        hits = state.hits + lanes.lookup(plays, arm)
        is_over = rounds >= self._rounds_needed(state)
        yes = hits > 0.5 * rounds
        is_answered = is_over & (part == SEARCH)
        search, is_found = _answer(state.search, is_answered, yes, jnp.exp2(-state.phase))
        state = state._replace(
            rounds=jnp.where(is_over, 0.0, rounds),
            hits=jnp.where(is_over, 0.0, hits),
            search=search,
        )
        is_done = is_over & (is_found | (part != SEARCH))
        return self._prepare(_go_on(_conclude(state, is_done, yes), is_done))

    def report(self, state: State) -> Report:
        """What sufficed last; resolved after the first phase; estimating while arms compete."""
        shape = state.contract.transfer.shape
        return Report(
            is_estimating=_number(state.arms.is_active) > 1.0,
            transfer=jnp.broadcast_to(state.arms.transfer, shape),
            is_resolved=jnp.broadcast_to(state.phase > 1.0, shape),
        )

    def _plays(self, state: State, phase: Array) -> Array:
        """T_m."""
        return self.plays * jnp.exp2(2.0 * phase) * state.numbers.log_rounds

    def _samples(self, state: State) -> Array:
        """Z_m."""
        is_active = state.arms.is_active
        share = _number(is_active) / jnp.maximum(_number(~is_active), 1.0)
        return jnp.sqrt(share * self._plays(state, state.phase - 1.0))

    def _drift(self, state: State) -> Array:
        """C_m."""
        return jnp.sqrt(0.5 * state.numbers.log_rounds / self._plays(state, state.phase - 1.0))

    def _rounds_needed(self, state: State) -> Array:
        """Rounds of the step, or of one of its questions, [...]."""
        part, _ = _part_and_arm(state)
        rounds = jnp.where(part == SAMPLE, self._samples(state), self._plays(state, state.phase))
        is_asking = (part == SEARCH) | (part == COMPARE)
        return jnp.where(is_asking, self.repeats * state.numbers.log_rounds, rounds)

    def _prepare(self, state: State) -> State:
        """With the contract of the coming stage."""
        part, arm = _part_and_arm(state)
        paid = jnp.where(part == PLAY, self._raised(state, arm), state.numbers.cap)
        paid = jnp.where(part == SEARCH, _asked(state.search), paid)
        on_arm = stateless.on_action(arm, paid, len(state.arms.transfer))
        log_rounds = state.numbers.log_rounds
        _, own_action = stateless.optimistic(state.seen, self.bonus, log_rounds)
        offer = Offer(
            transfer=jnp.where(part == COMPARE, self._comparison(state, arm), on_arm),
            own_action=lanes.lookup(own_action, arm),
            target=jnp.where((part == SAMPLE) | (part == PLAY), arm, -1),
        )
        return state._replace(contract=stateless.everywhere(offer, state.contract))

    def _raised(self, state: State, arm: Array) -> Array:
        """What is paid for an active arm, [...]."""
        above = lanes.product(jnp.asarray(self.safety, float), self._drift(state))
        raised = lanes.lookup(state.arms.transfer, arm) + above + 1.0 / self._samples(state)
        return jnp.minimum(raised, state.numbers.cap)

    def _comparison(self, state: State, arm: Array) -> Array:
        """What is posted to compare an arm with the other active ones, [A, ...]."""
        mean, _ = stateless.optimistic(state.seen, 0.0, state.numbers.log_rounds)
        ahead = lanes.product(jnp.asarray(self.lead, float), jnp.exp2(-state.phase))
        posted = state.numbers.horizon + mean + stateless.on_action(arm, ahead, len(mean))
        return jnp.where(state.arms.is_active, posted, 0.0)


def _number(is_arm: Array) -> Array:
    """How many arms, [A, ...] -> [...]."""
    return lanes.total(is_arm.astype(float))


def _part_and_arm(state: State) -> tuple[Array, Array]:
    """The part of the phase, SAMPLE .. COMPARE, and the arm: int32 [...] each."""
    num_actions = len(state.arms.transfer)
    return state.step // num_actions, state.step % num_actions


def _asked(search: Search) -> Array:
    """The offer of the question, [...]."""
    return jnp.where(search.is_again, search.high, 0.5 * (search.low + search.high))


def _answer(search: Search, is_answered: Array, yes: Array, width: Array) -> tuple[Search, Array]:
    """The search after a question, and whether it is at its end, bool [...]."""
    middle, is_again = 0.5 * (search.low + search.high), search.is_again
    low = jnp.where(is_answered & is_again & yes, middle, search.low)
    high = jnp.where(is_answered & ~is_again & yes, middle, search.high)
    is_lost = is_again & ~yes
    is_again = jnp.where(is_answered, ~is_again & ~yes, is_again)
    return Search(low, high, is_again), is_answered & (is_lost | (high - low <= width))


def _conclude(state: State, is_done: Array, yes: Array) -> State:
    """What a step that is done says of its arm."""
    (part, arm), arms = _part_and_arm(state), state.arms
    is_arm = lanes.one_hot(arm, len(arms.transfer), 0) & is_done
    search = state.search
    return state._replace(
        arms=arms._replace(
            is_kept=jnp.where(is_arm & (part == COMPARE), yes, arms.is_kept),
            transfer=jnp.where(is_arm & (part == SEARCH), search.high, arms.transfer),
        ),
        search=Search(
            low=jnp.where(is_done, 0.0, search.low),
            high=jnp.where(is_done, state.numbers.horizon, search.high),
            is_again=search.is_again & ~is_done,
        ),
    )


def _go_on(state: State, is_done: Array) -> State:
    """To the next step when one is done, and to the next phase after the last."""
    arms, steps = state.arms, 4 * len(state.arms.transfer)
    is_later = jnp.arange(steps, dtype=jnp.int32).reshape((-1,) + (1,) * state.step.ndim)
    is_later = _steps(arms.is_active) & (is_later > state.step)
    is_over = is_done & ~is_later.any(0)
    # none is kept only if the agent followed no comparison: then nothing was learned
    is_active = jnp.where(is_over & arms.is_kept.any(0), arms.is_kept, arms.is_active)
    following = jnp.where(is_over, _steps(is_active), is_later)
    step, _ = lanes.argmax(following.astype(jnp.int32))
    return state._replace(
        phase=jnp.where(is_over, state.phase + 1.0, state.phase),
        step=jnp.where(is_done, step, state.step),
        arms=arms._replace(
            is_active=is_active, is_kept=jnp.where(is_over, is_active, arms.is_kept)
        ),
    )


def _steps(is_active: Array) -> Array:
    """The steps of a phase, bool [4 A, ...], in their order."""
    is_compared = is_active & (_number(is_active) > 1.0)
    return jnp.concatenate([~is_active, is_active, is_active, is_compared])
