"""What a study will take: counted numbers are exact, bytes near, and time is measured."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from small_studies import AGENTS, NUM_RUNS, NUM_SHARDS, SHARD_PAIRS, arguments, study

import pajax as px
from pajax.studies import batch, forecast


def plan(**options: Any) -> px.Plan:
    """Of the small study, without time."""
    return px.plan(**arguments(**({"measure": False} | options)))


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes of all files below a folder, and when they were written."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


# Counts


def test_runs_shards_and_compilations():
    """Agents, and mechanisms, that differ by numbers alone share a compilation."""
    found = plan()
    assert (found.num_runs, found.num_finished, found.num_shards) == (NUM_RUNS, 0, NUM_SHARDS)
    assert found.num_compilations == 1
    assert found.compile_seconds is None and found.run_seconds is None


def test_modes_and_sizes_are_compiled_apart():
    agents = AGENTS | {"blind": px.agents.UCBQ(memory="blind")}
    assert plan(agents=agents).num_compilations == 2
    games = {"one": px.games.bandit(), "large": px.games.bandit([0.1] * 6, [0.2] * 6)}
    found = plan(agents=agents, game=games)
    assert found.num_compilations == 4
    assert found.num_runs == 2 * plan(agents=agents).num_runs


@pytest.mark.parametrize(
    ("shard_pairs", "num_shards"), [(1, 32), (3, 12), (7, 8), (8, 4), (512, 4), (None, 4)]
)
def test_shards_are_those_of_the_study(shard_pairs, num_shards):
    assert plan(shard_pairs=shard_pairs).num_shards == num_shards


def test_another_number_of_runs_is_compiled_apart():
    """Five runs are shards of three and two, in one layout; but there is one of fewer devices."""
    assert plan(num_seeds=5).num_compilations == 1
    sizes = {"one": px.games.bandit(), "three": px.stack_games(3 * [px.games.bandit()])}
    found = plan(game=sizes, num_seeds=1, devices=jax.devices()[:1])
    assert found.num_compilations == 2  # one run, and three


def test_what_a_store_has_is_finished(tmp_path):
    study(store=tmp_path, num_seeds=4)
    found = plan(store=tmp_path)
    assert (found.num_runs, found.num_finished, found.num_shards) == (NUM_RUNS, 16, 4)
    found = plan(store=tmp_path, num_seeds=4)
    assert (found.num_runs, found.num_finished, found.num_shards) == (16, 16, 0)
    assert found.num_compilations == 0


def test_workers_plan_their_own_shards(tmp_path):
    plans = [plan(store=tmp_path / "none", worker=(i, 3)) for i in range(3)]
    assert sum(found.num_shards for found in plans) == NUM_SHARDS
    assert {(found.num_runs, found.num_finished) for found in plans} == {(NUM_RUNS, 0)}


def test_nothing_is_written(tmp_path):
    px.plan(**arguments(store=tmp_path / "none"))
    assert os.listdir(tmp_path) == []
    study(store=tmp_path / "store", num_seeds=4)
    before = files(tmp_path)
    px.plan(**arguments(store=tmp_path / "store"))
    assert files(tmp_path) == before


def test_a_plan_moves_no_damaged_shard(tmp_path):
    """But counts it as work, and says why."""
    study(store=tmp_path)
    min(tmp_path.glob("shards/*/*.npz")).write_bytes(b"")
    before = files(tmp_path)
    with pytest.warns(UserWarning, match=r"^store: left out: .*\.npz: not an archive"):
        found = plan(store=tmp_path)
    assert found.num_finished == NUM_RUNS - SHARD_PAIRS
    assert files(tmp_path) == before


def test_a_plan_refuses_what_a_study_would(tmp_path):
    study(store=tmp_path, num_seeds=4)
    with pytest.raises(ValueError, match=r"agents\['low'\].bonus: 0.03, now 0.04"):
        plan(store=tmp_path, agents={"low": px.agents.UCBQ(bonus=0.04)})
    with pytest.raises(ValueError, match=r"^worker: .* must come with a store"):
        plan(worker=(0, 2))
    with pytest.raises(ValueError, match=r"^num_seeds: got 0"):
        plan(num_seeds=0)


# Bytes


def test_bytes_on_disk(tmp_path):
    """Fifteen numbers of 8 bytes for each run and checkpoint.

    Beside them a shard has 8 bytes for each run, and some 4 kB of names and headers, the manifest
    some 4 kB: less than a tenth of the 144 kB of these shards, as of any that take seconds.
    """
    options = {"num_episodes": 300, "record": np.arange(1, 301), "agents": {"low": AGENTS["low"]}}
    planned = plan(store=tmp_path, **options)
    assert planned.disk_bytes == planned.num_runs * 15 * 300 * 8
    study(store=tmp_path, **options)
    taken = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert planned.disk_bytes < taken < 1.1 * planned.disk_bytes
    assert plan(store=tmp_path, **options).disk_bytes == planned.disk_bytes  # of the whole store
    assert plan(**options).disk_bytes == 0


def test_bytes_in_memory_grow_with_the_runs_that_are_kept():
    """Of moments only those of a shard count, however many runs there are."""
    few, many = (plan(num_seeds=n) for n in (1000, 10_000))
    assert many.disk_bytes == few.disk_bytes == 0
    # three copies of all numbers
    numbers = 4 * 15 * len(px.checkpoints(24)) * 8
    assert many.memory_bytes - few.memory_bytes == 3 * 9000 * numbers
    few, many = (plan(num_seeds=n, keep="moments") for n in (1000, 10_000))
    assert few.memory_bytes == many.memory_bytes
    larger = plan(num_seeds=1000, keep="moments", shard_pairs=1000)
    assert larger.memory_bytes > few.memory_bytes


def test_free_memory():
    found = forecast.free_memory()
    assert found is None or 0 <= found < 2**50
    if Path("/proc/meminfo").exists():
        assert found is not None


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


@pytest.fixture
def nothing_runs(monkeypatch) -> None:
    """Nor is anything compiled for it."""
    monkeypatch.setattr(batch, "run", None)
    monkeypatch.setattr(batch, "make_batch", None)


@pytest.mark.usefixtures("nothing_runs")
def test_what_does_not_fit_in_memory_is_refused_with_the_numbers(monkeypatch, tmp_path):
    monkeypatch.setattr(forecast, "free_memory", lambda: 12_345)
    too_much = (
        r"^study: got 32 runs that need \d.* [kM]B of memory, must fit in the 12.3 kB .* free"
    )
    for keep in ("seeds", "moments"):  # neither needs less
        with pytest.raises(ValueError, match=f"{too_much}$"):
            study(keep=keep)
    with pytest.raises(ValueError, match=r"got 4,000,000 runs, whose numbers alone need 128 MB"):
        study(num_seeds=10**6)
    assert plan().memory_free == 12_345  # a plan says so, and refuses nothing that it can count
    monkeypatch.setattr(forecast, "free_memory", lambda: 10**9)
    too_much = r"got 4,000,000 runs that need 24.\d GB .* \(keep='moments' needs about .* MB\)$"
    with pytest.raises(ValueError, match=too_much):
        study(num_seeds=10**6, shard_pairs=None)
    with pytest.raises(ValueError, match="of memory, must fit"):
        study(num_seeds=10**6, store=tmp_path)
    assert not list(tmp_path.glob("shards/*"))


@pytest.mark.usefixtures("nothing_runs")
def test_what_does_not_fit_on_disk_is_refused_with_the_numbers(monkeypatch, tmp_path):
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda _: Usage(2**30, 2**30, 1000))
    rule = r"^study: got 32 runs that need 65.3 kB of disk, must fit in the 1 kB that are free$"
    with pytest.raises(ValueError, match=rule):
        study(store=tmp_path)
    assert not list(tmp_path.glob("shards/*"))
    assert plan(store=tmp_path).disk_free == 1000


def test_only_what_is_lacking_must_fit_on_disk(monkeypatch, tmp_path):
    study(store=tmp_path)
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda _: Usage(2**30, 2**30, 1000))
    study(store=tmp_path)


def test_a_machine_that_does_not_tell_refuses_nothing(monkeypatch):
    monkeypatch.setattr(forecast, "free_memory", lambda: None)
    study()


# Time


def test_measured_time_is_positive_and_saves_a_compilation(monkeypatch):
    """A study after its plan, in the same process, does not trace its engine again."""
    traced = []
    advance = batch.advance

    def counting(*arguments):
        traced.append(1)
        return advance(*arguments)

    monkeypatch.setattr(batch, "advance", counting)
    options = {"shard_pairs": 6, "num_seeds": 6}  # not compiled for other tests
    found = plan(measure=True, **options)
    assert len(traced) == 1
    assert found.compile_seconds > 0 and found.run_seconds > 0
    study(**options)
    assert len(traced) == 1


def test_time_is_that_of_the_first_block_and_the_pace_of_the_others(monkeypatch):
    """By a clock of its own: 5 s for the first block, then 0.25 s an episode, for about 1 s."""
    clock = [100.0]
    blocks = []

    def run(*_, report):
        for episodes, seconds in ((1, 5.0), (2, 0.5), (2, 0.5), (1, 0.25), (18, 4.5)):
            clock[0] += seconds
            blocks.append(episodes)
            report(episodes)

    monkeypatch.setattr(forecast.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(forecast.batch, "run", run)
    found = plan(measure=True)
    assert blocks == [1, 2, 2, 1]  # one compilation, which ran for a little more than a second
    assert found.compile_seconds == 5.0
    assert found.run_seconds == pytest.approx(NUM_SHARDS * 24 * 0.25, rel=1e-12)


def test_a_run_of_one_block_is_as_long_as_its_compilation(monkeypatch):
    """There is no pace to be learned."""
    found = plan(measure=True, num_episodes=1)
    assert found.compile_seconds > 0 and found.run_seconds == 0


# For people


def test_a_plan_reads_well():
    found = px.Plan(
        num_runs=1_000_000,
        num_finished=2_000,
        num_shards=62,
        num_compilations=2,
        memory_bytes=1_500_000,
        memory_free=3 * 10**9,
        disk_bytes=999,
        disk_free=None,
    )
    assert str(found).splitlines() == [
        "runs          1,000,000, of which 2,000 are finished",
        "shards        62 to be computed",
        "compilations  2",
        "memory        1.5 MB, 3 GB free",
        "disk          999 B",
    ]
    timed = found._replace(compile_seconds=4.0, run_seconds=7200.0)
    assert str(timed).splitlines()[-1] == "time          2 h 0 min, 4 s of it compiling"


DURATIONS = {
    0.0123: "0.012 s",
    7.04: "7 s",
    99.4: "99 s",
    100: "2 min",
    5940: "99 min",
    6000: "1 h 40 min",
    90_000: "25 h 0 min",
}


@pytest.mark.parametrize(("seconds", "text"), DURATIONS.items())
def test_durations_for_people(seconds, text):
    assert forecast.duration(seconds) == text
