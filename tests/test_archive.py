"""Files that are whole or not there: every bit of them is checked, and no failure leaves a trace.

What is read must be what was written or an error, whatever happened to the bytes in between. (Some
bits say nothing: the time of a file, say. Flipping them changes no content.)
"""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pajax.studies import archive

HEADER = {"a": [1, 2.5, None], "text": 'ü "quoted" \n', "nested": {"1": True}}
ARRAYS = {
    "game": np.arange(3, dtype=np.int32),
    "values": np.array([[0.5, np.nan], [-0.0, 5e-324]]),
    "0/none": np.zeros((0, 2), np.int8),
    "text": np.array(["a", "ü"]),
}
#: The smallest archive that has a header, an array and a checksum.
SMALL = ({"a": 1}, {"x": np.array([7], np.int8)})


def assert_same(found, header, arrays) -> None:
    """To the bit."""
    assert found[0] == header
    assert found[1].keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[1][name].dtype == array.dtype
        assert found[1][name].shape == array.shape
        assert found[1][name].tobytes() == array.tobytes()


@pytest.fixture
def path(tmp_path) -> Path:
    """An archive."""
    archive.write(tmp_path / "a.npz", HEADER, ARRAYS)
    return tmp_path / "a.npz"


def test_what_is_written_is_read(path):
    assert_same(archive.read(path), HEADER, ARRAYS)
    assert os.listdir(path.parent) == ["a.npz"]


def test_other_programs_read_it(path):
    """A plain `.npz` without pickles; the header is JSON."""
    with np.load(path, allow_pickle=False) as found:
        assert set(found.files) == {"header", *ARRAYS}
        assert json.loads(str(found["header"]))["a"] == HEADER["a"]


def test_keys_of_a_header_become_text(tmp_path):
    archive.write(tmp_path / "a.npz", {"games": {0: "x", 10: "y"}}, {})
    assert_same(archive.read(tmp_path / "a.npz"), {"games": {"0": "x", "10": "y"}}, {})


def test_peek_reads_only_what_is_asked_for(path):
    header, arrays = archive.peek(path, ["game"])
    assert header["nested"] == HEADER["nested"]
    assert_same(({}, arrays), {}, {"game": ARRAYS["game"]})


def test_equal_content_has_equal_bytes(path, tmp_path):
    """Whatever the order of the header's entries, and however the arrays lie in memory."""
    turned = ARRAYS | {"values": np.asfortranarray(ARRAYS["values"])}
    archive.write(tmp_path / "b.npz", dict(reversed(HEADER.items())), turned)
    assert (tmp_path / "b.npz").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        (HEADER | {"a": 1}, ARRAYS),
        (HEADER, ARRAYS | {"game": np.arange(3, dtype=np.int64)}),
        (HEADER, ARRAYS | {"values": ARRAYS["values"].T}),
        (HEADER, {("play" if name == "game" else name): x for name, x in ARRAYS.items()}),
    ],
)
def test_other_content_has_another_checksum(path, tmp_path, other):
    archive.write(tmp_path / "b.npz", *other)
    first, second = (archive.peek(tmp_path / name, [])[0] for name in ("a.npz", "b.npz"))
    assert first["checksum"] != second["checksum"]


# Damage


def spoil(tmp_path: Path, content: bytes) -> None:
    """Reading a file of other bytes must give what was written, or a DamagedError."""
    path = tmp_path / "spoilt.npz"
    path.write_bytes(content)
    try:
        found = archive.read(path)
    except archive.DamagedError:
        pass
    else:
        assert_same(found, *SMALL)
    with contextlib.suppress(archive.DamagedError):  # or it may be wrong, but nothing else
        archive.peek(path, ["x"])


def small(tmp_path: Path) -> bytes:
    archive.write(tmp_path / "small.npz", *SMALL)
    return (tmp_path / "small.npz").read_bytes()


def test_any_truncation_is_noticed(tmp_path):
    content = small(tmp_path)
    for length in range(len(content)):
        (tmp_path / "b.npz").write_bytes(content[:length])
        with pytest.raises(archive.DamagedError, match=r"b\.npz: not an archive"):
            archive.read(tmp_path / "b.npz")


def test_flipped_bits_are_noticed_or_say_nothing(tmp_path):
    """The first bit of every byte, and any other one."""
    content = small(tmp_path)
    others = np.random.default_rng(0).integers(1, 8, size=len(content))
    for at, other in enumerate(others):
        for bit in (0, other):
            spoil(tmp_path, content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])


@pytest.mark.slow
def test_all_flipped_bits_are_noticed_or_say_nothing(tmp_path):
    content = small(tmp_path)
    for at in range(len(content)):
        for bit in range(8):
            spoil(tmp_path, content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])


def test_numbers_of_the_right_form_but_other_values_are_noticed(path, tmp_path):
    """What the checksums of zip cannot see: a file that was put together from two."""
    archive.write(tmp_path / "b.npz", HEADER, ARRAYS | {"game": np.array([0, 1, 3], np.int32)})
    with np.load(path) as one, np.load(tmp_path / "b.npz") as other:
        mixed = {**other, "header": one["header"]}
    np.savez(tmp_path / "c.npz", **mixed)
    with pytest.raises(archive.DamagedError, match="the checksum does not match"):
        archive.read(tmp_path / "c.npz")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("hello"),
        lambda path: path.with_suffix(".npy").rename(path),
        lambda path: np.savez(path, x=np.zeros(3)),
        lambda path: np.savez(path, header=np.array("[]")),
        lambda path: np.savez(path, header=np.array("{}")),
        lambda path: np.savez(path, header=np.array([None])),  # a pickle
    ],
    ids=["empty", "text", "npy", "no-header", "no-object", "no-checksum", "pickle"],
)
def test_what_is_no_archive_is_damaged(tmp_path, make):
    np.save(tmp_path / "a.npy", np.zeros(3))
    make(tmp_path / "a.npz")
    with pytest.raises(archive.DamagedError, match=r"a\.npz"):
        archive.read(tmp_path / "a.npz")


def test_a_missing_file_is_not_damaged(tmp_path):
    for read in (archive.read, archive.read_json, lambda path: archive.peek(path, [])):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "a.npz")


def test_a_folder_is_not_damaged(tmp_path):
    """Nor is it read: the error is that of the system."""
    with pytest.raises(IsADirectoryError):
        archive.read(tmp_path)


def test_json(tmp_path):
    path = tmp_path / "a.json"
    archive.write_json(path, HEADER)
    assert archive.read_json(path) == HEADER
    assert path.read_text().endswith("}\n")
    for content in (b"", path.read_bytes()[:-3], b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(archive.DamagedError, match=r"a\.json: not JSON"):
            archive.read_json(path)


# Whole or not there


def test_a_block_that_raises_leaves_what_was(path):
    content = path.read_bytes()
    with contextlib.suppress(ZeroDivisionError), archive.atomic_file(path) as file:
        file.write(b"half")
        assert len(os.listdir(path.parent)) == 2
        file.write(bytes([1 // 0]))
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["a.npz"]


def test_a_file_appears_when_the_block_ends(tmp_path):
    with archive.atomic_file(tmp_path / "a") as file:
        file.write(b"all")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"all"
    assert os.listdir(tmp_path) == ["a"]


def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_step_leaves_what_was(path, monkeypatch, step):
    content = path.read_bytes()
    monkeypatch.setattr(archive.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        archive.write(path, {}, {})
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["a.npz"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("num_bytes", [10, 100_000])
def test_a_full_disk_leaves_what_was(path, num_bytes, monkeypatch):
    """The error comes from the system, at the first write or when the buffer is emptied."""
    monkeypatch.setattr(archive.secrets, "token_hex", lambda _: "same")
    content = path.read_bytes()
    with archive.atomic_file(path):  # to see what an unfinished file is called
        (part,) = set(os.listdir(path.parent)) - {"a.npz"}
    path.write_bytes(content)
    (path.parent / part).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), archive.atomic_file(path) as file:
        file.write(bytes(num_bytes))
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["a.npz"]


@pytest.fixture
def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_unfinished_files_of_dead_processes_are_removed(tmp_path, ended):
    """And no other file: not those of processes that live, nor those of other machines."""
    folder = tmp_path / "x" / "y"
    folder.mkdir(parents=True)
    with archive.atomic_file(folder / "a.npz"):
        (mine,) = os.listdir(folder)
        dead = mine.replace(f".{os.getpid()}.", f".{ended}.")
        elsewhere = dead.replace(socket.gethostname(), "another-machine")
        others = {elsewhere, "b.npz", "b.part"}
        for name in {dead, *others}:
            (folder / name).touch()
        assert len(os.listdir(folder)) == 5
        archive.remove_parts(tmp_path)
        assert set(os.listdir(folder)) == {mine, *others}
    assert set(os.listdir(folder)) == {"a.npz", *others}


def test_who_is_alive(ended):
    here = socket.gethostname()
    assert archive.is_alive(here, os.getpid()) is True
    assert archive.is_alive(here, 1) is True  # of another user, perhaps
    assert archive.is_alive(here, ended) is False
    assert archive.is_alive("another-machine", os.getpid()) is None


def test_python_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="arrays: got odd, must hold no Python objects"):
        archive.write(tmp_path / "a.npz", HEADER, ARRAYS | {"odd": np.array([None])})
    assert not list(tmp_path.iterdir())
