"""How far a stored study is: counts of runs, the time left in closed form, who works on it.

Shards are those of the small study, but for the seconds that they say they took; journals are
written as processes on this and on other machines would have left them.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_studies import NUM_RUNS, SHARD_PAIRS, shards, study

import pajax as px
from pajax.studies import archive, batch, journal
from pajax.studies.journal import Journal
from pajax.studies.outline import Cell
from pajax.studies.status import CellStatus, Status

CELLS = [Cell("", agent, mechanism) for mechanism in ("none", "paid") for agent in ("low", "high")]


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    """A store that one of two workers has left, without journals; to be copied."""
    folder = tmp_path_factory.mktemp("half") / "store"
    study(store=folder, worker=(0, 2))
    shutil.rmtree(folder / "journals")
    return folder


@pytest.fixture
def folder(half, tmp_path) -> Path:
    return shutil.copytree(half, tmp_path / "store")


def took(folder: Path, seconds: dict[Cell, float]) -> None:
    """Let each shard of a cell say that it took so long."""
    for path in folder.glob("shards/*/*.npz"):
        header, arrays = archive.read(path)
        header["about"]["seconds"] = seconds[Cell(*header["cell"])]
        archive.write(path, header, arrays)


def dead_process() -> int:
    """The number of a process that was, and is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def entry(**changes: Any) -> dict[str, Any]:
    """A journal, of this process by default."""
    now = time.time()
    usual = {"host": socket.gethostname(), "pid": os.getpid(), "state": "running"}
    usual["worker"] = [0, 1]
    return usual | {"started": now, "updated": now} | changes


def at(cell: Cell, pairs: int, share: float) -> dict[str, Any]:
    """What a journal says of a shard under way."""
    return {"cell": cell._asdict(), "pairs": pairs, "share": share}


def note(folder: Path, *journals: dict[str, Any]) -> None:
    """Leave journals in a store."""
    (folder / "journals").mkdir(exist_ok=True)
    for i, content in enumerate(journals):
        archive.write_json(folder / "journals" / f"{content['host']}-{i}.json", content)


# Runs


def test_a_store_has_runs_that_are_finished_and_others(folder):
    found = px.status(folder)
    assert [cell.cell for cell in found.cells] == CELLS
    assert [cell.num_runs for cell in found.cells] == 4 * [NUM_RUNS // 4]
    assert [cell.num_finished for cell in found.cells] == 4 * [SHARD_PAIRS]
    assert (found.num_finished, found.num_runs) == (NUM_RUNS // 2, NUM_RUNS)
    assert (found.journals, found.running, found.failed) == ([], [], [])


def test_a_study_that_has_finished(folder):
    study(store=folder)
    found = px.status(folder)
    assert found.num_finished == found.num_runs == NUM_RUNS
    (one,) = found.journals
    assert (one["state"], one["pid"], one["error"]) == ("finished", os.getpid(), None)
    assert found.seconds_left == 0.0
    study(store=folder)  # has nothing to do, and says nothing
    assert px.status(folder) == found
    assert str(found).splitlines() == [
        "32 of 32 runs are finished (100.0%)",
        "  none / low   8 of 8",
        "  none / high  8 of 8",
        "  paid / low   8 of 8",
        "  paid / high  8 of 8",
    ]


def test_a_store_that_was_extended_has_more_to_do(folder):
    study(store=folder)
    study(store=folder, num_seeds=100, worker=(999, 1000))
    found = px.status(folder)
    assert NUM_RUNS <= found.num_finished < found.num_runs == 400


def test_looking_changes_nothing(folder):
    note(folder, entry(pid=dead_process()))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    str(px.status(folder))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_may_be_named_by_text_and_must_be_a_store(folder, tmp_path):
    assert px.status(str(folder)) == px.status(folder)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        px.status(tmp_path)
    (folder / "manifest.json").write_text("hello")
    with pytest.raises(ValueError, match=r"manifest\.json: not JSON"):
        px.status(folder)


# Time


def test_the_time_left_is_that_of_the_pairs_left(folder):
    """In each cell four runs are left, and four took so many seconds."""
    took(folder, dict(zip(CELLS, (4.0, 8.0, 100.0, 0.5), strict=True)))
    found = px.status(folder)
    assert [cell.seconds_a_run for cell in found.cells] == [1.0, 2.0, 25.0, 0.125]
    assert found.seconds_left == 112.5
    assert str(found).endswith("\ntime left: about 2 min (none at work; with one process)")


def test_a_cell_without_a_shard_takes_what_the_others_take(folder):
    took(folder, dict(zip(CELLS, (4.0, 8.0, 24.0, 99.0), strict=True)))
    last = max(folder.glob("shards/*/*.npz"), key=lambda x: archive.read(x)[0]["about"]["seconds"])
    last.unlink()
    found = px.status(folder)
    assert found.cells[-1].seconds_a_run is None
    assert found.seconds_left == 4.0 + 8.0 + 24.0 + 8 * (1.0 + 2.0 + 6.0) / 3


def test_nothing_is_known_before_the_first_shard(folder):
    for path in folder.glob("shards/*/*.npz"):
        path.unlink()
    note(folder, entry(now=at(CELLS[0], 4, 0.5)))
    found = px.status(folder)
    assert found.seconds_left is None
    assert str(found).endswith("\ntime left: unknown until a shard is finished")


def test_processes_share_the_time_left(folder):
    """And what they have done of their shards counts, at the pace of its cell."""
    took(folder, dict(zip(CELLS, (4.0, 8.0, 100.0, 0.5), strict=True)))
    note(
        folder,
        entry(now=at(CELLS[2], 4, 0.25)),
        entry(host="elsewhere", pid=1, now=at(CELLS[0], 2, 0.5)),
        entry(host="elsewhere", pid=2),  # between two shards
        entry(state="failed", now=at(CELLS[2], 4, 0.5)),  # nobody goes on with this one
    )
    found = px.status(folder)
    assert len(found.running) == 3
    assert found.seconds_left == (112.5 - 25.0 - 1.0) / 3
    assert str(found).endswith("\ntime left: about 29 s (3 at work)")


def test_two_processes_with_the_same_shard_leave_no_time_less_than_none(folder):
    took(folder, dict.fromkeys(CELLS, 4.0))
    twice = at(CELLS[0], 4, 0.75)
    note(folder, entry(now=twice), entry(host="elsewhere", now=twice))
    assert px.status(folder).seconds_left == (4.0 + 4.0 + 4.0) / 2


def test_time_left_of_random_studies():
    """The same by loops, from the rule in the module's text."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        cells = [
            CellStatus(Cell("", "a", f"{i}"), 20, done, rng.uniform() if done else None)
            for i, done in enumerate(rng.integers(21, size=4) * rng.integers(2, size=4))
        ]
        journals = [
            entry(now=at(cells[i].cell, 3, rng.uniform()))
            for i in rng.integers(4, size=rng.integers(4))
        ]
        known = [cell.seconds_a_run for cell in cells if cell.seconds_a_run is not None]
        found = Status(cells, journals).seconds_left
        if not known:
            assert found is None
            continue
        seconds = 0.0
        for cell in cells:
            left = cell.num_runs - cell.num_finished
            for one in journals:
                if Cell(**one["now"]["cell"]) == cell.cell:
                    left -= one["now"]["pairs"] * one["now"]["share"]
            pace = sum(known) / len(known) if cell.seconds_a_run is None else cell.seconds_a_run
            seconds += max(0.0, left) * pace
        # a few dozen roundings of positive numbers
        assert found == pytest.approx(seconds / max(1, len(journals)), rel=1e-12, abs=1e-12)


# Processes


def test_a_process_of_this_machine_runs_as_long_as_it_lives(folder):
    """However long ago it wrote: a block may take hours."""
    note(folder, entry(updated=0.0), entry(pid=dead_process()))
    assert [one["state"] for one in journal.read_all(folder)] == ["running", "lost"]


@pytest.mark.parametrize(("silent", "state"), [(590.0, "running"), (610.0, "lost")])
def test_a_process_of_another_machine_is_lost_when_it_is_silent(folder, silent, state):
    note(folder, entry(host="elsewhere", pid=os.getpid(), updated=time.time() - silent))
    assert [one["state"] for one in journal.read_all(folder)] == [state]


@pytest.mark.parametrize("state", ["finished", "interrupted", "failed"])
def test_a_process_that_said_how_it_ended_is_not_lost(folder, state):
    note(folder, entry(pid=dead_process(), state=state))
    assert [one["state"] for one in journal.read_all(folder)] == [state]


def test_journals_come_in_the_order_of_their_beginnings(folder):
    beginnings = [float(x) for x in np.random.default_rng(0).permutation(9)]
    note(folder, *(entry(started=x, pid=100 - int(x)) for x in beginnings))
    assert [one["started"] for one in px.status(folder).journals] == sorted(beginnings)


def test_a_journal_that_cannot_be_read_is_left_out(folder):
    note(folder, entry())
    (folder / "journals" / "a.json").write_text('{"host": "vm", "pi')
    (folder / "journals" / "b.json").write_text("[1, 2]")
    assert len(px.status(folder).journals) == 1


def test_who_is_at_work(folder):
    shard = at(CELLS[3], 1234, 0.4)
    others = entry(host="far", pid=18), entry(state="interrupted", now=shard)
    note(folder, entry(host="far", pid=17, started=1.0, now=shard), *others)
    found = str(px.status(folder))
    assert "\nrunning on far (process 17): paid / high, 1,234 runs, 40%\n" in found
    assert "\nrunning on far (process 18): between two shards\n" in found
    assert found.count("running") == 2


FAILED = {"state": "failed", "error": "OSError(28, 'No space left on device')"}


def test_failures_are_told_until_the_same_part_is_begun_again(folder):
    begun = [entry(host="a", pid=3, started=1.0, updated=10.0, worker=[1, 2], **FAILED)]
    note(folder, *begun)
    assert f"\nfailed on a (process 3): {FAILED['error']}\n" in str(px.status(folder))
    begun.append(entry(host="b", started=11.0, worker=[0, 2]))  # of a staggered array
    note(folder, *begun)
    assert [one["host"] for one in px.status(folder).failed] == ["a"]
    begun.append(entry(host="c", started=12.0, worker=[1, 2]))
    note(folder, *begun)
    assert px.status(folder).failed == []
    assert "failed" not in str(px.status(folder))


def test_a_lost_process_has_failed(folder):
    pid = dead_process()
    note(folder, entry(pid=pid, now=at(CELLS[0], 4, 0.1)))
    found = px.status(folder)
    assert [one["pid"] for one in found.failed] == [pid]
    host = socket.gethostname()
    assert f"\nlost on {host} (process {pid}): ended without a word\n" in str(found)
    assert "running" not in str(found)


# Journals


def only(folder: Path) -> dict[str, Any]:
    (found,) = journal.read_all(folder)
    return found


def test_a_journal_says_what_its_process_does(tmp_path, monkeypatch):
    (tmp_path / "journals").mkdir()
    written = Journal(tmp_path, {"versions": {"pajax": "0.1"}})
    written.begin(CELLS[1], 4)
    found = only(tmp_path)
    assert found["versions"] == {"pajax": "0.1"}
    assert (found["state"], found["num_shards"]) == ("running", 0)
    assert found["now"] == at(CELLS[1], 4, 0.0)
    written.progress(0.5)  # too early for another report
    assert only(tmp_path)["now"]["share"] == 0.0
    later = time.time() + journal.REPORT_SECONDS + 1.0
    monkeypatch.setattr(journal.time, "time", lambda: later)
    written.progress(0.75)
    assert (only(tmp_path)["now"]["share"], only(tmp_path)["updated"]) == (0.75, later)
    written.finish(3.5)
    found = only(tmp_path)
    assert "now" not in found
    assert (found["num_shards"], found["num_pairs"], found["seconds"]) == (1, 4, 3.5)
    written.end("failed", "why")
    assert (only(tmp_path)["state"], only(tmp_path)["error"]) == ("failed", "why")


@contextlib.contextmanager
def failing(number: int, error: BaseException) -> Iterator[None]:
    """Raises instead of computing a shard, once so many are done."""
    run, calls = batch.run, []

    def running(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > number:
            raise error
        return run(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "run", running)
        yield


def test_a_study_that_failed_and_goes_on(folder):
    with failing(1, RuntimeError("of the device")), pytest.raises(RuntimeError, match="device"):
        study(store=folder)
    found = px.status(folder)
    assert found.num_finished == NUM_RUNS // 2 + SHARD_PAIRS
    (one,) = found.failed
    assert one["error"] == "RuntimeError('of the device')"
    assert (one["num_shards"], one["num_pairs"]) == (1, SHARD_PAIRS)
    study(store=folder)
    found = px.status(folder)
    assert (found.failed, found.num_finished) == ([], NUM_RUNS)


def test_a_study_that_was_interrupted_has_not_failed(folder):
    with failing(1, KeyboardInterrupt()), pytest.raises(px.StudyInterrupted):
        study(store=folder)
    found = px.status(folder)
    assert [one["state"] for one in found.journals] == ["interrupted"]
    assert (found.running, found.failed) == ([], [])


def test_what_stops_a_study_is_told_though_its_journal_cannot_be(folder):
    """As when the folder is gone."""
    error = RuntimeError("of the device")

    def lost(*_: Any, **__: Any) -> None:
        shutil.rmtree(folder)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "run", lost)
        with pytest.raises(RuntimeError, match="of the device"):
            study(store=folder)


def test_the_status_of_a_study_that_runs(folder):
    """Seen from within, before each of its shards."""
    seen: list[Status] = []
    run = batch.run

    def looking(*arguments: Any, **options: Any) -> Any:
        seen.append(px.status(folder))
        return run(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "run", looking)
        study(store=folder)
    assert [found.num_finished for found in seen] == [16, 20, 24, 28]
    for number, found in enumerate(seen):
        (one,) = found.running
        assert one["now"] == at(CELLS[number], SHARD_PAIRS, 0.0)
        assert one["num_shards"] == number
    assert len(shards(folder)) == 8
