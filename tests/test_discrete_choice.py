"""The logit estimator: likelihood, fit, standard error, up-and-down rule, and what it finds.

Sums of float64 numbers are compared with sums in another order; a tolerance says how many numbers
of which size. `H - h` and the width differ between cells, so that a factor that is missing shows.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import discrete_choice as plain

import pajax as px
from pajax.mechanisms import discrete_choice
from pajax.mechanisms.base import Task
from pajax.mechanisms.discrete_choice import DiscreteChoice, Fit, Memory
from pajax.protocols import Spec, Stage

x64 = pytest.mark.usefixtures("x64")

HORIZON, STATES, ACTIONS, KEPT = 2, 2, 3, 4


def spec_of(lanes, num_actions=ACTIONS, horizon=HORIZON, states=STATES):
    return Spec(states, num_actions, 1, horizon, 1000, lanes)


def task_of(spec, width=0.2, test_visits=40.0, min_visits=6.0):
    number = lambda x: jnp.asarray(x, float)  # noqa: E731
    return Task(
        width=number(width),
        test_visits=number(test_visits),
        min_visits=number(min_visits),
        margin=number(0.0),
        confidence=number(1.0),
        prior=spec.steps_left(),
        is_simultaneous=jnp.asarray(True),
    )


def stage_of(visits):
    words = jnp.zeros((2, *visits.shape[3:]), jnp.uint32)
    return Stage(jnp.asarray(visits, float), jnp.int32(1), words)


def random_memory(rng, lanes, most=30):
    """Offers on a grid over [0, H - h], and plays of any kind; some questions were never asked."""
    places = (HORIZON, STATES, ACTIONS, KEPT)
    offers = rng.uniform(size=(*places, *lanes)) * spec_of(()).steps_left().reshape(-1, 1, 1, 1, 1)
    plays = rng.integers(most, size=(*places, ACTIONS, *lanes))
    plays = plays * (rng.uniform(size=(*places, 1, *lanes)) < 0.8)
    return np.asarray(offers), plays.astype(float)


def record_of(offers, plays, h, s, lane):
    """The questions of one cell, as the oracle takes them."""
    asked = np.ndindex(ACTIONS, KEPT)
    return [(a, offers[h, s, a, m, lane], plays[h, s, a, m, :, lane]) for a, m in asked]


def cells(num_lanes):
    return np.ndindex(HORIZON, STATES, num_lanes)


# The likelihood


@functools.cache
def random_slope(lanes, width):
    """Data and parameters, and what `_slope` says of them; every other lane is a sure chooser's."""
    rng = np.random.default_rng(lanes)
    offers, plays = random_memory(rng, (lanes,))
    utilities = rng.uniform(-1.0, 1.0, size=(HORIZON, STATES, ACTIONS, lanes))
    for h, s, a, m, lane in np.ndindex(*offers.shape[:4], lanes):
        if lane % 2:
            worth = (HORIZON - h) * utilities[h, s, :, lane] + offers[h, s, a, m, lane] * one(a)
            plays[h, s, a, m, :, lane] = 20.0 * one(worth.argmax())
    log_precision = rng.uniform(-1.0, 3.0, size=(HORIZON, STATES, 1, lanes))
    task = task_of(spec_of((lanes,)), width)
    fit = Fit(jnp.asarray(utilities), jnp.asarray(log_precision))
    memory = Memory(jnp.asarray(offers), jnp.asarray(plays))
    slope = jax.device_get(jax.jit(discrete_choice._slope)(fit, memory, task))
    return offers, plays, utilities, log_precision, slope


def one(action, num_actions=ACTIONS):
    return np.eye(num_actions)[action]


def central(function, step=1e-5):
    return (function(step) - function(-step)) / (2.0 * step)


@x64
def test_the_slope_is_minus_the_gradient_of_the_likelihood():
    """By central differences over 2 d, d = 1e-5, in theta / (H - h) and log(beta (H - h)).

    A cell has n < 1100 plays, and its logits a range R < beta (max theta - min theta + x) < 24. The
    third derivative of log p is below R + 3 R^2 / 4 + R^3 / 10 < 2000, so that differences err by
    less than d^2 2000 n / 6 < 4e-5; rounding of 36 terms that sum to n R at most adds 1e-5.
    """
    lanes, width = 8, 1.0  # so that beta is at most 4
    offers, plays, utilities, log_precision, slope = random_slope(lanes, width)
    met = {"below": 0, "at the bound": 0, "turning back": 0}
    for h, s, lane in cells(lanes):
        top, record = float(HORIZON - h), record_of(offers, plays, h, s, lane)
        theta, log = top * utilities[h, s, :, lane], log_precision[h, s, 0, lane]
        beta = min(np.exp(log) / top, 4.0 / width)
        for a in range(ACTIONS):
            unit = one(a) * top
            along = lambda x: plain.log_likelihood(theta + x * unit, beta, record)  # noqa: B023, E731
            np.testing.assert_allclose(slope.utilities[h, s, a, lane], -central(along), 0, 1e-4)
        along = lambda x: plain.log_likelihood(theta, beta * np.exp(x), record)  # noqa: B023, E731
        upward = central(along)
        is_bounded = np.exp(log) / top >= 4.0 / width
        met["at the bound" if is_bounded and upward > 0 else "below"] += 1
        met["turning back"] += is_bounded and upward < 0
        wanted = 0.0 if is_bounded and upward > 0 else -upward
        np.testing.assert_allclose(slope.log_precision[h, s, 0, lane], wanted, 0, 1e-4)
    assert min(met.values()) >= 3


# The fit


def consistent_memory(rng, lanes, draw):
    """Questions at offers around tau*, answered by a logit; utilities and precisions."""
    top = np.arange(HORIZON, 0.0, -1.0)
    theta = rng.uniform(0.0, 0.4, size=(HORIZON, STATES, ACTIONS, lanes)) * top.reshape(-1, 1, 1, 1)
    beta = rng.uniform(6.0, 10.0, size=(HORIZON, STATES, lanes)) / top.reshape(-1, 1, 1)
    offers = np.zeros((HORIZON, STATES, ACTIONS, KEPT, lanes))
    plays = np.zeros((HORIZON, STATES, ACTIONS, KEPT, ACTIONS, lanes))
    for h, s, a, m, lane in np.ndindex(*offers.shape):
        mine = theta[h, s, :, lane]
        x = max(0.0, mine.max() - mine[a] + 0.1 * top[h] * (m - 1.5))
        chances = plain.probabilities(mine, beta[h, s, lane], a, x)
        offers[h, s, a, m, lane], plays[h, s, a, m, :, lane] = x, draw(chances)
    return offers, plays, theta, beta


def fitted(estimator, offers, plays, rounds):
    """tau* and beta, [H, S, A, lanes] and [H, S, lanes], after many steps on the same data."""

    @jax.jit
    def run(memory):
        spec = spec_of(offers.shape[4:])
        task = task_of(spec, width=0.1)
        state = estimator.init(spec, task)._replace(memory=memory)

        def again(_, state):
            fit, optimiser = estimator._fit(state, task)
            return state._replace(fit=fit, optimiser=optimiser)

        return jax.lax.fori_loop(0, rounds, again, state).fit

    fit = jax.device_get(run(Memory(jnp.asarray(offers), jnp.asarray(plays))))
    top = np.arange(HORIZON, 0.0, -1.0).reshape(-1, 1, 1, 1)
    theta = top * fit.utilities
    return theta.max(2, keepdims=True) - theta, np.exp(fit.log_precision[:, :, 0]) / top[:, 0]


EXPECTED, DRAWN = 2, 2  # lanes


@functools.cache
def consistent_data():
    """Lanes with plays in proportion to their probabilities, then lanes with drawn ones."""
    rng = np.random.default_rng(0)
    expected = consistent_memory(rng, EXPECTED, lambda p: 40.0 * np.asarray(p))
    drawn = consistent_memory(rng, DRAWN, lambda p: rng.multinomial(40, p))
    return [np.concatenate(x, -1) for x in zip(expected, drawn, strict=True)]


@functools.cache
def plain_fit():
    """By small plain steps: 3e4 of 5e-5, for information of between 25 and 2e4.

    (That is the spectrum of the likelihood's second derivative at these maxima, but for the level
    of theta, which no step moves: 480 plays a cell, and beta (H - h) between 6 and 10.)
    """
    estimator = DiscreteChoice(optimiser=optax.sgd, learning_rate=5e-5, steps=5)
    offers, plays, _, _ = consistent_data()
    return fitted(estimator, offers, plays, 6000)


@x64
def test_the_fit_finds_a_logit_in_its_expected_plays():
    """Plays in proportion to the probabilities have their likelihood's maximum at the truth."""
    transfer, precision = (x[..., :EXPECTED] for x in plain_fit())
    theta, beta = (x[..., :EXPECTED] for x in consistent_data()[2:])
    # what is left of the beginning is less than e^(-3e4 * 5e-5 * 25) = 1e-16
    np.testing.assert_allclose(transfer, theta.max(2, keepdims=True) - theta, 0, 1e-9)
    np.testing.assert_allclose(precision, beta, 1e-9)


@x64
def test_the_fit_goes_to_the_most_likely_parameters():
    """On drawn plays; the default optimiser, with steps of about 0.01 (H - h), within two."""
    transfer, precision = plain_fit()
    offers, plays, _, _ = consistent_data()
    by_default, _ = fitted(DiscreteChoice(), offers, plays, 1000)
    for h, s, lane in np.ndindex(HORIZON, STATES, DRAWN):
        lane += EXPECTED
        wanted = plain.maximum_likelihood(ACTIONS, record_of(offers, plays, h, s, lane))
        # differences of third order, of a likelihood known to 1e-12: good for about 1e-6
        np.testing.assert_allclose(transfer[h, s, :, lane], wanted[0], 0, 1e-5)
        np.testing.assert_allclose(precision[h, s, lane], wanted[1], 1e-5)
        atol = 0.02 * (HORIZON - h)
        np.testing.assert_allclose(by_default[h, s, :, lane], wanted[0], 0, atol)


# The standard error


@x64
def test_the_interval_is_the_estimate_and_z_standard_errors():
    """With a width so small that the error is what counts, then with one that hides it."""
    lanes, z = 5, 1.5
    offers, plays, utilities, log_precision, _ = random_slope(8, 1.0)
    estimator = DiscreteChoice(confidence=z, memory=KEPT)
    spec = spec_of((8,))

    @jax.jit
    def estimate(memory, fit, repeats, width):
        state = estimator.init(spec, task_of(spec, width))
        stairs = state.stairs._replace(repeats=repeats)
        state = state._replace(memory=memory, fit=fit, stairs=stairs)
        return estimator.estimate(state, task_of(spec, width))

    memory = Memory(jnp.asarray(offers), jnp.asarray(plays))
    fit = Fit(jnp.asarray(utilities), jnp.asarray(log_precision))
    repeats = np.random.default_rng(3).integers(3, 6, size=utilities.shape).astype(float)
    resolved = []
    for width in (1e-3, 1.0, 3.0):
        found = jax.device_get(estimate(memory, fit, jnp.asarray(repeats), width))
        for h, s, lane in cells(lanes):
            top = float(HORIZON - h)
            theta = top * utilities[h, s, :, lane]
            beta = min(np.exp(log_precision[h, s, 0, lane]) / top, 4.0 / width)
            record = record_of(offers, plays, h, s, lane)
            error = plain.standard_errors(theta, beta, record)
            for a, tau in enumerate(np.minimum(theta.max() - theta, top)):
                half = max(width / 2.0, z * error[a])
                wanted = (max(tau - half, 0.0), min(tau + half, top))
                at = (h, s, a, lane)
                # relative rounding of a dozen terms; errors of more than top are cut
                np.testing.assert_allclose((found.low[at], found.high[at]), wanted, 1e-9, 1e-9)
                is_close = half <= width / 2.0 * (1.0 + plain.SLACK)
                assert found.is_resolved[at] == (is_close and repeats[at] >= 4.0)
                resolved.append(bool(found.is_resolved[at]))
    assert 0 < sum(resolved) < len(resolved)


def test_the_error_of_one_question_is_that_of_its_log_odds():
    """sqrt(1 / yes + 1 / no) / beta, as textbooks have it, at the frequencies of the plays."""
    for yes, no, beta in ((5, 15, 2.0), (40, 10, 7.0)):
        odds = np.log(yes / no) / beta
        error = plain.standard_errors([odds, 0.0], beta, [(0, 0.0, [yes, no])])[0]
        np.testing.assert_allclose(error, np.sqrt(1 / yes + 1 / no) / beta, rtol=1e-12)


# The up-and-down rule


STAGES = 120
FIELDS = {
    "by repeats": {"confidence": 0.0, "burn": 0.5, "first_offer": 0.5},
    "by errors": {"confidence": 1.0, "burn": 0.25, "first_offer": 1.5, "max_repeats": 6.0},
}


@functools.partial(jax.jit, static_argnames="spec")
def begin(estimator, spec, task):
    return estimator.init(spec, task)


@jax.jit
def hear(estimator, task, state, stage, is_active):
    """The state after a stage, and what it offers then."""
    state = estimator.observe(state, task, stage, is_active)
    return state, estimator.offers(state)


def scripted_plays(rng, offers, thresholds):
    """Plays of a stage: mostly the action offered for above its threshold, else the others."""
    plays = np.zeros(offers.shape)
    for h, s, lane in np.ndindex(*offers.shape[:2], offers.shape[3]):
        chances = np.full(ACTIONS, 0.2)
        worth = offers[h, s, :, lane] - thresholds[h, s, :, lane]
        chances[worth.argmax()] = 1.0 - 0.2 * (ACTIONS - 1)
        plays[h, s, :, lane] = rng.multinomial(rng.integers(16), chances)
    return plays


@x64
@pytest.mark.parametrize("name", FIELDS)
def test_the_stairs_go_as_plain_loops_say(name):
    """With a fit that stands still, so that the loops know its errors; some cells pause at times.

    Offers and steps are exact up to rounding of a few additions; all else is equal.
    """
    fields = {"repeats": 2.0, "max_repeats": 12.0, "memory": KEPT, **FIELDS[name]}
    estimator = DiscreteChoice(learning_rate=0.0, **fields)
    lanes, numbers = 3, {"width": 0.2, "test_visits": 20.0, "min_visits": 6.0}
    spec = spec_of((lanes,))
    task = task_of(spec, **numbers)
    rng = np.random.default_rng(5)
    thresholds = rng.uniform(-0.2, 1.2, size=(HORIZON, STATES, ACTIONS, lanes))
    loops = {
        at: plain.Stairs(ACTIONS, float(HORIZON - at[0]), numbers, fields) for at in cells(lanes)
    }
    state = begin(estimator, spec, task)
    offers = np.zeros((HORIZON, STATES, ACTIONS, lanes))
    done_after = []
    for i in range(STAGES):
        plays = scripted_plays(rng, offers, thresholds)
        is_active = ~np.asarray(state.is_done) & (rng.uniform(size=state.is_done.shape) < 0.9)
        heard = hear(estimator, task, state, stage_of(plays), jnp.asarray(is_active))
        state, offers = jax.device_get(heard)
        for at, loop in loops.items():
            was_done = loop.is_done
            if is_active[at]:
                loop.hear(list(plays[at[0], at[1], :, at[2]]))
            if i % 10 == 0 or loop.is_done != was_done:  # nothing is forgotten in between
                compare_stairs(state, at, loop)
            done_after += [len(loop.order)] if loop.is_done and not was_done else []
    assert len(done_after) >= 4 and len(set(done_after)) >= 3
    assert max(max(loop.asked) for loop in loops.values()) > KEPT  # the oldest went
    np.testing.assert_array_equal(state.fit.utilities, 0.0)


def compare_stairs(state, at, loop):
    """One cell's stairs, question and memory."""
    of_cell = lambda x: x[(*at[:2], ..., at[2])]  # noqa: E731
    parts = (state.stairs, state.question, state.memory, state.is_done)
    stairs, question, memory, is_done = jax.tree.map(of_cell, parts)
    assert bool(is_done) == loop.is_done
    for name in ("direction", "asked", "repeats"):
        np.testing.assert_array_equal(getattr(stairs, name), getattr(loop, name), err_msg=name)
    np.testing.assert_allclose(stairs.offer, loop.offer, 0, 1e-12)
    np.testing.assert_allclose(stairs.step, loop.step, 0, 1e-12)
    assert int(question.action) == loop.action
    np.testing.assert_array_equal(question.counts, loop.counts)
    assert question.visits == loop.visits
    np.testing.assert_allclose(question.offer, loop.offer[loop.action], 0, 1e-12)
    np.testing.assert_allclose(question.needed, loop.needed, 1e-12)
    for a, m in np.ndindex(ACTIONS, KEPT):
        _, offer, plays = loop.kept[a][m] or (a, 0.0, [0] * ACTIONS)
        np.testing.assert_allclose(memory.offers[a, m], offer, 0, 1e-12)
        np.testing.assert_array_equal(memory.plays[a, m], plays)


# What it finds of choosers who are, and who are not, as the model has them


PAIRS = 200
#: The default rate follows slowly where there is one (h, s): two steps of 0.01 a question.
QUICK = DiscreteChoice(learning_rate=0.05)


class Found(NamedTuple):
    """At one (h, s) of PAIRS lanes, [A, PAIRS] each."""

    transfer: np.ndarray  # the truth
    fitted: np.ndarray
    low: np.ndarray
    high: np.ndarray


def interview(choose, theta, width, test_visits, top=1):
    """Lets choosers of utilities theta [A, PAIRS] answer until every question has been asked.

    `choose` makes the plays of a stage, [A, PAIRS], from the worth of each action.
    """
    spec = spec_of((PAIRS,), horizon=top, states=1)
    task = task_of(spec, width, test_visits, min_visits=20.0)
    state = jax.device_get(begin(QUICK, spec, task))
    offers = np.zeros((top, 1, ACTIONS, PAIRS))
    is_done = np.zeros((top, 1, PAIRS), bool)
    for _ in range(400):
        plays = choose(theta + offers[0, 0])[None, None] * np.ones((top, 1, 1, 1))
        heard = hear(QUICK, task, state, stage_of(plays), jnp.asarray(~is_done))
        state, offers = jax.device_get(heard)
        is_done = state.is_done
        if is_done.all():
            break
    assert is_done.all()
    estimate = jax.device_get(jax.jit(QUICK.estimate)(state, task))
    utilities = top * state.fit.utilities[0, 0]
    return Found(
        transfer=theta.max(0) - theta,
        fitted=utilities.max(0) - utilities,
        low=estimate.low[0, 0],
        high=estimate.high[0, 0],
    )


def logit_chooser(rng, beta, plays=25):
    """Answers as the model says."""

    def choose(worth):
        weights = np.exp(beta * (worth - worth.max(0)))
        return rng.multinomial(plays, (weights / weights.sum(0)).T).T

    return choose


def sure_chooser(worth, plays=25):
    """Plays the best action, always."""
    return plays * (np.arange(ACTIONS)[:, None] == worth.argmax(0))


def test_intervals_hold_what_a_logit_chooser_wants():
    """At z = 2 a normal estimate is covered with probability 0.954; w / 2 can only add to it.

    A share of off-best actions below 0.95 by 3.1 standard deviations, PAIRS taken as independent
    and their actions as dependent as can be, has a chance of 1e-3.
    """
    rng = np.random.default_rng(0)
    theta = rng.uniform(size=(ACTIONS, PAIRS))
    found = interview(logit_chooser(rng, 4.0), theta, width=0.1, test_visits=40.0)
    is_off = found.transfer > 0.0
    is_held = (found.low <= found.transfer) & (found.transfer <= found.high)
    assert is_held[is_off].mean() >= 0.95 - 3.1 * np.sqrt(0.95 * 0.05 / PAIRS)
    assert (found.high - found.low)[is_off].mean() > 0.11  # errors, and not w alone, are at work
    assert (found.high - found.low)[is_off].mean() < 0.5


def test_a_sure_chooser_is_found_within_w():
    """Its answers turn at tau*, and the smallest steps are w / 2; beta is held to 4 / w."""
    theta = np.random.default_rng(1).uniform(size=(ACTIONS, PAIRS))
    found = interview(sure_chooser, theta, width=0.2, test_visits=40.0)
    assert np.abs(found.fitted - found.transfer).max() <= 0.2


def test_an_interval_is_not_inside_out():
    """An action that is never played is worth less than it can be made up for."""
    theta = np.stack([np.ones(PAIRS), np.linspace(-1.0, 0.0, PAIRS), np.zeros(PAIRS)])
    chooser = logit_chooser(np.random.default_rng(2), 10.0)
    found = interview(chooser, theta, width=0.2, test_visits=40.0)
    assert (found.low <= found.high).all()


@pytest.mark.slow
@pytest.mark.parametrize("game", [px.games.bandit, px.games.pollution])
def test_logit_transfers_reach_the_optimum(game):
    """Welfare in the last tenth of 2e4 episodes, of three seeds."""
    game, last = game(), 2000
    keys = jax.random.split(jax.random.key(1), 3)
    sums = px.simulate(
        keys,
        game,
        px.agents.BestResponse(game=game),
        px.mechanisms.LogitTransfers(),
        num_episodes=10 * last,
        record=(9 * last, 10 * last),
    )
    optimum = px.planning.expected(game, px.planning.welfare_values(game))
    share = 1.0 - np.asarray(sums.welfare_regret)[-1] / (last * float(optimum))
    assert (share >= 0.97).all()
