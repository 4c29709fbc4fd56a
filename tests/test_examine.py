"""Tables of runs: those that the log of each run gives, of the runs that a study has."""

import jax
import numpy as np
import pytest
import xarray as xr
from oracles import exact

import pajax as px
from pajax.ledger import make_oracle
from pajax.stages import make_schedule
from pajax.studies import batch, forecast
from pajax.studies.examine import DIMENSIONS, examine
from pajax.testing import trajectories

KEY, EPISODES, SEEDS = jax.random.key(4), 600, 3
GAME = px.games.pollution()
AGENTS = {"Q": px.agents.QLearning(epsilon=0.3), "lively": px.agents.QLearning(epsilon=0.6)}
MECHANISMS = {
    "flat": px.mechanisms.FlatTransfer(amount=0.4, action=0),
    "two-phase": px.mechanisms.TwoPhase(min_visits=5.0, width=0.5),
}
ARGUMENTS = {"agents": AGENTS, "mechanisms": MECHANISMS, "num_episodes": EPISODES}
CHECKPOINTS = [1, 60, 300, 600]


@pytest.fixture(scope="module")
def tables() -> xr.Dataset:
    return examine(KEY, GAME, num_seeds=SEEDS, record=CHECKPOINTS, **ARGUMENTS)


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    arguments = ARGUMENTS | {"num_seeds": SEEDS, "record": CHECKPOINTS}
    return px.study(KEY, GAME, progress=False, **arguments)


def test_tables_are_those_of_the_study(tables, dataset):
    """Regret from visits; errors of transfers from estimates.

    Beside the rounding of single sums a run adds float32 numbers: H S A rows of each of at most K
    segments, so at most (45 + K) roundings of what the sum comes to.
    """
    there = dataset.isel(game=0).sel(episode=tables.episode)
    gaps = np.asarray(make_oracle(GAME).welfare_gap, np.float64)
    regret = (tables.visits * gaps).sum(DIMENSIONS[-3:])
    rounding = (45 + EPISODES) * 2.0**-24
    np.testing.assert_allclose(regret, there.welfare_regret, rtol=rounding)
    resolved = tables.is_resolved.to_numpy()
    errors = np.abs(tables.transfer - tables.minimal_transfer).where(resolved)
    # sums of 45 float32 numbers
    np.testing.assert_allclose(
        errors.mean(DIMENSIONS[-3:]), there.transfer_error, rtol=45 * 2.0**-24
    )
    np.testing.assert_array_equal(errors.max(DIMENSIONS[-3:]), there.worst_transfer_error)
    np.testing.assert_array_equal((~resolved).sum((-1, -2, -3)), there.unresolved)
    is_known = np.isfinite(there.transfer_error.sel(mechanism="two-phase"))
    assert is_known.any() and not is_known.all()  # both are met


def test_flat_transfers_are_offered_and_paid(tables, dataset):
    flat = tables.sel(mechanism="flat")
    expected = np.zeros(GAME.num_actions)
    expected[0] = np.float32(0.4)
    np.testing.assert_array_equal(flat.offered, np.broadcast_to(expected, flat.offered.shape))
    paid = (flat.visits * flat.offered).sum(DIMENSIONS[-3:])
    there = dataset.payment.isel(game=0).sel(mechanism="flat", episode=tables.episode)
    np.testing.assert_allclose(paid, there, rtol=(45 + EPISODES) * 2.0**-24)
    assert flat.transfer.isnull().all()


def test_tables_are_those_of_the_log_of_a_run(tables):
    """Under contracts that change: bitwise, whatever runs beside it and wherever one looks."""
    seed = 2
    key = jax.random.fold_in(jax.random.fold_in(KEY, 0), seed)
    pair = AGENTS["Q"], MECHANISMS["two-phase"]
    log, _ = jax.device_get(trajectories(key, GAME, *pair, num_episodes=EPISODES))
    mine = tables.sel(agent="Q", mechanism="two-phase", seed=seed)
    steps = np.broadcast_to(np.arange(GAME.horizon), log.episodes.states.shape)
    for checkpoint in CHECKPOINTS:
        counts = np.zeros(mine.visits.shape[1:])
        played = (steps, log.episodes.states, log.episodes.actions)
        np.add.at(counts, tuple(x[:checkpoint] for x in played), 1)
        at = mine.sel(episode=checkpoint)
        np.testing.assert_array_equal(at.visits, counts)
        np.testing.assert_array_equal(at.offered, log.contracts.transfer[checkpoint - 1])
    report = pair[1].report(log.mechanism)
    np.testing.assert_array_equal(at.transfer, report.transfer)
    np.testing.assert_array_equal(at.is_resolved, report.is_resolved)
    assert not np.array_equal(mine.offered[0], mine.offered[-1])


def test_the_form_of_a_dataset(tables, dataset):
    for name in ("visits", "transfer", "is_resolved", "offered"):
        assert tables[name].dims == DIMENSIONS
    assert dict(tables.sizes) == dict(
        zip(DIMENSIONS, (2, 2, SEEDS, len(CHECKPOINTS), 5, 3, 3), strict=True)
    )
    assert tables.visits.dtype == np.int32
    assert tables.is_resolved.dtype == bool
    for name in ("agent", "mechanism", "seed"):
        np.testing.assert_array_equal(tables[name], dataset[name])
    np.testing.assert_array_equal(tables.episode, CHECKPOINTS)
    for name, value in dataset.attrs.items():
        assert tables.attrs[name] == value, name
    assert (tables.visits.sum(("state", "action")) == tables.episode).all()


def test_tables_of_the_known_game(tables):
    oracle = exact.pollution()
    path = exact.greedy(exact.backward_induction(oracle, exact.welfare_rewards(oracle))[1])
    # values up to 2 H are sums of H (S + 1) float32 numbers; occupancies of H S
    np.testing.assert_allclose(
        tables.minimal_transfer, exact.minimal_transfers(oracle), rtol=0, atol=20 * 10 * 2.0**-24
    )
    wanted = exact.occupancy(oracle, path)
    np.testing.assert_allclose(tables.optimal_occupancy, wanted, rtol=0, atol=15 * 2.0**-24)
    assert tables.minimal_transfer.dims == ("step", "state", "action")
    assert tables.optimal_occupancy.dims == ("step", "state")


def test_few_checkpoints_of_long_runs(tmp_path):
    """By default two a decade, however the engine cuts a run; and a file of them."""
    tables = examine(
        KEY,
        px.games.bandit(),
        agents={"ucb-q": px.agents.UCBQ()},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=20_000,
        num_seeds=1,
    )
    assert (tables.sizes["episode"], tables.episode[0], tables.episode[-1]) == (11, 1, 20_000)
    np.testing.assert_array_equal(tables.visits.sum(DIMENSIONS[-3:]).squeeze(), tables.episode)
    assert tables.transfer.isnull().all()
    xr.testing.assert_identical(px.load(px.save(tables, tmp_path / "a.npz")), tables)


@pytest.mark.parametrize("record", [[400_000], [5, 300_000, 400_000], px.checkpoints(400_000)])
def test_blocks_end_where_one_looks(record):
    record = np.asarray(record, np.int64)
    ends = batch.refine(record)
    schedule = make_schedule(int(record[-1]), ends)
    blocks = list(batch._blocks(schedule, ends, set(record.tolist())))
    done = np.cumsum([episodes for *_, episodes in blocks])
    assert set(record) <= set(done)
    assert sum(number for _, number, _ in blocks) == len(ends)
    shapes = {block.bounds.shape for block, *_ in blocks}
    assert shapes == {(batch.BLOCK_INTERVALS + 1,)}  # else they would not share a compilation
    segments = [np.arange(block.bounds[0], block.bounds[-1]) for block, *_ in blocks]
    np.testing.assert_array_equal(np.concatenate(segments), np.arange(len(schedule.lengths)))


REFUSED = {
    "a batch": ({"game": px.stack_games([GAME] * 2)}, r"^game: got lanes \(2,\), must be one"),
    "games by name": ({"game": {"a": GAME}}, r"^game: got \{'a'.*, must be one pajax.Game"),
    "a record": ({"record": [5, 10]}, r"^record: got 10, must end with num_episodes = 600"),
    "no seeds": ({"num_seeds": 0}, r"^num_seeds: got 0"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        examine(**{"key": KEY, "game": GAME, "num_seeds": 1} | ARGUMENTS | changes)


def test_tables_that_do_not_fit(monkeypatch):
    """1,000 runs of four cells with six checkpoints of 45 entries, each of 13 bytes: 14 MB."""
    monkeypatch.setattr(forecast, "free_memory", lambda: 14 * 10**6)
    words = r"^record: got 6 checkpoints of 4,000 runs, whose tables need 1\d(\.\d)? MB of memory, "
    with pytest.raises(ValueError, match=words + r"must fit in the 14 MB that are free$"):
        examine(KEY, GAME, num_seeds=1000, record=[1, 2, 3, 4, 5, 600], **ARGUMENTS)
