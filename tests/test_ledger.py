"""What is recorded for the bounds is what plain loops find in the log of a run, lane by lane."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import exact, ledger
from scripted import Scripted

import pajax as px
from pajax.testing import Log, trajectories

pytestmark = pytest.mark.usefixtures("x64")

EPISODES, CHECKPOINTS = 300, [7, 50, 123, 300]


def game_with_a_rare_state() -> px.Game:
    """S = 3, A = 3, H = 3, two own actions; state 2 is met at step 0 in four of 1,000 episodes."""
    rng = np.random.default_rng(21)
    return px.make_game(
        transition=rng.dirichlet(np.ones(3), size=(3, 3, 3)),
        agent_reward=rng.uniform(size=(3, 3, 3)),
        principal_reward=rng.uniform(size=(3, 3, 3, 2)),
        initial=[0.6, 0.396, 0.004],
        horizon=3,
    )


def oracle_of(game: px.Game) -> exact.NumpyGame:
    names = ("transition", "agent_reward", "principal_reward", "initial")
    tables = {name: np.asarray(getattr(game, name), np.float64) for name in names}
    return exact.NumpyGame(**tables, horizon=game.horizon)


#: What differs between the even and the odd stages, and how many stages are phase one.
LANES = [("nothing", 0), ("nothing", 5), ("transfer", 5), ("target", 0), ("own_action", 0)]


def restless() -> Scripted:
    """Contracts that alternate, each lane in its own way."""
    rng = np.random.default_rng(22)
    drawn = {
        "transfer": np.maximum(rng.uniform(-0.5, 0.5, (2, 3, 3, 3)), 0.0),
        "own_action": rng.integers(0, 2, (2, 3, 3)),
        "target": rng.integers(-1, 3, (2, 3, 3)),
    }
    scripts = {
        name: jnp.stack([x if name == what else x[[0, 0]] for what, _ in LANES], -1)
        for name, x in drawn.items()
    }
    unknown = np.full((3, 3, 3), np.nan)
    return Scripted(
        transfer=scripts["transfer"],
        own_action=scripts["own_action"].astype(jnp.int32),
        target=scripts["target"].astype(jnp.int32),
        estimate=unknown,
        is_resolved=jnp.isfinite(unknown),
        estimating_stages=jnp.array([number for _, number in LANES], jnp.int32),
    )


def run_of(log: Log, lane: int | tuple[()], phase_one: int) -> ledger.Run:
    """What a lane did; phase one is at the beginning."""
    parts = (log.episodes.states, log.episodes.actions, *log.contracts)
    mine = (np.asarray(x)[..., lane] if lane != () else np.asarray(x) for x in parts)
    return ledger.Run(*mine, np.arange(len(parts[0])) < phase_one)


@pytest.fixture(scope="module")
def restless_run():
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(8), len(LANES))
        pair = game_with_a_rare_state(), px.agents.QLearning(epsilon=0.3), restless()
        log, _ = trajectories(keys, *pair, num_episodes=EPISODES)
        simulate = functools.partial(px.simulate, num_episodes=EPISODES, record=CHECKPOINTS)
        return jax.device_get((log, jax.jit(simulate)(keys, *pair)))


@pytest.mark.parametrize("lane", range(len(LANES)), ids=lambda i: LANES[i][0])
def test_accounts_of_lanes_that_differ(restless_run, lane):
    """To rounding: K H terms of at most 2 H, each good to a few H roundings (1e-9 is above).

    A share is rounded once, and counts are exact.
    """
    log, record = restless_run
    phase_one = record.phase_one[:, lane].sum()
    run = run_of(log, lane, phase_one)
    expected = ledger.keep_account(oracle_of(game_with_a_rare_state()), run, CHECKPOINTS)
    wanted = ledger.Account(*map(np.array, zip(*expected, strict=True)))
    sums = record._replace(
        principal_regret=record.principal_regret.cumsum(0), contracts=record.contracts.cumsum(0)
    )
    for name in ("contracts", "contract_age"):
        np.testing.assert_array_equal(getattr(sums, name)[:, lane], getattr(wanted, name), name)
    for name in ("principal_regret", "contract_regret", "coverage"):
        found = getattr(sums, name)[:, lane]
        np.testing.assert_allclose(found, getattr(wanted, name), rtol=0, atol=1e-9, err_msg=name)
    what, estimating_stages = LANES[lane]
    assert (phase_one > 0) == (estimating_stages > 0)
    if what == "nothing":  # one contract, which is not counted again when phase one ends
        np.testing.assert_array_equal(sums.contracts[:, lane], float(phase_one == 0))
        np.testing.assert_array_equal(sums.contract_age[:, lane], CHECKPOINTS)
    else:
        assert sums.contracts[-1, lane] > 20
        assert sums.contract_age[-1, lane] < 20


def test_what_the_optimum_hardly_meets_does_not_matter(restless_run):
    """The rare state is seldom met, and coverage is not that of it."""
    log, record = restless_run
    game = oracle_of(game_with_a_rare_state())
    assert not ledger.matters(game)[0, 2]
    assert ledger.matters(game).sum() == 8
    met = (log.episodes.states[:, 0] == 2).mean(0)
    assert (met < 0.02).all()
    assert (record.coverage[-1] > 0.05).all()


def test_the_account_of_two_phases():
    """Contracts of phase two alone are counted; errors are those of the last estimates."""
    game, num_episodes = px.games.pollution(), 1200
    mechanism = px.mechanisms.TwoPhase(min_visits=6.0, width=0.4)
    agent = px.agents.QLearning()
    run = trajectories(jax.random.key(9), game, agent, mechanism, num_episodes=num_episodes)
    log, record = jax.device_get(run)
    assert 0 < record.phase_one < num_episodes
    oracle = oracle_of(game)
    played = run_of(log, (), record.phase_one)
    (wanted,) = ledger.keep_account(oracle, played, [num_episodes])
    assert record.contracts == wanted.contracts > 5
    assert record.contract_age == wanted.contract_age
    for name in ("principal_regret", "contract_regret", "coverage"):  # rounding as above
        assert abs(getattr(record, name) - getattr(wanted, name)) <= 1e-8, name
    num_begun = sum(played.has_new_contract(k) for k in range(num_episodes))
    assert wanted.contracts < num_begun  # phase one had some, too
    report = mechanism.report(log.mechanism)
    error = np.abs(report.transfer - exact.minimal_transfers(oracle))[report.is_resolved]
    np.testing.assert_allclose(record.worst_transfer_error, error.max(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(record.transfer_error, error.mean(), rtol=0, atol=1e-12)
    assert error.max() > 1.5 * error.mean()
