"""Final values against what a study swept: which labels have which numbers, and what is drawn."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from artists import bars, caption, empty_axes, with_bars
from synthetic import MECHANISMS, Curve, keep_moments, make_dataset, without_runs

import pajax as px
from pajax import plotting, statistics
from pajax.plotting import sweeps
from pajax.plotting.axes import mark_numbers, scale_of

MARGINS = [0.01, 0.1, 1.0]
EPISODES = 1_000


def curve(margin: float) -> Curve:
    return Curve(1.0, 0.5, 10.0 / (1 + 5 * margin), 0.04, 1.0 + margin)


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    """Out of order, in two games, beside a mechanism without a margin."""
    ordered = [MARGINS[k] for k in (1, 0, 2)]
    labels = {f"two-phase(margin={margin:g})": curve(margin) for margin in ordered}
    made = make_dataset(
        mechanisms={"none": MECHANISMS["none"], **labels},
        agents={"ucbvi": 1.0, "ucb-q": 1.4},
        num_games=2,
        num_seeds=6,
        num_episodes=EPISODES,
    )
    margins = np.tile([np.nan, *ordered], (2, 1))
    return made.assign(margin=(("game", "mechanism"), margins), num_states=("game", [3.0, 30.0]))


# Which labels have which numbers


def test_a_variable_of_mechanisms(ds):
    sweep = sweeps.read(ds, "margin")
    assert (sweep.name, sweep.dim) == ("margin", "mechanism")
    np.testing.assert_array_equal(sweep.numbers, [np.nan, 0.1, 0.01, 1.0])
    assert sweep.lines == ["none", "two-phase", "two-phase", "two-phase"]


def test_a_variable_of_games(ds):
    sweep = sweeps.read(ds, "num_states")
    assert (sweep.dim, sweep.numbers.tolist(), sweep.lines) == ("game", [3.0, 30.0], ["", ""])


def test_labels_of_a_grid_are_read(ds):
    without = ds.drop_vars("margin")
    sweep, expected = sweeps.read(without, "margin"), sweeps.read(ds, "margin")
    np.testing.assert_array_equal(sweep.numbers, expected.numbers)
    assert (sweep.dim, sweep.lines) == (expected.dim, expected.lines)


@pytest.mark.parametrize("name", [None, "Q"])
def test_labels_are_those_that_grids_make(name):
    """Every field can be swept, and what is left names the line."""
    values = {"epsilon.scale": [1.0, 3.0], "memory": ["aware", "blind"]}
    labels = list(px.grid(px.agents.QLearning(), values, name=name))
    ds = xr.Dataset(coords={"agent": labels})
    sweep = sweeps.read(ds, "epsilon.scale")
    assert (sweep.dim, sweep.numbers.tolist()) == ("agent", [1.0, 1.0, 3.0, 3.0])
    left = ["memory=aware", "memory=blind"]
    assert sweep.lines == 2 * ([f"{name}({text})" for text in left] if name else left)


@pytest.mark.parametrize(
    ("label", "number", "line"),
    [
        ("two-phase, margin=0.1", 0.1, "two-phase"),
        ("margin=1e-05", 1e-05, ""),
        ("q(bonus=2, margin=0.5, memory=blind)", 0.5, "q(bonus=2, memory=blind)"),
        ("q(bonus=2, margin=0.5)", 0.5, "q(bonus=2)"),
        ("margin=3/0", 3.0, ""),
        ("q(shape.margin=2)", np.nan, "q(shape.margin=2)"),
        ("big_margin=2", np.nan, "big_margin=2"),
        ("margin=wide", np.nan, ""),
    ],
)
def test_a_field_in_a_label(label, number, line):
    np.testing.assert_equal(sweeps._number_in(label, "margin"), number)
    assert sweeps._without(label, "margin") == line


def test_numbers_by_label(ds):
    sweep = sweeps.read(ds, {"ucb-q": 2.0, "ucbvi": 1.0})
    assert (sweep.dim, sweep.numbers.tolist()) == ("agent", [1.0, 2.0])
    some = sweeps.read(ds, {"none": 5.0})
    np.testing.assert_array_equal(some.numbers, [5.0, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("over", ["gamma", "payment", {"ucbvi": 1.0, "none": 2.0}, {}])
def test_nothing_is_swept(ds, over):
    with pytest.raises(ValueError, match=r"^over: got .*, must "):
        sweeps.read(ds, over)


# Scaling


def test_scaling_draws_final_values_an_episode(ds):
    ax = empty_axes()
    assert plotting.scaling(ds, "margin", ax=ax, level=0.9) is ax
    assert (ax.get_xlabel(), ax.get_xscale()) == ("margin", "log")
    assert ax.get_ylabel() == "welfare regret (reward units an episode)"
    order = [f"two-phase(margin={margin:g})" for margin in MARGINS]
    last = ds["welfare_regret"].isel(game=0, episode=-1).sel(mechanism=order) / EPISODES
    assert list(with_bars(ax)) == ["ucbvi, two-phase", "ucb-q, two-phase"]
    for agent, (x, y), ends in zip(ds["agent"], with_bars(ax).values(), bars(ax, 1), strict=True):
        value, low, high = statistics.mean_interval(last.sel(agent=agent), axis=1, level=0.9)
        np.testing.assert_array_equal(x, MARGINS)
        np.testing.assert_allclose(y, value, rtol=1e-12)
        np.testing.assert_allclose(ends, np.stack([low, high], 1), rtol=1e-9)
    assert caption(ax) == "mean over 6 seeds and its 90 % t interval at each point"


def test_scaling_of_totals_and_of_what_does_not_add_up(ds):
    chosen = {"agent": "ucbvi", "game": 1}
    total = plotting.scaling(ds, "margin", is_total=True, ax=empty_axes(), **chosen)
    assert total.get_ylabel() == "welfare regret (reward units)"
    error = plotting.scaling(ds, "margin", variable="transfer_error", ax=empty_axes(), **chosen)
    assert error.get_ylabel() == "mean error of transfers (reward units)"
    for ax, name in ((total, "welfare_regret"), (error, "transfer_error")):
        last = ds[name].sel(**chosen).isel(episode=-1)
        expected = last.sel(mechanism=f"two-phase(margin={MARGINS[0]:g})").mean("seed")
        np.testing.assert_allclose(with_bars(ax)["two-phase"][1, 0], expected, rtol=1e-12)


def test_scaling_over_games_has_lines_of_mechanisms(ds):
    ax = plotting.scaling(ds, "num_states", agent="ucbvi", ax=empty_axes())
    assert list(with_bars(ax)) == ds["mechanism"].to_numpy().tolist()
    last = ds["welfare_regret"].sel(agent="ucbvi").isel(episode=-1).mean("seed") / EPISODES
    np.testing.assert_allclose(with_bars(ax)["none"][1], last.sel(mechanism="none"), rtol=1e-12)
    one = plotting.scaling(ds, "num_states", agent="ucbvi", mechanism="none", ax=empty_axes())
    assert list(with_bars(one)) == ["mean"]


def test_games_that_share_a_number_are_replicates(ds):
    """Two games of three states and one of thirty, from the two there are."""
    games = xr.concat([ds.isel(game=[0, 1]), ds.isel(game=[0])], "game", data_vars="minimal")
    games = games.assign_coords(game=["S=3/0", "S=3/1", "S=30"]).drop_vars("num_states")
    ax = plotting.scaling(games, "S", agent="ucbvi", mechanism="none", ax=empty_axes())
    cell = {"agent": "ucbvi", "mechanism": "none"}
    means = ds["welfare_regret"].sel(cell).isel(episode=-1).mean("seed").to_numpy() / EPISODES
    (x, y), ends = with_bars(ax)["mean"], bars(ax, 1)[0]
    np.testing.assert_array_equal(x, [3.0, 30.0])
    np.testing.assert_allclose(y, [means.mean(), means[0]], rtol=1e-12)
    _, low, high = statistics.mean_interval(means)
    np.testing.assert_allclose(ends[0], [low, high], rtol=1e-9)
    assert caption(ax).endswith("at each point; where games share a number, over their means")


def test_bars_are_cut_where_a_log_axis_ends(ds):
    """One run dwarfs the others: t intervals of its mean reach below zero."""
    wild = ds.copy(deep=True)
    wild["welfare_regret"][..., 0, :] *= [[1.0], [40.0], [40.0], [1.0]]
    ax = plotting.scaling(wild, "margin", agent="ucbvi", ax=empty_axes())
    assert ax.get_yscale() == "log"
    lows = bars(ax, 1)[0][:, 0]
    assert (lows > 0).all() and lows.min() < ax.get_ylim()[0] < lows.max()
    assert ax.get_ylim()[0] > with_bars(ax)["two-phase"][1].min() / 10


def test_scaling_over_the_horizon(ds):
    """Each checkpoint over its own number of episodes, as in Datasets over horizons."""
    ax = plotting.scaling(ds, "episode", agent="ucbvi", mechanism="none", ax=empty_axes())
    cell = ds["welfare_regret"].sel(game=0, agent="ucbvi", mechanism="none").mean("seed")
    x, y = with_bars(ax)["mean"]
    np.testing.assert_array_equal(x, ds["episode"])
    np.testing.assert_allclose(y, cell / ds["episode"], rtol=1e-12)
    assert (ax.get_xlabel(), ax.get_xscale()) == ("episodes", "log")
    with pytest.raises(ValueError, match="variable: got phase_one_length, must depend on episode"):
        plotting.scaling(ds, "episode", variable="phase_one_length", ax=empty_axes())


@pytest.mark.filterwarnings("error")
def test_scaling_of_moments_and_missing_runs(ds):
    is_missing = np.zeros(ds["status"].shape, bool)
    is_missing[:, :, 1, 2:] = True  # four of the six at margin 0.1
    is_missing[:, 0, 2] = True  # all at margin 0.01 with UCBVI
    partial = without_runs(ds, is_missing)
    axes = [
        plotting.scaling(x, "margin", ax=empty_axes()) for x in (partial, keep_moments(partial))
    ]
    of_runs, of_moments = map(with_bars, axes)
    assert np.isnan(of_runs["ucbvi, two-phase"][1, 0])
    for name in of_runs:
        np.testing.assert_allclose(of_moments[name], of_runs[name], rtol=1e-12)
    assert caption(axes[0]).startswith("mean over 2 to 6 of 6 seeds")
    for ax in axes:
        ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("numbers", "scale"),
    [([1, 8], "linear"), ([1, 9], "log"), ([0, 1, 100], "linear"), ([], "linear"), ([1], "linear")],
)
def test_the_scale_follows_the_spread(numbers, scale):
    assert scale_of(np.array([*numbers, np.nan])) == scale


def test_bad_arguments_of_scaling(ds):
    with pytest.raises(ValueError, match="variable: got 'regret', must be one of "):
        plotting.scaling(ds, "margin", variable="regret")
    with pytest.raises(ValueError, match="agent: got 'sarsa', must be one of ucbvi, ucb-q"):
        plotting.scaling(ds, "margin", agent="sarsa")
    with pytest.raises(ValueError, match="game: got 7, must be one of the 2 labels"):
        plotting.scaling(ds, "margin", game=7)


# Frontier


def test_frontier_joins_points_in_the_order_of_the_margin(ds):
    ax = empty_axes()
    assert plotting.frontier(ds, agent="ucbvi", ax=ax, level=0.8) is ax
    order = [f"two-phase(margin={margin:g})" for margin in MARGINS]
    last = ds.sel(game=0, agent="ucbvi", mechanism=order).isel(episode=-1) / EPISODES
    assert list(with_bars(ax)) == ["two-phase"]
    names = ("welfare_regret", "payment")
    for axis, (name, found) in enumerate(zip(names, with_bars(ax)["two-phase"], strict=True)):
        value, low, high = statistics.mean_interval(last[name], axis=1, level=0.8)
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_allclose(bars(ax, axis)[0], np.stack([low, high], 1), rtol=1e-9)
    assert [text.get_text() for text in ax.texts] == ["0.01", "0.1", "1"]
    (star,) = (line for line in ax.lines if line.get_label() == "best of both")
    np.testing.assert_array_equal(star.get_data(), [[0], [0]])
    for low, high in (ax.get_xlim(), ax.get_ylim()):
        assert low < 0 < high
    assert ax.get_xlabel() == "welfare regret (reward units an episode)"
    assert ax.get_ylabel() == "payment (reward units an episode)"
    assert caption(ax) == (
        "mean over 6 seeds and its 80 % t interval at each point, both ways; numbers: margin"
    )


def test_frontier_of_the_principals_regret(ds):
    regret = ds.assign(principal_regret=ds["payment"] - 500.0)
    ax = plotting.frontier(
        regret, agent="ucb-q", game=1, variable="principal_regret", ax=empty_axes()
    )
    assert ax.get_ylabel() == "principal's regret (reward units an episode)"
    assert ax.get_ylim()[0] < with_bars(ax)["two-phase"][1].min()


def test_frontier_is_of_mechanisms(ds):
    with pytest.raises(ValueError, match="over: got 'ucb', must name"):
        plotting.frontier(ds, over="ucb", agent="ucbvi", ax=empty_axes())
    with pytest.raises(ValueError, match="over: got 'episode', must be swept over mechanisms"):
        plotting.frontier(ds, over="episode", agent="ucbvi", ax=empty_axes())


@pytest.mark.parametrize("draw", [plotting.scaling, plotting.frontier])
def test_nothing_is_mutated(ds, draw):
    before, settings = ds.copy(deep=True), dict(mpl.rcParams)
    draw(ds, over="margin", agent="ucbvi", ax=empty_axes())
    xr.testing.assert_identical(ds, before)
    assert dict(mpl.rcParams) == settings


def test_a_sweep_has_its_numbers_for_ticks(ds):
    ax = plotting.scaling(ds, "margin", agent="ucbvi", ax=empty_axes())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [([50_000, 1_000_000], ["50k", "1M"]), ([0, 2.5], ["0", "2.5"]), (range(1, 20), None)],
)
def test_many_numbers_have_the_ticks_of_the_axis(numbers, labels):
    ax = empty_axes()
    before = [label.get_text() for label in ax.get_xticklabels()]
    mark_numbers(ax, numbers)
    assert [label.get_text() for label in ax.get_xticklabels()] == (labels or before)
