"""Grids: names and order, numbers that share a compilation, and what is said of wrong fields."""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pajax as px
from pajax.studies.grids import grid

UCBVI, QLearning, NeuralQ = px.agents.UCBVI, px.agents.QLearning, px.agents.NeuralQ
TwoPhase, Bisection = px.mechanisms.TwoPhase, px.mechanisms.Bisection
SCHEDULE = px.schedules.PowerSchedule


def shown(parts) -> dict[str, str]:
    return {name: repr(part) for name, part in parts.items()}


# Names and order


@pytest.mark.parametrize("part", [UCBVI(), UCBVI, functools.partial(UCBVI, memory="restarting")])
def test_all_combinations_with_the_last_field_fastest(part):
    values = {"bonus": [0.5, 0.1], "memory": ["aware", "blind"], "stationary": [True, False]}
    expected = {}
    for bonus in values["bonus"]:
        for memory in values["memory"]:
            for stationary in values["stationary"]:
                name = f"q(bonus={bonus}, memory={memory}, stationary={stationary})"
                expected[name] = UCBVI(bonus=bonus, memory=memory, stationary=stationary)
    found = grid(part, values, name="q")
    assert list(found) == list(expected)
    assert shown(found) == shown(expected)


def test_without_a_name():
    assert list(grid(UCBVI(), {"bonus": [0.1], "memory": ["blind"]})) == ["bonus=0.1, memory=blind"]


def test_other_fields_stay():
    found = grid(TwoPhase(order="backward", cap=0.25), {"margin": [0.2]})
    assert repr(found["margin=0.2"]) == repr(TwoPhase(order="backward", cap=0.25, margin=0.2))


@pytest.mark.parametrize("part", [TwoPhase(), TwoPhase, functools.partial(TwoPhase, cap=0.5)])
def test_dotted_names_reach_into_nested_parts(part):
    found = grid(part, {"estimator.inflation": [0.1, 0.2], "steering.bonus": [0.3]})
    for value in (0.1, 0.2):
        expected = TwoPhase(
            estimator=Bisection(inflation=value),
            steering=px.mechanisms.OptimisticSteering(bonus=0.3),
        )
        name = f"estimator.inflation={value}, steering.bonus=0.3"
        assert repr(found[name]) == repr(expected)


def test_dotted_names_reach_into_a_part_that_is_bound():
    bound = functools.partial(TwoPhase, estimator=px.mechanisms.DiscreteChoice(steps=3))
    found = grid(bound, {"estimator.repeats": [2]})["estimator.repeats=2.0"]
    assert repr(found.estimator) == repr(px.mechanisms.DiscreteChoice(steps=3, repeats=2.0))


def test_a_field_inside_an_agent_that_is_lifted():
    @px.pytree
    class Eager:
        aspiration: float = px.axes(low=0.0, default=0.6)
        num_words = 1

    found = grid(px.lift(Eager()), {"agent.aspiration": [1, 0.5]})
    assert [part.agent.aspiration for part in found.values()] == [1.0, 0.5]


def test_parts_and_functions_are_values():
    momentum = functools.partial(optax.sgd, momentum=0.9)
    schedule = optax.constant_schedule(0.1)
    values = {"optimiser": [optax.adam, momentum], "epsilon": [SCHEDULE(), schedule, 0.1]}
    names = list(grid(NeuralQ(), values))
    assert names[0] == (
        "optimiser=adam, epsilon=PowerSchedule(scale=1.0, exponent=0.3333333333333333, maximum=1.0)"
    )
    assert names[1] == f"optimiser=adam, epsilon={schedule.__qualname__}"
    assert names[5] == "optimiser=sgd(momentum=0.9), epsilon=0.1"
    assert not [name for name in names if "0x" in name or "\n" in name]


def test_lists_are_arrays_where_a_field_has_axes():
    ((name, agent),) = grid(NeuralQ(), {"features": [[[1, 0], [0, 1]]]}).items()
    assert name == "features=Array([[1, 0], [0, 1]], dtype=int32)"
    features = agent.features
    assert isinstance(features, jax.Array)
    np.testing.assert_array_equal(features, np.eye(2))


# Numbers


def test_names_of_numbers_lose_nothing():
    rng = np.random.default_rng(0)
    values = np.append(10.0 ** rng.uniform(-8, 8, 40), [0.1, 1.0, 1e-300])
    for name, part in grid(UCBVI(), {"bonus": values}).items():
        assert name == f"bonus={part.bonus}"
        assert type(part.bonus) is float
    assert [float(name.partition("=")[2]) for name in grid(UCBVI(), {"bonus": values})] == [*values]


@pytest.mark.parametrize("make", [np.float32, lambda x: jnp.asarray(x, jnp.float32)])
def test_numbers_in_float32_are_the_shortest_that_are_rounded_to_them(make):
    values = [float(x) for x in 10.0 ** np.random.default_rng(1).uniform(-3, 3, 20)] + [0.1]
    found = grid(UCBVI(), {"bonus": [make(value) for value in values]})
    assert "bonus=0.1" in found
    for value, part in zip(values, found.values(), strict=True):
        assert type(part.bonus) is float
        assert np.float32(part.bonus) == np.float32(value)
        assert len(repr(part.bonus)) <= len(repr(float(np.float32(value))))


@pytest.mark.parametrize(
    ("part", "field", "values", "expected"),
    [
        (UCBVI(), "bonus", [1, 0.5], [1.0, 0.5]),  # the default is a float
        (UCBVI(bonus=1), "bonus", [2, 3], [2.0, 3.0]),
        (TwoPhase(), "width", [1, 0.5], [1.0, 0.5]),  # no default, one is a float
        (TwoPhase(), "width", [None, 1], [None, 1]),
        (TwoPhase(), "adapting_until", [0, np.float64(0.5)], [0.0, 0.5]),  # static
        (QLearning(), "epsilon.scale", [1, 2], [1.0, 2.0]),
        (px.mechanisms.FlatTransfer(amount=1, action=0), "amount", [0, 0.5], [0.0, 0.5]),
        (px.mechanisms.FlatTransfer(amount=1, action=0), "action", [0, 1], [0, 1]),
        (NeuralQ(), "seed", [np.int64(3), jnp.asarray(4)], [3, 4]),
        (NeuralQ(), "hidden_size", range(4, 6), [4, 5]),
        (UCBVI(), "stationary", np.array([True, False]), [True, False]),
    ],
)
def test_numbers_are_of_the_type_of_the_field(part, field, values, expected):
    found = [
        functools.reduce(getattr, field.split("."), made)
        for made in grid(part, {field: values}).values()
    ]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def traced_at_most(n: int):
    """A compiled function of a part that uses all of its numbers."""
    total = lambda part: sum(jnp.sum(jnp.asarray(x, float)) for x in jax.tree.leaves(part))  # noqa: E731
    return jax.jit(chex.assert_max_traces(total, n=n))


@pytest.mark.parametrize(
    ("part", "values", "num_programs"),
    [
        (UCBVI(), {"bonus": [1, 0.5, np.float32(0.1)]}, 1),
        (UCBVI(), {"bonus": [1, 0.5], "memory": ["aware", "blind"]}, 2),
        (TwoPhase(), {"estimator.inflation": [0, 0.25], "width": [1, 0.5], "cap": [1]}, 1),
        (QLearning(), {"epsilon": [0, 0.5], "learning_rate": [0.1, 1]}, 1),
        (SCHEDULE, {"scale": [1, 2.5], "exponent": [1, 0.5]}, 1),
    ],
)
def test_a_grid_compiles_once_for_each_combination_of_static_fields(part, values, num_programs):
    chex.clear_trace_counter()
    function = traced_at_most(num_programs)
    for made in grid(part, values).values():
        function(made)


def test_numbers_that_are_left_as_they_are_would_compile_twice():
    """So that the test above can fail."""
    chex.clear_trace_counter()
    function = traced_at_most(1)
    function(UCBVI(bonus=0.5))
    with pytest.raises(AssertionError, match="traced > 1 times"):
        function(UCBVI(bonus=1))


# What is called


def test_families_of_games():
    found = grid(px.games.commons, {"horizon": [2, 3], "growth": [0, 4]}, name="commons")
    pairs = list(itertools.product((2, 3), (0.0, 4.0)))
    assert list(found) == [f"commons(horizon={h}, growth={g})" for h, g in pairs]
    for (horizon, growth), game in zip(pairs, found.values(), strict=True):
        expected = px.games.commons(horizon=horizon, growth=growth)
        jax.tree.map(np.testing.assert_array_equal, game, expected)


def test_arguments_that_are_bound_by_place():
    """As a key is, to a family of random games."""

    def family(key, *, odds=0.5):
        return px.games.bandit([key, odds], [0.2, 0.3])

    (game,) = grid(functools.partial(family, 0.25), {"odds": [1]}).values()
    assert game.agent_reward.ravel().tolist() == [0.25, 1.0]
    with pytest.raises(ValueError, match="key: unknown, known: odds"):
        grid(functools.partial(family, 0.25), {"key": [1]})


def test_the_simplest_family():
    assert shown(grid(px.games.pollution, {"horizon": [2]})) == {
        "horizon=2": repr(px.games.pollution(horizon=2))
    }


@pytest.mark.parametrize(
    ("part", "field", "value", "make"),
    [
        (
            px.mechanisms.FixedTransfers.oracle,
            "margin",
            0.3,
            lambda game: px.mechanisms.FixedTransfers.oracle(game, margin=0.3),
        ),
        (
            px.mechanisms.QuantisedTransfers,
            "levels",
            2,
            lambda game: px.mechanisms.QuantisedTransfers(game=game, levels=2),
        ),
        (
            functools.partial(px.agents.BestResponse),
            "epsilon",
            0.25,
            lambda game: px.agents.BestResponse(game=game, epsilon=0.25),
        ),
    ],
)
def test_what_needs_a_game_gives_functions_of_the_game(part, field, value, make):
    of_game = grid(part, {field: [value]})[f"{field}={value}"]
    for game in (px.games.bandit(), px.games.bandit(noise="deterministic")):
        found, expected = of_game(game), make(game)
        assert type(found) is type(expected)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


# All that is public

CLASSES = [getattr(m, name) for m in (px.agents, px.mechanisms) for name in m.__all__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_field_can_be_varied(cls):
    """And the grid of a field's own value is the part itself."""
    needed = {"game": px.games.bandit(), "amount": 0.5, "action": 0}
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if cls is px.mechanisms.FixedTransfers:
        part = cls.oracle(needed["game"])
    else:
        part = cls(**{name: value for name, value in needed.items() if name in fields})
    for name in fields.keys() - {"game"}:
        (found,) = grid(part, {name: [getattr(part, name)]}).values()
        assert repr(found) == repr(part)


# Errors

BAD = {
    "unknown": (UCBVI(), {"bouns": [0.1]}, "bouns: unknown, did you mean bonus?"),
    "unknown of a class": (UCBVI, {"Memory": [0.1]}, "Memory: unknown, did you mean memory?"),
    "far from all": (UCBVI(), {"xyz": [1]}, "xyz: unknown, known: bonus, stationary, memory"),
    "of a function": (px.games.pollution, {"horizn": [1]}, "horizn: unknown, did you mean horizon"),
    "unknown within": (
        TwoPhase(),
        {"estimator.inflatoin": [0.1]},
        "estimator.inflatoin: unknown, did you mean inflation?",
    ),
    "unknown part": (
        TwoPhase,
        {"estimate.inflation": [0.1]},
        "estimate: unknown, did you mean estimator?",
    ),
    "within a number": (UCBVI(), {"bonus.x": [1]}, "bonus.x: unknown, bonus has no fields"),
    "out of range": (UCBVI(), {"bonus": [0.1, -1]}, "bonus: got -1.0, must lie in [0, inf]"),
    "out of range, game to come": (
        px.mechanisms.RobustSubsidy,
        {"epsilon": [-1]},
        "epsilon: got -1.0, must lie in [0, inf]",
    ),
    "out of range within": (
        TwoPhase(),
        {"estimator.inflation": [0.9]},
        "estimator.inflation: got 0.9, must lie in [0, 0.5]",
    ),
    "out of range in a part": (
        TwoPhase(),
        {"estimator": [Bisection(inflation=0.9)]},
        "estimator.inflation: got 0.9, must lie in [0, 0.5]",
    ),
    "not finite": (UCBVI(), {"bonus": [np.nan]}, "bonus: got nan, must be finite everywhere"),
    "an array out of range": (
        UCBVI(),
        {"bonus": [np.array([0.1, -2.0])]},
        "bonus: got -2.0, must lie in [0, inf]",
    ),
    "no choice": (
        UCBVI(),
        {"memory": ["blnd"]},
        "memory: got 'blnd', must be one of aware, restarting, blind",
    ),
    "text": (UCBVI(), {"bonus": ["a"]}, "bonus: got 'a', must be a number"),
    "text without a default": (TwoPhase(), {"width": ["a"]}, "width: got 'a', must be a number"),
    "a bool": (UCBVI(), {"bonus": [True]}, "bonus: got True, must be a number"),
    "a bool, again": (TwoPhase(), {"width": [True]}, "width: got True, must be a number"),
    "nothing": (UCBVI(), {"bonus": [None]}, "bonus: got None, must be a number"),
    "nothing, without a default": (
        px.mechanisms.FlatTransfer(amount=1, action=0),
        {"amount": [None]},
        "amount: got None, must be a number",
    ),
    "a list": (UCBVI(), {"bonus": [[0.1]]}, "bonus: got [0.1], must be a number"),
    "not whole": (
        NeuralQ(),
        {"hidden_size": [2.5]},
        "hidden_size: got 2.5, must be a whole number",
    ),
    "of a function, not whole": (
        px.games.pollution,
        {"horizon": ["2"]},
        "horizon: got '2', must be a whole number",
    ),
    "no bool": (UCBVI(), {"stationary": [1]}, "stationary: got 1, must be true or false"),
    "no text": (UCBVI(), {"memory": [1]}, "memory: got 1, must be text"),
    "no function": (NeuralQ(), {"optimiser": [0.1]}, "optimiser: got 0.1, must be a function"),
    "a class for a part": (TwoPhase(), {"estimator": [Bisection]}, "made by pajax.pytree"),
    "ragged": (NeuralQ(), {"features": [[[1], [1, 2]]]}, "features: must have rows of equal"),
    "twice": (UCBVI(), {"bonus": [0.5, 0.1, 0.5]}, "bonus: got 0.5 twice, must have different"),
    "twice as numbers": (UCBVI(), {"bonus": [1, 1.0]}, "bonus: got 1.0 twice, must have different"),
    "twice, two precisions": (UCBVI(), {"bonus": [0.1, np.float32(0.1)]}, "bonus: got 0.1 twice"),
    "no values": (UCBVI(), {"bonus": []}, "bonus: got no values, must have at least one"),
    "one number": (UCBVI(), {"bonus": 0.1}, "bonus: got 0.1, must be a list of values"),
    "one text": (UCBVI(), {"memory": "blind"}, "memory: got 'blind', must be a list of values"),
    "no fields": (UCBVI(), {}, "values: got {}, must map at least one field to values"),
    "no part": (3, {"bonus": [0.1]}, "part: got 3, must be an object of a class made by"),
    "missing": (px.games.garnet, {"horizon": [2]}, "key: missing"),
    "missing within a class": (px.mechanisms.FlatTransfer, {"amount": [0.1]}, "action: missing"),
}


@pytest.mark.parametrize(("part", "values", "message"), BAD.values(), ids=BAD.keys())
def test_errors(part, values, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        grid(part, values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
