"""Every agent against every mechanism in games of several kinds, and what is said of broken parts.

One check of a pair is two compilations or more, so by default each part is met at least once; every
agent under every mechanism, in one game or the other, is marked slow. Games of the library are
checked in their own files.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pajax as px
from pajax._pytree import pytree
from pajax.protocols import Contract, Report
from pajax.testing import check_agent, check_game, check_mechanism


def random_game(num_own_actions: int = 2, horizon: int = 3) -> px.Game:
    """S = 4, A = 2, every table its own at each step."""
    rng = np.random.default_rng(15)
    return px.make_game(
        transition=rng.dirichlet(np.ones(4), size=(horizon, 4, 2)),
        agent_reward=rng.uniform(size=(horizon, 4, 2)),
        principal_reward=rng.uniform(size=(horizon, 4, 2, num_own_actions)),
        initial=rng.dirichlet(np.ones(4)),
        horizon=horizon,
    )


GAMES = {"pollution": px.games.pollution, "random": random_game}
AGENTS = {
    "best response": lambda game: px.agents.BestResponse(game=game, epsilon=0.1),
    "q-learning": lambda game: px.agents.QLearning(),
    "q-learning, restarting": lambda game: px.agents.QLearning(memory="restarting"),
    "ucb-q": lambda game: px.agents.UCBQ(),
    "ucb-q, blind": lambda game: px.agents.UCBQ(memory="blind"),
    "ucbvi": lambda game: px.agents.UCBVI(),
    "ucbvi, a model a step": lambda game: px.agents.UCBVI(stationary=False, memory="restarting"),
    "posterior sampling": lambda game: px.agents.PosteriorSampling(),
    "logit": lambda game: px.agents.Logit(),
    "policy gradient": lambda game: px.agents.PolicyGradient(),
    "exp3": lambda game: px.agents.Exp3(),
    "neural q": lambda game: px.agents.NeuralQ(),
}
MECHANISMS = {
    "none": lambda game: px.mechanisms.NoTransfer(),
    "oracle": px.mechanisms.FixedTransfers.oracle,
    "flat": lambda game: px.mechanisms.FlatTransfer(amount=0.3, action=1),
    "quantised": lambda game: px.mechanisms.QuantisedTransfers(game=game),
    "parallel": lambda game: px.mechanisms.TwoPhase(min_visits=2.0, width=0.5),
    "backward": lambda game: px.mechanisms.TwoPhase(min_visits=2.0, order="backward"),
    "logit": lambda game: px.mechanisms.LogitTransfers(min_visits=2.0, width=0.5),
    "residual claimant": lambda game: px.mechanisms.ResidualClaimant(),
    "pigouvian": lambda game: px.mechanisms.PigouvianTax(),
    "robust": lambda game: px.mechanisms.RobustSubsidy(game=game),
    "belgic": lambda game: px.mechanisms.Belgic(),
    "ipa": lambda game: px.mechanisms.IPA(),
    "epsilon-greedy": lambda game: px.mechanisms.EpsilonGreedyPrincipal(),
    "elimination": lambda game: px.mechanisms.EliminationPrincipal(),
}
QUICK = {
    ("random", "best response", "parallel"),
    ("pollution", "ucb-q", "oracle"),
    ("pollution", "ucbvi", "backward"),
    ("random", "q-learning, restarting", "quantised"),
    ("random", "ucb-q, blind", "none"),
    ("random", "ucbvi, a model a step", "flat"),
    ("pollution", "q-learning", "logit"),
    ("random", "ucbvi", "residual claimant"),
    ("random", "q-learning", "pigouvian"),
    ("pollution", "posterior sampling", "belgic"),
    ("random", "logit", "elimination"),
    ("random", "policy gradient", "epsilon-greedy"),
    ("pollution", "exp3", "robust"),
    ("random", "neural q", "ipa"),
}
SLOW = {
    (("pollution", "random")[(i + j) % 2], agent, mechanism)
    for i, agent in enumerate(AGENTS)
    for j, mechanism in enumerate(MECHANISMS)
}
EVERY = [
    pytest.param(*names, marks=() if names in QUICK else pytest.mark.slow, id="-".join(names))
    for names in sorted(QUICK | SLOW)
]


def test_the_quick_selection_meets_every_mechanism_and_game():
    games, agents, mechanisms = (set(names) for names in zip(*QUICK, strict=True))
    assert games == set(GAMES)
    assert mechanisms == set(MECHANISMS)
    assert agents == set(AGENTS)


def test_every_part_of_the_library_is_here():
    parts = [make(px.games.pollution()) for make in (*AGENTS.values(), *MECHANISMS.values())]
    met = {type(part).__name__ for part in parts}
    for package in (px.agents, px.mechanisms):
        of_games = set(package.__all__) - {"Bisection", "DiscreteChoice", "OptimisticSteering"}
        assert of_games - {"UCB1", "ThompsonSampling"} <= met  # these: test_bandit_learners.py


@pytest.mark.parametrize(("game", "agent", "mechanism"), EVERY)
def test_every_pair(game, agent, mechanism):
    game = GAMES[game]()
    check_mechanism(MECHANISMS[mechanism](game), game, AGENTS[agent](game))


@pytest.mark.parametrize("agent", ["q-learning", "ucb-q"])
@pytest.mark.slow
def test_agents_by_default(agent):
    check_agent(AGENTS[agent](px.games.pollution()))


ALL_GAMES = {
    "bandit": px.games.bandit,
    "garnet, a chain": lambda: px.games.garnet(
        jax.random.key(0), mixing=0.0, reach=1, initial="first", reward_sparsity=0.5
    ),
    "garnet": lambda: px.games.garnet(jax.random.key(0)),
    "garnet, a batch": lambda: px.games.garnet(jax.random.key(0), num_games=3),
    "pollution, gaussian": lambda: px.games.pollution(horizon=2, noise="gaussian"),
    "random": random_game,
}
SLOW_GAMES = ("garnet", "garnet, a chain", "pollution, gaussian", "random")


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.slow if x in SLOW_GAMES else ()) for x in ALL_GAMES],
)
def test_every_game(name):
    check_game(ALL_GAMES[name]())


# Broken parts, each with the rule that it breaks, in a game of one step


class Memory(NamedTuple):
    count: Any


@pytree
class Plays:
    """A proper agent that plays action 1 for ever, to be broken in one method at a time."""

    num_words = 0

    def init(self, spec):
        return Memory(spec.zeros())

    def begin(self, state, contract):
        return state

    def act(self, state, h, s, words):
        return jnp.ones_like(s), None

    def update(self, state, episode, memo):
        return Memory(state.count + 1.0)


@pytree
class Posts:
    """A proper mechanism that pays 0.1 for action 1, to be broken likewise."""

    adapting_until = 0.5

    def init(self, spec):
        paid = jnp.where(jnp.arange(spec.num_actions) == 1, 0.1, 0.0)
        transfer = spec.per_action() + paid.reshape((-1,) + (1,) * len(spec.lanes))
        return Contract(transfer, spec.per_state(0), spec.per_state(1))

    def post(self, state):
        return state

    def update(self, state, episode):
        return state

    def observe(self, state, stage):
        return state

    def report(self, state):
        nothing = jnp.full_like(state.transfer, jnp.nan)
        return Report(state.target[0, 0] < 0, nothing, state.transfer >= 0.0)


def broken(proper, **methods):
    """An instance of `proper` with some methods replaced."""
    return pytree(type("Broken", (proper,), {"__annotations__": {}, **methods}))()


def float_actions(self, state, h, s, words):
    return jnp.ones(s.shape), None


def small_integers(self, state, h, s, words):
    return jnp.ones(s.shape, jnp.int8), None


def too_large_actions(self, state, h, s, words):
    return jnp.full_like(s, 99), None


def negative_actions(self, state, h, s, words):
    return jnp.full_like(s, -1), None


def one_action_for_all(self, state, h, s, words):
    return jnp.int32(1), None


def growing(self, state, *_):
    return Memory(jnp.stack([state.count, state.count]))


def whole_numbers(self, state, *_):
    return Memory(state.count.astype(jnp.int32))


def peeking(self, state, h, s, words):
    """Plays another action where there are other lanes."""
    return jnp.full_like(s, 2 if s.size > 1 else 1), None


def drawing_from_numpy(self, state, h, s, words):
    return jnp.full_like(s, GENERATOR.integers(2)) * 0, jnp.full(s.shape, GENERATOR.random())


def no_memo(self, state, h, s, words):
    return jnp.zeros_like(s)


def for_one_pair(self, state, episode, memo):
    return state + jnp.zeros(3) * jnp.zeros((2, 5))


GENERATOR = np.random.default_rng(0)
BROKEN_AGENTS = {
    "numbers of numpy": ({"act": drawing_from_numpy}, r"act: .*random words alone, not numpy"),
    "no memo": ({"act": no_memo}, "act: must return an action and a memo"),
    "not lifted": ({"update": for_one_pair}, r"update: .*pajax\.lift"),
    "float actions": ({"act": float_actions}, "act: .*int32"),
    "actions of 8 bits": ({"act": small_integers}, "act: .*int32"),
    "actions too large": ({"act": too_large_actions}, r"act: .*0\.\.4"),
    "negative actions": ({"act": negative_actions}, r"act: .*0\.\.4"),
    "no lanes": ({"act": one_action_for_all}, "act: .*(shape|lane)"),
    "begin changes the shape": ({"begin": growing}, "begin: .*shapes"),
    "begin changes the type": ({"begin": whole_numbers}, "begin: .*types"),
    "update changes the shape": ({"update": growing}, "update: .*shapes"),
    "update changes the type": ({"update": whole_numbers}, "update: .*types"),
    "lanes that peek": ({"act": peeking}, "lane 0"),
}


def test_proper_parts_pass():
    check_mechanism(Posts(), px.games.bandit(), Plays())


@pytest.mark.parametrize(("methods", "rule"), BROKEN_AGENTS.values(), ids=BROKEN_AGENTS.keys())
def test_a_broken_agent_is_told_its_rule(methods, rule):
    with pytest.raises(AssertionError, match=rule):
        check_agent(broken(Plays, **methods), px.games.bandit())


def test_a_class_is_not_an_agent():
    with pytest.raises(AssertionError, match=r"agent: got <class .*, must be an object made by"):
        check_agent(px.agents.UCBVI)
    with pytest.raises(ValueError, match=r"agent: got <class .*, must be an object of a class"):
        px.lift(px.agents.UCBVI)


def posting(change):
    return {"post": lambda self, state: change(state)}


def moving(self, state, stage):
    return state._replace(transfer=jnp.stack([state.transfer, state.transfer]))


def shrinking(self, state, stage):
    return state._replace(transfer=state.transfer.astype(jnp.float16))


def unsettled(self, state, stage):
    """Fine at first, negative later."""
    return state._replace(transfer=state.transfer - 0.05)


def speechless(self, state):
    return Report(state.target[0, 0] < 0, state.transfer[0], state.transfer >= 0.0)


BROKEN_MECHANISMS = {
    "negative transfers": (posting(lambda c: c._replace(transfer=c.transfer - 1.0)), "post: .*0"),
    "negative later": ({"observe": unsettled}, "post: .*at least 0"),
    "no number": (posting(lambda c: c._replace(transfer=c.transfer * jnp.nan)), "post: "),
    "transfers of [H, S]": (posting(lambda c: c._replace(transfer=c.transfer[:, :, 0])), "post: "),
    "float targets": (
        posting(lambda c: c._replace(target=c.target.astype(float))),
        "target.*must be int32",
    ),
    "float own actions": (
        posting(lambda c: c._replace(own_action=c.own_action.astype(float))),
        "own_action.*must be int32",
    ),
    "own actions too large": (
        posting(lambda c: c._replace(own_action=c.own_action + 7)),
        "own_action",
    ),
    "targets too large": (posting(lambda c: c._replace(target=c.target + 70)), "target"),
    "update changes the shape": ({"update": moving}, "update: .*shapes"),
    "observe changes the shape": ({"observe": moving}, "observe: .*shapes"),
    "observe changes the type": ({"observe": shrinking}, "observe: .*types"),
    "a report of other shape": ({"report": speechless}, "report: .*must be"),
}


@pytest.mark.parametrize(
    ("methods", "rule"), BROKEN_MECHANISMS.values(), ids=BROKEN_MECHANISMS.keys()
)
def test_a_broken_mechanism_is_told_its_rule(methods, rule):
    with pytest.raises(AssertionError, match=rule):
        check_mechanism(broken(Posts, **methods), px.games.bandit(), Plays())


def spoilt(**changes) -> px.Game:
    game = px.games.pollution(horizon=2)
    fields = ("transition", "agent_reward", "principal_reward", "initial")
    tables = {name: changes.get(name, lambda x: x)(getattr(game, name)) for name in fields}
    return px.Game(**tables, noise_scale=0.1, horizon=2)


BROKEN_GAMES = {
    "rows that sum to 2": ({"transition": lambda p: 2.0 * p}, "transition: .*sum to 1"),
    "negative": ({"initial": lambda p: p - 1.0}, "initial: .*at least 0"),
    "rewards above 1": ({"agent_reward": lambda u: u + 1.0}, "agent_reward: .*0, 1"),
    "rewards below 0": ({"principal_reward": lambda v: v - 1.0}, "principal_reward: .*0, 1"),
    "no number": ({"agent_reward": lambda u: u * jnp.nan}, "agent_reward: .*0, 1"),
}


@pytest.mark.parametrize("name", BROKEN_GAMES)
def test_a_broken_game_is_told_its_rule(name):
    changes, rule = BROKEN_GAMES[name]
    with pytest.raises(AssertionError, match=rule):
        check_game(spoilt(**changes))
