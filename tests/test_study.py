"""Studies: what may be asked for, what is refused, groups of games, moments, and scarce memory."""

import json
import math
import re
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scripted import scripted
from small_studies import (
    AGENTS,
    KEY,
    MECHANISMS,
    NUM_RUNS,
    NUM_SHARDS,
    SEEDS,
    SHARD_PAIRS,
    arguments,
    assert_same,
    bandits,
    expected,
    shards,
    study,
)

import pajax as px
from pajax.studies import batch, kept

FEW = {"agents": {"low": AGENTS["low"]}, "mechanisms": {"paid": MECHANISMS["paid"]}}


def assert_same_numbers(found: xr.Dataset, wanted: xr.Dataset) -> None:
    """Of all variables, to the bit; labels may differ."""
    assert set(found.data_vars) == set(wanted.data_vars)
    for name in wanted.data_vars:
        assert found[name].dtype == wanted[name].dtype
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=str(name))


# Groups of games


def garnet(states: int, horizon: int) -> px.Game:
    """A game of these sizes, made without compiling anything."""
    rng = np.random.default_rng(states)
    return px.make_game(
        transition=rng.dirichlet(np.ones(states), (states, 2)),
        agent_reward=rng.uniform(size=(states, 2)),
        principal_reward=rng.uniform(size=(states, 2)),
        initial=np.full(states, 1 / states),
        horizon=horizon,
    )


GROUPS = {"bandit": px.games.bandit(), "large": garnet(3, 2), "both": bandits(2)}


@pytest.fixture(scope="module")
def grouped() -> dict[str, xr.Dataset]:
    """A study of all groups, by what it keeps."""
    return {keep: study(game=GROUPS, keep=keep, **FEW) for keep in ("seeds", "moments")}


@pytest.mark.parametrize("keep", ["seeds", "moments"])
def test_groups_of_games_are_studies_of_their_own(grouped, keep):
    """Of equal keys: group by group, the numbers are those of the game alone."""
    games = {"bandit": ["bandit"], "large": ["large"], "both": ["both/0", "both/1"]}
    assert grouped[keep].game.values.tolist() == sum(games.values(), [])  # noqa: RUF017
    for name, labels in games.items():
        alone = study(game=GROUPS[name], keep=keep, **FEW)
        assert_same_numbers(grouped[keep].sel(game=labels), alone)


def test_a_dataset_says_what_its_groups_are(grouped):
    attributes = grouped["seeds"].attrs
    assert attributes["horizon"] == [1, 2]
    spec = json.loads(attributes["spec"])
    assert spec["game"].keys() == GROUPS.keys()
    assert "S=3" in spec["game"]["large"] and "lanes=(2,)" in spec["game"]["both"]


def test_games_without_names_are_numbered():
    assert expected().game.values.tolist() == [0]
    found = study(game=bandits(3), num_seeds=4, **FEW)
    assert found.game.values.tolist() == [0, 1, 2]
    assert found.game.dtype == np.int64


def test_one_group_may_have_a_name():
    found = study(game={"mine": px.games.bandit()})
    assert found.game.values.tolist() == ["mine"]
    assert_same_numbers(found, expected())


# Parts that are functions of the game


def best_arm(game: px.Game) -> px.mechanisms.FlatTransfer:
    """Something to be paid that follows from a game."""
    return px.mechanisms.FlatTransfer(amount=float(game.agent_reward.max()), action=1)


def test_functions_of_the_game_are_called_with_that_of_each_group():
    games = {"bandit": px.games.bandit(), "large": garnet(3, 2)}
    seen = []
    mechanism = lambda game: seen.append(game) or best_arm(game)  # noqa: E731
    found = study(game=games, agents=FEW["agents"], mechanisms={"paid": mechanism})
    assert [game is one for game, one in zip(seen, games.values(), strict=True)] == [True, True]
    for name, game in games.items():
        alone = study(game=game, agents=FEW["agents"], mechanisms={"paid": best_arm(game)})
        assert_same_numbers(found.sel(game=[name]), alone)


def test_functions_may_make_agents_and_go_to_a_store(tmp_path, monkeypatch):
    """They are described by what they make, which is the same when they are called again."""
    options = {
        "game": bandits(2),
        "agents": {"fit": lambda game: px.agents.UCBQ(bonus=float(game.agent_reward.min()))},
        "mechanisms": {"paid": best_arm},
    }
    found = study(store=tmp_path, **options)
    assert f"bonus={float(bandits(2).agent_reward.min())}" in found.attrs["spec"]
    monkeypatch.setattr(batch, "run", None)
    assert_same(study(store=tmp_path, **options), found, tmp_path)


def test_parts_that_differ_by_group_are_shown_by_group(grouped):
    games = {"one": px.games.bandit(), "other": px.games.bandit([0.1] * 5, [0.2] * 5)}
    found = study(game=games, agents=FEW["agents"], mechanisms={"paid": best_arm}, num_seeds=4)
    shown = json.loads(found.attrs["spec"])["mechanisms"]["paid"]
    assert shown.keys() == games.keys()
    assert "amount=0.8" in shown["one"] and "amount=0.1" in shown["other"]
    spec = json.loads(grouped["seeds"].attrs["spec"])
    assert spec["mechanisms"] == {"paid": repr(MECHANISMS["paid"])}


# Arguments

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "game": ({"game": "bandit"}, "game: got 'bandit', must be a pajax.Game"),
    "game class": ({"game": px.Game}, "game: got <class .*, must be a pajax.Game"),
    "no game": ({"game": {}}, "game: got {}, must map at least one name to an object"),
    "a group": ({"game": {"a": 3}}, "game['a']: got 3, must be a pajax.Game"),
    "a name": ({"game": {1: px.games.bandit()}}, "game: got the name 1, must have names that are"),
    "lanes": (
        {"game": px.stack_games([bandits(2), bandits(2)])},
        "game: got lanes (2, 2), must have at most one lane axis (a batch of games)",
    ),
    "no agents": ({"agents": {}}, "agents: got {}, must map at least one name to an object"),
    "a list": ({"agents": [AGENTS["low"]]}, "agents: got [UCBQ("),
    "blank": ({"agents": {" ": AGENTS["low"]}}, "agents: got the name ' ', must have names that"),
    "an agent class": ({"agents": {"a": px.agents.UCBQ}}, "agents['a']: got <class "),
    "a mechanism": (
        {"agents": {"a": MECHANISMS["none"]}},
        "agents['a']: got FlatTransfer(amount=0.0, action=1), must have num_words, init, begin",
    ),
    "an agent": ({"mechanisms": {"m": AGENTS["low"]}}, "mechanisms['m']: got UCBQ("),
    "made of nothing": ({"agents": {"a": lambda game: None}}, "agents['a']: got None, must have"),
    "lanes of an agent": (
        {"agents": {"a": px.agents.UCBQ(bonus=jnp.zeros(3))}, "game": bandits(2)},
        "agents['a'].bonus: got shape (3,), must have axes [] and then lanes () or (2,)",
    ),
    "a range": (
        {"agents": {"a": px.agents.UCBQ(bonus=-1.0)}},
        "agents['a'].bonus: got -1.0, must lie in [0, inf]",
    ),
    "sizes": (
        {
            "game": {"a": px.games.bandit(), "b": garnet(3, 2)},
            "mechanisms": {"m": px.mechanisms.FixedTransfers.oracle(px.games.bandit())},
        },
        "mechanisms['m'].transfer: got shape",
    ),
    "no episodes": ({"num_episodes": 0}, "num_episodes: got 0, must be at least 1"),
    "half an episode": ({"num_episodes": 1.5}, "num_episodes: got 1.5, must be a whole number"),
    "a short record": ({"record": [1, 2]}, "record: got "),
    "a record backwards": ({"record": [5, 3, 24]}, "record: got "),
    "no seeds": ({"num_seeds": 0}, "num_seeds: got 0, must be at least 1"),
    "true": ({"num_seeds": True}, "num_seeds: got True, must be a whole number"),
    "too many": ({"num_seeds": 2**31}, "num_seeds: got 2147483648, must be at most 2147483647"),
    "keep": ({"keep": "means"}, "keep: got 'means', must be one of seeds, moments"),
    "seed": ({"key": 0}, "key: got 0, must be made by jax.random.key(seed)"),
    "keys": ({"key": jax.random.split(KEY)}, "key: got shape (2,), must be one key, not several"),
    "worker": ({"worker": (0, 2)}, "worker: got (0, 2), must come with a store that all workers"),
    "shards": ({"shard_pairs": 0}, "shard_pairs: got 0, must be at least 1"),
    "chunks": ({"chunk_lanes": "2"}, "chunk_lanes: got '2', must be a whole number"),
    "devices": ({"devices": []}, "devices: got none, must name at least one device"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_before_anything_runs(tmp_path, monkeypatch, options, message):
    """In one line that says which; most before there is a store."""
    monkeypatch.setattr(batch, "run", None)
    folder = {} if {"worker", "devices"} & set(options) else {"store": tmp_path / "store"}
    rule = "^" + ".*".join(map(re.escape, message.split(".*")))
    with pytest.raises(ValueError, match=rule) as refusal:
        study(**folder, **options)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "store").exists()


# Moments


@pytest.fixture(scope="module")
def both() -> dict[str, xr.Dataset]:
    """A study that keeps its runs, and one of the same that keeps moments.

    One of its mechanisms says that it estimates at first, and leaves a transfer unresolved.
    """
    told = {"estimate": 0.25, "is_resolved": np.arange(5) > 0, "estimating_stages": 3}
    options = {
        "game": bandits(2),
        "agents": FEW["agents"],
        "mechanisms": FEW["mechanisms"] | {"told": scripted(px.games.bandit(), **told)},
        "num_seeds": 32,
    }
    return {keep: study(keep=keep, **options) for keep in ("seeds", "moments")}


def numbers_of_runs(runs: xr.DataArray) -> np.ndarray:
    """How many runs have a number, [..., episode]."""
    return np.isfinite(runs).sum("seed").values


def each_variable(both) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, runs [..., run, episode], and how many of them have a number."""
    return [
        (name, both["seeds"][name].values, numbers_of_runs(both["seeds"][name]))
        for name in kept.VARIABLES
    ]


def test_how_many_runs_have_a_transfer_error(both):
    number = numbers_of_runs(both["seeds"].transfer_error)
    assert (number == 0).any() and (number == 32).any()  # else it says less than it seems to
    np.testing.assert_array_equal(both["moments"].transfer_error_runs, number)


def test_means_are_those_of_the_runs(both):
    """Within 2^-21 of rounding each value, and some rounding of float64."""
    for name, runs, number in each_variable(both):
        found = both["moments"][name].values
        np.testing.assert_array_equal(np.isnan(found), number == 0)
        some = number > 0
        wanted = np.nansum(runs, axis=-2)[some] / number[some]
        slack = 2.0**-21 + 1e-14 * np.nanmax(np.abs(runs), initial=0.0)
        assert np.abs(found[some] - wanted).max(initial=0.0) <= slack


def test_deviations_are_those_of_the_runs(both):
    """Rounding each value moves them by at most 2^-21 sqrt(n / (n - 1)), in the Euclidean norm.

    The oracle itself is a sum of squares of differences, so it has a relative error of n roundings.
    """
    for name, runs, number in each_variable(both):
        found = both["moments"][f"{name}_sd"].values
        np.testing.assert_array_equal(np.isnan(found), number < 2)
        some = number > 1
        mean = np.nansum(runs, axis=-2) / np.maximum(number, 1)
        squares = np.nansum((runs - mean[..., None, :]) ** 2, axis=-2)
        wanted = np.sqrt(squares[some] / (number[some] - 1))
        slack = 2.0**-21 * np.sqrt(number[some] / (number[some] - 1)) + 1e-14 * wanted
        assert (np.abs(found[some] - wanted) <= slack).all()


def test_quantiles_are_those_of_the_runs(both):
    """Of rank ceil(q n) in order, within 1/64 of it or 2^-20."""
    levels = both["moments"]["quantile"].values
    assert levels.tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]
    for name, runs, number in each_variable(both):
        found = both["moments"][f"{name}_quantile"].transpose(..., "quantile", "episode").values
        in_order = np.sort(runs, axis=-2)  # NaN last
        for i, level in enumerate(levels):
            rank = np.vectorize(lambda n, q=level: max(1, math.ceil(n * Fraction(str(q)))))(number)
            at = np.minimum(rank, runs.shape[-2])[..., None, :] - 1
            wanted = np.take_along_axis(in_order, at, -2)[..., 0, :]
            some = number > 0
            np.testing.assert_array_equal(np.isnan(found[..., i, :]), ~some)
            slack = np.maximum(np.abs(wanted[some]) / 64, 2.0**-20)
            assert (np.abs(found[..., i, :][some] - wanted[some]) <= slack).all()


def test_numbers_and_shares_of_runs(both):
    runs, found = both["seeds"], both["moments"]
    assert (found.num_runs == 32).all()
    for name, bit in (("non_finite", kept.NON_FINITE), ("unresolved", kept.UNRESOLVED)):
        share = ((runs.status & bit) > 0).mean("seed")
        np.testing.assert_array_equal(found[f"share_{name}"], share)
    assert found.share_unresolved.sel(mechanism="told").min() == 1
    length = runs.phase_one_length.mean("seed")
    assert np.abs(found.phase_one_length - length).max() <= 2.0**-20
    assert float(length.max()) > 0


def test_what_does_not_depend_on_runs_is_kept_as_it_is(both):
    for name in ("optimal_welfare", "agent_value", "laissez_faire_welfare"):
        assert both["moments"][name].identical(both["seeds"][name])
    attributes = {keep: dict(dataset.attrs) for keep, dataset in both.items()}
    assert {keep: attributes[keep].pop("keep") for keep in both} == {keep: keep for keep in both}
    assert attributes["moments"] == attributes["seeds"]


def test_runs_whose_numbers_are_not_finite_are_told(tmp_path):
    """They end no study, and touch no other cell."""
    game = px.games.bandit()
    nothing = np.where(np.arange(5) == 0, np.nan, 0.0)
    options = {"agents": FEW["agents"], "mechanisms": MECHANISMS | {"nan": scripted(game, nothing)}}
    found = study(store=tmp_path / "seeds", **options)
    bad = found.sel(mechanism="nan")
    assert ((bad.status & kept.NON_FINITE) > 0).all()
    assert_same_numbers(found.sel(mechanism=[*MECHANISMS]), study(**(options | ONLY_GOOD)))
    assert_same(study(store=tmp_path / "seeds", **options), found, tmp_path)
    moments = study(store=tmp_path / "moments", keep="moments", **options)
    assert moments.share_non_finite.sel(mechanism="nan").values.tolist() == [[1.0]]
    assert moments.share_non_finite.sel(mechanism="paid").values.tolist() == [[0.0]]
    assert moments.payment.sel(mechanism="nan").isnull().any()
    assert (moments.num_runs == SEEDS).all()
    assert_same(study(store=tmp_path / "moments", keep="moments", **options), moments, tmp_path)


ONLY_GOOD = {"mechanisms": MECHANISMS}


# Memory


def scarce(monkeypatch, most: int, error: Exception) -> list[int]:
    """Batches of more than so many runs raise; those that do not are counted."""
    run, found = batch.run, []

    def running(batch, record, layout, **options):
        if layout.num_pairs > most:
            raise error
        found.append(layout.num_pairs)
        return run(batch, record, layout, **options)

    monkeypatch.setattr(batch, "run", running)
    return found


EXHAUSTED = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17 bytes.")


@pytest.mark.parametrize("error", [EXHAUSTED, MemoryError("no")], ids=["device", "host"])
@pytest.mark.parametrize("most", [2, 1])
def test_shards_are_halved_until_they_fit(monkeypatch, tmp_path, error, most):
    """Cell by cell, and what is left of a cell is cut as small."""
    found = scarce(monkeypatch, most, error)
    with pytest.warns(UserWarning, match="^memory ran out with") as told:
        dataset = study(store=tmp_path / "store")
    assert found == [most] * (NUM_RUNS // most)
    assert_same(dataset, expected(), tmp_path)
    messages = [str(warning.message) for warning in told]
    assert len(messages) == {2: 1, 1: 2}[most] * 4  # once for each halving in each cell
    assert messages[0] == ("memory ran out with 4 runs of none / low in a shard; going on with 2")
    assert len(shards(tmp_path / "store")) == NUM_RUNS // most


def test_a_run_that_never_fits_is_an_error(monkeypatch, tmp_path):
    scarce(monkeypatch, 0, EXHAUSTED)
    with (
        pytest.warns(UserWarning, match="memory ran out"),
        pytest.raises(MemoryError, match=r"^not even one run of none / low fits$"),
    ):
        study(store=tmp_path)
    assert shards(tmp_path) == {}


def test_other_errors_of_devices_are_not_taken_for_it(monkeypatch):
    scarce(monkeypatch, 0, jax.errors.JaxRuntimeError("INTERNAL: something else"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        study()


# Progress


def test_progress_is_silent_where_nobody_looks(capfd):
    study()
    study(progress=None)  # standard error is no terminal here
    assert capfd.readouterr().err == ""


def test_progress_is_shown_on_request(capfd):
    """In episodes of all runs; those of a store count as nothing to do."""
    study(progress=True)
    shown = capfd.readouterr().err
    assert f"{NUM_RUNS * 24}/{NUM_RUNS * 24}" in shown
    assert "paid / high" in shown


def test_arguments_are_those_of_a_plan():
    """What can be asked of a study can be asked of its plan, `progress` aside."""
    found = px.plan(**arguments(measure=False))
    assert (found.num_runs, found.num_shards) == (NUM_RUNS, NUM_SHARDS)
    assert SHARD_PAIRS * NUM_SHARDS == NUM_RUNS
