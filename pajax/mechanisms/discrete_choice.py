"""Estimating tau* by maximum likelihood in a model of discrete choice (McFadden, 1974).

At (h, s), offered x on the action a, the agent is taken to play b with probability

    p_b = exp(beta (theta_b + x 1[b = a])) / sum over c of exp(beta (theta_c + x 1[c = a])),

and tau*_b = max over c of theta_c, less theta_b, at most H - h: utilities theta in reward units,
and a precision beta. They are fitted at each (h, s) to the counted plays n of the last questions on
each action,

    maximise  sum over questions and b of n_b log p_b,

by steps of an optimiser, a few whenever some question is finished. Answers that are all consistent
would take beta to infinity; beta is at most 4 / w, so that choices are not told apart more finely
than w.

What is asked follows an up-and-down rule (Dixon and Mood, 1948): the offer on an action falls by a
step after yes and rises after no, and each time the answer turns the step is halved, down to w / 2.
A question takes max(nmin, n (w / (2 step))^2) visits. An action is finished after `repeats`
questions at the smallest step and if then its standard error, from the information

    I = beta^2 sum over its questions of n p (1 - p),

is at most w / (2 z); or after `max_repeats`, when it is left unresolved. [lo, hi] is the estimate
plus or minus the larger of w / 2 and z standard errors. A learner is not the model's agent: plays
are correlated, and the standard error says nothing of what it has not learned.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from pajax import gradients, lanes
from pajax._pytree import axes, pytree, static
from pajax.mechanisms import questions
from pajax.mechanisms.base import Estimate, Task
from pajax.mechanisms.questions import Question
from pajax.mechanisms.two_phase import TwoPhase
from pajax.protocols import Spec, Stage

#: Relative slack in comparisons with a step or a width, for rounding.
SLACK = 1e-4


class Fit(NamedTuple):
    """Parameters of the choices at each (h, s)."""

    utilities: Array  # [H, S, A, ...], theta / (H - h)
    log_precision: Array  # [H, S, 1, ...], log of beta (H - h)


class Memory(NamedTuple):
    """The last M questions on each action."""

    offers: Array  # [H, S, A, M, ...]
    plays: Array  # [H, S, A, M, A, ...], counted


class Stairs(NamedTuple):
    """Where the up-and-down rule stands; each [H, S, A, ...]."""

    offer: Array
    step: Array
    direction: Array  # of the last move: -1, 1, or 0 before the first
    asked: Array  # questions so far
    repeats: Array  # of them at the smallest step


class State(NamedTuple):
    """What is fitted, to what, and what is being asked."""

    fit: Fit
    optimiser: Any
    memory: Memory
    stairs: Stairs
    question: Question
    is_done: Array  # bool [H, S, ...]


@pytree
class DiscreteChoice:
    """An estimator: a logit model of the agent's choices, fitted by optax.

    Source: the model of McFadden (1974), asked by the up-and-down rule of Dixon and Mood (1948);
    see `pajax.mechanisms.discrete_choice`.

    Attributes:
      first_offer: first offer, and first step, reward units.
      burn: share of a question's visits that are not counted.
      confidence: z, standard errors on each side of an estimate.
      repeats: questions at the smallest step before an action may be finished.
      max_repeats: and before it is given up.
      learning_rate: of the optimiser.
      optimiser: a function from a learning rate to an optax optimiser.
      steps: steps of the optimiser after a stage in which a question was finished.
      memory: questions on each action that are kept.
    """

    first_offer: float | Array = axes(low=1e-6, default=0.5)
    burn: float | Array = axes(low=0.0, high=0.9, default=0.5)
    confidence: float | Array = axes(low=0.0, default=2.0)
    repeats: float | Array = axes(low=1.0, default=4.0)
    max_repeats: float | Array = axes(low=1.0, default=12.0)
    learning_rate: float | Array = axes(low=0.0, default=0.01)
    optimiser: gradients.Optimiser = static(default=optax.adam)
    steps: int = static(default=2)
    memory: int = static(default=8)

    def init(self, spec: Spec, task: Task) -> State:
        """Equal utilities, and a question on the first action."""
        horizon, states, actions = spec.horizon, spec.num_states, spec.num_actions
        none = spec.per_action()
        precision = spec.zeros(horizon, states, 1) + jnp.log(4.0)
        fit = Fit(none, precision)
        first = jnp.minimum(none + self.first_offer, 0.5 * task.prior)
        stairs = Stairs(first, jnp.maximum(first, 0.5 * task.width), none, none, none)
        action = spec.per_state(0)
        return State(
            fit=fit,
            optimiser=gradients.start(self.optimiser, self.learning_rate, fit, len(spec.lanes)),
            memory=Memory(
                offers=spec.zeros(horizon, states, actions, self.memory),
                plays=spec.zeros(horizon, states, actions, self.memory, actions),
            ),
            stairs=stairs,
            question=self._question(stairs, action, task),
            is_done=action != 0,
        )

    def offers(self, state: State) -> Array:
        """The question's offer on its action, [H, S, A, ...]."""
        return questions.offers(state.question)

    def observe(self, state: State, task: Task, stage: Stage, is_active: Array) -> State:
        """Goes on with active questions, keeps the finished ones, fits, and asks the next."""
        question, is_finished = questions.hear(state.question, stage, is_active, self.burn)
        state = state._replace(question=question)
        has_news = is_finished.any((0, 1))
        return lanes.when(has_news.any(), self._learn, state, task, is_finished, has_news)

    def is_done(self, state: State) -> Array:
        """Where every action is finished, bool [H, S, ...]."""
        return state.is_done

    def estimate(self, state: State, task: Task) -> Estimate:
        """The interval max theta - theta, give or take the larger of w / 2 and z errors."""
        utilities = task.prior * state.fit.utilities
        transfer = lanes.maximum(utilities, 2)[:, :, None] - utilities
        transfer = jnp.minimum(transfer, task.prior)
        half = self._half_width(state, task)
        is_resolved = (state.stairs.repeats >= self.repeats) & _is_close(half, task)
        return Estimate(
            transfer=transfer,
            low=jnp.maximum(transfer - half, 0.0),
            high=jnp.minimum(transfer + half, task.prior),
            is_resolved=is_resolved,
        )

    def _learn(self, state: State, task: Task, is_finished: Array, has_news: Array) -> State:
        """After finished questions; lanes in which none is stand still."""
        memory = _remember(state, is_finished)
        stairs = _climb(state, task, is_finished)
        moved = state._replace(memory=memory, stairs=stairs)
        fit, optimiser = self._fit(moved, task)
        moved = moved._replace(
            fit=lanes.where_lane(has_news, fit, state.fit),
            optimiser=lanes.where_lane(has_news, optimiser, state.optimiser),
        )
        is_open = self._is_open(moved, task)
        # the coarsest first
        action, _ = lanes.argmax(jnp.where(is_open, stairs.step, -1.0), 2)
        following = self._question(stairs, action, task)
        return moved._replace(
            question=questions.where_finished(is_finished, following, state.question),
            is_done=jnp.where(is_finished, ~is_open.any(2), state.is_done),
        )

    def _question(self, stairs: Stairs, action: Array, task: Task) -> Question:
        offer, step = (lanes.lookup(x, action, 2) for x in (stairs.offer, stairs.step))
        ratio = task.width / (2.0 * step)
        needed = jnp.maximum(task.min_visits, task.test_visits * ratio * ratio)
        return questions.ask(action, offer, needed, stairs.offer.shape[2])

    def _is_open(self, state: State, task: Task) -> Array:
        """Actions that are not finished, bool [H, S, A, ...]."""
        is_close = _is_close(self._half_width(state, task), task)
        repeats = state.stairs.repeats
        return (repeats < self.repeats) | (~is_close & (repeats < self.max_repeats))

    def _half_width(self, state: State, task: Task) -> Array:
        """The larger of w / 2 and z standard errors, [H, S, A, ...]."""
        chosen, precision = _probabilities(state.fit, state.memory, task)
        own = jnp.stack([chosen[:, :, a, :, a] for a in range(chosen.shape[2])], axis=2)
        counted = lanes.total(state.memory.plays, 4)
        spread = lanes.total(lanes.product(counted, lanes.product(own, 1.0 - own)), 3)
        information = lanes.product(lanes.product(precision, precision), spread)
        error = self.confidence / jnp.sqrt(jnp.maximum(information, 1e-12))
        return jnp.maximum(0.5 * task.width, error)

    def _fit(self, state: State, task: Task) -> tuple[Fit, Any]:
        """The parameters after `steps` steps up the likelihood."""
        fit, optimiser = state.fit, state.optimiser
        num_lane_axes = state.is_done.ndim - 2
        for _ in range(self.steps):
            slope = _slope(fit, state.memory, task)
            fit, optimiser = gradients.descend(
                self.optimiser, self.learning_rate, slope, optimiser, fit, num_lane_axes
            )
        return fit, optimiser


def _is_close(half: Array, task: Task) -> Array:
    return half <= 0.5 * task.width * (1.0 + SLACK)


def _remember(state: State, is_finished: Array) -> Memory:
    """With the finished questions, each in place of the oldest on its action."""
    question, (offers, plays) = state.question, state.memory
    num_actions, size = offers.shape[2:4]
    is_asked = lanes.one_hot(question.action, num_actions, 2) & is_finished[:, :, None]
    oldest = jnp.mod(state.stairs.asked, float(size)).astype(jnp.int32)
    here = is_asked[:, :, :, None] & lanes.one_hot(oldest, size, 3)
    return Memory(
        offers=jnp.where(here, question.offer[:, :, None, None], offers),
        plays=jnp.where(here[:, :, :, :, None], question.counts[:, :, None, None], plays),
    )


def _climb(state: State, task: Task, is_finished: Array) -> Stairs:
    """A step down after yes and up after no; half as large where the answer turned."""
    question, stairs = state.question, state.stairs
    smallest = 0.5 * task.width
    is_asked = lanes.one_hot(question.action, stairs.offer.shape[2], 2) & is_finished[:, :, None]
    yes = (questions.plurality(question) == question.action)[:, :, None]
    direction = jnp.where(yes, -1.0, 1.0)
    is_smallest = stairs.step <= smallest * (1.0 + SLACK)
    # at an end of [0, H - h] there is nowhere to go: as if the answer had turned
    is_end = jnp.where(yes, stairs.offer <= 0.0, stairs.offer >= task.prior)
    has_turned = (lanes.product(direction, stairs.direction) < 0.0) | is_end
    step = jnp.where(has_turned, jnp.maximum(0.5 * stairs.step, smallest), stairs.step)
    offer = jnp.clip(stairs.offer + lanes.product(direction, step), 0.0, task.prior)
    moved = Stairs(
        offer=offer,
        step=step,
        direction=direction + jnp.zeros_like(step),
        asked=stairs.asked + 1.0,
        repeats=stairs.repeats + is_smallest.astype(step.dtype),
    )
    return lanes.where_lane(is_asked, moved, stairs)


def _probabilities(fit: Fit, memory: Memory, task: Task) -> tuple[Array, Array]:
    """p_b of each question, [H, S, A, M, A, ...], and beta, [H, S, 1, ...]."""
    precision = jnp.minimum(jnp.exp(fit.log_precision) / task.prior, 4.0 / task.width)
    utilities = (task.prior * fit.utilities)[:, :, None, None]
    logits = lanes.product(precision[:, :, :, None, None], utilities + _raised(memory))
    weights = jnp.exp(logits - lanes.maximum(logits, 4)[:, :, :, :, None])
    return weights / lanes.total(weights, 4)[:, :, :, :, None], precision


def _raised(memory: Memory) -> Array:
    """The offer x 1[b = a] of each question, [H, S, A, M, A, ...]."""
    num_actions = memory.offers.shape[2]
    actions = jnp.arange(num_actions)
    is_own = (actions[:, None] == actions).reshape(
        (num_actions, 1, num_actions) + (1,) * (memory.offers.ndim - 4)
    )
    return jnp.where(is_own, memory.offers[:, :, :, :, None], 0.0)


def _slope(fit: Fit, memory: Memory, task: Task) -> Fit:
    """The gradient of minus the log-likelihood.

    With r_b = n_b - n p_b it is -beta sum r_b in theta_b, and -beta sum r_b (theta_b + x 1[b = a])
    in log beta, nothing where beta is at its bound and would grow.
    """
    chosen, precision = _probabilities(fit, memory, task)
    counted = lanes.total(memory.plays, 4)[:, :, :, :, None]
    excess = memory.plays - lanes.product(counted, chosen)
    utilities = (task.prior * fit.utilities)[:, :, None, None]
    gain = lanes.product(excess, utilities + _raised(memory))
    by_action = lanes.total(lanes.total(excess, 3), 2)
    by_precision = lanes.total(lanes.total(lanes.total(gain, 4), 3), 2)[:, :, None]
    scale = lanes.product(precision, task.prior)
    upward = lanes.product(precision, by_precision)
    is_bounded = (jnp.exp(fit.log_precision) / task.prior >= 4.0 / task.width) & (upward > 0.0)
    return Fit(
        utilities=-lanes.product(scale, by_action),
        log_precision=-jnp.where(is_bounded, 0.0, upward),
    )


@pytree
class LogitTransfers(TwoPhase):
    """Two phases, the first by maximum likelihood in a model of discrete choice.

    Attributes:
      estimator: a `DiscreteChoice`; the other fields are those of `TwoPhase`.
    """

    estimator: Any = axes(default_factory=DiscreteChoice)
