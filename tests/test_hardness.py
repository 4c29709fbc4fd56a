"""pajax.hardness against plain loops, on games with known figures, and as printed."""

import functools

import jax
import numpy as np
import pytest
from exact_batches import SHAPES, oracle_games, to_pajax
from oracles import exact
from oracles.exact import NumpyGame, Shape, rounding

import pajax as px
from pajax.hardness import Hardness, hardness

pytestmark = pytest.mark.usefixtures("x64")


# Oracle

OFTEN = 0.01  # what the welfare optimum visits more rarely does not matter


def reachable(game: NumpyGame) -> np.ndarray:
    """Where some policy may be, [H, S]."""
    reached = np.zeros(game.shape[:2], dtype=bool)
    reached[0] = game.initial > 0.0
    for h, s, a in reversed(list(game.cells)):
        if h + 1 < game.horizon and reached[h, s]:
            reached[h + 1] |= exact.at_step(game.transition, h)[s, a] > 0.0
    return reached


def smallest(game: NumpyGame, gaps: np.ndarray, largest_reward: float) -> float:
    """The smallest positive gap that can be met."""
    steps = game.horizon * (game.horizon + 1) / 2
    zero = largest_reward * steps * (game.num_states + 3) * exact.EPSILON
    reached = reachable(game)
    met = [gaps[cell] for cell in game.cells if reached[cell[:2]]]
    # In these games an action ties, up to rounding, or it does not tie at all.
    assert not [gap for gap in met if zero < gap < 1e-9]
    return min((gap for gap in met if gap > zero), default=np.inf)


def optimum(game: NumpyGame) -> np.ndarray:
    """The welfare-optimal policy, [H, S]."""
    return exact.greedy(exact.backward_induction(game, exact.welfare_rewards(game))[1])


def report(game: NumpyGame) -> Hardness:
    values, q_values = exact.backward_induction(game, exact.welfare_rewards(game))
    best, free = exact.optimal_welfare(game), exact.best_response_welfare(game)
    visited = exact.occupancy(game, optimum(game))
    alone = exact.occupancy(game, exact.best_response(game))
    return Hardness(
        optimal_welfare=best,
        laissez_faire_gap=best - free,
        laissez_faire_gap_share=(best - free) / best,
        smallest_welfare_gap=smallest(game, values[:-1, :, None] - q_values, 2.0),
        smallest_transfer=smallest(game, exact.minimal_transfers(game), 1.0),
        coverage=visited[visited >= OFTEN].min(),
        laissez_faire_coverage=alone[visited >= OFTEN].min(),
        coase_value=exact.coase_value(game),
    )


COMPARED = (SHAPES[4], SHAPES[6])


@functools.cache
def expected(shape: Shape) -> Hardness:
    return Hardness(*map(np.array, zip(*map(report, oracle_games(shape)), strict=True)))


@functools.cache
def found(shape: Shape) -> Hardness:
    return hardness(px.stack_games([to_pajax(game) for game in oracle_games(shape)]))


@pytest.mark.parametrize("shape", COMPARED)
@pytest.mark.parametrize("name", Hardness._fields)
def test_agrees_with_the_oracle(shape, name):
    array = getattr(found(shape), name)
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float64
    # Differences of two recursions on rewards up to 2, of which the share is one in W*.
    bound = 2 * rounding(shape, 2.0)
    if name == "laissez_faire_gap_share":
        bound = 2 * bound / expected(shape).optimal_welfare.min()
    np.testing.assert_allclose(array, getattr(expected(shape), name), rtol=0.0, atol=bound)


def test_the_games_compared_have_what_is_looked_for():
    """Unreachable states, states that laissez-faire never sees, and efficient agents."""
    games = [game for shape in COMPARED for game in oracle_games(shape)]
    assert sum(not reachable(game).all() for game in games) > 20
    reports = [found(shape) for shape in COMPARED]
    assert sum((x.laissez_faire_coverage == 0.0).sum() for x in reports) > 20
    assert any((x.laissez_faire_gap == 0.0).any() for x in reports)
    visited = [exact.occupancy(game, optimum(game)) for game in games]
    assert sum(((x > 0.0) & (x < OFTEN)).any() for x in visited) > 20
    # rounding moves no state over the line
    assert min(np.abs(x - OFTEN).min() for x in visited) > 1e-9


# Figures one can check by hand


def test_the_bandit():
    assert_close(
        hardness(px.games.bandit()),
        # w = .75 1.25 1. .95 .9 and u = .2 .35 .5 .65 .8
        Hardness(1.25, 0.35, 0.28, 0.25, 0.15, 1.0, 1.0, 0.45),
    )


def corridor(**changes) -> "px.Game":
    """State 0 leads to 1 with probability 1/4 if action 1 is played; state 2 is never entered."""
    stay, move = [1.0, 0.0, 0.0], [0.75, 0.25, 0.0]
    return px.make_game(
        transition=[[stay, move], [[0.0, 1.0, 0.0]] * 2, [[0.0, 0.0, 1.0]] * 2],
        agent_reward=[[0.5, 0.25], [0.0, 0.0], [0.5, 0.375]],
        principal_reward=[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0625]],
        initial=[1.0, 0.0, 0.0],
        **{"horizon": 3} | changes,
    )


def test_a_corridor():
    # From state 1 welfare is 1 a step, from state 0 it is 1/2 for staying. In the last step the gap
    # of moving is 1/4; in the one before Q(move) = 1/4 + 3/4 1/2 + 1/4 1 = 7/8 < 1, a gap of 1/8;
    # in the first Q(stay) = 1/2 + 1, Q(move) = 1/4 + 3/4 1 + 1/4 2 = 3/2: a tie, for the lower
    # action. State 2 has gaps of 1/16 and tau* of 1/8, and is never met. tau*(move) is 1/4 in the
    # last step, then 1/4 + 1/4 1/2 = 3/8, then 1/4 + 1/4 1.
    figures = Hardness(1.5, 0.0, 0.0, 0.125, 0.25, 1.0, 1.0, 0.0)
    assert_close(hardness(corridor()), figures)
    # One step more: Q(stay) = 1/2 + 3/2, Q(move) = 1/4 + 3/4 3/2 + 1/4 3 = 17/8, gap 1/8 of stay.
    # The optimum moves once, so it is in 1 with probability 1/4; the agent alone never is.
    figures = Hardness(2.125, 0.125, 0.125 / 2.125, 0.125, 0.25, 0.25, 0.0, 0.125)
    assert_close(hardness(corridor(horizon=4)), figures)


def assert_close(report: Hardness, figures: Hardness) -> None:
    for name in Hardness._fields:
        one, other = getattr(report, name), getattr(figures, name)
        assert abs(one - other) <= rounding(Shape(3, 2, 1, 4), 2.0), name


def test_actions_that_tie_but_for_rounding_tie():
    """.1 + .6 and .3 + .4 are different float32 numbers; so are the rewards that they come from."""
    rewards = {"agent_reward": [[0.1, 0.3, 0.2]], "principal_reward": [[0.6, 0.4, 0.3]]}
    u, v = (np.float32(table[0]).astype(float) for table in rewards.values())
    assert 0.0 < abs((u + v)[0] - (u + v)[1]) < 1e-7
    with jax.enable_x64(False):
        game = px.make_game(transition=np.ones((1, 3, 1)), initial=[1.0], horizon=2, **rewards)
        report = hardness(game)
    assert abs(report.smallest_welfare_gap - 0.2) <= 1e-7  # two float32 roundings under 1
    assert abs(report.smallest_transfer - 0.1) <= 1e-7


def test_nothing_at_stake():
    still = {"agent_reward": [[0.0, 0.0]], "principal_reward": [[0.0, 0.0]]}
    game = px.make_game(transition=np.ones((1, 2, 1)), initial=[1.0], horizon=2, **still)
    figures = Hardness(0.0, 0.0, 0.0, np.inf, np.inf, 1.0, 1.0, 0.0)
    np.testing.assert_array_equal(hardness(game), figures)


# Lanes and precision


def test_a_lane_is_what_the_game_alone_would_be():
    lanes, alone = found(SHAPES[4]), hardness(to_pajax(oracle_games(SHAPES[4])[7]))
    for name in Hardness._fields:
        assert getattr(alone, name).shape == ()
        np.testing.assert_array_equal(getattr(alone, name), getattr(lanes, name)[7])


def test_two_lane_axes_and_the_precision_of_the_caller():
    with jax.enable_x64(False):
        game = px.games.bandit()
        report = hardness(px.stack_games([px.stack_games([game] * 3)] * 2))
        assert jax.numpy.zeros(1).dtype == np.float32
    assert all(array.shape == (3, 2) for array in report)
    assert all(array.dtype == np.float64 for array in report)


# As printed

ONE = """\
Hardness of a game
-----------------------------------------
optimal welfare W*                   1.25
welfare that laissez-faire loses     0.35
    as a share of W*                 0.28
smallest positive welfare gap        0.25
smallest positive tau*               none
coverage of the optimal path            1
    when nothing is paid          0.01235
Coase value                          0.45
-----------------------------------------"""

MANY = """\
Hardness of 3 games               min  median   max
---------------------------------------------------
optimal welfare W*                  1       2     6
welfare that laissez-faire loses    1       2     6
    as a share of W*                1       2     6
smallest positive welfare gap       1       2     6
smallest positive tau*              1       2  none
coverage of the optimal path        1       2     6
    when nothing is paid            1       2     6
Coase value                         1       2     6
---------------------------------------------------"""


def test_one_game_as_printed():
    assert repr(Hardness(1.25, 0.35, 0.28, 0.25, np.inf, 1.0, 0.0123456, 0.45)) == ONE


def test_a_batch_as_printed():
    column = np.array([6.0, 1.0, 2.0])
    some = np.array([np.inf, 1.0, 2.0])
    report = Hardness(*[column] * 8)._replace(smallest_transfer=some)
    assert str(report) == MANY
