"""The command line: what it computes and writes, bad input in one line, exit codes, signals.

Most run in this process, on a study so small that compiling is all of it; `SHARD_RUNS` runs are the
unit of everything, since other numbers are compiled again.
"""

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import xarray as xr
from small_studies import full_disk, shards

import pajax as px
from pajax.__main__ import AGENTS, GAMES, MECHANISMS, main
from pajax.studies import batch, forecast, kept
from pajax.studies.manifest import Manifest

CELL = ["bandit", "--agents", "ucb-q", "--mechanisms", "none", "--episodes", "24"]
SHARD_RUNS = 4
SMALL = [*CELL, "--shard-runs", str(SHARD_RUNS), "--seeds", "8"]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, tmp_path):
    """JAX has started here, with two devices, and the default folder is below the current one."""
    monkeypatch.setattr(px, "configure", lambda: None)
    monkeypatch.chdir(tmp_path)


def pajax(*arguments: Any) -> int:
    """The exit code, whether returned or raised by argparse."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict[str, Path]:
    """The small study, by what it keeps; not to be touched."""
    folders = {keep: tmp_path_factory.mktemp("finished") / keep for keep in ("seeds", "moments")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(px, "configure", lambda: None)
        for keep, folder in folders.items():
            assert pajax("study", *SMALL, "--keep", keep, "--out", folder) == 0
    return folders


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The numbers of runs of all shards that are computed from now on."""
    found: list[int] = []
    run = batch.run

    def counting(batch, record, layout, **options):
        found.append(layout.num_pairs)
        return run(batch, record, layout, **options)

    monkeypatch.setattr(batch, "run", counting)
    return found


def results(folder: Path) -> bytes:
    return (folder / "results.npz").read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_one_line(written: Any, *words: str) -> None:
    assert written.err.endswith("\n")
    assert written.err.count("\n") == 1, written.err
    assert written.err.startswith("pajax")
    for word in words:
        assert word in written.err, written.err


# A study


def test_the_small_study_is_that_of_the_library(finished):
    import jax

    expected = px.study(
        jax.random.key(0),
        px.games.bandit(),
        agents={"ucb-q": px.agents.UCBQ()},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=24,
        num_seeds=8,
        shard_pairs=SHARD_RUNS,
    )
    xr.testing.assert_identical(px.load(finished["seeds"] / "results.npz"), expected)


def test_what_a_study_prints_and_writes(capsys, tmp_path):
    assert pajax("study", *SMALL) == 0
    written = capsys.readouterr()
    assert written.err == ""  # nor a progress bar, since this is no terminal
    for word in ("Game 0: W* = 1.2500", "welfare regret", "growth exponent", "ucb-q", "none"):
        assert word in written.out, word
    assert written.out.endswith("\nWrote runs/bandit/results.npz and runs/bandit/overview.png.\n")
    folder = tmp_path / "runs" / "bandit"
    kinds = {"journals", "manifest.json", "overview.png", "results.npz", "shards"}
    assert set(os.listdir(folder)) == kinds
    assert (folder / "overview.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert len(shards(folder)) == 2


def test_the_same_command_again_computes_nothing(finished, computed, tmp_path):
    assert pajax("study", *SMALL, "--out", "o") == 0
    first = results(tmp_path / "o")
    computed.clear()
    assert pajax("study", *SMALL, "--out", "o") == 0
    assert computed == []
    assert results(tmp_path / "o") == first == results(finished["seeds"])


@pytest.mark.parametrize("keep", ["seeds", "moments"])
def test_more_seeds_compute_those(finished, computed, tmp_path, keep):
    half = ["--seeds", "4", "--keep", keep, "--out", "o"]
    assert pajax("study", *SMALL, *half) == 0
    computed.clear()
    assert pajax("study", *SMALL, "--keep", keep, "--out", "o") == 0
    assert computed == [SHARD_RUNS]
    assert results(tmp_path / "o") == results(finished[keep])


def test_moments_have_their_table(finished, capsys):
    assert pajax("study", *SMALL, "--keep", "moments", "--out", finished["moments"]) == 0
    assert "The study kept moments" in capsys.readouterr().out
    assert px.load(finished["moments"]).attrs["keep"] == "moments"


CHANGES = {
    "episodes": ([*SMALL, "--episodes", "25"], "study.num_episodes: 24, now 25"),
    "seed": ([*SMALL, "--seed", "1"], "study.key: [0, 0], now [0, 1]"),
    "keep": ([*SMALL, "--keep", "moments"], 'study.keep: "seeds", now "moments"'),
    "game": (["pollution", *SMALL[1:]], "game.horizon: 1, now 5"),
}


@pytest.mark.parametrize("command", ["study", "plan"])
@pytest.mark.parametrize(("arguments", "line"), CHANGES.values(), ids=CHANGES)
def test_another_study_is_refused(finished, capsys, computed, command, arguments, line):
    before = files(finished["seeds"])
    assert pajax(command, *arguments, "--out", finished["seeds"]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    first, *rest = written.err.splitlines()
    assert first.startswith(f"pajax {command}: error: store: got {finished['seeds']}, must hold")
    assert any(found.startswith(f"  {line}") for found in rest)
    assert all(found.startswith("  ") for found in rest)
    assert computed == []
    assert files(finished["seeds"]) == before


def test_fewer_seeds_of_moments_are_refused(finished, capsys):
    before = files(finished["moments"])
    options = ["--keep", "moments", "--seeds", "4", "--out", finished["moments"]]
    assert pajax("study", *SMALL, *options) == 2
    assert_one_line(capsys.readouterr(), "num_seeds", "4", "at least the 8 of the store")
    assert files(finished["moments"]) == before


def test_a_damaged_shard_is_a_line_and_computed_again(finished, computed, capsys, tmp_path):
    assert pajax("study", *SMALL, "--out", "o") == 0
    one, *_ = (tmp_path / "o").glob("shards/*/*.npz")
    one.write_bytes(b"hello")
    computed.clear()
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert pajax("study", *SMALL, "--out", "o") == 0
    assert_one_line(capsys.readouterr(), "pajax study: warning: store: set aside as", one.name)
    assert computed == [SHARD_RUNS]
    assert results(tmp_path / "o") == results(finished["seeds"])


# Workers


@pytest.mark.parametrize("keep", ["seeds", "moments"])
def test_the_last_worker_writes_the_results(finished, computed, capsys, tmp_path, keep):
    """Before, also if all cells have equally many runs, a worker prints the status."""
    of_worker = lambda i: [*SMALL, "--keep", keep, "--worker", f"{i}/2", "--out", "o"]  # noqa: E731
    assert pajax("study", *of_worker(0)) == 0
    assert capsys.readouterr().out.startswith("4 of 8 runs are finished (50.0%)\n")
    assert not (tmp_path / "o" / "results.npz").exists()
    assert pajax("study", *of_worker(1)) == 0
    assert "welfare regret" in capsys.readouterr().out
    assert computed == [SHARD_RUNS, SHARD_RUNS]
    assert results(tmp_path / "o") == results(finished[keep])


def test_workers_on_separate_disks_are_merged(finished, computed, capsys, tmp_path):
    for i in range(2):
        assert pajax("study", *SMALL, "--worker", f"{i}/2", "--out", f"w{i}") == 0
    capsys.readouterr()
    assert pajax("merge", "all", "w0", "w1") == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert written.out.startswith("8 of 8 runs are finished (100.0%)\n")
    computed.clear()
    assert pajax("report", "all") == 0
    assert computed == []
    assert results(tmp_path / "all") == results(finished["seeds"])


def test_different_studies_are_not_merged(finished, capsys, tmp_path):
    assert pajax("merge", "all", finished["seeds"], finished["moments"]) == 2
    written = capsys.readouterr()
    assert written.err.startswith("pajax merge: error: store: got all, must hold the same study")
    assert written.err.endswith('\n  study.keep: "seeds", now "moments"\n')
    assert os.listdir(tmp_path) == []


# Specs

SPEC = """
[study]
num_episodes = {episodes}
num_seeds = {seeds}

[game]
family = "bandit"

[agents]
ucb-q = "UCBQ"

[mechanisms]
none = "{mechanism}"
"""


def spec(path: Path, episodes: int = 24, seeds: int = 8, mechanism: str = "NoTransfer") -> Path:
    path.write_text(SPEC.format(episodes=episodes, seeds=seeds, mechanism=mechanism))
    return path


def test_a_spec_is_a_study(finished, tmp_path):
    assert pajax("study", spec(tmp_path / "mine.toml"), "--shard-runs", SHARD_RUNS) == 0
    assert results(tmp_path / "runs" / "mine") == results(finished["seeds"])


def test_options_go_before_a_spec(finished, tmp_path):
    path = spec(tmp_path / "mine.toml", episodes=100, seeds=3)
    path.write_text(path.read_text().replace("[study]", '[study]\nseed = 7\nkeep = "seeds"'))
    options = ["--seeds", "8", "--episodes", "24", "--seed", "0", "--keep", "moments"]
    assert pajax("study", path, *options, "--shard-runs", SHARD_RUNS, "--out", "o") == 0
    assert results(tmp_path / "o") == results(finished["moments"])


@pytest.mark.parametrize("option", ["--agents", "--mechanisms"])
def test_a_spec_names_its_own_parts(tmp_path, capsys, option):
    path = spec(tmp_path / "mine.toml")
    assert pajax("study", path, option, "none") == 2
    assert_one_line(capsys.readouterr(), option, "['none']", "be named in the spec instead")
    assert os.listdir(tmp_path) == ["mine.toml"]


def test_a_bad_spec_is_one_line(tmp_path, capsys):
    path = spec(tmp_path / "mine.toml", mechanism="NoTransfers")
    assert pajax("study", path) == 2
    assert_one_line(capsys.readouterr(), "mine.toml", "NoTransfers", "NoTransfer")
    assert os.listdir(tmp_path) == ["mine.toml"]


# NaN in what a mechanism posts; an agent's own numbers are not recorded.
NAN = """
import jax.numpy as jnp
import pajax as px


@px.pytree
class NoNumber(px.mechanisms.NoTransfer):
    number: float = jnp.nan

    def post(self, state):
        contract = super().post(state)
        return contract._replace(transfer=contract.transfer + self.number)
"""


@pytest.mark.parametrize("keep", ["seeds", "moments"])
def test_numbers_that_are_not_finite_are_told(tmp_path, capsys, keep):
    """A part of the user's own, from a module beside the spec."""
    (tmp_path / "no_number.py").write_text(NAN)
    path = spec(tmp_path / "mine.toml", mechanism="no_number:NoNumber")
    options = ["--keep", keep, "--shard-runs", SHARD_RUNS, "--out", "o"]
    assert pajax("study", path, *options) == 3
    written = capsys.readouterr()
    assert written.err == ""
    assert "ended with non-finite numbers: ucb-q / none 100.0 %." in " ".join(written.out.split())
    assert (tmp_path / "o" / "results.npz").exists()
    assert pajax("report", "o") == 3


# Bad input: arguments after `pajax`, and words that the one line must have: argument, value, rule
BAD = {
    "game": (["study", "polution"], ("study", "'polution'", "be one of", "pollution")),
    "agent": (["study", "bandit", "--agents", "ucbvi", "ucbv"], ("--agents", "'ucbv'", "ucb-q")),
    "mechanism": (
        ["study", "bandit", "--mechanisms", "two-faze"],
        ("--mechanisms", "two-faze", "be one of", "two-phase"),
    ),
    "no seeds": (["study", "bandit", "--seeds", "0"], ("--seeds", "0", "be at least 1")),
    "negative seeds": (["study", "bandit", "--seeds", "-3"], ("--seeds", "-3", "at least 1")),
    "half a seed": (["study", "bandit", "--seeds", "1.5"], ("--seeds", "1.5", "whole number")),
    "seeds in words": (["study", "bandit", "--seeds", "x"], ("--seeds", "'x'", "whole number")),
    "nan": (["study", "bandit", "--seeds", "nan"], ("--seeds", "nan", "whole number")),
    "inf": (["study", "bandit", "--episodes", "inf"], ("--episodes", "inf", "whole number")),
    "no episodes": (["study", "bandit", "--episodes", "0"], ("--episodes", "0", "at least 1")),
    "negative seed": (["study", "bandit", "--seed", "-1"], ("--seed", "-1", "at least 0")),
    "keep": (["study", "bandit", "--keep", "all"], ("--keep", "'all'", "one of seeds, moments")),
    "shard": (["study", "bandit", "--shard-runs", "0"], ("--shard-runs", "0", "at least 1")),
    "no worker": (["study", "bandit", "--worker", "x"], ("--worker", "'x'", "be i/n")),
    "a worker of none": (["study", "bandit", "--worker", "1"], ("--worker", "'1'", "be i/n")),
    "three": (["study", "bandit", "--worker", "1/2/3"], ("--worker", "'1/2/3'", "be i/n")),
    "words": (["study", "bandit", "--worker", "a/b"], ("--worker", "'a'", "whole number")),
    "half": (["study", "bandit", "--worker", "0.5/2"], ("--worker", "'0.5'", "whole number")),
    "before the first": (["study", "bandit", "--worker=-1/2"], ("--worker", "-1", "at least 0")),
    "after the last": (["study", *SMALL, "--worker", "2/2"], ("worker", "2", "at most 1")),
    "of no workers": (["study", *SMALL, "--worker", "0/0"], ("worker", "0", "at least 1")),
    "missing command": ([], ("command",)),
    "unknown command": (["studie"], ("studie", "study")),
    "unknown option": (["study", "bandit", "--sedes", "3"], ("--sedes",)),
    "option of another command": (["study", "bandit", "--no-time"], ("--no-time",)),
    "missing game": (["study"], ("study",)),
    "missing value": (["study", "bandit", "--seeds"], ("--seeds", "expected one argument")),
    "missing values": (["study", "bandit", "--agents"], ("--agents", "at least one")),
    "a game of plan": (["plan", "polution", "--no-time"], ("study", "'polution'", "pollution")),
    "no spec": (["study", "nowhere.toml"], ("nowhere.toml", "No such file")),
    "no store to look at": (["status", "nowhere"], ("nowhere", "No such file")),
    "no store to report": (["report", "nowhere"], ("nowhere", "No such file")),
    "no store to merge": (["merge", "all", "nowhere"], ("nowhere", "No such file")),
    "nothing to merge": (["merge", "all"], ("others", "required")),
    "no folder": (["status"], ("folder", "required")),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_code_2(arguments, words, tmp_path, capsys):
    assert pajax(*arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert_one_line(written, *words)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_file_is_no_store(command, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert pajax(command, "file") == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert_one_line(written, "file", "Not a directory")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_unwritable_out(place, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert pajax("study", *SMALL, "--out", place) == 2
    assert_one_line(capsys.readouterr(), "store", place, "must", "folder", "Not a directory")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("option", [["--seeds", "0"], ["--agents", "x"], ["--mechanisms", "x"]])
def test_bad_input_makes_no_folder(option, tmp_path, capsys):
    assert pajax("study", "bandit", "--out", tmp_path / "deep" / "out", *option) == 2
    assert_one_line(capsys.readouterr(), *option)
    assert os.listdir(tmp_path) == []


# Asking


@pytest.mark.parametrize("options", [["--help"], ["study", "--help"], ["merge", "--help"]])
def test_asking_is_not_an_error(options, capsys):
    assert pajax(*options) == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert "pajax" in written.out


def test_version(capsys):
    assert pajax("--version") == 0
    assert capsys.readouterr() == (f"pajax {px.__version__}\n", "")


def test_help_names_every_part(capsys):
    pajax("study", "--help")
    written = "".join(capsys.readouterr().out.split())  # names may be broken between lines
    for name in (*GAMES, *AGENTS, *MECHANISMS):
        assert name in written


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_of_the_command_line_is_made(name):
    assert AGENTS[name](px.games.bandit()).num_words in (0, 1, 2)


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_of_the_command_line_is_made(name):
    assert hasattr(MECHANISMS[name](px.games.bandit()), "post")


# Plans


def planned(text: str) -> dict[str, str]:
    """The lines of a plan by their first word."""
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}


def test_a_plan_says_what_a_study_will_take_and_writes_nothing(capsys, tmp_path):
    assert pajax("plan", *SMALL) == 0
    written = capsys.readouterr()
    found = planned(written.out)
    assert written.err == ""
    assert found["runs"] == "8, of which 0 are finished"
    assert found["shards"] == "2 to be computed"
    assert found["compilations"] == "1"
    for name in ("memory", "disk"):
        assert re.fullmatch(r"[\d.]+ [kMG]?B, [\d.,]+ [kMGT]B free", found[name]), found[name]
    assert re.fullmatch(r"[\d.]+ s, [\d.]+ s of it compiling", found["time"])
    assert os.listdir(tmp_path) == []


def test_a_plan_without_time_runs_nothing(capsys, computed, tmp_path):
    assert pajax("plan", *SMALL, "--no-time") == 0
    assert planned(capsys.readouterr().out).keys() == {
        *("runs", "shards", "compilations", "memory", "disk")
    }
    assert computed == []
    assert os.listdir(tmp_path) == []


def test_a_plan_of_what_is_left(finished, capsys):
    more = ["--seeds", "20", "--no-time", "--out", finished["seeds"]]
    before = files(finished["seeds"])
    assert pajax("plan", *SMALL, *more) == 0
    found = planned(capsys.readouterr().out)
    assert found["runs"] == "20, of which 8 are finished"
    assert found["shards"] == "3 to be computed"
    assert pajax("plan", *SMALL, *more, "--worker", "1/3") == 0
    assert planned(capsys.readouterr().out)["shards"] == "1 to be computed"
    assert files(finished["seeds"]) == before


def test_a_plan_of_a_spec(capsys, tmp_path):
    assert pajax("plan", spec(tmp_path / "mine.toml"), "--no-time") == 0
    assert planned(capsys.readouterr().out)["runs"] == "8, of which 0 are finished"
    assert os.listdir(tmp_path) == ["mine.toml"]


# Status and reports


def test_the_status_of_a_finished_study(finished, capsys):
    assert pajax("status", finished["seeds"]) == 0
    written = capsys.readouterr()
    lines = ["8 of 8 runs are finished (100.0%)", "  none / ucb-q  8 of 8"]
    assert written == ("\n".join([*lines, ""]), "")


def test_a_report_of_a_finished_study_is_that_of_the_study(finished, capsys, tmp_path):
    assert pajax("study", *SMALL, "--out", "o") == 0
    of_study = capsys.readouterr()
    wanted = files(tmp_path / "o")
    (tmp_path / "o" / "results.npz").unlink()
    (tmp_path / "o" / "overview.png").unlink()
    assert pajax("report", "o") == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert re.fullmatch(
        r"Wrote o/report\.html \(0\.\d MB\)\.\n", written.out.removeprefix(of_study.out)
    )
    found = files(tmp_path / "o")
    page = found.pop(str(tmp_path / "o" / "report.html")).decode()
    assert found == wanted
    of_store = Manifest.read(tmp_path / "o")
    fingerprint = of_store.entries["game[0]"]["arrays"]
    words = ("<!DOCTYPE html>", "all 8 runs are done", "UCBQ(bonus=0.03", "store=&#39;o&#39;")
    for word in (*words, of_store.created, of_store.versions["jaxlib"], fingerprint):
        assert word in page, word


def test_a_report_of_a_file_is_a_page_beside_it(finished, capsys, tmp_path):
    (tmp_path / "mine.npz").write_bytes(results(finished["seeds"]))
    assert pajax("report", "mine.npz") == 0
    assert "Game 0" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == ["mine.html", "mine.npz"]


def test_a_report_of_several_studies_is_one_page(finished, capsys, monkeypatch, tmp_path):
    """`test_report` says what is on it."""
    asked = []

    def ask(*given: Any) -> Path:
        asked.append(given)
        (tmp_path / "both.html").write_text("page")
        return tmp_path / "both.html"

    monkeypatch.setattr("pajax.__main__.report", ask)
    folders = [str(finished[keep]) for keep in ("seeds", "moments")]
    assert pajax("report", *folders, "--out", "both.html") == 0
    assert asked == [(folders, "both.html")]
    assert capsys.readouterr().out.count("Game 0: W*") == 2
    assert not (finished["moments"] / "report.html").exists()


def test_a_report_of_lengths_that_do_not_match(finished, capsys, tmp_path):
    assert pajax("report", finished["seeds"], finished["moments"], "--out", "both.html") == 2
    assert_one_line(capsys.readouterr(), "pajax report: error:", "moments")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("worker", "number"), [("0/2", 4), ("8/9", 0)])
def test_a_report_of_a_part_of_a_study(capsys, tmp_path, worker, number):
    """The last of nine workers has none of eight runs."""
    assert pajax("study", *SMALL, "--worker", worker, "--out", "o") == 0
    capsys.readouterr()
    assert pajax("report", "o") == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert f"mean over seeds ({number} of 8 here)" in " ".join(written.out.split())
    found = px.load(tmp_path / "o" / "results.npz")
    assert int((found.status != kept.NOT_RUN).sum()) == number


# Failures on the way


def test_a_full_disk(finished, computed, capsys, tmp_path):
    with full_disk(1):
        assert pajax("study", *SMALL, "--out", "o") == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert_one_line(written, "pajax study: failed: o", "No space left on device")
    assert len(shards(tmp_path / "o")) == 1
    computed.clear()
    assert pajax("study", *SMALL, "--out", "o") == 0
    assert computed == [SHARD_RUNS]
    assert results(tmp_path / "o") == results(finished["seeds"])


def test_a_disk_that_is_full_when_all_is_computed(finished, capsys, monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(px, "save", refuse)
    assert pajax("study", *SMALL, "--out", "o") == 1
    assert_one_line(capsys.readouterr(), "failed: o", "No space left on device")
    monkeypatch.undo()
    assert pajax("report", tmp_path / "o") == 0
    assert results(tmp_path / "o") == results(finished["seeds"])


def raising(error: BaseException) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


FAILURES = {
    "memory": (MemoryError("not even one run of none / ucb-q fits"), 1, "failed: not even one"),
    "device": (RuntimeError("INTERNAL: of XLA\n\n  and more"), 1, "failed: INTERNAL: of XLA and"),
    "a file": (OSError(5, "Input/output error", "o/a.npz"), 1, "failed: o/a.npz: Input/output"),
    "no permission": (PermissionError(13, "Permission denied", "o/x"), 2, "error: o/x: Permission"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "interrupted"),
}


@pytest.mark.parametrize(("error", "code", "words"), FAILURES.values(), ids=FAILURES)
def test_failures_are_one_line(error, code, words, monkeypatch, capsys):
    monkeypatch.setattr(px, "study", raising(error))
    assert pajax("study", *SMALL) == code
    assert_one_line(capsys.readouterr(), f"pajax study: {words}")


def test_a_failure_is_in_the_status(capsys, monkeypatch):
    monkeypatch.setattr(batch, "run", raising(RuntimeError("of the device")))
    assert pajax("study", *SMALL, "--out", "o") == 1
    assert_one_line(capsys.readouterr(), "failed: of the device")
    assert pajax("status", "o") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0 of 8 runs are finished (0.0%)"
    assert re.fullmatch(r"failed on .* \(process \d+\): RuntimeError\('of the device'\)", lines[2])
    assert lines[3] == "time left: unknown until a shard is finished"


def test_too_little_memory_is_told_before_anything_runs(capsys, computed, monkeypatch):
    monkeypatch.setattr(forecast, "free_memory", lambda: 1000)
    assert pajax("study", *SMALL, "--out", "o") == 2
    assert_one_line(capsys.readouterr(), "8 runs that need", "1 kB that are free")
    assert computed == []


def test_a_request_to_end(monkeypatch, capsys):
    """And what was done about such requests before is done again afterwards."""
    before = signal.getsignal(signal.SIGTERM), warnings.showwarning

    def ended(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10.0)

    monkeypatch.setattr(px, "study", ended)
    assert pajax("study", *SMALL) == 143
    assert_one_line(capsys.readouterr(), "pajax study: interrupted")
    assert (signal.getsignal(signal.SIGTERM), warnings.showwarning) == before


# Processes of their own, which set JAX up themselves


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-m", "pajax", "study", *CELL, *options, "--out", str(folder)]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_study_in_a_process_is_the_same(finished, tmp_path):
    """Bitwise, on other devices and in other shards: the seed says everything."""
    out, err = (child := start(tmp_path / "o", "--seeds", "8")).communicate(timeout=600)
    assert (child.returncode, err) == (0, "")
    assert "welfare regret" in out
    assert results(tmp_path / "o") == results(finished["seeds"])


class Stopped(NamedTuple):
    """A long study in a process of its own, which got a signal in mid-run."""

    folder: Path
    running: str  # its status before
    code: int
    out: str
    err: str
    after: str  # its status afterwards


def wait_for_shards(folder: Path, process: subprocess.Popen[str]) -> None:
    while len(shards(folder)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
LONG_SEEDS = 80_000  # minutes of work, so that no busy machine ends it before its signal comes
LONG = ["--shard-runs", str(SHARD_RUNS), "--seeds", str(LONG_SEEDS)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> dict[int, Stopped]:
    """By signal; they start at once, which saves time."""
    folders = {number: tmp_path_factory.mktemp("long") / "o" for number in STOPS}
    found = {}
    with contextlib.ExitStack() as stack:
        processes = {n: stack.enter_context(start(x, *LONG)) for n, x in folders.items()}
        for process in processes.values():
            stack.callback(process.kill)
        for number, process in processes.items():
            wait_for_shards(folders[number], process)
            running = str(px.status(folders[number]))
            process.send_signal(number)
            out, err = process.communicate(timeout=600)
            after = str(px.status(folders[number]))
            code = process.returncode
            found[number] = Stopped(folders[number], running, code, out, err, after)
    return found


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_in_mid_run(stopped, number):
    found = stopped[number]
    assert (found.code, found.out) == (STOPS[number], ""), found.err
    num_done = SHARD_RUNS * len(shards(found.folder))
    assert 0 < num_done < LONG_SEEDS
    message = (
        f"pajax study: study interrupted: {num_done:,} of {LONG_SEEDS:,} runs are finished, and "
        f"kept in {found.folder}; the same command goes on from there\n"
    )
    assert found.err == ("" if number == signal.SIGKILL else message)


@pytest.mark.parametrize("number", STOPS)
def test_the_status_before_and_after_a_signal(stopped, number):
    found = stopped[number]
    here = rf"{socket.gethostname()} \(process \d+\)"
    *_, shard, left = found.running.splitlines()
    doing = r"none / ucb-q, 4 runs, \d+%|between two shards"  # which are short here
    assert re.fullmatch(rf"running on {here}: ({doing})", shard)
    assert re.fullmatch(r"time left: about .* \(1 at work\)", left)
    *_, last, left = found.after.splitlines()
    is_lost = re.fullmatch(rf"lost on {here}: ended without a word", last) is not None
    assert is_lost == (number == signal.SIGKILL)
    assert re.fullmatch(r"time left: about .* \(none at work; with one process\)", left)


@pytest.mark.parametrize("number", STOPS)
def test_after_a_signal_the_same_command_goes_on(stopped, computed, tmp_path, number):
    """With fewer seeds than were asked for, to save time."""
    num_done = SHARD_RUNS * len(shards(stopped[number].folder))
    more = [*SMALL, "--seeds", num_done + 2 * SHARD_RUNS]
    assert pajax("study", *more, "--out", stopped[number].folder) == 0
    assert computed == [SHARD_RUNS, SHARD_RUNS]
    assert pajax("study", *more, "--out", "whole") == 0
    assert results(stopped[number].folder) == results(tmp_path / "whole")
