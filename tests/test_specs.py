"""Specs: a TOML file is the Python call, all that is public has a name, errors say where."""

import functools
import inspect
import re
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pajax as px
from pajax.studies import identity, specs
from pajax.studies.grids import grid
from pajax.studies.specs import load_spec

STUDY = "[study]\nnum_episodes = 100\nnum_seeds = 2\n"
GAME = 'game = "bandit"\n'
AGENTS = '[agents]\nq = "QLearning"\n'
MECHANISMS = '[mechanisms]\nnone = "NoTransfer"\n'
#: One of each table, with all that is required.
SMALL = GAME + STUDY + AGENTS + MECHANISMS


@pytest.fixture
def load(tmp_path):
    """Arguments of a spec given as text."""

    def load_text(text: str):
        path = tmp_path / "study.toml"
        path.write_text(textwrap.dedent(text))
        return load_spec(path)

    return load_text


# The same as the Python call


def simplest():
    text = SMALL
    call = {
        "key": jax.random.key(0),
        "game": px.games.bandit(),
        "agents": {"q": px.agents.QLearning()},
        "mechanisms": {"none": px.mechanisms.NoTransfer()},
        "num_episodes": 100,
        "num_seeds": 2,
    }
    return text, call


def all_settings():
    text = """
    [study]
    seed = 7
    num_episodes = 1e3
    num_seeds = 3
    keep = "moments"
    record = [10, 100, 1_000]

    [game]
    family = "commons"
    num_states = 3
    num_actions = 2
    growth = 1

    [agents.blind]
    class = "UCBVI"
    bonus = 1
    memory = "blind"
    stationary = false

    [mechanisms.flat]
    class = "FlatTransfer"
    amount = 0.3
    action = 1
    """
    call = {
        "key": jax.random.key(7),
        "game": px.games.commons(num_states=3, num_actions=2, growth=1.0),
        "agents": {"blind": px.agents.UCBVI(bonus=1.0, memory="blind", stationary=False)},
        "mechanisms": {"flat": px.mechanisms.FlatTransfer(amount=0.3, action=1)},
        "num_episodes": 1000,
        "num_seeds": 3,
        "record": [10, 100, 1000],
        "keep": "moments",
    }
    return text, call


def grids_everywhere():
    text = """
    [mechanisms.two-phase]
    class = "TwoPhase"
    cap = 0.25
    grid.estimator.inflation = [0, 0.2]
    grid."steering.bonus" = [0.3]

    [mechanisms.estimators]
    class = "TwoPhase"
    grid.estimator = [{ class = "Bisection", burn = 0.2 }, { class = "DiscreteChoice", steps = 3 }]

    [mechanisms.oracle]
    class = "FixedTransfers.oracle"
    grid.margin = [0.1, 1]

    [agents.q]
    class = "QLearning"
    grid.memory = ["aware", "blind"]
    grid.epsilon.scale = [1.0, 3.0]

    [game]
    family = "pollution"
    horizon = 2
    grid.noise = ["bernoulli", "deterministic"]

    [study]
    num_episodes = 100
    num_seeds = 1
    """
    two_phase, bisection = px.mechanisms.TwoPhase, px.mechanisms.Bisection
    discrete_choice = px.mechanisms.DiscreteChoice(steps=3)
    call = {
        "key": jax.random.key(0),
        "game": {
            f"noise={noise}": px.games.pollution(horizon=2, noise=noise)
            for noise in ("bernoulli", "deterministic")
        },
        "agents": {
            f"q(memory={memory}, epsilon.scale={scale})": px.agents.QLearning(
                memory=memory, epsilon=px.schedules.PowerSchedule(scale=scale, exponent=0.5)
            )
            for memory in ("aware", "blind")
            for scale in (1.0, 3.0)
        },
        "mechanisms": {
            f"two-phase(estimator.inflation={x}, steering.bonus=0.3)": two_phase(
                cap=0.25,
                estimator=bisection(inflation=x),
                steering=px.mechanisms.OptimisticSteering(bonus=0.3),
            )
            for x in (0.0, 0.2)
        }
        | {
            f"estimators(estimator={estimator})": two_phase(estimator=estimator)
            for estimator in (bisection(burn=0.2), discrete_choice)
        }
        | {
            f"oracle(margin={m})": functools.partial(px.mechanisms.FixedTransfers.oracle, margin=m)
            for m in (0.1, 1.0)
        },
        "num_episodes": 100,
        "num_seeds": 1,
    }
    return text, call


def several_groups():
    """A bandit of the library's size, so that little is compiled."""
    text = """
    [study]
    num_episodes = 100
    num_seeds = 1

    [game.pollution]
    family = "pollution"
    grid.horizon = [2]

    [game.arms]
    family = "bandit"
    agent_reward = [0.1, 0.9, 0.5, 0.2, 0.3]
    principal_reward = [0.5, 1, 0, 0.3, 0.2]

    [agents]
    best = "BestResponse"

    [agents.neural]
    class = "NeuralQ"
    optimiser = "optax:sgd"
    epsilon.class = "optax:linear_schedule"
    epsilon.init_value = 1
    epsilon.end_value = 0
    epsilon.transition_steps = 9

    [agents.power]
    class = "NeuralQ"
    epsilon = { class = "PowerSchedule", scale = 2 }
    hidden_size = 4
    seed = 3

    [mechanisms]
    flat = "FlatTransfer.best"

    [mechanisms.coarse]
    class = "QuantisedTransfers"
    levels = 2

    [mechanisms.robust]
    class = "RobustSubsidy"
    epsilon = 1
    """
    power, decay = px.schedules.PowerSchedule(scale=2.0), optax.linear_schedule(1, 0, 9)
    call = {
        "key": jax.random.key(0),
        "game": {
            "pollution(horizon=2)": px.games.pollution(horizon=2),
            "arms": px.games.bandit([0.1, 0.9, 0.5, 0.2, 0.3], [0.5, 1, 0, 0.3, 0.2]),
        },
        "agents": {
            "best": lambda game: px.agents.BestResponse(game=game),
            "neural": px.agents.NeuralQ(optimiser=optax.sgd, epsilon=decay),
            "power": px.agents.NeuralQ(epsilon=power, hidden_size=4, seed=3),
        },
        "mechanisms": {
            "flat": px.mechanisms.FlatTransfer.best,
            "coarse": lambda game: px.mechanisms.QuantisedTransfers(game=game, levels=2),
            "robust": lambda game: px.mechanisms.RobustSubsidy(game=game, epsilon=1.0),
        },
        "num_episodes": 100,
        "num_seeds": 1,
    }
    return text, call


def assert_same_parts(found, expected, games) -> None:
    assert list(found) == list(expected)
    for game in games:
        of_game = functools.partial(made_for, game)
        for one, other in zip(
            map(of_game, found.values()), map(of_game, expected.values()), strict=True
        ):
            assert without_places(one) == without_places(other)
            assert identity.describe(one) == identity.describe(other)


def made_for(game, part):
    is_function = inspect.isfunction(part) or isinstance(part, functools.partial)
    return part(game) if is_function else part


def without_places(part) -> str:
    """How it shows itself, but for the places of functions in memory."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(part))


@pytest.mark.parametrize("spec", [simplest, all_settings, grids_everywhere, several_groups])
def test_a_spec_is_the_python_call(spec, load):
    text, expected = spec()
    found = load(text)
    assert found.keys() == expected.keys()
    assert found.keys() <= inspect.signature(px.study).parameters.keys()
    assert (found["key"] == expected["key"]).all()
    for name in ("num_episodes", "num_seeds", "record", "keep"):
        assert found.get(name) == expected.get(name)
        assert type(found.get(name)) is type(expected.get(name))
    grouped = [x if isinstance(x, dict) else {"": x} for x in (found["game"], expected["game"])]
    assert isinstance(found["game"], dict) is isinstance(expected["game"], dict)
    assert_same_parts(*grouped, games=[None])
    jax.tree.map(np.testing.assert_array_equal, *grouped)
    games = list(grouped[0].values())
    assert_same_parts(found["agents"], expected["agents"], games)
    assert_same_parts(found["mechanisms"], expected["mechanisms"], games)


def test_a_spec_is_taken_by_a_study(load):
    found, expected = load(SMALL), simplest()[1]
    one, other = (px.study(**call, progress=False) for call in (found, expected))
    assert one.identical(other)


def test_the_spec_of_the_docstring(load):
    text = "".join(line for line in specs.__doc__.splitlines(True) if line[:4] in ("    ", "\n"))
    found = load(text)
    assert found["record"] == [1_000, found["num_episodes"]]
    for horizon in (3, 5):
        game = px.games.garnet(jax.random.key(3), num_games=8, horizon=horizon)
        jax.tree.map(np.testing.assert_array_equal, found["game"][f"horizon={horizon}"], game)
    assert list(found["agents"]) == ["q", "ucbvi(bonus=0.1)", "ucbvi(bonus=0.2)"]
    two_phase = px.mechanisms.TwoPhase(
        estimator=px.mechanisms.DiscreteChoice(burn=0.2, repeats=4.0),
        steering=px.mechanisms.OptimisticSteering(bonus=0.05),
    )
    last = list(found["mechanisms"].items())[-1]
    assert (last[0], repr(last[1])) == ("two-phase(estimator.repeats=4.0)", repr(two_phase))


def test_a_grid_of_a_spec_is_a_grid(load):
    found = load(GAME + STUDY + MECHANISMS + '[agents.q]\nclass = "UCBVI"\ngrid.bonus = [1, 0.5]')
    expected = grid(px.agents.UCBVI(), {"bonus": [1, 0.5]}, name="q")
    assert {n: repr(x) for n, x in found["agents"].items()} == {
        n: repr(x) for n, x in expected.items()
    }


# All that is public

NEEDED = {
    "FixedTransfers": "transfer = [[[0.0]]]\ntarget = [[0]]\nown_action = [[0]]",
    "FixedTransfers.make": "transfer = [[[0.0]]]",
    "FlatTransfer": "amount = 0.1\naction = 1",
    "garnet": "key = 0\nnum_games = 8",
}


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (table, name)
        for table in ("agents", "mechanisms")
        for name in specs._constructors(getattr(px, table))
    ],
)
def test_every_agent_and_mechanism_has_a_name(table, name, load):
    others = {"agents": AGENTS, "mechanisms": MECHANISMS}
    del others[table]
    entry = f"[{table}.x]\nclass = {name!r}\n{NEEDED.get(name, '')}\n"
    (part,) = load(GAME + STUDY + entry + "".join(others.values()))[table].values()
    cls = getattr(getattr(px, table), name.partition(".")[0])
    made = part(px.games.bandit()) if inspect.isfunction(part) else part
    returned = inspect.signature(getattr(cls, name.partition(".")[2], cls)).return_annotation
    assert type(made) is cls or type(made) is returned


def test_the_names_are_those_that_are_public():
    for module in (px.agents, px.mechanisms):
        names = specs._constructors(module)
        assert {name for name in names if "." not in name} == set(module.__all__)
    assert {name for name in names if "." in name} == {
        "FixedTransfers.make",
        "FixedTransfers.oracle",
        "FlatTransfer.best",
        "PigouvianTax.oracle",
    }
    classes_and_data = {"Moments", "RandData", "RandFit", "fit_rand", "load_rand"}
    assert set(specs._families()) == set(px.games.__all__) - classes_and_data


@pytest.mark.parametrize("name", specs._families())
def test_every_family_has_a_name(name, load):
    game = load(f"[game]\nfamily = {name!r}\n{NEEDED.get(name, '')}\n" + SMALL[len(GAME) :])["game"]
    family = getattr(px.games, name)
    expected = family(jax.random.key(0), num_games=8) if name == "garnet" else family()
    jax.tree.map(np.testing.assert_array_equal, game, expected)


# One's own

OWN = """
import jax
import pajax as px

def lottery(key, odds: float = 0.5, label="a:b"):
    assert label == "a:b" or label == "c:d"
    return px.games.bandit([odds, float(jax.random.uniform(key))], [0.2, 0.3])

class Agents:
    @staticmethod
    def eager(bonus: float = 0.1):
        return px.agents.UCBVI(bonus=bonus)

two_phase = px.mechanisms.TwoPhase(cap=0.25, estimator=px.mechanisms.DiscreteChoice(steps=3))
steady = px.agents.UCBVI(bonus=0.3)
halving = lambda count: 0.5 ** (count + 1.0)

def broken(game):
    raise RuntimeError("no\\n  such luck")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module beside the spec, and its name."""
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(OWN)
    return name


def test_parts_of_ones_own(own, load):
    import sys

    path = list(sys.path)
    found = load(f"""
    [study]
    num_episodes = 100
    num_seeds = 2
    [game]
    family = "{own}:lottery"
    odds = 1
    grid.key = [3, 4]
    label = "c:d"
    [agents]
    steady = "{own}:steady"
    [agents.eager]
    class = "{own}:Agents.eager"
    grid.bonus = [1, 0.5]
    [agents.again]
    class = "{own}:steady"
    memory = "blind"
    grid.bonus = [2]
    [agents.q]
    class = "QLearning"
    epsilon = "{own}:halving"
    [mechanisms]
    none = "pajax:mechanisms.NoTransfer"
    [mechanisms.two-phase]
    class = "{own}:two_phase"
    estimator.burn = 0.25
    """)
    assert sys.path == path
    for seed in (3, 4):
        game, drawn = found["game"][f"key={seed}"], jax.random.uniform(jax.random.key(seed))
        assert game.agent_reward.ravel().tolist() == [1.0, float(drawn)]
    agents = found["agents"]
    assert repr(agents["steady"]) == repr(px.agents.UCBVI(bonus=0.3))
    assert repr(agents["eager(bonus=1.0)"]) == repr(px.agents.UCBVI(bonus=1.0))
    assert repr(agents["again(bonus=2.0)"]) == repr(px.agents.UCBVI(bonus=2.0, memory="blind"))
    assert agents["q"].epsilon(jnp.float32(0.0)) == 0.5
    assert repr(found["mechanisms"]["none"]) == "NoTransfer()"
    estimator = px.mechanisms.DiscreteChoice(steps=3, burn=0.25)
    two_phase = px.mechanisms.TwoPhase(cap=0.25, estimator=estimator)
    assert repr(found["mechanisms"]["two-phase"]) == repr(two_phase)


# Errors


def with_agent(lines: str) -> str:
    return f"{GAME}{STUDY}{MECHANISMS}[agents.a]\n{lines}\n"


def with_mechanism(lines: str) -> str:
    return f"{GAME}{STUDY}{AGENTS}[mechanisms.m]\n{lines}\n"


def with_game(lines: str) -> str:
    return f"[game]\n{lines}\n{STUDY}{AGENTS}{MECHANISMS}"


def with_study(lines: str) -> str:
    return f"{GAME}[study]\n{lines}\n{AGENTS}{MECHANISMS}"


UCBVI, TWO_PHASE, Q = 'class = "UCBVI"\n', 'class = "TwoPhase"\n', 'class = "QLearning"\n'
COUNTS = "num_episodes = 100\nnum_seeds = 2\n"
ERRORS = {
    # the file
    "syntax": ("[study\n", "(at line 1, column 7)"),
    "syntax further down": (STUDY + "a = \n", "(at line 4, column 5)"),
    "declared twice": (STUDY + STUDY, "(at line 4, column 7)"),
    # tables
    "unknown table": (SMALL + "[agent.q]\n", "agent: unknown, did you mean agents?"),
    "no table": (STUDY + AGENTS + MECHANISMS, "game: missing"),
    "empty": ("", "study: missing"),
    "not a table": (f"{GAME}agents = 3\n{STUDY}{MECHANISMS}", "agents: got 3, must be a table"),
    "an empty table": (f"{GAME}{STUDY}[agents]\n{MECHANISMS}", "agents: got {}, must be a table"),
    "not a study": (f"study = 3\n{GAME}{AGENTS}{MECHANISMS}", "study: got 3, must be a table"),
    # study
    "unknown setting": (with_study(COUNTS + "sed = 1"), "study.sed: unknown, did you mean seed?"),
    "of the machine": (
        with_study(COUNTS + 'store = "x"'),
        "study.store: unknown, known: seed, num",
    ),
    "no episodes": (with_study("num_seeds = 1"), "study.num_episodes: missing"),
    "no seeds": (with_study("num_episodes = 1"), "study.num_seeds: missing"),
    "half an episode": (
        with_study("num_episodes = 1.5\nnum_seeds = 1"),
        "study.num_episodes: got 1.5, must be a whole number",
    ),
    "episodes in words": (
        with_study('num_episodes = "many"\nnum_seeds = 1'),
        "study.num_episodes: got 'many', must be a whole number",
    ),
    "nan episodes": (
        with_study("num_episodes = nan\nnum_seeds = 1"),
        "study.num_episodes: got nan, must be a whole number",
    ),
    "too many episodes": (
        with_study("num_episodes = 1e8\nnum_seeds = 1"),
        "study: num_episodes: got 100000000, must be less than 2^24",
    ),
    "zero seeds": (
        with_study("num_episodes = 1\nnum_seeds = 0"),
        "study.num_seeds: got 0, must be at least 1",
    ),
    "true seeds": (
        with_study("num_episodes = 1\nnum_seeds = true"),
        "study.num_seeds: got True, must be a whole number",
    ),
    "a negative seed": (with_study(COUNTS + "seed = -1"), "study.seed: got -1, must be at least 0"),
    "to keep nothing": (
        with_study(COUNTS + 'keep = "moment"'),
        "study.keep: got 'moment', must be one of seeds, moments",
    ),
    "record of a number": (
        with_study(COUNTS + "record = 100"),
        "study.record: got 100, must be a list",
    ),
    "record of words": (
        with_study(COUNTS + 'record = ["x"]'),
        "study.record: got 'x', must be a whole number",
    ),
    "record to another end": (
        with_study(COUNTS + "record = [10, 90]"),
        "study: record: got 90, must end with num_episodes = 100",
    ),
    # games
    "unknown family": (with_game('family = "polution"'), "did you mean pollution?"),
    "where it is unknown": (with_game('family = "polution"'), "game.family = 'polution': unknown"),
    "far from all families": (with_game('family = "zzz"'), "unknown, known: bandit, commons,"),
    "no family": (with_game("horizon = 3"), "game.family: missing"),
    "family misspelt": (
        with_game('familly = "bandit"'),
        "game.familly: unknown, did you mean family?",
    ),
    "no game at all": (with_game(""), "game: got {}, must be a table, and not empty"),
    "unknown parameter": (
        with_game('family = "pollution"\nhorizn = 3'),
        "game.horizn: unknown, did you mean horizon?",
    ),
    "grid misspelt": (
        with_game('family = "pollution"\ngird.horizon = [3]'),
        "game.gird: unknown, did you mean grid?",
    ),
    "wrong type": (
        with_game('family = "pollution"\nhorizon = "x"'),
        "game.horizon: got 'x', must be a whole number",
    ),
    "the family's own rule": (
        with_game('family = "pollution"\nhorizon = 0'),
        "game: horizon: got 0, must be at least 1",
    ),
    "the family's own rule, in a grid": (
        with_game('family = "garnet"\nkey = 1\ngrid.branching = [9, 2]'),
        "game: branching: got 9, must be at most num_states = 5",
    ),
    "no key": (with_game('family = "garnet"'), "game.key: missing"),
    "no key in a group": (with_game('[game.g]\nfamily = "garnet"'), "game.g.key: missing"),
    "a bad key": (
        with_game('family = "garnet"\nkey = "x"'),
        "game: key: got 'x', must be a whole number",
    ),
    "a group without a family": (with_game("[game.g]\nhorizon = 3"), "game.g.family: missing"),
    "in a group": (
        with_game('[game.g]\nfamily = "pollution"\n[game.h]\nfamily = "pollution"\nhorizon = 0'),
        "game.h: horizon: got 0",
    ),
    "not a game": (
        with_game('family = "pajax.agents:UCB1"'),
        "game: got UCB1(bonus=2.0, memory='aware'), must be a pajax.Game",
    ),
    # agents and mechanisms
    "unknown class": (
        with_agent('class = "UCBV"'),
        "agents.a.class = 'UCBV': unknown, did you mean UCBVI?",
    ),
    "unknown class, in short": (
        f'{GAME}{STUDY}{MECHANISMS}[agents]\nq = "QLerning"',
        "agents.q.class = 'QLerning': unknown, did you mean QLearning?",
    ),
    "unknown constructor": (
        with_mechanism('class = "FlatTransfer.bst"'),
        "mechanisms.m.class = 'FlatTransfer.bst': unknown, did you mean FlatTransfer.best?",
    ),
    "a mechanism for an agent": (with_agent('class = "TwoPhase"'), "unknown, known: UCB1, UCBQ,"),
    "class misspelt": (with_agent('clas = "UCBVI"'), "agents.a.clas: unknown, did you mean class?"),
    "no class": (with_agent("bonus = 0.1"), "agents.a.class: missing"),
    "class a number": (with_agent("class = 3"), "agents.a.class: got 3, must be a name"),
    "a number for a part": (
        f"{GAME}{STUDY}{MECHANISMS}[agents]\nq = 3",
        "agents.q: got 3, must be a table",
    ),
    "unknown field": (
        with_agent(UCBVI + "bouns = 1"),
        "agents.a.bouns: unknown, did you mean bonus?",
    ),
    "the game is not a field": (
        with_agent('class = "BestResponse"\ngame = 3'),
        "agents.a.game: unknown",
    ),
    "text": (with_agent(UCBVI + 'bonus = "x"'), "agents.a.bonus: got 'x', must be a number"),
    "a bool": (with_agent(UCBVI + "bonus = true"), "agents.a.bonus: got True, must be a number"),
    "a list": (with_agent(UCBVI + "bonus = [1]"), "agents.a.bonus: got [1], must be a number"),
    "a date": (
        with_agent(UCBVI + "bonus = 2026-01-01"),
        "agents.a.bonus: got datetime.date(2026, 1, 1), must be a number",
    ),
    "not whole": (
        with_agent('class = "NeuralQ"\nseed = 1.5'),
        "agents.a.seed: got 1.5, must be a whole number",
    ),
    "a bool for an int": (
        with_mechanism('class = "QuantisedTransfers"\nlevels = true'),
        "mechanisms.m.levels: got True, must be a whole number",
    ),
    "an int for a bool": (
        with_agent(UCBVI + "stationary = 1"),
        "agents.a.stationary: got 1, must be true or false",
    ),
    "out of range": (
        with_agent(UCBVI + "bonus = -1"),
        "agents.a.bonus: got -1.0, must lie in [0, inf]",
    ),
    "no choice": (
        with_agent(UCBVI + 'memory = "x"'),
        "agents.a.memory: got 'x', must be one of aware, restarting, blind",
    ),
    "missing field": (
        with_mechanism('class = "FlatTransfer"\naction = 1'),
        "mechanisms.m.amount: missing",
    ),
    "the constructor's own rule": (
        with_mechanism('class = "FixedTransfers.make"\ntransfer = [1.0]'),
        "mechanisms.m: transfer: got shape (1,), must have axes [H, S, A, ...]",
    ),
    "no function": (
        with_agent('class = "NeuralQ"\noptimiser = "adam"'),
        "agents.a.optimiser: got 'adam', must be a function",
    ),
    # nested parts
    "unknown nested class": (
        with_mechanism(TWO_PHASE + 'estimator = { class = "Bisectoin" }'),
        "mechanisms.m.estimator.class = 'Bisectoin': unknown, did you mean Bisection?",
    ),
    "unknown nested field": (
        with_mechanism(TWO_PHASE + 'estimator = { class = "Bisection", inflatoin = 0.1 }'),
        "mechanisms.m.estimator.inflatoin: unknown, did you mean inflation?",
    ),
    "unknown field of a default": (
        with_mechanism(TWO_PHASE + "estimator.inflatoin = 0.1"),
        "mechanisms.m.estimator.inflatoin: unknown, did you mean inflation?",
    ),
    "nested, out of range": (
        with_mechanism(TWO_PHASE + "estimator.inflation = 0.9"),
        "mechanisms.m.estimator.inflation: got 0.9, must lie in [0, 0.5]",
    ),
    "a number for a nested part": (
        with_mechanism(TWO_PHASE + "estimator = 3"),
        "mechanisms.m.estimator: got 3, must be an object of a class made by pajax.pytree",
    ),
    "nothing nested there": (
        with_agent(UCBVI + "bonus = { scale = 1.0 }"),
        "agents.a.bonus.class: missing",
    ),
    "nested, needs the game": (
        with_mechanism(TWO_PHASE + 'estimator = { class = "RobustSubsidy" }'),
        "mechanisms.m.estimator: got RobustSubsidy, must not need the game",
    ),
    "nested, missing": (
        with_mechanism(TWO_PHASE + 'estimator = { class = "FlatTransfer" }'),
        "mechanisms.m.estimator.amount: missing",
    ),
    "nested, constructor's own rule": (
        with_mechanism(TWO_PHASE + 'estimator = { class = "FixedTransfers.make", transfer = [] }'),
        "mechanisms.m.estimator: transfer: got shape (0,), must have axes",
    ),
    # grids
    "grid of an unknown field": (
        with_agent(UCBVI + "grid.bouns = [1]"),
        "agents.a.grid.bouns: unknown, did you mean bonus?",
    ),
    "grid of an unknown nested field": (
        with_mechanism(TWO_PHASE + "grid.estimator.inflatoin = [0.1]"),
        "mechanisms.m.grid.estimator.inflatoin: unknown, did you mean inflation?",
    ),
    "grid of one number": (
        with_agent(UCBVI + "grid.bonus = 1"),
        "agents.a.grid.bonus: got 1, must be a list",
    ),
    "grid a number": (with_agent(UCBVI + "grid = 1"), "agents.a.grid: got 1, must be a table"),
    "an empty grid": (with_agent(UCBVI + "grid = {}"), "agents.a.grid: got {}, must be a table"),
    "grid without values": (
        with_agent(UCBVI + "grid.bonus = []"),
        "agents.a.grid.bonus: got no values, must have at least one",
    ),
    "grid, out of range": (
        with_agent(UCBVI + "grid.bonus = [1, -1]"),
        "agents.a.grid.bonus: got -1.0, must lie in [0, inf]",
    ),
    "grid, wrong type": (
        with_agent(UCBVI + 'grid.bonus = ["x"]'),
        "agents.a.grid.bonus: got 'x', must be a number",
    ),
    "grid, twice": (
        with_agent(UCBVI + "grid.bonus = [1, 1.0]"),
        "agents.a.grid.bonus: got 1.0 twice, must have different values",
    ),
    "in the grid and beside it": (
        with_agent(UCBVI + "bonus = 0.1\ngrid.bonus = [1]"),
        "agents.a.bonus: given twice, here and in the grid",
    ),
    "grid of the game": (
        with_agent('class = "BestResponse"\ngrid.game = [1]'),
        "agents.a.grid.game: unknown",
    ),
    "grid, unknown nested class": (
        with_mechanism(TWO_PHASE + 'grid.estimator = [{ class = "X" }]'),
        "mechanisms.m.grid.estimator.class = 'X': unknown",
    ),
    # one's own
    "no module": (
        with_agent('class = "no_such_module:X"'),
        "agents.a.class = 'no_such_module:X': No module named 'no_such_module'",
    ),
    "nothing in a module": (
        with_agent('class = "pajax.agents:UCBV"'),
        "agents.a.class = 'pajax.agents:UCBV': unknown, did you mean UCBVI?",
    ),
    "not to be called": (with_agent('class = "math:pi"'), "agents.a.class: 3.14"),
    "no function in a module": (
        with_agent('class = "NeuralQ"\noptimiser = "optax:addam"'),
        "agents.a.optimiser = 'optax:addam': unknown, did you mean adam?",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(text, message, load, tmp_path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(text)
    assert str(caught.value).startswith(f"{tmp_path / 'study.toml'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_problem_is_told(load):
    text = 'game = "x"\n' + STUDY + AGENTS + '[mechanisms]\nm = "y"\n'
    with pytest.raises(ValueError, match=r"game\.family"):
        load(text)


@pytest.mark.parametrize("table", ["agents", "mechanisms"])
def test_what_fails_when_the_game_is_known_says_where(table, own, load):
    others = AGENTS if table == "mechanisms" else MECHANISMS
    made = load(GAME + STUDY + others + f'[{table}]\nx = "{own}:broken"\n')[table]["x"]
    with pytest.raises(ValueError, match=rf"^{table}\.x: no such luck$"):
        made(px.games.bandit())


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        load_spec(tmp_path / "none.toml")


def test_a_folder(tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        load_spec(tmp_path)


def test_not_utf8(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes(SMALL.encode() + "# ü".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.toml: must be UTF-8 \(.*0xfc"):
        load_spec(path)


def test_a_path_may_be_text(tmp_path):
    path = Path(tmp_path, "a.toml")
    path.write_text(SMALL)
    assert load_spec(str(path)).keys() == load_spec(path).keys()
