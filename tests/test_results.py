"""Datasets: cumulation in float64, made whole from cells, saved and loaded without loss."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from synthetic import keep_moments, make_dataset, without_runs

import pajax as px
from pajax.ledger import AT_END, Record
from pajax.studies import kept, results
from pajax.studies.design import make_design
from pajax.studies.outline import Outline

# Cumulation

SUMS = [name for name in Record._fields if name not in AT_END]


def record_of(values: np.ndarray) -> Record:
    """Every field holds the same numbers, in float32, as `simulate` returns them."""
    return Record(*(np.asarray(values, np.float32) for _ in Record._fields))


@pytest.mark.parametrize("lanes", [(), (3,), (2, 3)], ids=str)
def test_cumulate_sums_intervals_up_to_checkpoints(lanes):
    ends, checkpoints = np.array([1, 3, 10, 20]), np.array([3, 20])
    values = np.arange(4.0).reshape((4,) + (1,) * len(lanes)) + np.zeros(lanes)
    found = kept.cumulate(record_of(values), ends, checkpoints)
    for name in Record._fields:
        expected = [1.0, 6.0] if name in SUMS else [1.0, 3.0]  # 0 + 1, 0 + 1 + 2 + 3; the last
        assert found[name].shape == (*lanes, 2)
        np.testing.assert_array_equal(found[name], np.broadcast_to(expected, (*lanes, 2)))


def test_cumulate_adds_in_float64():
    """2^24 and then ones: in float32 the ones would be lost."""
    values = np.array([2.0**24] + [1.0] * 9)
    ends = np.arange(1, 11)
    found = kept.cumulate(record_of(values), ends, ends)
    for name in SUMS:
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], 2.0**24 + np.arange(10.0))


# Files


ENDS = pytest.mark.parametrize("end", ["npz", "nc", "zarr"])


@pytest.fixture
def dataset() -> xr.Dataset:
    """With everything that is hard to keep: NaN, inf, -0, tiny numbers, text, several types."""
    dataset = make_dataset(num_games=2, num_seeds=3, num_episodes=1000)
    dataset = dataset[["payment", "transfer_error", "phase_one_length", "status", "agent_value"]]
    dataset["payment"].values[0, 0, 0, 0, :4] = (np.nan, np.inf, 5e-324, -0.0)
    dataset["words"] = ("seed", np.array(["a", "ü", ""]))
    dataset["is_odd"] = ("seed", np.array([False, True, False]))
    dataset["small"] = ((), np.float32(0.1))
    dataset.attrs["note"] = 'ü "quoted" \n'
    dataset.attrs["ratio"] = 0.1
    dataset.attrs |= {"empty": "", "key": [0, 2**32 - 1], "nothing": None, "is_new": True}
    dataset.attrs |= {"nested": {"a": [1.5, []]}, "long": "x" * 100_000}
    return dataset


def assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """To the bit, and in the types of everything."""
    xr.testing.assert_identical(found, expected)
    for name in expected.variables:
        assert found[name].dtype == expected[name].dtype, name
        assert found[name].dims == expected[name].dims, name
        assert found[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name
    assert set(found.coords) == set(expected.coords)
    types = ({name: type(x) for name, x in ds.attrs.items()} for ds in (found, expected))
    assert next(types) == next(types)


def content(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of each file of a folder."""
    files = [path] if path.is_file() else [x for x in path.rglob("*") if x.is_file()]
    return {x.relative_to(path).as_posix(): x.read_bytes() for x in files}


@ENDS
@pytest.mark.parametrize("keep", ["seeds", "moments"])
def test_save_and_load_lose_nothing(dataset, tmp_path, end, keep):
    if keep == "moments":
        dataset = keep_moments(dataset.drop_vars(["words", "is_odd"]))
    path = px.save(dataset, tmp_path / f"a.{end}")
    assert path == tmp_path / f"a.{end}"
    assert_same(px.load(path), dataset)
    assert os.listdir(tmp_path) == [f"a.{end}"]


@ENDS
def test_equal_datasets_have_equal_bytes(dataset, tmp_path, end):
    """Also if their arrays lie otherwise in memory."""
    path = px.save(dataset, tmp_path / f"a.{end}")
    turned = dataset.copy(deep=True)
    turned["payment"].values = np.asfortranarray(dataset["payment"].to_numpy())
    again = px.save(turned, tmp_path / f"b.{end}")
    assert content(again) == content(path)


@pytest.mark.parametrize("end", ["nc", "zarr"])
def test_what_xarray_loaded_is_saved_without_its_encoding(dataset, tmp_path, end):
    """That of the file it came from, or one that would lose digits."""
    loaded = xr.load_dataset(px.save(dataset, tmp_path / f"a.{end}"))
    for name, dtype in {"payment": np.float32, "status": np.int16}.items():
        loaded[name].encoding["dtype"] = np.dtype(dtype)
    for other in ("nc", "zarr"):
        found = px.load(px.save(loaded, tmp_path / f"b.{other}"))
        xr.testing.assert_equal(found, dataset)


def test_a_name_may_be_text(dataset, tmp_path):
    xr.testing.assert_identical(px.load(px.save(dataset, str(tmp_path / "a.npz"))), dataset)


@pytest.mark.parametrize("end", ["npz", "nc"])
def test_saving_again_replaces(dataset, tmp_path, end):
    path = px.save(dataset, tmp_path / f"a.{end}")
    other = dataset.isel(seed=[0])
    px.save(other, path)
    xr.testing.assert_identical(px.load(path), other)


def test_a_folder_is_not_replaced(dataset, tmp_path):
    path = px.save(dataset, tmp_path / "a.zarr")
    before = content(path)
    with pytest.raises(FileExistsError, match=r"a\.zarr"):
        px.save(dataset.isel(seed=[0]), path)
    assert content(path) == before
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_other_programs_read_the_numbers(dataset, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(px.save(dataset, tmp_path / "a.nc")) as file:
        np.testing.assert_array_equal(file["payment"][:], dataset["payment"])
        assert file.attrs["ratio"] == 0.1
        assert file.attrs["note"] == dataset.attrs["note"]


def test_the_file_holds_no_pickle(dataset, tmp_path):
    with np.load(px.save(dataset, tmp_path / "a.npz"), allow_pickle=False) as archive:
        kinds = {archive[name].dtype.kind for name in archive.files}
    assert "O" not in kinds


@ENDS
def test_objects_are_refused_rather_than_pickled(dataset, tmp_path, end):
    dataset["objects"] = ("seed", np.array([{}, [], None], object))
    with pytest.raises(ValueError, match="dataset: got objects, must be plain"):
        px.save(dataset, tmp_path / f"a.{end}")
    assert os.listdir(tmp_path) == []


def fail_writing(monkeypatch, error: BaseException) -> None:
    """Half of each file is written, then comes an error."""

    def archive(file, **arrays):
        file.write(b"half of it")
        raise error

    def folder(dataset, path, **options):
        (Path(path) / "half").write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(np, "savez_compressed", archive)
    monkeypatch.setattr(xr.Dataset, "to_netcdf", lambda ds, file, **options: archive(file))
    monkeypatch.setattr(xr.Dataset, "to_zarr", folder)


@ENDS
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_leaves_nothing(dataset, tmp_path, monkeypatch, error, end):
    fail_writing(monkeypatch, error)
    with pytest.raises(type(error)):
        px.save(dataset, tmp_path / f"a.{end}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("end", ["npz", "nc"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_leaves_what_was(dataset, tmp_path, monkeypatch, error, end):
    path = px.save(dataset, tmp_path / f"a.{end}")
    before = content(path)
    with monkeypatch.context() as patch:
        fail_writing(patch, error)
        with pytest.raises(type(error)):
            px.save(dataset.isel(seed=[0]), path)
    assert os.listdir(tmp_path) == [path.name]
    assert content(path) == before


@ENDS
def test_a_full_disk_is_an_error_and_nothing_else(dataset, tmp_path, end):
    """HDF5 by itself brings the process down, here when no file may grow beyond 300 bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            px.save(dataset, tmp_path / f"a.{end}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


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


def foreign_netcdf(path):
    xr.Dataset({"x": ("i", np.zeros(3))}).to_netcdf(path, engine="h5netcdf")


def newer_netcdf(path):
    header = {"pajax_save": '{"format": 99, "json": [], "checksum": 0}'}
    xr.Dataset(attrs=header).to_netcdf(path, engine="h5netcdf")


def other_numbers(path):
    """One number is another, in a file that is otherwise whole."""
    import h5py

    with h5py.File(path, "r+") as file:
        file["payment"][1, 0, 0, 0, 0] += 1e-9


def without_a_chunk(path):
    """Which Zarr takes for one that was never written."""
    next((path / "payment").glob("0*")).unlink()


def with_a_flipped_chunk(path):
    flip(next((path / "payment").glob("0*")))


def emptied(path):
    shutil.rmtree(path)
    path.mkdir()


def a_file(path):
    shutil.rmtree(path)
    path.write_text("not a folder")


SPOILT = [
    ("npz", half),
    ("npz", flip),
    ("npz", foreign_archive),
    ("npz", foreign_header),
    ("npz", header_only),
    ("npz", newer),
    ("npz", pickled),
    ("nc", half),
    ("nc", flip),
    ("nc", foreign_netcdf),
    ("nc", newer_netcdf),
    ("nc", other_numbers),
    ("zarr", without_a_chunk),
    ("zarr", with_a_flipped_chunk),
    ("zarr", emptied),
    ("zarr", a_file),
    *((end, lambda path: path.write_bytes(b"")) for end in ("npz", "nc")),
    *((end, lambda path: path.write_text("not an archive")) for end in ("npz", "nc")),
]


@pytest.mark.parametrize(("end", "spoil"), SPOILT)
def test_a_spoilt_file_is_a_one_line_value_error(dataset, tmp_path, end, spoil):
    path = px.save(dataset, tmp_path / f"a.{end}")
    spoil(path)
    with pytest.raises(ValueError, match=rf"^path: got .*a\.{end}, must") as caught:
        px.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "a.csv", "a.npz.gz"])
def test_other_endings(dataset, tmp_path, name):
    for call in (lambda: px.save(dataset, tmp_path / name), lambda: px.load(tmp_path / name)):
        with pytest.raises(ValueError, match=r"must end in \.npz, \.nc or \.zarr"):
            call()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("end", "missing"), [("nc", "h5netcdf"), ("nc", "h5py"), ("zarr", "zarr")])
def test_without_the_extra(dataset, tmp_path, monkeypatch, end, missing):
    find = importlib.util.find_spec
    hidden = lambda name, *rest: None if name == missing else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    path = tmp_path / f"a.{end}"
    for call in (lambda: px.save(dataset, path), lambda: px.load(path)):
        with pytest.raises(ImportError) as caught:
            call()
        words = f".{end} needs {missing}, not installed: pip install 'pajax[io]'"
        assert str(caught.value) == words
    assert os.listdir(tmp_path) == []


@ENDS
def test_a_missing_file(tmp_path, end):
    with pytest.raises(FileNotFoundError, match=rf"a\.{end}"):
        px.load(tmp_path / f"a.{end}")


@ENDS
def test_a_missing_folder(dataset, tmp_path, end):
    with pytest.raises(OSError, match="nowhere"):
        px.save(dataset, tmp_path / "nowhere" / f"a.{end}")


# Tables of all numbers


def test_to_dataframe_has_a_row_for_each_run_and_checkpoint():
    ds = make_dataset(num_games=2, num_seeds=3, num_episodes=10)
    is_missing = np.random.default_rng(0).random(ds["status"].shape) < 0.3
    ds = without_runs(ds, is_missing).assign_coords(game=["S=2", "S=3"])
    table = results.to_dataframe(ds)
    assert list(table.columns[:5]) == list(results.DIMENSIONS)
    assert set(table.columns[5:]) == set(ds.data_vars)
    assert len(table) == (~is_missing).sum() * ds.sizes["episode"]
    assert list(table.index) == list(range(len(table)))
    assert table["status"].dtype == np.int8
    for row in np.random.default_rng(1).choice(len(table), 20):
        entry = table.iloc[row]
        run = ds.sel({name: entry[name] for name in results.DIMENSIONS})
        for name in ds.data_vars:
            np.testing.assert_array_equal(entry[name], run[name])


def test_to_dataframe_of_moments():
    ds = make_dataset(num_seeds=4, num_episodes=10)
    is_missing = np.zeros(ds["status"].shape, bool)
    is_missing[0, 1, 2] = True
    ds = keep_moments(without_runs(ds, is_missing))
    table = results.to_dataframe(ds)
    assert list(table.columns[:4]) == ["game", "agent", "mechanism", "episode"]
    assert len(table) == (3 * 6 - 1) * ds.sizes["episode"]
    ends = {f"payment{end}" for end in ("", "_sd", "_quantile_0.05", "_quantile_0.95")}
    assert ends | {"num_runs", "share_unresolved", "phase_one_length_quantile_0.5"} <= set(table)
    assert not [name for name in table if name.endswith("_quantile")]
    last = table.query("agent == 'ucb-q' and mechanism == 'flat' and episode == 10")
    cell = ds.sel(game=0, agent="ucb-q", mechanism="flat", episode=10)
    assert last["payment_sd"].item() == cell["payment_sd"]
    assert last["payment_quantile_0.25"].item() == cell["payment_quantile"].sel(quantile=0.25)


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
    names |= {"off_target", "phase_one", "transfer_error", "unresolved", "principal_regret"}
    names |= {"contracts", "contract_age", "contract_regret", "coverage", "worst_transfer_error"}
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
    assert float(finished.smallest_welfare_gap[0]) == pytest.approx(0.25, abs=2**-22)
    for name, number in {"horizon": 1, "num_states": 1, "num_actions": 5}.items():
        assert finished[name].dims == ("game",)
        assert finished[name].item() == number
    for name in ("path_coverage", "laissez_faire_coverage"):
        assert finished[name].item() == 1.0  # of the only state
    assert (finished.coverage == 1.0).all()
    assert (finished.contracts == 1.0).all()
    assert (finished.contract_age == finished.episode).all()
    # the one contract has been in force all along; both are sums of float32 numbers
    np.testing.assert_allclose(finished.contract_regret, finished.agent_regret, rtol=1e-5)


class NothingRun:
    """A shelf without shards."""

    def shards(self, cell):
        return iter(())


@px.pytree
class Pledge(px.mechanisms.FlatTransfer):
    """A mechanism of a user, which bounds speak of."""

    pledge: Any = px.axes(default=0.5)

    def terms(self, spec):
        return {"pledge": self.pledge * spec.horizon, "width": 0.25}


def design_of(**changes: Any) -> Any:
    games = {"two": px.stack_games([px.games.pollution()] * 2), "one": px.games.bandit()}
    mechanisms = {
        "none": px.mechanisms.NoTransfer(),
        "two-phase": lambda game: px.mechanisms.TwoPhase(
            width=0.1 * jnp.arange(1.0, 3.0) if game.lanes else 0.4
        ),
        "pledge": Pledge(amount=0.1, action=0),
    }
    usual = {"game": games, "agents": {"ucb-q": px.agents.UCBQ()}, "mechanisms": mechanisms}
    return make_design(jax.random.key(0), **usual | changes, num_episodes=10_000, num_seeds=2)


#: Of the three games, under no transfers, two-phase and a pledge.
WIDTHS = [[np.nan, 0.1, 0.25], [np.nan, 0.2, 0.25], [np.nan, 0.4, 0.25]]


def test_terms_of_mechanisms_are_of_each_game():
    ds = results.make_dataset(design_of().outline, NothingRun())
    for name in ("width", "pledge", "min_visits", "phase_one_cap"):
        assert ds[name].dims == ("game", "mechanism")
    np.testing.assert_allclose(ds.width, WIDTHS, rtol=2**-23)  # of float32
    np.testing.assert_array_equal(ds.pledge.sel(mechanism="pledge"), [2.5, 2.5, 0.5])
    np.testing.assert_array_equal(ds.min_visits.sel(mechanism="two-phase"), [20.0, 20.0, 50.0])
    np.testing.assert_array_equal(ds.phase_one_cap.sel(mechanism="two-phase"), 5_000.0)
    assert ds.pledge.sel(mechanism=["none", "two-phase"]).isnull().all()
    bare = design_of(mechanisms={"none": px.mechanisms.NoTransfer()})
    assert "width" not in results.make_dataset(bare.outline, NothingRun())


def test_terms_of_studies_that_grow():
    """Whichever came first: more games, another group, another mechanism."""
    whole = design_of()
    group = {"two": px.stack_games([px.games.pollution()])}
    mechanism = {"two-phase": px.mechanisms.TwoPhase(width=0.1 * jnp.ones(1))}
    part = design_of(game=group, mechanisms=mechanism).outline
    for grown in (part.union(whole.outline), whole.outline.union(part)):
        assert grown.terms == whole.outline.terms
        assert grown.groups == whole.outline.groups
    other = {
        "game": {"one": px.games.bandit()},
        "mechanisms": {"pledge": Pledge(amount=0.1, action=0)},
    }
    both = part.union(design_of(**other).outline)
    ds = results.make_dataset(both, NothingRun())
    np.testing.assert_allclose(ds.width, [[0.1, np.nan], [np.nan, 0.25]], rtol=2**-23)


def test_an_outline_is_what_json_keeps_of_it():
    """Also of a game with nothing to choose, whose smallest gap is infinite."""
    still = px.make_game(
        transition=np.ones((1, 1, 1)),
        agent_reward=[[0.5]],
        principal_reward=[[0.5]],
        initial=[1.0],
        horizon=2,
    )
    outline = design_of(game=still).outline
    assert outline.groups[""].smallest_welfare_gap == [np.inf]
    assert Outline.of_json(json.loads(json.dumps(outline.to_json()))) == outline


def test_terms_do_not_hide_variables():
    @px.pytree
    class Hiding(px.mechanisms.FlatTransfer):
        def terms(self, spec):
            return {"horizon": 3, "payment": 1.0, "own": 1.0}

    words = r"^mechanisms\['hiding'\]: got terms \['horizon', 'payment'\], must have terms that no"
    with pytest.raises(ValueError, match=words):
        design_of(mechanisms={"hiding": Hiding(amount=0.1, action=0)})


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
    monkeypatch.setattr(sys.modules["pajax.studies.study"], "tqdm", bar)  # px.study is the function
    with pytest.raises(px.StudyInterrupted) as caught:
        small_study()
    return caught.value


def test_an_interrupted_study_keeps_its_finished_cells(finished, monkeypatch, tmp_path):
    stop = interrupted(monkeypatch, cell=2)
    assert isinstance(stop, KeyboardInterrupt)
    assert (stop.finished, stop.total) == (2, 4)
    partial = stop.dataset
    assert partial.sizes == finished.sizes
    xr.testing.assert_identical(partial.isel(agent=[0]), finished.isel(agent=[0]))
    rest = partial.isel(agent=1)
    for name in ("welfare_regret", "payment", "phase_one", "unresolved", "realised_regret"):
        assert rest[name].isnull().all(), name
    assert (rest.status == kept.NOT_RUN).all()  # no number can be mistaken for a result
    xr.testing.assert_identical(px.load(px.save(partial, tmp_path / "a.npz")), partial)


def test_a_study_interrupted_in_its_first_cell_keeps_nothing(monkeypatch):
    stop = interrupted(monkeypatch, cell=1)
    assert stop.dataset is None
    assert (stop.finished, stop.total) == (0, 4)
