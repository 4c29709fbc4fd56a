"""The stateless mechanisms against plain-loop oracles, in closed form, and on bandits.

The oracles' agent is a script: in each round the best response to the transfers posted, by rewards
of its own that drift; now and then a random action instead, for a round or for a whole stage. So
questions get both answers, and some contradict each other.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import stateless as oracles

import pajax as px
from pajax.games.bandit import two_player_bandit
from pajax.mechanisms.belgic import Belgic
from pajax.mechanisms.elimination import EliminationPrincipal
from pajax.mechanisms.epsilon_greedy import EpsilonGreedyPrincipal
from pajax.mechanisms.ipa import IPA
from pajax.protocols import Episode, Spec, Stage
from pajax.stages import stage_lengths
from pajax.testing import check_mechanism, trajectories

GAMES = {
    "bandit": px.games.bandit,
    "two players": two_player_bandit,
    "pollution": px.games.pollution,
}
MECHANISMS = {
    "belgic": Belgic(),
    "ipa": IPA(),
    "epsilon-greedy": EpsilonGreedyPrincipal(),
    "elimination": EliminationPrincipal(),
}


def marked(every, quick):
    """All combinations, those that are not quick marked slow."""
    slow = lambda names: () if names in quick else pytest.mark.slow  # noqa: E731
    return [pytest.param(*names, marks=slow(names), id="-".join(names)) for names in every]


# Conformance ---------------------------------------------------------------------------------

#: With phases so short that 40 episodes see several.
CHECKED = MECHANISMS | {"elimination": EliminationPrincipal(plays=0.01, repeats=0.1)}
QUICK_CHECKS = {("elimination", "two players")}  # test_conformance.py checks all, once


@pytest.mark.parametrize(
    ("mechanism", "game"), marked([(m, g) for m in MECHANISMS for g in GAMES], QUICK_CHECKS)
)
def test_conformance(mechanism, game):
    check_mechanism(CHECKED[mechanism], GAMES[game]())


# Contract for contract -----------------------------------------------------------------------

LANES, LONGEST = 2, 12


class Script:
    """An agent of one lane that answers an offer, and the rewards of its principal."""

    def __init__(self, seed, spec):
        self.rng, self.spec = np.random.default_rng([2406, seed]), spec
        self.utility = spec.horizon * self.rng.permutation(np.linspace(0, 0.9, spec.num_actions))
        self.means = self.rng.uniform(size=(spec.num_actions, spec.num_own_actions))

    def play(self, offer, num_episodes):
        """States, actions and own rewards of a stage, [episodes, H] each."""
        shape = (num_episodes, self.spec.horizon)
        self.utility += 0.01 * self.rng.normal(size=self.spec.num_actions)
        best = int(np.argmax(self.utility + np.asarray(offer.transfer)))
        if self.rng.uniform() < 0.1:
            best = int(self.rng.integers(self.spec.num_actions))
        is_random = self.rng.uniform(size=shape) < 0.2
        random = self.rng.integers(self.spec.num_actions, size=shape)
        actions = np.where(is_random, random, best)
        # eighths add up exactly, in any order
        mean = self.means[actions, offer.own_action]
        rewards = self.rng.binomial(8, mean) / 8.0
        return self.rng.integers(self.spec.num_states, size=shape), actions, rewards


@jax.jit
def play_stage(mechanism, state, episodes, stage):
    """The state after a stage, of which the first `num_episodes` episodes are played."""

    def play(i, state):
        return mechanism.update(state, jax.tree.map(lambda x: x[i], episodes))

    state = jax.lax.fori_loop(0, stage.num_episodes, play, state)
    state = mechanism.observe(state, stage)
    return state, mechanism.post(state)


def seen(spec, played, offers, words):
    """What lanes played in a stage as the mechanism is told it, episodes padded to one length."""
    states, actions, rewards = (np.stack(x, -1) for x in zip(*played, strict=True))
    own = np.broadcast_to([offer.own_action for offer in offers], states.shape)
    visits = np.zeros((spec.horizon, spec.num_states, spec.num_actions, LANES))
    for (i, h, lane), s in np.ndenumerate(states):
        visits[h, s, actions[i, h, lane], lane] += 1
    padded = [np.resize(x, (LONGEST, *x.shape[1:])) for x in (states, actions, own, rewards)]
    s, a, b = (jnp.asarray(x, jnp.int32) for x in padded[:3])
    v = jnp.asarray(padded[3])
    episodes = Episode(s, a, s, v, jnp.zeros_like(v), b)
    stage = Stage(jnp.asarray(visits), jnp.int32(len(states)), jnp.asarray(np.stack(words, -1)))
    return episodes, stage


def assert_posted(contract, offers):
    """The contract is the oracles' offers everywhere."""
    transfer, own_action, target = (np.stack(x, -1) for x in zip(*offers, strict=True))
    # a handful of float64 operations on numbers below 10
    assert (np.abs(np.asarray(contract.transfer) - transfer) < 1e-13).all()
    assert (np.asarray(contract.own_action) == own_action).all()
    assert (np.asarray(contract.target) == target).all()


def compare(mechanism, oracle, spec):
    """Play a whole run against the script, and compare every contract. Returns the oracles."""
    sizes = oracles.Sizes(spec.num_actions, spec.num_own_actions, spec.horizon, spec.num_episodes)
    principals = [oracle(sizes) for _ in range(LANES)]
    scripts = [Script(seed, spec) for seed in range(LANES)]
    state = mechanism.init(spec)
    contract = mechanism.post(state)
    for length in stage_lengths(spec.num_episodes, mechanism.adapting_until, spec.num_states):
        offers = [principal.post() for principal in principals]
        assert_posted(contract, offers)
        played = [s.play(offer, length) for s, offer in zip(scripts, offers, strict=True)]
        words = [script.rng.integers(2**32, size=2, dtype=np.uint32) for script in scripts]
        state, contract = play_stage(mechanism, state, *seen(spec, played, offers, words))
        for principal, offer, plays, key in zip(principals, offers, played, words, strict=True):
            pairs = zip(plays[1].ravel().tolist(), plays[2].ravel().tolist(), strict=True)
            principal.observe([(a, offer.own_action, v) for a, v in pairs], tuple(key.tolist()))
    return principals, mechanism.report(state)


SPECS = {
    "bandit": Spec(1, 5, 1, 1, 700, (LANES,)),
    "states, own actions": Spec(4, 3, 2, 3, 300, (LANES,)),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["belgic", "swept", "ipa"])
def test_search_then_bandit_contract_for_contract(name, spec):
    swept = {"alpha": 0.4, "beta": 0.3, "threshold": 0.6, "margin": 0.03, "bonus": 0.3}
    mechanism, oracle = {
        "belgic": (Belgic(), oracles.belgic),
        "swept": (Belgic(**swept), functools.partial(oracles.belgic, **swept)),
        "ipa": (IPA(), oracles.ipa),
    }[name]
    principals, report = compare(mechanism, oracle, SPECS[spec])
    for lane, principal in enumerate(principals):
        assert not principal.is_searching
        assert 0 < principal.num_yes < principal.questions * SPECS[spec].num_actions
        middle = [principal.middle(a) for a in range(SPECS[spec].num_actions)]
        found = np.asarray(report.transfer[..., lane])
        np.testing.assert_allclose(found, np.broadcast_to(middle, found.shape), rtol=0, atol=1e-13)
    assert not report.is_estimating.any() and report.is_resolved.all()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("options", [{}, {"exploration": 12.0, "margin": 0.02}], ids=["", "swept"])
def test_epsilon_greedy_contract_for_contract(options, spec):
    oracle = functools.partial(oracles.EpsilonGreedy, **options)
    principals, report = compare(EpsilonGreedyPrincipal(**options), oracle, SPECS[spec])
    assert min(principal.num_contradictions for principal in principals) > 10
    for lane, principal in enumerate(principals):
        found = np.asarray(report.transfer[..., lane])
        wanted = np.broadcast_to(principal.tau_hat(), found.shape)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "options",
    [
        {"plays": 0.05, "repeats": 0.4},
        {"plays": 0.02, "repeats": 0.5, "lead": 1.0, "safety": 1.0, "bonus": 0.2},
    ],
    ids=["short", "swept"],
)
def test_elimination_contract_for_contract(options, spec):
    oracle = functools.partial(oracles.Elimination, **options)
    principals, report = compare(EliminationPrincipal(**options), oracle, SPECS[spec])
    parts = {part for principal in principals for part in principal.parts}
    assert parts == {"sample", "search", "play", "compare"}
    assert sum(principal.num_lost for principal in principals) > 0
    for lane, principal in enumerate(principals):
        assert principal.phase > 3
        found = np.asarray(report.transfer[..., lane])
        np.testing.assert_array_equal(found, np.broadcast_to(principal.found, found.shape))
        assert bool(report.is_estimating[lane]) == (len(principal.active) > 1)


# Closed form: an agent that knows its game ---------------------------------------------------

BANDIT_TAU = np.array([0.6, 0.45, 0.3, 0.15, 0.0])
EFFICIENT = 1
#: float32 moves transfers and the agent's values by less than this.
ROUNDING = 1e-6


def final_state(mechanism, num_episodes):
    """The mechanism's state after a run against the best response on the bandit."""
    game = px.games.bandit()
    agent = px.agents.BestResponse(game=game)
    log, _ = trajectories(jax.random.key(3), game, agent, mechanism, num_episodes=num_episodes)
    return log.mechanism


@pytest.mark.parametrize(
    ("mechanism", "unit", "least", "most"),
    [(Belgic(margin=0.0), 4000**-0.25, 1, 4), (IPA(), 1 / 4000, 1, 2)],
    ids=["belgic", "ipa"],
)
def test_searched_transfers_are_as_accurate_as_stated(mechanism, unit, least, most):
    state = final_state(mechanism, 4000)
    excess = np.asarray(state.high + state.search.margin) - BANDIT_TAU
    assert (excess >= least * unit - ROUNDING).all()
    assert (excess <= most * unit + ROUNDING).all()


def test_choices_bound_the_agents_rewards():
    num_episodes, largest_excess = 2600, 0.3
    state = final_state(EpsilonGreedyPrincipal(exploration=50.0), num_episodes)
    differences = BANDIT_TAU[:, None] - BANDIT_TAU  # s_j - s_i
    assert (np.asarray(state.bounds) >= differences - ROUNDING).all()
    # in each of the first 2500 rounds it explores; a draw bounds tau_hat[a] by tau* + 0.3 with
    # probability p[a] or more, so that some bound is looser with probability sum (1 - p)^n
    starts = np.cumsum([0, *stage_lengths(num_episodes, 1.0)[:-1]])
    num_draws = np.count_nonzero(starts[1:] < 2500)
    drawn = np.random.default_rng(0).uniform(size=(200_000, 5))
    choice = np.argmax(drawn - BANDIT_TAU, axis=1)
    chosen = drawn[np.arange(len(drawn)), choice]
    is_tight = chosen - drawn.min(1) <= BANDIT_TAU[choice] + largest_excess
    p = np.bincount(choice[is_tight], minlength=5) / len(drawn)
    assert ((1 - p) ** num_draws).sum() < 1e-3
    assert (np.asarray(state.bounds).max(1) <= BANDIT_TAU + largest_excess).all()


def test_elimination_keeps_the_efficient_arm_and_what_suffices():
    state = final_state(EliminationPrincipal(plays=0.25, lead=1.5), 4000)
    assert np.flatnonzero(state.arms.is_active).tolist() == [EFFICIENT]
    excess = np.asarray(state.arms.transfer) - BANDIT_TAU
    assert (excess >= -ROUNDING).all()
    assert (excess <= 0.5 + ROUNDING).all()  # of the first phase, 2^-1
    assert excess[EFFICIENT] <= 2.0 ** (1 - float(state.phase)) + ROUNDING


# Efficient arms ------------------------------------------------------------------------------

AGENTS = {
    "best response": lambda game: px.agents.BestResponse(game=game),
    "ucbvi": lambda game: px.agents.UCBVI(),
    "q-learning": lambda game: px.agents.QLearning(),
}


@functools.cache
def late_share(game, agent, mechanism, num_episodes=20_000):
    """Share of W* in the last tenth of a run, of 4 seeds."""
    game, keys = GAMES[game](), jax.random.split(jax.random.key(5), 4)
    pair = AGENTS[agent](game), MECHANISMS[mechanism]
    record = (num_episodes * 9 // 10, num_episodes)
    run = jax.jit(
        lambda keys: px.simulate(keys, game, *pair, num_episodes=num_episodes, record=record)
    )
    optimal = px.planning.expected(game, px.planning.welfare_values(game))
    return 1.0 - np.asarray(run(keys).welfare_regret[1]) / (num_episodes // 10) / float(optimal)


QUICK_SHARES = {
    ("belgic", "ucbvi", "bandit"),
    ("belgic", "best response", "two players"),
    ("ipa", "best response", "bandit"),
}
SHARES = [
    (mechanism, agent, game)
    for mechanism in MECHANISMS
    for agent in AGENTS
    for game in ("bandit", "two players")
    if mechanism != "ipa" or agent == "best response"
]


@pytest.mark.parametrize(("mechanism", "agent", "game"), marked(SHARES, QUICK_SHARES))
def test_bandits_reach_the_efficient_arm(mechanism, agent, game):
    # what is lost is exploration: the agent's, Q-learning's 0.6 %, and epsilon-greedy's,
    # of the order of m / sqrt(K) = 3.5 % of rounds at half of W*
    assert (late_share(game, agent, mechanism) >= 0.97).all()


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["belgic", "ipa"])
def test_a_game_with_states_is_beyond_a_stateless_mechanism(mechanism):
    """Every contract pays one action one amount, so that no stage beats the best such contract."""
    game = px.games.pollution()
    flat = px.transfers.best_flat_contract(game, jnp.linspace(0.0, 5.0, 2001))
    best = float(flat.welfare / px.planning.expected(game, px.planning.welfare_values(game)))
    assert best < 0.9
    # regret is of the states met: a mean of 4 x 2,000 episodes of at most 10 has a standard
    # deviation below 5 / sqrt(8,000) = 0.06, and W* is 6.5
    share = late_share("pollution", "best response", mechanism)
    assert share.mean() <= best + 4 * 0.06 / 6.5
