"""The command line: bad input in one line and exit code 2, and a small study from end to end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import pajax as px
from pajax.__main__ import AGENTS, GAMES, MECHANISMS, main


def run_main(arguments: list[str]) -> int:
    """The exit code, whether returned or raised by argparse."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return stop.code


# arguments after `pajax`, and words that the one line must have: argument, value, rule
BAD = {
    "game": (["study", "polution"], ("game", "polution", "be one of", "pollution")),
    "agent": (["study", "pollution", "--agents", "ucbvi", "ucbv"], ("--agents", "'ucbv'", "ucb-q")),
    "mechanism": (
        ["study", "pollution", "--mechanisms", "two-faze"],
        ("--mechanisms", "two-faze", "be one of", "two-phase"),
    ),
    "no seeds": (["study", "pollution", "--seeds", "0"], ("--seeds", "0", "be at least 1")),
    "negative seeds": (["study", "pollution", "--seeds", "-3"], ("--seeds", "-3", "at least 1")),
    "half a seed": (["study", "pollution", "--seeds", "1.5"], ("--seeds", "1.5", "whole number")),
    "seeds in words": (["study", "pollution", "--seeds", "x"], ("--seeds", "'x'", "whole number")),
    "nan": (["study", "pollution", "--seeds", "nan"], ("--seeds", "nan", "whole number")),
    "inf": (["study", "pollution", "--episodes", "inf"], ("--episodes", "inf", "whole number")),
    "no episodes": (["study", "pollution", "--episodes", "0"], ("--episodes", "0", "at least 1")),
    "negative seed": (["study", "pollution", "--seed", "-1"], ("--seed", "-1", "at least 0")),
    "missing command": ([], ("command",)),
    "unknown command": (["studie"], ("studie", "study")),
    "unknown option": (["study", "pollution", "--sedes", "3"], ("--sedes",)),
    "missing game": (["study"], ("game",)),
    "missing value": (["study", "pollution", "--seeds"], ("--seeds", "expected one argument")),
    "missing values": (["study", "pollution", "--agents"], ("--agents", "at least one")),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_code_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_main(arguments) == 2
    assert_one_line(capsys.readouterr(), words)
    assert os.listdir(tmp_path) == []


def assert_one_line(written, words) -> None:
    assert written.out == ""
    assert written.err.endswith("\n")
    assert written.err.count("\n") == 1, written.err
    assert written.err.startswith("pajax")
    for word in words:
        assert word in written.err, written.err


def under_a_file(folder: Path) -> Path:
    (folder / "file").write_text("mine")
    return folder / "file" / "out"


def a_file(folder: Path) -> Path:
    (folder / "file").write_text("mine")
    return folder / "file"


UNWRITABLE = {"under a file": under_a_file, "a file": a_file}


@pytest.mark.parametrize("place", UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_an_unwritable_out(place, tmp_path, capsys):
    out = place(tmp_path)
    assert run_main(["study", "pollution", "--out", str(out)]) == 2
    assert_one_line(capsys.readouterr(), ("--out", str(out), "must", "folder"))
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("option", [["--seeds", "0"], ["--agents", "x"], ["--mechanisms", "x"]])
def test_bad_input_makes_no_folder(option, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert run_main(["study", "pollution", "--out", str(out), *option]) == 2
    assert_one_line(capsys.readouterr(), option)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", [["--version"], ["--help"], ["study", "--help"]])
def test_asking_is_not_an_error(options, capsys):
    assert run_main(options) == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert "pajax" in written.out


def test_help_names_every_part(capsys):
    run_main(["study", "--help"])
    written = "".join(capsys.readouterr().out.split())  # names may be broken between lines
    for name in (*GAMES, *AGENTS, *MECHANISMS):
        assert name in written


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_of_the_command_line_is_made(name):
    assert AGENTS[name](px.games.bandit()).num_words in (0, 1, 2)


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_of_the_command_line_is_made(name):
    assert hasattr(MECHANISMS[name](px.games.bandit()), "post")


# In a process of its own, since `main` sets JAX up


def pajax(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, "-m", "pajax", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def test_version(tmp_path):
    done = pajax("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pajax {px.__version__}\n", "")


def test_bad_input_in_a_process(tmp_path):
    done = pajax("study", "pollution", "--seeds", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tiny study: exit code, text, and its folder."""
    folder = tmp_path_factory.mktemp("cli")
    options = ["--seeds", "2", "--episodes", "300", "--seed", "5", "--out", "o"]
    options += ["--agents", "ucb-q", "--mechanisms", "none", "two-phase"]
    return pajax("study", "pollution", *options, cwd=folder), folder


def test_a_small_study_prints_its_table(small):
    done, _ = small
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for word in ("welfare regret", "growth exponent", "ucb-q", "none", "two-phase", "95%"):
        assert word.replace("95%", "95") in done.stdout, word
    assert "W* = 6.5279" in done.stdout


def test_a_small_study_writes_a_dataset_and_a_picture(small):
    _, folder = small
    assert sorted(os.listdir(folder / "o")) == ["overview.png", "results.npz"]
    assert (folder / "o" / "overview.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    dataset = px.load(folder / "o" / "results.npz")
    assert isinstance(dataset, xr.Dataset)
    assert dict(dataset.sizes) | {"episode": 0} == {
        "game": 1,
        "agent": 1,
        "mechanism": 2,
        "seed": 2,
        "episode": 0,
    }
    assert dataset.mechanism.to_numpy().tolist() == ["none", "two-phase"]
    assert int(dataset.episode[-1]) == 300
    assert dataset.welfare_regret.notnull().all()


def test_a_small_study_is_that_of_the_library(small):
    """Bitwise, in another process on other devices: the seed says everything."""
    import jax

    expected = px.study(
        jax.random.key(5),
        px.games.pollution(),
        agents={"ucb-q": px.agents.UCBQ()},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=300,
        num_seeds=2,
        progress=False,
    )
    found = px.load(small[1] / "o" / "results.npz").sel(mechanism=["none"])
    for name in expected.variables:
        xr.testing.assert_equal(found[name].variable, expected[name].variable)
