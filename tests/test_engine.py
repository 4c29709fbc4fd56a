"""What is recorded of a run is what happened: means, sums, schedules, status, edge cases, traces.

Exact values of mixed policies are computed here in float64, from THEORY.md, section 1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import exact
from scripted import scripted

import pajax as px
from pajax.ledger import PARTIAL, Record
from pajax.stages import checkpoints, make_schedule, stage_lengths
from pajax.studies import batch, kept
from pajax.studies.batch import LONGEST_INTERVAL, refine
from pajax.testing import trajectories

# Games, as pajax and as the oracle have them


def small_game(*, own_actions: int, noise: str = "bernoulli", seed: int = 0) -> px.Game:
    """S = 3, A = 3, H = 3, every table its own at each step."""
    rng = np.random.default_rng([12, seed])
    return px.make_game(
        transition=rng.dirichlet(np.ones(3), size=(3, 3, 3)),
        agent_reward=rng.uniform(size=(3, 3, 3)),
        principal_reward=rng.uniform(size=(3, 3, 3, own_actions)),
        initial=rng.dirichlet(np.ones(3)),
        horizon=3,
        noise=noise,
    )


def oracle_of(game: px.Game) -> exact.NumpyGame:
    names = ("transition", "agent_reward", "principal_reward", "initial")
    tables = {name: np.asarray(getattr(game, name), np.float64) for name in names}
    return exact.NumpyGame(**tables, horizon=game.horizon)


class Contract(NamedTuple):
    transfer: np.ndarray  # [H, S, A]
    own_action: np.ndarray  # [H, S]
    target: np.ndarray  # [H, S]


def random_contract(game: px.Game, seed: int) -> Contract:
    """Transfers on about half of the actions; targets and own actions at random, some none."""
    rng = np.random.default_rng([13, seed])
    states = (game.horizon, game.num_states)
    transfer = np.maximum(rng.uniform(-0.5, 0.5, (*states, game.num_actions)), 0.0)
    transfer = transfer.astype(np.float32).astype(np.float64)
    own_action = rng.integers(0, game.num_own_actions, states)
    return Contract(transfer, own_action, rng.integers(-1, game.num_actions, states))


# (T1) by exact evaluation


class Gaps(NamedTuple):
    """What an episode adds to each variable by playing a at (h, s), in the mean; [H, S, A]."""

    welfare_regret: np.ndarray
    principal_regret: np.ndarray
    agent_regret: np.ndarray
    payment: np.ndarray
    off_target: np.ndarray


def gaps(game: px.Game, contract: Contract) -> Gaps:
    oracle = oracle_of(game)
    values, q_values = exact.backward_induction(oracle, exact.welfare_rewards(oracle))
    lost = exact.principal_rewards(oracle) - principal_reward(oracle, contract)
    own = exact.backward_induction(oracle, exact.agent_rewards(oracle, contract.transfer))
    actions = np.arange(game.num_actions)
    target = contract.target[:, :, None]
    regret = values[:-1, :, None] - q_values + lost
    return Gaps(
        welfare_regret=regret,
        principal_regret=regret + contract.transfer - exact.minimal_transfers(oracle),
        agent_regret=own[0][:-1, :, None] - own[1],
        payment=contract.transfer,
        off_target=((target >= 0) & (target != actions)).astype(float),
    )


def principal_reward(oracle: exact.NumpyGame, contract: Contract) -> np.ndarray:
    """v with the own action posted, [H, S, A]."""
    reward = np.zeros(oracle.shape)
    for h, s, a in oracle.cells:
        b = contract.own_action[h, s]
        reward[h, s, a] = exact.at_step(oracle.principal_reward, h)[s, a, b]
    return reward


def plays(oracle: exact.NumpyGame, policy: np.ndarray) -> np.ndarray:
    """Expected plays of (h, s, a) in an episode of a mixed policy [H, S, A]."""
    found, mass = np.zeros(oracle.shape), oracle.initial
    for h in range(oracle.horizon):
        found[h] = mass[:, None] * policy[h]
        mass = np.einsum("sa,sat->t", found[h], exact.at_step(oracle.transition, h))
    return found


def expectations(game: px.Game, contract: Contract, policy: np.ndarray) -> dict[str, float]:
    """Means an episode of all variables, by values of the policy rather than by gaps."""
    oracle = oracle_of(game)
    played = plays(oracle, policy)
    u = (played * exact.agent_rewards(oracle)).sum()
    v = (played * principal_reward(oracle, contract)).sum()
    payment = (played * contract.transfer).sum()
    own = exact.backward_induction(oracle, exact.agent_rewards(oracle, contract.transfer))[0]
    return {
        "welfare_regret": exact.optimal_welfare(oracle) - (u + v),
        "realised_welfare": u + v,
        "principal_regret": exact.coase_value(oracle) - (v - payment),
        "agent_regret": exact.expected(oracle, own) - (u + payment),
        "payment": payment,
        "principal_utility": v - payment,
        "off_target": (played * gaps(game, contract).off_target).sum(),
    }


UNBIASED_GAMES = {
    "one own action": small_game(own_actions=1),
    "two own actions": small_game(own_actions=2, seed=1),
    "gaussian": small_game(own_actions=2, noise="gaussian", seed=2),
}
EPSILON, NUM_SEEDS, EPISODES = 0.3, 4000, 20
#: 21 z-scores of true means exceed it with probability 21 * 6.8e-6 < 2e-4 in all.
LARGEST_Z = 4.5


@pytest.mark.parametrize("game", UNBIASED_GAMES.values(), ids=UNBIASED_GAMES.keys())
def test_records_are_unbiased(game):
    """Over 80,000 episodes of an epsilon-mixture whose exact means are known.

    The mixture is exact but for uniforms being multiples of 2^-24 and float32 sums, both below
    1e-6 an episode, while standard errors are above 1e-4.
    """
    contract = random_contract(game, seed=1)
    agent = px.agents.BestResponse(game=game, epsilon=EPSILON)
    mechanism = scripted(game, *contract)
    keys = jax.random.split(jax.random.key(1), NUM_SEEDS)
    run = jax.jit(functools.partial(px.simulate, num_episodes=EPISODES))
    found = run(keys, game, agent, mechanism)
    response = exact.best_response(oracle_of(game), contract.transfer)
    policy = EPSILON / game.num_actions + (1 - EPSILON) * np.eye(game.num_actions)[response]
    expected = expectations(game, contract, policy)
    for name, mean in expected.items():
        totals = np.asarray(getattr(found, name), np.float64).sum(0) / EPISODES
        error = totals.std(ddof=1) / np.sqrt(NUM_SEEDS)
        assert error > 1e-4, name
        assert abs(totals.mean() - mean) / error <= LARGEST_Z, name


# From a log of steps, under contracts that alternate

AGENTS = {
    "q-learning, greedy": px.agents.QLearning(epsilon=0.0),
    "q-learning": px.agents.QLearning(epsilon=0.2),
    "ucbvi": px.agents.UCBVI(),
}


@pytest.mark.parametrize(
    ("agent", "own_actions"), [("q-learning, greedy", 1), ("q-learning", 2), ("ucbvi", 2)]
)
def test_records_are_sums_over_the_steps_played(x64, agent, own_actions):
    """To rounding: K H terms of at most 2 H, each good to a few H roundings.

    With S A H terms more or less in the sums, 1e-9 is above K H * 2 H * (4 H + 1) * 2^-52.
    """
    num_episodes = 300
    game = small_game(own_actions=own_actions)
    pair = [random_contract(game, seed) for seed in (2, 3)]
    mechanism = scripted(game, *(np.stack(x) for x in zip(*pair, strict=True)))
    log, record = trajectories(
        jax.random.key(3), game, AGENTS[agent], mechanism, num_episodes=num_episodes
    )
    lengths = make_schedule(
        num_episodes, [num_episodes], mechanism.adapting_until, game.num_states
    ).lengths
    contract_of_episode = np.repeat(np.arange(len(lengths)) % 2, lengths)
    tables = [gaps(game, contract) for contract in pair]
    states, actions = np.asarray(log.episodes.states), np.asarray(log.episodes.actions)
    steps = np.arange(game.horizon)
    for name in Gaps._fields:
        stacked = np.stack([getattr(table, name) for table in tables])
        terms = stacked[contract_of_episode[:, None], steps, states, actions]
        assert abs(float(getattr(record, name)) - terms.sum()) <= 1e-9, name
        assert terms.sum() > 1.0, name  # something is there to be compared
        if name == "payment":
            np.testing.assert_allclose(log.episodes.payments, terms, rtol=0, atol=1e-12)
    utility = float(record.principal_utility) + float(record.payment)
    welfare = float(record.realised_welfare) - float(log.episodes.rewards.sum())
    seen = log.mechanism
    assert abs(utility - welfare) <= 1e-9  # both are the sum of v
    assert abs(float(seen.rewards) - welfare) <= 1e-9  # and that is what the principal sees
    assert abs(float(seen.payments) - float(record.payment)) <= 1e-9
    counts = np.zeros(seen.visits.shape)
    np.add.at(counts, (np.broadcast_to(steps, states.shape), states, actions), 1.0)
    np.testing.assert_array_equal(seen.visits, counts)
    assert (int(seen.stages), int(seen.episodes)) == (len(lengths), num_episodes)


def test_welfare_regret_counts_own_actions_that_are_not_the_best():
    """A planner that plays the optimum of welfare, with b posted at its best and at its worst."""
    game = small_game(own_actions=3)
    oracle = oracle_of(game)
    best = exact.greedy(exact.backward_induction(oracle, exact.welfare_rewards(oracle))[1])
    v = oracle.principal_reward
    at_best = np.take_along_axis(v, best[:, :, None, None], 2)[:, :, 0]  # [H, S, B]
    paid = exact.on_target(best, np.full(best.shape, 5.0), game.num_actions)
    keys = jax.random.split(jax.random.key(4), 50)
    agent = px.agents.BestResponse(game=game)
    run = jax.jit(functools.partial(px.simulate, num_episodes=20))
    found = {}
    for name, own_action in (("best", at_best.argmax(-1)), ("worst", at_best.argmin(-1))):
        mechanism = scripted(game, paid, own_action, best)
        record = run(keys, game, agent, mechanism)
        found[name] = float(np.asarray(record.welfare_regret).sum(0).mean()) / 20
        assert not np.asarray(record.off_target).any()
    # Backward induction in float32 leaves some roundings of values up to 2 H.
    assert abs(found["best"]) <= 2 * 3 * 3 * 8 * 2.0**-24
    assert found["worst"] > 0.3


# Record points


def cumulated(record: Record, ends, points) -> dict[str, np.ndarray]:
    return kept.cumulate(record, np.asarray(ends), np.asarray(points))


RECORDS = {
    "only the end": [300],
    "every tenth": list(range(10, 301, 10)),
}


@functools.cache
def recorded(points: tuple[int, ...]) -> Record:
    """300 episodes of three seeds, both sides learning from stage to stage."""
    key, game = jax.random.split(jax.random.key(5), 3), px.games.pollution()
    simulate = functools.partial(px.simulate, num_episodes=300, record=points)
    pair = px.agents.UCBVI(), px.mechanisms.TwoPhase(min_visits=4.0, width=0.4)
    return jax.jit(simulate)(key, game, *pair)


@pytest.mark.parametrize("points", RECORDS.values(), ids=RECORDS.keys())
def test_record_points_change_no_curve(points):
    """Equal at the points that records have in common, to the rounding of float32 sums.

    Record points cut stages but do not end them: a learner does not notice. Each interval is a sum
    of at most 300 segments, of numbers that add up to at most T: 300 T 2^-24.
    """
    points, others = (tuple(int(x) for x in some) for some in (points, checkpoints(300)))
    common = np.intersect1d(points, others)
    one, other = (cumulated(recorded(x), x, common) for x in (points, others))
    for variable in Record._fields:
        largest = np.abs(one[variable][..., -1:]) + 300  # utility may cancel
        error = np.abs(one[variable] - other[variable])
        same_nan = np.isnan(one[variable]) & np.isnan(other[variable])
        assert (same_nan | (error <= 300 * 2.0**-24 * largest)).all(), variable


@pytest.mark.parametrize("num_episodes", [1, 2, 3, 9, 10, 11, 100, 12_345, 10**6])
def test_checkpoints(num_episodes):
    points = checkpoints(num_episodes)
    assert points.dtype == np.int64
    assert points[0] == 1
    assert points[-1] == num_episodes
    assert (np.diff(points) > 0).all()
    assert max(1, round(0.9 * num_episodes)) in points
    # 16 a decade, the two ends and 0.9 K: memory is O(log K)
    assert points.size <= 16 * np.log10(max(num_episodes, 1)) + 3
    # Evenly on the log scale: neighbours are 10^(1/16) apart, beside the rounding to whole numbers.
    assert (points[1:] <= 10 ** (1 / 16) * points[:-1] + 1.001).all()


@pytest.mark.parametrize("adapting_until", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_episodes", [1, 2, 3, 300, 5000, 10**5])
@pytest.mark.parametrize("num_states", [1, 2, 20])
def test_stages(num_states, num_episodes, adapting_until):
    lengths = np.array(stage_lengths(num_episodes, adapting_until, num_states))
    assert lengths.min() >= 1
    assert lengths.sum() == num_episodes
    starts = np.cumsum(lengths) - lengths
    is_adapting = starts < adapting_until * num_episodes
    assert lengths[is_adapting].max(initial=1) <= max(8, 4 * (num_states - 1))
    assert (lengths <= 1 + starts // 64).all()
    # The rest grows geometrically, by 1/64 a stage once 64 episodes are done.
    rest = lengths[~is_adapting]
    assert rest.size <= 64 + 65 * np.log(max(num_episodes, 64) / 64) + 1


@pytest.mark.parametrize("points", [[5000], [1, 2, 3, 5000], list(checkpoints(5000))])
def test_schedules_cut_stages_at_record_points(points):
    schedule = make_schedule(5000, points)
    assert {x.dtype for x in schedule} == {np.dtype(np.int32)}
    assert schedule.lengths.min() >= 1
    ends = np.cumsum(schedule.lengths)
    assert ends[-1] == 5000
    assert schedule.bounds[0] == 0
    np.testing.assert_array_equal(ends[schedule.bounds[1:] - 1], points)
    stage_ends = np.cumsum(stage_lengths(5000))
    np.testing.assert_array_equal(ends[schedule.closes == 1], stage_ends)
    np.testing.assert_array_equal(
        (ends - schedule.lengths)[schedule.opens == 1][1:], stage_ends[:-1]
    )
    adapting = make_schedule(5000, points, 0.5, num_states=2)
    assert adapting.lengths.sum() == 5000
    assert len(adapting.lengths) > len(schedule.lengths)


BAD_RECORDS = {
    "empty": [],
    "zero": [0, 10],
    "repeated": [5, 5, 10],
    "falling": [6, 5, 10],
    "short": [5, 9],
    "long": [5, 11],
    "two axes": [[5, 10]],
}


@pytest.mark.parametrize("record", BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
def test_bad_records(record):
    with pytest.raises(ValueError, match=r"^record: got .*, must ") as caught:
        make_schedule(10, record)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_episodes", [0, -1, 1.5, "10", True])
def test_bad_numbers_of_episodes(num_episodes):
    with pytest.raises(ValueError, match=r"^num_episodes: got .*, must be"):
        make_schedule(num_episodes, [10])
    with pytest.raises(ValueError, match=r"^num_episodes: got .*, must be"):
        checkpoints(num_episodes)


@pytest.mark.parametrize("points", [[1], [5, 100], [1, 100_000], list(checkpoints(10**6))])
def test_refine(points):
    points = np.asarray(points, np.int64)
    ends = refine(points)
    assert set(points) <= set(ends)
    assert ends[-1] == points[-1]
    steps = np.diff(ends, prepend=0)
    assert steps.min() >= 1
    assert steps.max() <= LONGEST_INTERVAL
    assert len(ends) <= len(points) + points[-1] / LONGEST_INTERVAL


# Phase one, targets, status


def test_phase_one_counts_the_episodes_of_its_stages():
    game, num_episodes = px.games.pollution(), 300
    mechanism = scripted(game, estimating_stages=5)
    agent = px.agents.BestResponse(game=game)
    record = px.simulate(jax.random.key(0), game, agent, mechanism, num_episodes=num_episodes)
    lengths = np.array(stage_lengths(num_episodes, mechanism.adapting_until, game.num_states))
    assert float(record.phase_one.sum()) == lengths[:5].sum()
    late = cumulated(record, checkpoints(300), checkpoints(300))["phase_one"]
    np.testing.assert_array_equal(late, np.minimum(checkpoints(300), lengths[:5].sum()))


def test_a_mechanism_without_targets_has_nothing_off_target():
    game = px.games.pollution()
    agent = px.agents.BestResponse(game=game, epsilon=0.5)
    for mechanism in (px.mechanisms.NoTransfer(), scripted(game, 0.1)):
        record = px.simulate(jax.random.key(0), game, agent, mechanism, num_episodes=50)
        assert not np.asarray(record.off_target).any()


def test_everything_is_off_a_target_that_is_never_played():
    game = px.games.bandit()
    paid = np.eye(5)[2] * 9.0  # arm 2 is played, arm 1 is meant
    mechanism = scripted(game, paid, 0, 1)
    agent = px.agents.BestResponse(game=game)
    record = px.simulate(jax.random.key(0), game, agent, mechanism, num_episodes=50)
    assert float(record.off_target.sum()) == 50
    assert float(record.payment.sum()) == 450


def test_transfer_error_is_over_what_is_resolved():
    """tau* of the bandit is .6 .45 .3 .15 0; the estimates err by .1 .2 .3 where resolved."""
    tau = np.array([0.6, 0.45, 0.3, 0.15, 0.0])
    error, resolved = np.array([0.1, -0.2, 0.3, 9.0, 0.0]), np.array([1, 1, 1, 0, 0], bool)
    mechanism = scripted(px.games.bandit(), estimate=tau + error, is_resolved=resolved)
    agent = px.agents.UCBQ()
    record = px.simulate(jax.random.key(0), px.games.bandit(), agent, mechanism, num_episodes=10)
    # some roundings of numbers below 1, divided by 3
    np.testing.assert_allclose(record.transfer_error, 0.2, rtol=0, atol=8 * 2.0**-24)
    np.testing.assert_allclose(record.worst_transfer_error, 0.3, rtol=0, atol=8 * 2.0**-24)
    np.testing.assert_array_equal(record.unresolved, 2.0)


def test_there_is_no_error_before_anything_is_resolved():
    mechanism = nothing_resolved(px.games.bandit())
    record = px.simulate(
        jax.random.key(0), px.games.bandit(), px.agents.UCBQ(), mechanism, num_episodes=10
    )
    for name in PARTIAL:
        assert np.isnan(getattr(record, name)).all(), name
    np.testing.assert_array_equal(record.unresolved, 5.0)


def nothing_resolved(game):
    return scripted(game, estimate=0.0, is_resolved=False)


def nan_transfers(game, **fields):
    return scripted(game, np.where(np.arange(game.num_actions) == 0, np.nan, 0.0), **fields)


def no_number_and_unresolved(game):
    return nan_transfers(game, estimate=0.0, is_resolved=False)


STATUS = {
    "fine": (scripted, 0),
    "a transfer that is no number": (nan_transfers, kept.NON_FINITE),
    "unresolved": (nothing_resolved, kept.UNRESOLVED),
    "both": (no_number_and_unresolved, kept.NON_FINITE + kept.UNRESOLVED),
    "an infinite transfer": (lambda game: scripted(game, np.inf), kept.NON_FINITE),
}


@pytest.mark.parametrize("name", STATUS)
def test_status(name):
    """NaN in a lane is data: one bit, whether or not the agent ever plays it, and no exception."""
    make, status = STATUS[name]
    game = px.games.bandit()
    dataset = px.study(
        jax.random.key(0),
        game,
        agents={"ucb-q": px.agents.UCBQ()},
        mechanisms={"m": make(game)},
        num_episodes=12,
        num_seeds=2,
        progress=False,
    )
    assert (dataset.status == status).all()
    is_estimating_nothing = name in ("fine", "a transfer that is no number")
    assert dataset.transfer_error.isnull().all() or not is_estimating_nothing


# Small games and short runs


def tiny(states: int, actions: int, horizon: int) -> px.Game:
    rng = np.random.default_rng([14, states, actions, horizon])
    return px.make_game(
        transition=rng.dirichlet(np.ones(states), size=(states, actions)),
        agent_reward=rng.uniform(size=(states, actions)),
        principal_reward=rng.uniform(size=(states, actions)),
        initial=rng.dirichlet(np.ones(states)),
        horizon=horizon,
    )


TINY = {
    "one step": ((2, 2, 1), 20),
    "one action": ((3, 1, 2), 20),
    "one state, one episode": ((1, 2, 2), 1),
}


@pytest.mark.parametrize(("sizes", "num_episodes"), TINY.values(), ids=TINY.keys())
def test_the_smallest_runs(sizes, num_episodes):
    game = tiny(*sizes)
    dataset = px.study(
        jax.random.key(0),
        game,
        agents={"ucbvi": px.agents.UCBVI()},
        mechanisms={"two-phase": px.mechanisms.TwoPhase(order="backward")},
        num_episodes=num_episodes,
        num_seeds=1,
        progress=False,
    )
    assert dataset.sizes["seed"] == 1
    has_choice = sizes[1] > 1
    assert np.isfinite(dataset.smallest_welfare_gap).all() == has_choice
    finite = dataset.drop_vars([*PARTIAL, "smallest_welfare_gap"])
    for name in finite.data_vars:
        assert np.isfinite(finite[name]).all(), name
    assert not (dataset.status % 2).any()
    if not has_choice:
        # Nothing to choose: no regret, beyond some roundings of values up to 2 H.
        assert float(np.abs(dataset.welfare_regret).max()) <= 20 * 2 * 8 * 2.0**-22


@pytest.mark.parametrize("agent", [px.agents.QLearning(), px.agents.UCBQ()], ids=["q", "ucb-q"])
@pytest.mark.parametrize("order", ["parallel", "backward"])
def test_the_smallest_run_of_all(agent, order):
    mechanism = px.mechanisms.TwoPhase(order=order)
    record = px.simulate(jax.random.key(0), tiny(1, 1, 1), agent, mechanism, num_episodes=1)
    for name, value in record._asdict().items():
        assert value.shape == (1,)
        assert name in PARTIAL or np.isfinite(value).all(), name


# One trace for all values of hyper-parameters

HALVING = optax.exponential_decay(0.5, 10, 0.5)
POWER = px.schedules.PowerSchedule
SWEEPS = {
    "q-learning": [px.agents.QLearning(epsilon=x, learning_rate=x / 2) for x in (0.1, 0.2, 0.3)],
    "q-learning, power": [px.agents.QLearning(epsilon=POWER(scale=x)) for x in (0.5, 1.0)],
    "q-learning, optax": [
        px.agents.QLearning(epsilon=HALVING, learning_rate=x) for x in (0.1, 0.2)
    ],
    "ucb-q": [px.agents.UCBQ(bonus=x) for x in (0.01, 0.1, 1.0)],
    "ucbvi": [px.agents.UCBVI(bonus=x) for x in (0.01, 0.1, 1.0)],
    "best response": [
        px.agents.BestResponse(game=px.games.pollution(), epsilon=x) for x in (0.0, 0.1)
    ],
    "two-phase": [
        px.mechanisms.TwoPhase(
            width=x,
            margin=x,
            cap=x,
            min_visits=40.0 * x,
            estimator=px.mechanisms.Bisection(inflation=x),
            steering=px.mechanisms.OptimisticSteering(bonus=x),
        )
        for x in (0.2, 0.4)
    ],
    "flat": [px.mechanisms.FlatTransfer(amount=x, action=a) for x, a in ((0.1, 0), (0.2, 1))],
    "quantised": [
        px.mechanisms.QuantisedTransfers(game=px.games.pollution(), margin=x) for x in (0.02, 0.1)
    ],
    "fixed": [
        px.mechanisms.FixedTransfers.oracle(px.games.pollution(), margin=x) for x in (0.05, 0.1)
    ],
}
OTHER_PROGRAM = {
    "a memory": px.agents.QLearning(epsilon=0.1, learning_rate=0.05, memory="blind"),
    "a schedule": px.agents.QLearning(epsilon=HALVING, learning_rate=0.05),
}


def count_traces(components) -> int:
    """How often one jitted `simulate` is traced over the components, in turn."""
    count = 0

    @jax.jit
    def run(key, game, agent, mechanism):
        nonlocal count
        count += 1
        return px.simulate(key, game, agent, mechanism, num_episodes=4)

    game, others = px.games.pollution(), (px.agents.UCBQ(), px.mechanisms.NoTransfer())
    for seed, component in enumerate(components):
        pair = (others[0], component) if hasattr(component, "post") else (component, others[1])
        run.trace(jax.random.key(seed), game, *pair)
    return count


@pytest.mark.parametrize("components", SWEEPS.values(), ids=SWEEPS.keys())
def test_values_of_hyper_parameters_do_not_trace_again(components):
    assert count_traces(components) == 1


@pytest.mark.parametrize("other", OTHER_PROGRAM.values(), ids=OTHER_PROGRAM.keys())
def test_the_counter_of_traces_counts(other):
    assert count_traces([SWEEPS["q-learning"][0], other]) == 2


def test_games_of_one_shape_do_not_trace_again():
    count = 0

    @jax.jit
    def run(game):
        nonlocal count
        count += 1
        agent, mechanism = px.agents.UCBQ(), px.mechanisms.NoTransfer()
        return px.simulate(jax.random.key(0), game, agent, mechanism, num_episodes=4)

    for seed in range(3):
        run.trace(px.games.garnet(jax.random.key(seed)))
    assert count == 1


def test_a_study_compiles_once_for_all_values(key):
    """Two agents that differ in numbers: the second cell finds the compiled program of the first.

    `jax.log_compiles` is silent about hits, so the cache of the jitted function is counted.
    """
    advance = batch._advance
    before = advance._cache_size()
    px.study(
        key,
        px.games.bandit(),
        agents={"low": px.agents.UCBVI(bonus=0.1), "high": px.agents.UCBVI(bonus=0.5)},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=20,
        num_seeds=2,
        progress=False,
    )
    assert advance._cache_size() == before + 1


def test_numbers_of_a_component_are_leaves():
    for name, components in SWEEPS.items():
        one, other = (jax.tree.structure(component) for component in components[:2])
        assert one == other, name
    swept = px.agents.QLearning(epsilon=jnp.array([0.1, 0.2]))
    assert jax.tree.leaves(swept)[0].shape == (2,)
