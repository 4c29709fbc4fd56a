"""Questions to the agent: which visits are counted, when a question is over, and its answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pajax.mechanisms import questions
from pajax.protocols import Stage

SHAPE, LANES = (2, 3, 3), (2,)  # H, S, A
NEEDED = 12.0


class PlainQuestion:
    """One question at one (h, s) of one pair, by the words of the module."""

    def __init__(self, num_actions):
        self.counts = [0] * num_actions
        self.visits = 0

    def hear(self, plays, burn):
        """Whether it is over after a stage with these plays."""
        if self.visits >= burn * NEEDED:
            self.counts = [x + y for x, y in zip(self.counts, plays, strict=True)]
        self.visits += sum(plays)
        return sum(self.counts) >= (1.0 - burn) * NEEDED


def stage_of(visits):
    return Stage(jnp.asarray(visits, float), jnp.int32(1), jnp.zeros((2, *LANES), jnp.uint32))


def fresh():
    places = (*SHAPE[:2], *LANES)
    action = jnp.asarray(np.random.default_rng(1).integers(3, size=places), jnp.int32)
    return questions.ask(action, jnp.full(places, 0.5), jnp.full(places, NEEDED), SHAPE[2])


@pytest.mark.parametrize("burn", [0.0, 0.5, 0.75])  # burn * 12 is a whole number, met at times
def test_a_share_of_the_visits_is_not_counted(burn):
    rng = np.random.default_rng(0)
    hear = jax.jit(questions.hear)
    question, plain = fresh(), {}
    finished_ever, met = 0, 0
    for _ in range(12):
        plays = rng.integers(3, size=(*SHAPE, *LANES))
        is_active = rng.uniform(size=(*SHAPE[:2], *LANES)) < 0.8
        heard = hear(question, stage_of(plays), jnp.asarray(is_active), burn)
        question, is_finished = jax.device_get(heard)
        for h, s, lane in np.ndindex(*SHAPE[:2], *LANES):
            mine = plain.setdefault((h, s, lane), PlainQuestion(SHAPE[2]))
            met += mine.visits == burn * NEEDED
            over = is_active[h, s, lane] and mine.hear(list(plays[h, s, :, lane]), burn)
            assert bool(is_finished[h, s, lane]) == over
            assert question.visits[h, s, lane] == mine.visits
            np.testing.assert_array_equal(question.counts[h, s, :, lane], mine.counts)
            finished_ever += over
    assert finished_ever > 0 and met > 0


@pytest.mark.parametrize(
    ("counts", "answer"),
    [((0, 0, 0), 0), ((2, 5, 5), 1), ((5, 2, 5), 0), ((1, 2, 3), 2), ((4, 4, 3), 0)],
)
def test_a_tie_goes_to_the_lowest_action(counts, answer):
    table = np.broadcast_to(np.asarray(counts)[:, None], (*SHAPE, *LANES))
    found = questions.plurality(fresh()._replace(counts=jnp.asarray(table, float)))
    np.testing.assert_array_equal(found, answer)


def test_a_question_is_asked_by_an_offer_on_its_action():
    question = fresh()
    offers, action = np.asarray(questions.offers(question)), np.asarray(question.action)
    for h, s, a, lane in np.ndindex(*SHAPE, *LANES):
        wanted = 0.5 if action[h, s, lane] == a else 0.0
        assert offers[h, s, a, lane] == wanted


def test_the_next_question_comes_where_one_is_over():
    old = fresh()._replace(counts=jnp.ones((*SHAPE, *LANES)), visits=jnp.ones((2, 3, 2)))
    new = questions.ask(old.action * 0, old.offer * 0.5, old.needed * 2.0, SHAPE[2])
    is_over = jnp.asarray(np.random.default_rng(2).uniform(size=(2, 3, 2)) < 0.5)
    found = questions.where_finished(is_over, new, old)
    found, new, old, is_over = jax.device_get((found, new, old, is_over))
    for h, s, lane in np.ndindex(*SHAPE[:2], *LANES):
        source = new if is_over[h, s, lane] else old
        for x, y in zip(found[:-1], source[:-1], strict=True):
            assert x[h, s, lane] == y[h, s, lane]
        np.testing.assert_array_equal(found.counts[h, s, :, lane], source.counts[h, s, :, lane])
