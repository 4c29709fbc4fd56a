"""Datasets: cumulation in float64, made whole from cells, saved and loaded without loss."""

import os
import sys

import jax
import numpy as np
import pytest
import xarray as xr
from synthetic import make_dataset

import pajax as px
from pajax import results
from pajax.ledger import Record

# Cumulation

SUMS = [name for name in Record._fields if name not in ("transfer_error", "unresolved")]


def record_of(values: np.ndarray) -> Record:
    """Every field holds the same numbers, in float32, as `simulate` returns them."""
    return Record(*(np.asarray(values, np.float32) for _ in Record._fields))


@pytest.mark.parametrize("lanes", [(), (3,), (2, 3)], ids=str)
def test_cumulate_sums_intervals_up_to_checkpoints(lanes):
    ends, checkpoints = np.array([1, 3, 10, 20]), np.array([3, 20])
    values = np.arange(4.0).reshape((4,) + (1,) * len(lanes)) + np.zeros(lanes)
    found = results.cumulate(record_of(values), ends, checkpoints)
    for name in Record._fields:
        expected = [1.0, 6.0] if name in SUMS else [1.0, 3.0]  # 0 + 1, 0 + 1 + 2 + 3; the last
        assert found[name].shape == (*lanes, 2)
        np.testing.assert_array_equal(found[name], np.broadcast_to(expected, (*lanes, 2)))


def test_cumulate_adds_in_float64():
    """2^24 and then ones: in float32 the ones would be lost."""
    values = np.array([2.0**24] + [1.0] * 9)
    ends = np.arange(1, 11)
    found = results.cumulate(record_of(values), ends, ends)
    for name in SUMS:
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], 2.0**24 + np.arange(10.0))


# Files


@pytest.fixture
def dataset() -> xr.Dataset:
    """With everything that is hard to keep: NaN, inf, tiny numbers, text, several types."""
    dataset = make_dataset(num_games=2, num_seeds=3, num_episodes=1000)
    dataset["payment"].values[0, 0, 0, 0, :3] = (np.nan, np.inf, 5e-324)
    dataset.attrs["note"] = 'ü "quoted" \n'
    dataset.attrs["ratio"] = 0.1
    return dataset


def test_save_and_load_lose_nothing(dataset, tmp_path):
    path = px.save(dataset, tmp_path / "a.npz")
    assert path == tmp_path / "a.npz"
    found = px.load(path)
    xr.testing.assert_identical(found, dataset)
    assert list(found.variables) == list(dataset.variables) or set(found) == set(dataset)
    for name in dataset.variables:
        assert found[name].dtype == dataset[name].dtype
        assert found[name].dims == dataset[name].dims
        raw = (np.ascontiguousarray(x[name].to_numpy()).tobytes() for x in (found, dataset))
        assert next(raw) == next(raw), name
    assert set(found.coords) == set(dataset.coords)
    assert {k: type(v) for k, v in found.attrs.items()} == {
        k: type(v) for k, v in dataset.attrs.items()
    }
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_name_may_be_text(dataset, tmp_path):
    xr.testing.assert_identical(px.load(px.save(dataset, str(tmp_path / "a.npz"))), dataset)


def test_saving_again_replaces(dataset, tmp_path):
    path = px.save(dataset, tmp_path / "a.npz")
    other = dataset.isel(seed=[0])
    px.save(other, path)
    xr.testing.assert_identical(px.load(path), other)


def test_the_file_holds_no_pickle(dataset, tmp_path):
    with np.load(px.save(dataset, tmp_path / "a.npz"), allow_pickle=False) as archive:
        kinds = {archive[name].dtype.kind for name in archive.files}
    assert "O" not in kinds


def test_objects_are_refused_rather_than_pickled(dataset, tmp_path):
    dataset["objects"] = ("seed", np.array([{}, [], None], object))
    with pytest.raises(ValueError, match=r"[Oo]bject|pickle"):
        px.save(dataset, tmp_path / "a.npz")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_write_that_fails_leaves_what_was(dataset, tmp_path, monkeypatch, error, is_there):
    path = tmp_path / "a.npz"
    if is_there:
        px.save(dataset, path)
    before = path.read_bytes() if is_there else None

    def fail(file, **arrays):
        file.write(b"half of it")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", fail)
        with pytest.raises(type(error)):
            px.save(dataset.isel(seed=[0]), path)
    assert os.listdir(tmp_path) == (["a.npz"] if is_there else [])
    assert (path.read_bytes() if is_there else None) == before


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Other bits in the middle of the compressed data."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(255 - x for x in data[middle : middle + 64])
    path.write_bytes(bytes(data))


def foreign_archive(path):
    np.savez(path, x=np.zeros(3))


def foreign_header(path):
    np.savez(path, header=np.array("[1, 2]"))


def header_only(path):
    np.savez(path, header=np.array('{"format": 1}'), **{"data/x": np.zeros(3)})


def newer(path):
    np.savez(path, header=np.array('{"format": 99, "dimensions": {}, "attributes": {}}'))


def pickled(path):
    np.savez(path, header=np.array([{}], object))


SPOILT = {
    "truncated": half,
    "corrupt": flip,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "another archive": foreign_archive,
    "another header": foreign_header,
    "parts of a header": header_only,
    "a newer format": newer,
    "a pickle": pickled,
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_file_is_a_one_line_value_error(dataset, tmp_path, spoil):
    path = px.save(dataset, tmp_path / "a.npz")
    spoil(path)
    with pytest.raises(ValueError, match=r"^path: got .*a\.npz, must") as caught:
        px.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "a.nc", "a.npz.gz"])
def test_only_npz(dataset, tmp_path, name):
    for call in (lambda: px.save(dataset, tmp_path / name), lambda: px.load(tmp_path / name)):
        with pytest.raises(ValueError, match=r"must end in \.npz"):
            call()
    assert os.listdir(tmp_path) == []


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        px.load(tmp_path / "a.npz")


def test_a_missing_folder(dataset, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        px.save(dataset, tmp_path / "nowhere" / "a.npz")


# Studies

EPISODES, NUM_SEEDS = 30, 2


def small_study(**options) -> xr.Dataset:
    game = px.games.bandit()
    return px.study(
        jax.random.key(0),
        game,
        agents={"ucb-q": px.agents.UCBQ(), "best": px.agents.BestResponse(game=game)},
        mechanisms={"none": px.mechanisms.NoTransfer()},
        num_episodes=EPISODES,
        num_seeds=NUM_SEEDS,
        **options,
    )


@pytest.fixture(scope="module")
def finished() -> xr.Dataset:
    return small_study(progress=False)


def test_what_a_study_returns(finished):
    assert tuple(finished.sizes) == results.DIMENSIONS
    assert dict(finished.sizes) == {
        "game": 1,
        "agent": 2,
        "mechanism": 1,
        "seed": NUM_SEEDS,
        "episode": px.checkpoints(EPISODES).size,
    }
    names = {"welfare_regret", "realised_regret", "agent_regret", "payment", "principal_utility"}
    names |= {"off_target", "phase_one", "transfer_error", "unresolved"}
    for name in names:
        assert finished[name].dims == results.DIMENSIONS
        assert finished[name].dtype == np.float64
    assert finished.phase_one_length.dims == finished.status.dims == results.DIMENSIONS[:-1]
    assert finished.status.dtype == np.int8
    assert not finished.status.any()
    np.testing.assert_array_equal(finished.episode, px.checkpoints(EPISODES))
    assert float(finished.optimal_welfare[0]) == pytest.approx(1.25, abs=2**-22)
    assert float(finished.laissez_faire_welfare[0]) == pytest.approx(0.9, abs=2**-22)
    assert float(finished.agent_value[0]) == pytest.approx(0.8, abs=2**-22)


def test_a_study_saves_and_loads(finished, tmp_path):
    path = px.save(finished, tmp_path / "a.npz")
    xr.testing.assert_identical(px.load(path), finished)


class InterruptedBar:
    """A progress bar during whose second cell Ctrl-C is pressed."""

    def __init__(self, *arguments, **options):
        self.cells = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def set_description(self, *_, **__):
        self.cells += 1

    def update(self, *_):
        if self.cells == self.last:
            raise KeyboardInterrupt

    def __getattr__(self, name):
        return lambda *_, **__: None


def interrupted(monkeypatch, cell: int) -> px.StudyInterrupted:
    bar = type("Bar", (InterruptedBar,), {"last": cell})
    monkeypatch.setattr(sys.modules["pajax.study"], "tqdm", bar)  # px.study is the function
    with pytest.raises(px.StudyInterrupted) as caught:
        small_study()
    return caught.value


def test_an_interrupted_study_keeps_its_finished_cells(finished, monkeypatch, tmp_path):
    stop = interrupted(monkeypatch, cell=2)
    assert isinstance(stop, KeyboardInterrupt)
    assert (stop.finished, stop.total) == (1, 2)
    kept = stop.dataset
    assert kept.sizes == finished.sizes
    xr.testing.assert_identical(kept.isel(agent=[0]), finished.isel(agent=[0]))
    rest = kept.isel(agent=1)
    for name in ("welfare_regret", "payment", "phase_one", "unresolved", "realised_regret"):
        assert rest[name].isnull().all(), name
    assert (rest.status == results.NOT_RUN).all()  # no number can be mistaken for a result
    xr.testing.assert_identical(px.load(px.save(kept, tmp_path / "a.npz")), kept)


def test_a_study_interrupted_in_its_first_cell_keeps_nothing(monkeypatch):
    stop = interrupted(monkeypatch, cell=1)
    assert stop.dataset is None
    assert (stop.finished, stop.total) == (0, 2)
