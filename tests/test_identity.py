"""Descriptions by value: the same wherever and whenever they are made, another for any change.

Parts are made from source text, as a notebook makes them, so that a test can edit one place in it.
"""

import dataclasses
import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pajax as px
from pajax.studies import identity

SOURCE = '''
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pajax as px
from pajax import axes, pytree, static


def decay(scale):
    return lambda visits: jnp.minimum(1.0, scale / visits)


def recursive(depth):
    def fall(n):
        return depth if n == 0 else fall(n - 1)

    return fall


def is_known(name):
    return name in {"aware", "blind", "restarting", "else"}


class Base:
    def act(self, state):
        return state + 10

    def shared(self):
        return 1


@pytree
class Learner(Base):
    """A user's learner."""

    bonus: Any = axes(default=0.25)
    table: Any = axes("h", "s", default_factory=lambda: jnp.arange(6.0).reshape(2, 3))
    memory: str = static(default="aware")
    schedule: Any = axes(default_factory=lambda: decay(2.5))

    def act(self, state, margin=0.125):
        """Acts."""
        return self.helper(state) + (lambda x: x + 31)(margin)

    @staticmethod
    def helper(state):
        return state + 41

    @classmethod
    def named(cls):
        return 51

    @property
    def width(self):
        return 61

    @functools.partial(jax.jit, static_argnums=0)
    def compiled(self, x):
        return x + 71

    def __call__(self, x):
        return x + 81


class Plain:
    """No dataclass."""

    def __init__(self):
        self.numbers = {"b": (1, 2.5), "a": {3, 4}}

    def play(self):
        return self.numbers


PARTS = {
    "learner": Learner(),
    "plain": Plain(),
    "lambda": decay(0.5),
    "recursive": recursive(3),
    "known": is_known,
    "partial": functools.partial(decay, scale=0.5),
    "method": Plain().play,
    "compiled": jax.jit(decay(0.5)),
    "optax": optax.join_schedules(
        [optax.linear_schedule(0.5, 0.1, 100), optax.constant_schedule(0.1)], [100]
    ),
    "adam": optax.adam(optax.cosine_decay_schedule(0.01, 50)),
    "agents": {"q": px.agents.QLearning(), "scheduled": px.agents.QLearning(
        epsilon=optax.piecewise_constant_schedule(0.5, {10: 0.5}))},
    "mechanisms": [px.mechanisms.TwoPhase(), px.mechanisms.FlatTransfer(amount=0.5, action=1)],
    "game": px.games.bandit(),
    "large": np.arange(100.0),
    "numbers": [None, True, 1, 2.5, float("nan"), float("inf"), "x", jnp.float32(0.1)],
    "words": {"a", "b", "c", "d"},
}
'''


def load(source: str, folder: Path) -> ModuleType:
    """The module `parts` of this text."""
    (folder / "parts.py").write_text(source)
    spec = importlib.util.spec_from_file_location("parts", folder / "parts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, folder / "parts.py", "exec"), module.__dict__)
    return module


def digests(parts: dict[str, Any]) -> dict[str, str]:
    return {name: identity.digest(identity.describe(part)) for name, part in parts.items()}


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> dict[str, str]:
    return digests(load(SOURCE, tmp_path_factory.mktemp("parts")).PARTS)


def same(first: Any, second: Any) -> bool:
    return identity.describe(first) == identity.describe(second)


ELSEWHERE = """
import json, parts
from pajax.studies import identity
print(json.dumps({name: identity.describe(part) for name, part in parts.PARTS.items()}))
"""


def test_another_process_describes_parts_alike(tmp_path):
    """In which sets have another order, objects other addresses, and files other places."""
    here = {name: identity.describe(x) for name, x in load(SOURCE, tmp_path).PARTS.items()}
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    found = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    assert json.loads(found.stdout) == here


def test_equal_parts_are_described_alike(described, tmp_path):
    """Made again, from text at other lines."""
    module = load(SOURCE.replace("\n\n\n", "\n\n\n\n# moved\n\n"), tmp_path)
    assert digests(module.PARTS) == described


CALLERS = {"learner", "lambda", "compiled", "partial"}  # of `decay`
EDITS = {
    "bonus: Any = axes(default=0.25)": ("0.25", "0.5", {"learner"}),
    "an entry of an array": ("jnp.arange(6.0)", "jnp.arange(6.0).at[4].set(-1.0)", {"learner"}),
    "a static mode": ('default="aware"', 'default="blind"', {"learner"}),
    "a closure of a field": ("decay(2.5)", "decay(2.25)", {"learner"}),
    "a constant of a lambda": ("minimum(1.0", "minimum(0.5", CALLERS),
    "a lambda in a method": ("x: x + 31", "x: x + 32", {"learner"}),
    "a default of a method": ("margin=0.125", "margin=0.25", {"learner"}),
    "a static method": ("state + 41", "state + 42", {"learner"}),
    "a class method": ("return 51", "return 52", {"learner"}),
    "a property": ("return 61", "return 62", {"learner"}),
    "a compiled method": ("x + 71", "x + 72", {"learner"}),
    "a call": ("x + 81", "x + 82", {"learner"}),
    "an inherited method": ("return 1\n", "return 2\n", {"learner"}),
    "another method called": ("self.helper(", "self.named(", {"learner"}),
    "an attribute": ("(1, 2.5)", "(1, 3.5)", {"plain", "method"}),
    "a closure": ('decay(0.5),\n    "rec', 'decay(0.75),\n    "rec', {"lambda"}),
    "a closure of a compiled one": ("jit(decay(0.5))", "jit(decay(0.75))", {"compiled"}),
    "a closure of a recursive one": ("recursive(3)", "recursive(4)", {"recursive"}),
    "a word in a set": ('"else"', '"other"', {"known"}),
    "a keyword of a partial": ("scale=0.5)", "scale=0.75)", {"partial"}),
    "a number in a schedule": ("0.1, 100)", "0.1, 101)", {"optax"}),
    "a boundary": ("[100]", "[101]", {"optax"}),
    "a schedule of an optimizer": ("schedule(0.01, 50)", "schedule(0.01, 60)", {"adam"}),
    "a schedule of an agent": ("{10: 0.5}", "{11: 0.5}", {"agents"}),
    "a number of a mechanism": ("amount=0.5", "amount=0.75", {"mechanisms"}),
    "an action": ("action=1", "action=2", {"mechanisms"}),
    "a large array": ("np.arange(100.0)", "np.arange(100.0)[::-1]", {"large"}),
    "a shape": ("np.arange(100.0)", "np.arange(100.0)[None]", {"large"}),
    "a kind of number": ("np.arange(100.0)", "np.arange(100)", {"large"}),
    "no number": ('float("nan")', '"nan?"', {"numbers"}),
}


@pytest.mark.parametrize(("old", "new", "changed"), EDITS.values(), ids=EDITS)
def test_any_edit_changes_the_description(described, tmp_path, old, new, changed):
    """Of what it is in, and of nothing else."""
    assert old in SOURCE
    found = digests(load(SOURCE.replace(old, new), tmp_path).PARTS)
    assert {name for name in found if found[name] != described[name]} == changed


def test_comments_and_the_docstring_of_a_class_change_nothing(described, tmp_path):
    edited = SOURCE.replace('"""A user\'s learner."""', '"""Mine."""').replace("1\n", "1  # one\n")
    assert edited != SOURCE
    assert digests(load(edited, tmp_path).PARTS) == described


def test_numbers_are_described_as_jax_holds_them():
    """0.1 is 0.1 whether it came as a Python number or as float32; integers are not floats."""
    assert identity.describe(0.1) == 0.1
    for number in (jnp.float32(0.1), np.float32(0.1), np.float64(0.1), np.asarray(0.1)):
        assert same(number, 0.1)
    assert same(np.arange(3), jnp.arange(3))
    assert same(np.linspace(0, 1, 50), jnp.asarray(np.linspace(0, 1, 50)))
    assert not same(np.nextafter(np.float32(0.1), np.float32(1)), 0.1)
    assert identity.digest(identity.describe(1)) != identity.digest(identity.describe(1.0))


def test_64_bits_are_told_apart(x64):
    assert not same(np.linspace(0, 1, 50), np.linspace(0, 1, 50, dtype=np.float32))


def test_nan_equals_itself():
    assert same(np.nan, jnp.asarray(np.nan))
    assert same([np.nan, np.full(50, np.nan)], [np.nan, np.full(50, np.nan)])
    assert difference({"a": identity.describe(np.nan)}, {"a": identity.describe(np.nan)}) == []
    assert difference({"a": identity.describe(np.nan)}, {"a": 0.5}) == ['a: "nan", now 0.5']


def test_a_schedule_is_what_it_does():
    """Not where it lies: `repr` has addresses."""
    make = lambda end: px.agents.QLearning(epsilon=optax.linear_schedule(1.0, end, 10))  # noqa: E731
    assert same(make(0.5), make(0.5))
    assert not same(make(0.5), make(0.25))
    assert "0x" not in json.dumps(identity.describe(make(0.5)))
    assert same(functools.partial(max, 1), functools.partial(max, 1))
    assert not same(functools.partial(max, 1), functools.partial(min, 1))


# Games


def games(number: int, seed: int = 3, states: int = 2) -> px.Game:
    """Random games; more of them begin with the same ones."""
    rewards = np.random.default_rng(seed).uniform(size=(number, 2, states, 3))
    return px.stack_games(
        px.make_game(
            transition=np.full((states, 3, states), 1 / states),
            agent_reward=u,
            principal_reward=v,
            initial=np.full(states, 1 / states),
            horizon=2,
        )
        for u, v in rewards
    )


def test_the_first_games_of_a_batch_keep_their_hashes():
    few, many = identity.each_game(games(2), 2), identity.each_game(games(5), 5)
    assert many[:2] == few
    assert len(set(many)) == 5  # no two are alike
    assert same(games(2), games(5))
    assert identity.each_game(games(5, seed=4), 5)[0] != many[0]


def test_one_cell_of_one_game_changes_its_hash_alone():
    game = games(3)
    changed = dataclasses.replace(game, agent_reward=game.agent_reward.at[0, 1, 2, 1].add(1e-3))
    pairs = zip(identity.each_game(changed, 3), identity.each_game(game, 3), strict=True)
    assert [new == old for new, old in pairs] == [True, False, True]
    assert same(changed, game)


def test_numbers_of_each_game_are_told_game_by_game():
    agents = [px.agents.QLearning(epsilon=jnp.asarray(x)) for x in ((0.1, 0.2), (0.1, 0.2, 0.3))]
    assert same(*agents)
    few, many = (identity.each_game(agent, n) for agent, n in zip(agents, (2, 3), strict=True))
    assert many[:2] == few and len(set(many)) == 3
    assert identity.each_game(px.agents.QLearning(), 2) == [None, None]
    nested = px.schedules.PowerSchedule(scale=jnp.asarray((0.1, 0.2)))
    assert len(set(identity.each_game(px.agents.QLearning(epsilon=nested), 2))) == 2


def test_sizes_belong_to_what_games_share():
    assert not same(games(2), games(2, states=3))
    assert not same(games(2), dataclasses.replace(games(2), noise="gaussian"))


# Differences


def difference(old: Any, new: Any) -> list[str]:
    return list(identity.difference(old, new))


def test_differences_are_lines():
    old = {"agents['q']": {"bonus": 0.1, "memory": "aware"}, "study": {"keep": "seeds"}}
    new = {"agents['q']": {"bonus": 0.2, "memory": "blind"}, "study": {"keep": "seeds"}}
    assert difference(old, new) == [
        "agents['q'].bonus: 0.1, now 0.2",
        'agents[\'q\'].memory: "aware", now "blind"',
    ]
    assert difference(old, old) == []


def test_differences_of_what_is_only_on_one_side():
    assert difference({"a": 1}, {"b": 2}) == ["a: 1, now none", "b: none, now 2"]
    assert difference({"a": {"b": 1}}, {"a": 2}) == ['a: {"b": 1}, now 2']


def test_differences_of_numbers_that_compare_equal():
    """1 and 1.0 are of different types, and do not compute the same."""
    assert difference({"a": 1}, {"a": 1.0}) == ["a: 1, now 1.0"]
    assert difference({"a": [True]}, {"a": [1]}) == ["a: [true], now [1]"]


def test_long_differences_are_cut():
    (line,) = difference({"a": "x" * 200}, {"a": "y" * 200})
    assert len(line) < 200 and line.count("...") == 2
