"""Stored studies: nothing that was finished is lost, or computed again, or wrong.

Whatever happens to a store, the Dataset of the next call has the bytes of a study that was neither
stored nor disturbed, and only what was lost is computed.
"""

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_studies import (
    AGENTS,
    MECHANISMS,
    NUM_RUNS,
    NUM_SHARDS,
    SEEDS,
    SHARD_PAIRS,
    arguments,
    assert_same,
    bandits,
    expected,
    full_disk,
    runs,
    shards,
    study,
)

import pajax as px
from pajax.studies import archive, batch, journal, kept, store
from pajax.studies.design import Design, make_design

KEEPS = ("seeds", "moments")
each_keep = pytest.mark.parametrize("keep", KEEPS)
seeds_or_slow = pytest.mark.parametrize(
    "keep", ["seeds", pytest.param("moments", marks=pytest.mark.slow)]
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict[str, Path]:
    """Finished stores, by what they keep; to be copied, not to be touched."""
    folders = {keep: tmp_path_factory.mktemp("finished") / keep for keep in KEEPS}
    for keep, folder in folders.items():
        study(store=folder, keep=keep)
    return folders


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A finished store."""
    return shutil.copytree(finished["seeds"], tmp_path / "store")


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The numbers of runs of all shards that are computed from now on."""
    for keep in KEEPS:
        expected(keep)  # is not one of them
    found: list[int] = []
    run = batch.run

    def counting(batch, record, layout, **options):
        found.append(layout.num_pairs)
        return run(batch, record, layout, **options)

    monkeypatch.setattr(batch, "run", counting)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def design(**options: Any) -> Design:
    """That of the small study."""
    names = ("key", "game", "agents", "mechanisms", "num_episodes", "num_seeds")
    given = arguments(**options)
    return make_design(**{name: given[name] for name in names})


def one_shard(folder: Path) -> Path:
    return min(folder.glob("shards/*/*.npz"))


# A store is a study


@each_keep
def test_a_stored_study_is_that_study(tmp_path, finished, keep, computed):
    folder = shutil.copytree(finished[keep], tmp_path / "store")
    found = study(store=folder, keep=keep)
    assert computed == []
    assert_same(found, expected(keep), tmp_path)


def test_what_is_in_the_folder(folder):
    assert len(shards(folder)) == NUM_SHARDS
    assert set(runs(folder).values()) == {1}
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kinds == {".npz", ".json"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == 2
    assert manifest["versions"]["jax"] == jax.__version__
    assert manifest["device"] == jax.devices()[0].device_kind
    assert manifest["outline"]["agents"] == {name: repr(x) for name, x in AGENTS.items()}
    header, _ = archive.read(one_shard(folder))
    assert header["about"]["pajax"] == px.__version__
    assert header["about"]["seconds"] > 0
    (entry,) = journal.read_all(folder)
    assert (entry["host"], entry["pid"]) == (socket.gethostname(), os.getpid())
    assert (entry["state"], entry["num_pairs"]) == ("finished", NUM_RUNS)


def test_a_store_may_be_named_by_text(folder, computed):
    study(store=str(folder))
    assert computed == []


def test_equal_cells_share_their_shards(tmp_path, computed):
    """Names are for people: an agent under another name is the same agent."""
    names = {"one": AGENTS["low"], "other": px.agents.UCBQ(bonus=0.03)}
    study(store=tmp_path, agents={"first": AGENTS["low"]})
    computed.clear()
    found = study(store=tmp_path, agents=names)
    assert computed == []
    assert np.array_equal(found.payment.sel(agent="one"), found.payment.sel(agent="other"))


# Growing


def agent(**options: Any) -> px.agents.UCBQ:
    return px.agents.UCBQ(**options)


FEW = {"agents": {"low": AGENTS["low"]}, "mechanisms": {"none": MECHANISMS["none"]}}
EPSILON = (0.25, 0.5, 0.75)
GROWTHS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "seeds": ({"num_seeds": 4}, {"num_seeds": 20}, 4 * 16),
    "one seed": ({"num_seeds": 4}, {"num_seeds": 5}, 4),
    "games": ({"game": bandits(2), **FEW}, {"game": bandits(3), **FEW}, 8),
    "games and seeds": (
        {"game": bandits(1), "num_seeds": 4, **FEW},
        {"game": bandits(2), "num_seeds": 8, **FEW},
        12,
    ),
    "agents": ({"agents": {"low": AGENTS["low"]}}, {}, 16),
    "an agent before": ({"agents": {"high": AGENTS["high"]}}, {}, 16),
    "mechanisms": ({"mechanisms": {"paid": MECHANISMS["paid"]}}, {}, 16),
    "grid values": (
        {"agents": {f"bonus={x}": agent(bonus=x) for x in (0.1, 0.2)}, "num_seeds": 4},
        {"agents": {f"bonus={x}": agent(bonus=x) for x in (0.1, 0.15, 0.2)}, "num_seeds": 4},
        8,
    ),
    "groups": (
        {"game": {"a": bandits(1)}, **FEW},
        {"game": {"a": bandits(1), "b": bandits(2, seed=6)}, **FEW},
        16,
    ),
    "games of one group": (
        {"game": {"a": bandits(1), "b": bandits(1, seed=6)}, **FEW},
        {"game": {"a": bandits(2), "b": bandits(1, seed=6)}, **FEW},
        8,
    ),
    "games with numbers of their own": (
        {"game": bandits(2), **FEW, "agents": {"q": agent(bonus=jnp.asarray(EPSILON[:2]))}},
        {"game": bandits(3), **FEW, "agents": {"q": agent(bonus=jnp.asarray(EPSILON))}},
        8,
    ),
}


MARKS = {"games with numbers of their own": pytest.mark.slow}  # compiled for it alone


@seeds_or_slow
@pytest.mark.parametrize(
    ("before", "after", "number"),
    [pytest.param(*growth, id=name, marks=MARKS.get(name, ())) for name, growth in GROWTHS.items()],
)
def test_growing_computes_what_is_new(tmp_path, computed, before, after, number, keep):
    study(store=tmp_path / "store", keep=keep, **before)
    old = shards(tmp_path / "store")
    computed.clear()
    found = study(store=tmp_path / "store", keep=keep, **after)
    new = shards(tmp_path / "store")
    assert sum(computed) == number
    assert len(runs(tmp_path / "store")) == sum(runs(tmp_path / "store").values())  # once each
    assert {name: new[name] for name in old} == old
    assert_same(found, study(keep=keep, **after), tmp_path)


@each_keep
def test_from_a_hundred_to_a_thousand_seeds_are_nine_hundred_runs(tmp_path, computed, keep):
    options = {"store": tmp_path / "store", "keep": keep, "shard_pairs": 100, **FEW}
    study(num_seeds=100, **options)
    assert computed == [100]
    found = study(num_seeds=1000, **options)
    assert sum(computed) == 1000
    assert sum(runs(tmp_path / "store").values()) == len(runs(tmp_path / "store")) == 1000
    assert found.sizes.get("seed", 1000) == 1000


# Shrinking

SMALLER = {
    "agents": {"agents": {"high": AGENTS["high"]}},
    "mechanisms": {"mechanisms": {"none": MECHANISMS["none"]}},
    "games": {"game": bandits(1)},
}


@each_keep
@pytest.mark.parametrize("fewer", SMALLER.values(), ids=SMALLER)
def test_asking_for_less_computes_nothing(tmp_path, computed, fewer, keep):
    """And leaves what the store has: the next call has all of it."""
    everything = {"game": bandits(2), "num_seeds": 4, "keep": keep}
    study(store=tmp_path / "store", **everything)
    computed.clear()
    found = study(store=tmp_path / "store", **(everything | fewer))
    study(store=tmp_path / "store", **everything)
    assert computed == []
    assert_same(found, study(**(everything | fewer)), tmp_path)


def test_fewer_seeds_are_the_first_ones(tmp_path, folder, computed):
    found = study(store=folder, num_seeds=3)
    assert computed == []
    wanted = expected().isel(seed=slice(3))
    for name in wanted.variables:
        assert np.array_equal(found[name], wanted[name], equal_nan=found[name].dtype.kind == "f")


def test_moments_of_fewer_seeds_cannot_be_had_of_those_of_more(finished):
    before = files(finished["moments"])
    rule = "^num_seeds: got 7, must be at least the 8 of the store .*, which keeps moments$"
    with pytest.raises(ValueError, match=rule):
        study(store=finished["moments"], num_seeds=7, keep="moments")
    assert files(finished["moments"]) == before


def test_moments_of_fewer_seeds_cannot_be_had_of_shards_alone(finished, tmp_path):
    """The manifest, which would tell, is lost."""
    folder = shutil.copytree(finished["moments"], tmp_path / "store")
    (folder / "manifest.json").unlink()
    with (
        pytest.warns(UserWarning, match="no manifest"),
        pytest.raises(ValueError, match=r"^num_seeds: got 7, must be at least 8,"),
    ):
        study(store=folder, num_seeds=7, keep="moments")
    assert shards(folder) == shards(finished["moments"])


# Other studies

ANOTHER: dict[str, tuple[dict[str, Any], list[str]]] = {
    "episodes": ({"num_episodes": 30}, ["study.num_episodes: 24, now 30"]),
    "record": ({"record": [12, 24]}, ["study.record.shape: ["]),
    "key": ({"key": jax.random.key(8)}, ["study.key: [0, 7], now [0, 8]"]),
    "keep": ({"keep": "moments"}, ['study.keep: "seeds", now "moments"']),
    "agent": (
        {"agents": AGENTS | {"high": agent(bonus=0.4)}},
        ["agents['high'].bonus: 0.3, now 0.4"],
    ),
    "mode": (
        {"agents": AGENTS | {"low": agent(bonus=0.04, memory="blind")}},
        [
            "agents['low'].bonus: 0.03, now 0.04",
            'agents[\'low\'].memory: "aware", now "blind"',
        ],
    ),
    "mechanism": (
        {"mechanisms": {"paid": px.mechanisms.FlatTransfer(amount=0.5, action=2)}},
        ["mechanisms['paid'].action: 1, now 2"],
    ),
    "kind": (
        {"agents": AGENTS | {"low": px.agents.QLearning()}},
        [
            "agents['low'].class: \"pajax.agents.ucb_q.UCBQ\","
            ' now "pajax.agents.q_learning.QLearning"',
            "agents['low'].bonus: 0.03, now none",
        ],
    ),
    "table": (
        {"game": px.games.bandit([0.2, 0.35, 0.5, 0.65, 0.85])},
        ["game[0].arrays: "],
    ),
    "noise": ({"game": px.games.bandit(noise="gaussian")}, ['game.noise: "bernoulli", now "gau']),
}


@pytest.mark.parametrize(("changes", "lines"), ANOTHER.values(), ids=ANOTHER)
def test_another_study_is_refused_with_what_differs(folder, computed, changes, lines):
    before = files(folder)
    with pytest.raises(ValueError, match=r"^store: got .*, must hold the same study") as refusal:
        study(store=folder, **changes)
    for line in lines:
        assert f"\n  {line}" in str(refusal.value)
    assert computed == []
    assert files(folder) == before


def test_a_refusal_names_nothing_that_is_the_same(folder):
    changed = AGENTS | {"new": AGENTS["low"], "high": agent(bonus=0.4)}
    with pytest.raises(ValueError, match="the same study") as refusal:
        study(store=folder, agents=changed, num_seeds=30)
    assert str(refusal.value).count("\n") == 1


def test_many_differences_are_counted(tmp_path):
    names = [f"agent {i}" for i in range(25)]
    store.Store.open(tmp_path, design(agents=dict.fromkeys(names, AGENTS["low"])))
    with pytest.raises(ValueError, match="the same study") as refusal:
        store.Store.open(tmp_path, design(agents=dict.fromkeys(names, AGENTS["high"])))
    assert str(refusal.value).endswith("\n  and 5 more")
    assert str(refusal.value).count("\n") == 21


def test_studies_side_by_side_do_not_mix(tmp_path, folder, computed):
    """Without a manifest nothing says whose shards there are, but their content does."""
    other = {"agents": {"low": agent(bonus=0.9)}, "key": jax.random.key(8)}
    (folder / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="has shards but no manifest"):
        found = study(store=folder, **other)
    assert sum(computed) == 2 * SEEDS
    assert_same(found, study(**other), tmp_path)
    computed.clear()
    (folder / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="has shards but no manifest"):
        found = study(store=folder)
    assert computed == []
    assert_same(found, expected(), tmp_path)


def test_games_side_by_side_do_not_mix(tmp_path, computed):
    """Nor do those of equal sizes, of which only the tables differ."""
    first = study(store=tmp_path / "store", game={"x": bandits(2)}, **FEW)
    (tmp_path / "store" / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="has shards but no manifest"):
        second = study(store=tmp_path / "store", game={"x": bandits(2, seed=6)}, **FEW)
    assert sum(computed) == 4 * SEEDS
    assert_same(second, study(game={"x": bandits(2, seed=6)}, **FEW), tmp_path)
    computed.clear()
    (tmp_path / "store" / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="has shards but no manifest"):
        assert_same(study(store=tmp_path / "store", game={"x": bandits(2)}, **FEW), first, tmp_path)
    assert computed == []


# Damage


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(name: str, offset: int) -> Callable[[bytes], bytes]:
    """A bit flipped so many bytes after the name of an array, or of any of several."""

    def flip(content: bytes) -> bytes:
        found = re.search(rf"({name})\.npy".encode(), content)
        assert found is not None
        at = found.start() + offset
        return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]

    return flip


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": truncated,
    "empty": lambda content: b"",
    "text": lambda content: b"hello",
    "a name": flipped("seed", 0),
    "a pair": flipped("seed", 170),  # of what says which runs there are
    "the header": flipped("header", 300),
    "a number": flipped("unresolved|0/sums", 200),  # not read to see what there is
}


@seeds_or_slow
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_damaged_shard_is_set_aside_and_computed_again(finished, tmp_path, computed, spoil, keep):
    folder = shutil.copytree(finished[keep], tmp_path / "store")
    path = one_shard(folder)
    content = spoil(path.read_bytes())
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=f"^store: set aside as .*{path.name}.*: ") as told:
        found = study(store=folder, keep=keep)
    assert len(told) == 1
    assert computed == [SHARD_PAIRS]
    assert_same(found, expected(keep), tmp_path)
    assert [aside.read_bytes() for aside in (folder / "aside").iterdir()] == [content]
    assert set(shards(folder)) == set(shards(finished[keep]))


def test_a_store_whose_shards_are_all_damaged(folder, tmp_path, computed):
    for path in folder.glob("shards/*/*.npz"):
        path.write_bytes(truncated(path.read_bytes()))
    with pytest.warns(UserWarning, match="set aside"):
        found = study(store=folder)
    assert sum(computed) == NUM_RUNS
    assert len(list((folder / "aside").iterdir())) == NUM_SHARDS
    assert_same(found, expected(), tmp_path)


def test_a_disk_that_never_keeps_what_is_written_is_an_error(tmp_path, computed, monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(archive, "_checksum", lambda *_: str(next(numbers)))
    with (
        pytest.warns(UserWarning, match="set aside"),
        pytest.raises(OSError, match="damaged when read again, 4 times over"),
    ):
        study(store=tmp_path / "store")
    assert sum(computed) == 4 * NUM_RUNS


def test_lost_shards_are_computed_again(folder, tmp_path, computed):
    for path in list(folder.glob("shards/*/*.npz"))[::3]:
        path.unlink()
    found = study(store=folder)
    assert sum(computed) == 3 * SHARD_PAIRS
    assert_same(found, expected(), tmp_path)


def test_unfinished_files_are_not_read(folder, tmp_path, computed):
    """Those of this process's namesakes on another machine, say, or of another worker."""
    path = one_shard(folder)
    path.rename(path.with_name(f"{path.name}.elsewhere.1.part"))
    found = study(store=folder)
    assert computed == [SHARD_PAIRS]
    assert_same(found, expected(), tmp_path)


def test_two_processes_may_set_the_same_shard_aside(folder, tmp_path, monkeypatch):
    """The other one was faster."""
    path = one_shard(folder)
    path.write_bytes(b"")
    replace = os.replace

    def late(source, target):
        if Path(source) == path:
            path.unlink()
        replace(source, target)

    monkeypatch.setattr(store.os, "replace", late)
    with pytest.warns(UserWarning, match="computed again|made again"):
        assert_same(study(store=folder), expected(), tmp_path)


# Manifests


@seeds_or_slow
def test_a_deleted_manifest_is_written_again(finished, tmp_path, computed, keep):
    folder = shutil.copytree(finished[keep], tmp_path / "store")
    (folder / "manifest.json").unlink()
    with pytest.warns(UserWarning, match=r"has shards but no manifest.json, which is written"):
        found = study(store=folder, keep=keep)
    assert computed == []
    assert_same(found, expected(keep), tmp_path)
    study(store=folder, keep=keep)  # no warning


@pytest.mark.parametrize(
    "spoil",
    [truncated, lambda x: b"", lambda x: x.replace(b'"outline"', b'"x"')],
    ids=["truncated", "empty", "name"],
)
def test_a_damaged_manifest_is_set_aside_and_written_again(folder, tmp_path, computed, spoil):
    path = folder / "manifest.json"
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    with pytest.warns(UserWarning, match="set aside as .*manifest.json"):
        found = study(store=folder)
    assert computed == []
    assert_same(found, expected(), tmp_path)
    assert [x.read_bytes() for x in (folder / "aside").iterdir()] == [spoil(good)]
    assert json.loads(path.read_bytes()).keys() == json.loads(good).keys()


def test_any_flipped_bit_of_a_manifest_is_noticed(folder, computed):
    """It is set aside, or (if it claims to be of another format) refused; nothing is computed."""
    path = folder / "manifest.json"
    good, mine = path.read_bytes(), design()
    rng = np.random.default_rng(1)
    for at in rng.integers(len(good), size=60):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << rng.integers(8)]) + good[at + 1 :])
        try:
            with pytest.warns(UserWarning, match="set aside as .*manifest.json"):
                store.Store.open(folder, mine)
        except ValueError as error:
            if "of format 2," not in str(error):
                raise
            path.unlink()
            with pytest.warns(UserWarning, match="no manifest"):
                store.Store.open(folder, mine)


@pytest.mark.parametrize("content", ['{"format": 1}', '{"format": 3}', "{}", "[1, 2]"])
def test_a_manifest_of_another_format_or_program_is_refused(folder, content):
    (folder / "manifest.json").write_text(content)
    before = files(folder)
    with pytest.raises(ValueError, match=r"^store: got .*, must have a manifest.json of format 2"):
        study(store=folder)
    assert files(folder) == before


# Folders that cannot be


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("a file", "Not a directory"),
        ("a file/below", "Not a directory"),
        ("/proc/nowhere", "No such file or directory"),
        pytest.param(
            "read-only/below",
            "Permission denied",
            marks=pytest.mark.skipif(is_root(), reason="root may write anywhere"),
        ),
    ],
)
def test_impossible_folders(tmp_path, computed, place, reason):
    (tmp_path / "a file").touch()
    (tmp_path / "read-only").mkdir(mode=0o500)
    rule = rf"^store: got .*, must be a folder that can be written \({reason}\)$"
    with pytest.raises(ValueError, match=rule):
        study(store=tmp_path / place)
    assert computed == []


def test_a_folder_that_has_become_read_only(folder, monkeypatch):
    """As it is on a file system that was mounted again, for root too."""

    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(archive.os, "replace", refuse)
    before = files(folder)
    with pytest.raises(ValueError, match=r"must be a folder that can be written \(Read-only file"):
        study(store=folder)
    assert files(folder) == before


# Disks that are full


@seeds_or_slow
@pytest.mark.parametrize("number", [0, 1, 5])
def test_what_was_finished_when_the_disk_was_full_is_kept(tmp_path, computed, number, keep):
    folder = tmp_path / "store"
    with full_disk(number), pytest.raises(OSError, match="No space left"):
        study(store=folder, keep=keep)
    assert len(shards(folder)) == number
    assert not list(folder.rglob("*.part"))
    computed.clear()
    assert_same(study(store=folder, keep=keep), expected(keep), tmp_path)
    assert sum(computed) == NUM_RUNS - number * SHARD_PAIRS


# Interruptions


@contextlib.contextmanager
def stopping(number: int) -> Iterator[None]:
    """Ctrl-C, once so many shards are written."""
    written: list[Path] = []
    write = archive.write

    def writing(path, header, arrays):
        if len(written) == number:
            raise KeyboardInterrupt
        write(path, header, arrays)
        written.append(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "write", writing)
        yield


@seeds_or_slow
@pytest.mark.parametrize("number", [0, 1, 7])
def test_what_was_finished_when_interrupted_is_kept(tmp_path, computed, number, keep):
    folder = tmp_path / "store"
    with stopping(number), pytest.raises(px.StudyInterrupted) as stop:
        study(store=folder, keep=keep)
    assert len(shards(folder)) == number
    finished = number * SHARD_PAIRS
    assert (stop.value.finished, stop.value.total) == (finished, NUM_RUNS)
    assert str(stop.value) == f"study interrupted: {finished} of {NUM_RUNS} runs are finished"
    (entry,) = journal.read_all(folder)
    assert (entry["state"], entry["num_shards"]) == ("interrupted", number)
    computed.clear()
    assert_same(study(store=folder, keep=keep), expected(keep), tmp_path)
    assert sum(computed) == NUM_RUNS - finished


def test_the_dataset_of_an_interrupted_study_has_its_finished_runs(tmp_path):
    with stopping(3), pytest.raises(px.StudyInterrupted) as stop:
        study(store=tmp_path)
    found = stop.value.dataset
    assert found is not None
    is_done = found.status != kept.NOT_RUN
    assert int(is_done.sum()) == 3 * SHARD_PAIRS
    assert is_done.sel(mechanism="none", agent="low").all()  # in the order of cells
    for name in ("status", "payment", "phase_one_length"):
        assert found[name].where(is_done).equals(expected()[name].where(is_done))
    assert found.payment.where(~is_done).isnull().all()


def test_the_moments_of_an_interrupted_study_are_of_its_finished_runs(tmp_path):
    with stopping(3), pytest.raises(px.StudyInterrupted) as stop:
        study(store=tmp_path, keep="moments")
    found = stop.value.dataset
    assert found is not None
    assert found.num_runs.transpose("game", "mechanism", "agent").values.tolist() == [
        [[8, 4], [0, 0]]
    ]
    complete = {"mechanism": "none", "agent": "low"}
    assert found.sel(complete).drop_attrs().equals(expected("moments").sel(complete).drop_attrs())
    assert found.payment.sel(mechanism="paid").isnull().all()


def test_a_study_interrupted_at_once_has_no_dataset(tmp_path):
    with stopping(0), pytest.raises(px.StudyInterrupted) as stop:
        study(store=tmp_path)
    assert stop.value.dataset is None


# Checkpoints


@pytest.fixture
def eager(monkeypatch) -> None:
    """Checkpoints after every block."""
    monkeypatch.setattr(store, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(store, "CHECKPOINT_RATIO", 0.0)


@contextlib.contextmanager
def counting_blocks(stop_at: int | None = None) -> Iterator[list[int]]:
    """One entry for each block that is computed; Ctrl-C instead of one of them."""
    found: list[int] = []
    advance = batch._advance

    def counting(*arguments, **options):
        if len(found) == stop_at:
            raise KeyboardInterrupt
        found.append(1)
        return advance(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "_advance", counting)
        yield found


@pytest.fixture(scope="module")
def num_blocks() -> int:
    """Blocks of a run."""
    with counting_blocks() as found:
        study(**ONE_SHARD)
    assert len(found) >= 10  # else there is nothing to resume
    return len(found)


ONE_SHARD = FEW | {"num_seeds": SHARD_PAIRS}


def interrupted(folder: Path, number: int, **options: Any) -> Path:
    """The checkpoint of a study that was interrupted after so many blocks of its first shard."""
    with counting_blocks(stop_at=number), pytest.raises(px.StudyInterrupted):
        study(store=folder, **options)
    (path,) = folder.glob("shards/*/*.resume")
    return path


@seeds_or_slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("number", [1, 5])
def test_blocks_that_were_done_are_not_done_again(tmp_path, num_blocks, number, keep):
    folder = tmp_path / "store"
    path = interrupted(folder, number, keep=keep)
    assert shards(folder) == {}
    with counting_blocks() as blocks:
        found = study(store=folder, keep=keep)
    assert len(blocks) == NUM_SHARDS * num_blocks - number
    assert not path.exists()
    assert_same(found, expected(keep), tmp_path)


@pytest.mark.usefixtures("eager")
def test_a_shard_may_be_interrupted_again_and_again(tmp_path, num_blocks):
    for number in range(num_blocks - 1):
        with counting_blocks(stop_at=1), pytest.raises(px.StudyInterrupted):
            study(store=tmp_path / "store", **ONE_SHARD)
        ((_, header),) = [
            (path, archive.peek(path, [])[0])
            for path in (tmp_path / "store").glob("shards/*/*.resume")
        ]
        assert header["num_blocks"] == number + 1
    with counting_blocks() as blocks:
        found = study(store=tmp_path / "store", **ONE_SHARD)
    assert len(blocks) == 1
    assert_same(found, study(**ONE_SHARD), tmp_path)


def another_shard(path: Path) -> None:
    """An archive, but no checkpoint."""
    archive.write(path, {"cell": ["", "a", "b"], "about": {}}, {"game": np.zeros(1, np.int32)})


def of_other_versions(path: Path) -> None:
    header, arrays = archive.read(path)
    archive.write(path, header | {"digest": "0123456789abcdef"}, arrays)


CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: path.write_bytes(truncated(path.read_bytes())),
    "flipped": lambda path: path.write_bytes(flipped("sums0", 200)(path.read_bytes())),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "another archive": another_shard,
    "of other versions": of_other_versions,
}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("spoil", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_used_is_no_harm(tmp_path, num_blocks, spoil):
    path = interrupted(tmp_path / "store", 5, **ONE_SHARD)
    spoil(path)
    with counting_blocks() as blocks:
        found = study(store=tmp_path / "store", **ONE_SHARD)
    assert len(blocks) == num_blocks
    assert_same(found, study(**ONE_SHARD), tmp_path)
    assert not path.exists()


@pytest.mark.usefixtures("eager")
def test_a_checkpoint_of_another_layout_is_no_harm(tmp_path, num_blocks):
    """It may be that of other devices, or of other chunks."""
    interrupted(tmp_path / "store", 5, **ONE_SHARD)
    with counting_blocks() as blocks:
        found = study(store=tmp_path / "store", devices=jax.devices()[:1], **ONE_SHARD)
    assert len(blocks) == num_blocks
    assert_same(found, study(**ONE_SHARD), tmp_path)


@px.pytree
class Keyed:
    """Plays at random, by a key of its own."""

    num_words = 0

    def init(self, spec: px.Spec) -> jax.Array:
        return jnp.broadcast_to(jax.random.key(3), spec.lanes)

    def begin(self, state: jax.Array, contract: px.Contract) -> jax.Array:
        return state

    def act(self, state: jax.Array, h: Any, s: Any, words: Any) -> tuple[jax.Array, tuple[()]]:
        return jax.vmap(lambda key: jax.random.randint(key, (), 0, 5))(state), ()

    def update(self, state: jax.Array, episode: px.Episode, memo: Any) -> jax.Array:
        return jax.vmap(jax.random.fold_in)(state, episode.actions[0])


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_random_keys_in_the_state_of_an_agent_are_saved(tmp_path, num_blocks):
    options = ONE_SHARD | {"agents": {"keyed": Keyed()}}
    interrupted(tmp_path / "store", 5, **options)
    with counting_blocks() as blocks:
        found = study(store=tmp_path / "store", **options)
    assert len(blocks) == num_blocks - 5
    assert_same(found, study(**options), tmp_path)


def test_checkpoints_are_seldom(tmp_path, monkeypatch):
    """One a minute, or one in a hundred times the time that it takes."""
    clock = [0.0]
    monkeypatch.setattr(store.time, "monotonic", lambda: clock[0])
    taken: list[float] = []

    def take() -> batch.Snapshot:
        taken.append(clock[0])
        clock[0] += 2.0  # what it takes
        return batch.Snapshot(1, [np.zeros(3)], [np.zeros((1, 1, 1))])

    checkpoint = store.ShardCheckpoint(tmp_path / "a.resume", "digest")
    for _ in range(1000):
        clock[0] += 1.0
        checkpoint.offer(take)
    steps = np.diff(taken)
    assert taken[0] == 60.0
    assert (steps >= 202.0).all() and (steps < 204.0).all()


# Workers, devices and blocks


LAYOUTS: dict[str, dict[str, Any]] = {
    "runs one by one": {"shard_pairs": 1},
    "shards of 7": {"shard_pairs": 7},
    "a shard for each cell": {"shard_pairs": 512},
    "chunks of one lane": {"chunk_lanes": 1},
    "one device": {"devices": jax.devices()[:1], "chunk_lanes": 3, "shard_pairs": 7},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_changes_no_bit(tmp_path, layout):
    for keep in KEEPS:
        found = study(store=tmp_path / keep, keep=keep, **layout)
        assert_same(found, expected(keep), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("shard_pairs", [1, 7, 64, 512])
def test_blocks_of_all_sizes_change_no_bit(tmp_path, shard_pairs, num_devices):
    for keep in KEEPS:
        options = FEW | {"num_seeds": 600, "keep": keep}
        devices = jax.devices()[:num_devices]
        found = study(store=tmp_path / keep, shard_pairs=shard_pairs, devices=devices, **options)
        assert_same(found, study(shard_pairs=600, **options), tmp_path)


@seeds_or_slow
@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_workers_share_the_work(tmp_path, computed, number, keep):
    folder = tmp_path / "store"
    parts = []
    for i in range(number):
        computed.clear()
        found = study(store=folder, worker=(i, number), keep=keep)
        parts.append(sum(computed))
        done = int(found.num_runs.sum() if keep == "moments" else (found.status == 0).sum())
        assert done == sum(parts)
    assert sum(parts) == NUM_RUNS
    assert min(parts) > 0
    assert_same(found, expected(keep), tmp_path)


def test_a_worker_again_has_nothing_left_to_do(tmp_path, computed):
    study(store=tmp_path, worker=(1, 2))
    computed.clear()
    study(store=tmp_path, worker=(1, 2))
    assert computed == []
    study(store=tmp_path)  # whoever comes without a number does the rest
    assert sum(computed) == NUM_RUNS // 2


@seeds_or_slow
def test_two_workers_may_meet_the_same_shard(tmp_path, computed, keep):
    """Each does all of it; the later one's files take the place of the other's."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        study(store=folder, worker=(0, 2), keep=keep)
    assert shards(first).keys() == shards(second).keys()
    shutil.copytree(second, first, dirs_exist_ok=True)
    computed.clear()
    assert_same(study(store=first, keep=keep), expected(keep), tmp_path)
    assert sum(computed) == NUM_RUNS // 2


@each_keep
def test_shards_that_overlap_count_once(finished, tmp_path, computed, keep):
    """Those of two stores that cut the same runs in different ways, in one folder."""
    folder, other = tmp_path / "store", tmp_path / "other"
    study(store=other, num_seeds=6, keep=keep)  # shards of three
    computed.clear()
    shutil.copytree(finished[keep] / "shards", folder / "shards")
    for path in folder.glob("shards/*/*_s4-7_*.npz"):
        path.unlink()
    shutil.copytree(other / "shards", folder / "shards", dirs_exist_ok=True)
    assert set(runs(folder).values()) == {1, 2}
    with pytest.warns(UserWarning, match="no manifest"):
        found = study(store=folder, keep=keep)
    assert computed == 4 * [2]  # seeds 6 and 7
    assert_same(found, expected(keep), tmp_path)


# Merging


def test_stores_of_workers_on_separate_disks_are_merged(tmp_path, computed):
    for i in range(3):
        study(store=tmp_path / f"{i}", worker=(i, 3))
    store.merge(tmp_path / "all", *(tmp_path / f"{i}" for i in range(3)))
    computed.clear()
    assert_same(study(store=tmp_path / "all"), expected(), tmp_path)
    assert computed == []


def test_a_damaged_shard_is_not_merged(folder, tmp_path, computed):
    path = one_shard(folder)
    path.write_bytes(truncated(path.read_bytes()))
    before = files(folder)
    with pytest.warns(UserWarning, match=f"not copied: .*{path.name}"):
        store.merge(tmp_path / "all", folder)
    assert files(folder) == before
    assert_same(study(store=tmp_path / "all"), expected(), tmp_path)
    assert computed == [SHARD_PAIRS]


def test_different_studies_are_not_merged(folder, tmp_path):
    study(store=tmp_path / "other", agents={"low": agent(bonus=0.9)})
    with pytest.raises(ValueError, match=r"agents\['low'\].bonus: 0.03, now 0.9"):
        store.merge(tmp_path / "all", folder, tmp_path / "other")
    assert not (tmp_path / "all").exists()


def test_a_store_can_be_looked_at_without_its_study(folder):
    found = store.Store.read(folder)
    assert list(found.outline.cells) == list(design().outline.cells)
    for cell in found.outline.cells:
        assert len(found.missing(cell)) == 0
        assert [len(pairs) for pairs, *_ in found.shards(cell)] == 2 * [SHARD_PAIRS]
    with pytest.raises(FileNotFoundError):
        store.Store.read(folder / "nothing")
