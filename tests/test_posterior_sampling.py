"""Posterior sampling: its draws, its posterior, its trajectories, its regret; and gamma numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import posterior, reenactment
from scipy import stats
from scripted import scripted
from test_trajectories import compare, random_game

import pajax as px
from pajax import draws, model
from pajax.agents import experience
from pajax.agents.posterior_sampling import PosteriorSampling, draw_model
from pajax.protocols import Contract, Spec
from pajax.testing import check_agent

# A Kolmogorov-Smirnov test at this level, about 30 of them: all pass with probability 0.997.
LEVEL = 1e-4
SAMPLES = 100_000


def random_keys(seed: int, *shape: int) -> jax.Array:
    words = np.random.default_rng(seed).integers(0, 2**32, (2, *shape), dtype=np.uint32)
    return jnp.asarray(words)


def fits(samples, cdf) -> bool:
    return stats.kstest(np.asarray(samples, np.float64).ravel(), cdf).pvalue > LEVEL


# Words made of two words


def test_expanded_words_have_the_documented_blocks():
    key = random_keys(0, 3)
    found = draws.expand(key, 5, (2, 4), first=7)
    for lane in range(3):
        one = tuple(int(x) for x in key[:, lane])
        for row, column in np.ndindex(2, 4):
            expected = reenactment.threefry2x32(one, (5, 7 + 4 * row + column))
            assert tuple(int(x[row, column, lane]) for x in found) == expected


def test_expanded_words_without_lanes_or_axes():
    key = random_keys(0)
    first, second = draws.expand(key, 1, ())
    expected = reenactment.threefry2x32(tuple(int(x) for x in key), (1, 0))
    assert (int(first), int(second)) == expected


# Normal and gamma numbers


def test_normal_numbers_are_the_quantiles_of_their_words(x64):
    words = np.append(random_keys(1, 2000), np.array([0, 255, 2**32 - 1], np.uint32))
    found = draws.normal(jnp.asarray(words))
    # both sides are rational approximations good to 2e-15 or so of numbers below 5.5
    np.testing.assert_allclose(found, [posterior.normal(int(w)) for w in words], atol=2e-14, rtol=0)


def test_normal_numbers_are_finite_and_symmetric():
    words = jnp.asarray([0, 2**32 - 1, 2**31, 2**31 - 1], jnp.uint32)
    low, high, above, below = np.asarray(draws.normal(words))
    assert -low == high == pytest.approx(5.42, abs=0.005)
    assert -below == above > 0.0


def test_normal_numbers_have_the_law():
    assert fits(draws.normal(random_keys(2, SAMPLES)[0]), stats.norm.cdf)


gamma = jax.jit(draws.gamma, static_argnums=1)
SHAPES = (0.5, 1.0, 2.7, 50.0, 1e4)


@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_numbers_have_the_law(shape):
    found = gamma(random_keys(3, SAMPLES), 0, jnp.full(SAMPLES, shape))
    assert fits(found, stats.gamma(shape).cdf)


def test_gamma_numbers_of_one_key_are_independent():
    """Correlations of 2 x 3 numbers; each is normal with deviation N^(-1/2), 15 of them below 5."""
    found = gamma(random_keys(4, SAMPLES), 0, jnp.full((2, 3, SAMPLES), 1.3))
    correlation = np.corrcoef(np.asarray(found).reshape(6, -1)) - np.eye(6)
    assert np.abs(correlation).max() < 5.0 / np.sqrt(SAMPLES)


def test_gamma_numbers_are_those_of_the_paper(x64):
    """Step by step. Exponents up to 1e3 are rounded at 1e-13 in the oracle, and near 0 the series
    of `draws` is cut at 1e-8: a proposal is judged otherwise less than once in 1e6."""
    shapes = np.geomspace(0.3, 1e3, 60).reshape(3, 20)
    keys = random_keys(5, 2)
    found = gamma(keys, 9, jnp.broadcast_to(shapes[..., None], (3, 20, 2)))
    for lane in range(2):
        expected = posterior.gammas(tuple(int(x) for x in keys[:, lane]), 9, shapes)
        # below 1 a rounding of log V by 1e-8 / 0.3 at most is one of the number
        np.testing.assert_allclose(found[..., lane], expected, rtol=1e-7)


def test_the_stated_probability_that_no_proposal_is_accepted():
    """Of the four proposals at a = 1, by quadrature over x of 1 - min(1, likelihood)."""
    x = np.linspace(-9.0, 9.0, 400_001)
    for shape, stated in ((1.0, 5.5e-6), (2.0, 1.1e-7), (50.0, 1e-13)):
        d = shape - 1.0 / 3.0
        v = np.maximum(1.0 + x / np.sqrt(9.0 * d), 1e-100) ** 3
        likelihood = np.exp(np.minimum(0.0, 0.5 * x * x + d - d * v + d * np.log(v)))
        refused = np.trapezoid((1.0 - likelihood) * stats.norm.pdf(x), x)
        assert refused**draws.PROPOSALS == pytest.approx(stated, rel=0.05)


dirichlet = jax.jit(draws.dirichlet, static_argnums=(1, 3))


def test_beta_and_dirichlet_numbers_have_the_law():
    keys = random_keys(6, SAMPLES)
    beta = jax.jit(draws.beta, static_argnums=1)
    beta = beta(keys, 0, jnp.full(SAMPLES, 0.7), jnp.full(SAMPLES, 3.0))
    assert fits(beta, stats.beta(0.7, 3.0).cdf)
    weights = np.array([0.5, 1.0, 4.0])
    drawn = dirichlet(keys, 1, jnp.broadcast_to(weights[:, None], (3, SAMPLES)), 0)
    # three quotients by one sum of three: each rounds by 2^-24, the sum by twice that
    np.testing.assert_allclose(drawn.sum(0), 1.0, atol=4 * 2.0**-24)
    for i, weight in enumerate(weights):
        assert fits(drawn[i], stats.beta(weight, weights.sum() - weight).cdf)


def test_a_dirichlet_whose_mass_underflows_is_still_a_distribution():
    drawn = dirichlet(random_keys(7, 1000), 0, jnp.full((2, 1000), 1e-3), 0)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn.sum(0), 1.0, atol=4 * 2.0**-24)


# The posterior and its draws


def some_counts(num_steps: int, num_states: int = 3, num_actions: int = 2) -> model.Model:
    rng = np.random.default_rng(8)
    transitions = rng.integers(0, 5, (num_steps, num_states, num_actions, num_states))
    rewards = rng.uniform(size=transitions.shape[:3]) * transitions.sum(3)
    return model.Model(jnp.asarray(transitions, float), jnp.asarray(rewards, float))


def test_a_model_drawn_has_the_law_of_the_posterior():
    """All of 12 probabilities and 4 mean rewards, with a prior weight of 1/2."""
    counts = some_counts(1, 2)
    lanes = jax.tree.map(lambda x: jnp.broadcast_to(x[..., None], (*x.shape, SAMPLES)), counts)
    rewards, kernel = jax.jit(draw_model)(random_keys(9, SAMPLES), lanes, 0.5)
    assert rewards.shape[:-1] == (1, 2, 2)
    weights = 0.5 + np.asarray(counts.transitions, np.float64)
    for at in np.ndindex(*weights.shape):
        row = weights[at[:3]]
        assert fits(kernel[at], stats.beta(row[at[3]], row.sum() - row[at[3]]).cdf)
    for at in np.ndindex(1, 2, 2):
        successes = float(counts.rewards[at])
        failures = float(counts.transitions[at].sum()) - successes
        assert fits(rewards[at], stats.beta(1.0 + successes, 1.0 + failures).cdf)


@pytest.mark.parametrize(("memory", "stationary"), [("aware", False), ("blind", True)])
def test_the_plan_is_that_of_the_model_drawn(x64, memory, stationary):
    """Posterior parameters, draw and plan, from the same counts and words; all rounded alike."""
    horizon, counts = 3, some_counts(3)
    sizes = reenactment.Sizes(horizon, 3, 2, 100)
    rng = np.random.default_rng(10)
    transfer, payments = rng.uniform(size=(2, horizon, 3, 2))
    agent = PosteriorSampling(prior=0.7, stationary=stationary, memory=memory)
    words = random_keys(11)
    state = agent.init(Spec(3, 2, 1, horizon, 100))._replace(
        seen=experience.Experience(counts, jnp.asarray(payments), jnp.zeros((horizon, 3, 2))),
        words=words,
        episodes=jnp.asarray(5.0),
    )
    none = jnp.zeros((horizon, 3), jnp.int32)
    begun = jax.jit(agent.begin)(state, Contract(jnp.asarray(transfer), none, none))
    oracle = posterior.PosteriorSampling(sizes, None, 0.7, memory, stationary)
    oracle.transitions, oracle.rewards = (np.asarray(x, np.float64) for x in counts)
    oracle.payments, oracle.transfer = payments, transfer
    key = tuple(int(x) for x in words)
    weights, successes, failures = oracle.posterior()
    expected = oracle.plan(
        posterior.betas(key, 1, successes, failures), posterior.dirichlets(key, 0, weights)
    )
    # numbers drawn agree to 1e-7 at worst (see above), and a plan adds 3 steps of them
    np.testing.assert_allclose(begun.q_values.reshape(expected.shape), expected, atol=1e-6)
    assert float(begun.epsilon) == 0.0


def test_the_first_stage_is_uniform():
    """3,000 actions: chi-square of 2 degrees, beyond 18.4 once in 1e4."""
    agent, lanes = PosteriorSampling(), 3000
    spec = Spec(2, 3, 1, 4, 10, (lanes,))
    contract = Contract(spec.per_action(), spec.per_state(0), spec.per_state(-1))
    state = jax.jit(agent.begin)(agent.init(spec), contract)
    words = random_keys(12, lanes)
    action, memo = agent.act(state, jnp.int32(1), jnp.zeros(lanes, jnp.int32), words)
    counts = np.bincount(np.asarray(action), minlength=3)
    assert ((counts - lanes / 3) ** 2 / (lanes / 3)).sum() < 18.4
    np.testing.assert_array_equal(memo, words)


def test_forgetting_clears_what_changed_alone():
    spec = Spec(2, 2, 1, 2, 10)
    before = jax.tree.map(jnp.ones_like, experience.empty(spec))
    posted = before.transfer.at[1, 0, 1].set(0.5)
    contract = Contract(posted, spec.per_state(0), spec.per_state(1))
    after = experience.begin(before, contract, "restarting")
    kept = np.ones((2, 2, 1))
    kept[1, 0] = 0.0
    for table in (after.model.rewards, after.payments):
        np.testing.assert_array_equal(table, np.broadcast_to(kept, (2, 2, 2)))
    transitions = np.broadcast_to(kept[..., None], (2, 2, 2, 2))
    np.testing.assert_array_equal(after.model.transitions, transitions)
    np.testing.assert_array_equal(after.transfer, posted)
    for memory in ("aware", "blind"):
        same = experience.begin(before, contract, memory)
        for table, was in zip(jax.tree.leaves(same)[:3], jax.tree.leaves(before), strict=False):
            np.testing.assert_array_equal(table, was)


# Trajectories


def two_contracts(game) -> np.ndarray:
    """Two contracts [2, H, S, A] that differ in half of the states."""
    rng = np.random.default_rng(13)
    shape = (game.horizon, game.num_states, game.num_actions)
    first, second = rng.uniform(0.0, 0.6, size=(2, *shape))
    second[:, ::2] = first[:, ::2]
    return np.stack([first, second])


def words_of(seed: int = 7):
    """Words of the pair that `compare` plays."""
    key = jax.random.fold_in(jax.random.key(11), seed)
    return reenactment.threefry_words(tuple(int(x) for x in jax.random.key_data(key)))


GAMES = {
    "random": lambda: random_game(3, horizon=3, stationary=False),
    "deterministic rewards": lambda: px.games.pollution(horizon=2, noise="deterministic"),
}
CASES = [
    ("deterministic rewards", "aware", True),
    pytest.param("random", "restarting", False, marks=pytest.mark.slow),
    pytest.param("random", "aware", False, marks=pytest.mark.slow),
    pytest.param("random", "blind", True, marks=pytest.mark.slow),
    pytest.param("deterministic rewards", "restarting", True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("game", "memory", "stationary"), CASES)
def test_trajectories_are_those_of_the_oracle(x64, game, memory, stationary):
    game, num_episodes = GAMES[game](), 120
    sizes = reenactment.Sizes(game.horizon, game.num_states, game.num_actions, num_episodes)
    contracts = two_contracts(game)
    agents = (
        PosteriorSampling(prior=0.6, memory=memory, stationary=stationary),
        posterior.PosteriorSampling(sizes, words_of(), 0.6, memory, stationary),
    )
    mechanisms = (scripted(game, contracts), posterior.AlternatingContracts(contracts))
    log, expected = compare(game, agents, mechanisms, num_episodes)
    assert len(np.unique(expected.actions)) == game.num_actions
    np.testing.assert_array_equal(log.agent.episodes, num_episodes)


# Conformance, and one result whatever the batch


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"stationary": False, "memory": "blind"}])
def test_conformance(fields):
    check_agent(PosteriorSampling(**fields))


NUM_LANES = 9  # one more than a vector register of 8 holds: a scalar rest, too


@functools.partial(jax.jit, static_argnames="agent_fields")
def run(keys, agent_fields=()):
    agent, game = PosteriorSampling(**dict(agent_fields)), px.games.pollution(horizon=3)
    return px.simulate(keys, game, agent, px.mechanisms.NoTransfer(), num_episodes=200)


@pytest.mark.parametrize(
    "fields", [(), pytest.param((("stationary", False),), marks=pytest.mark.slow)]
)
def test_a_lane_is_its_pair_alone_bit_by_bit(fields):
    keys = jax.random.split(jax.random.key(0), NUM_LANES)
    batch = run(keys, fields)
    for lane in (0, NUM_LANES - 1):
        alone = run(keys[lane], fields)
        for name, found, expected in zip(batch._fields, batch, alone, strict=True):
            np.testing.assert_array_equal(found[:, lane], expected, err_msg=name)


def study(chunk_lanes, num_seeds=7, num_episodes=200):
    return px.study(
        jax.random.key(1),
        px.games.pollution(),
        agents={"psrl": PosteriorSampling()},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=num_episodes,
        num_seeds=num_seeds,
        chunk_lanes=chunk_lanes,
        devices=jax.devices()[:1],
        progress=False,
    )


@pytest.mark.slow
def test_chunks_change_no_number():
    want = study(64)
    for chunk_lanes in (1, 3):
        found = study(chunk_lanes)
        for name in want.variables:
            np.testing.assert_array_equal(found[name], want[name], err_msg=name)


# Regret


@pytest.mark.slow
def test_regret_without_transfers_grows_slower_than_a_root():
    """The median of 32 pairs less than doubles from 1,000 to 4,000 episodes.

    Over 32 such batches the ratio had mean 1.58 and deviation 0.10. (A median, since the mean hangs
    on the few pairs that the module tells of.)
    """
    regret = study(None, num_seeds=32, num_episodes=4000).agent_regret.squeeze()
    median = regret.interp(episode=[1000.0, 4000.0]).median("seed").to_numpy()
    assert median[1] < 2.0 * median[0]
