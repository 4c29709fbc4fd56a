"""pajax.plotting: what is on the Axes, and what is left alone."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from synthetic import MECHANISMS, OPTIMAL, Curve, keep_moments, make_dataset, without_runs

from pajax import plotting, statistics

NAMES = list(MECHANISMS)
BOTH = pytest.mark.parametrize("draw", [plotting.regret, plotting.welfare])


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return make_dataset(num_seeds=8)


@pytest.fixture
def pyplot():
    """pyplot without a screen and without figures, before and after."""
    mpl.use("Agg")
    from matplotlib import pyplot

    pyplot.close("all")
    yield pyplot
    pyplot.close("all")


def empty_axes() -> Axes:
    return Figure().subplots()


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """Label to [2, episode] of every line that has a label."""
    shown = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): np.array(line.get_data()) for line in shown}


def bands(ax: Axes) -> list[np.ndarray]:
    """Vertices of every band."""
    nothing = np.zeros((0, 2))
    paths = [band.get_paths() for band in ax.collections]
    return [np.concatenate([nothing, *(path.vertices for path in some)]) for some in paths]


def test_regret_draws_every_mechanism(ds):
    ax = empty_axes()
    assert plotting.regret(ds, agent="ucbvi", ax=ax) is ax
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlabel() == "episodes"
    assert ax.get_ylabel() == "welfare regret (reward units)"
    drawn = lines(ax)
    assert list(drawn) == NAMES
    mean = ds["welfare_regret"].sel(game=0, agent="ucbvi").mean("seed")
    for name, (episodes, values) in drawn.items():
        np.testing.assert_array_equal(episodes, ds["episode"])
        np.testing.assert_allclose(values, mean.sel(mechanism=name), rtol=1e-12)


def test_regret_has_bands_of_the_interval(ds):
    ax = plotting.regret(ds, agent="q-learning", ax=empty_axes(), level=0.8)
    samples = ds["welfare_regret"].sel(game=0, agent="q-learning").to_numpy()
    _, low, high = statistics.mean_interval(samples, axis=1, level=0.8)
    assert len(bands(ax)) == len(NAMES)
    for place, vertices in enumerate(bands(ax)):
        heights = vertices[:, 1]
        assert (heights > 0).all()
        np.testing.assert_allclose(heights.max(), high[place].max(), rtol=1e-12)
        np.testing.assert_allclose(heights.min(), low[place].min(), rtol=1e-12)


def test_regret_has_guides_of_slope_one_and_a_half(ds):
    ax = plotting.regret(ds, agent="ucbvi", ax=empty_axes())
    guides = [np.log(np.array(line.get_data())) for line in ax.lines[len(NAMES) :]]
    slopes = [(y[1] - y[0]) / (x[1] - x[0]) for x, y in guides]
    np.testing.assert_allclose(slopes, [1.0, 0.5], rtol=1e-12)
    assert [text.get_text() for text in ax.texts] == ["slope 1", "slope 1/2"]
    top = max(values.max() for _, values in lines(ax).values())
    for x, y in np.exp(guides):  # above every curve: they start at rates below the steepest
        assert (y > top / 1e5 * x).all()


@BOTH
def test_legend_says_what_the_bands_are_and_hides_no_data(ds, draw, pyplot):
    ax = draw(ds, agent="ucbvi", level=0.9)
    legend = ax.get_legend()
    text = legend.get_title().get_text().replace("\n", " ")
    assert text == "mean over 8 seeds and its pointwise 90 % t interval"
    assert [entry.get_text() for entry in legend.get_texts()][: len(NAMES)] == NAMES
    ax.figure.canvas.draw()
    assert legend.get_window_extent().x0 >= ax.get_window_extent().x1


def test_welfare_draws_shares_and_references(ds):
    ax = plotting.welfare(ds, agent="ucb-q", ax=empty_axes())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    drawn = lines(ax)
    assert list(drawn) == [*NAMES, "laissez-faire"]
    share = 100 * statistics.welfare_share(ds).sel(game=0, agent="ucb-q").mean("seed")
    for name in NAMES:
        np.testing.assert_allclose(drawn[name][1], share.sel(mechanism=name), rtol=1e-12)
    np.testing.assert_allclose(drawn["laissez-faire"][1], 100 * 4.8350 / OPTIMAL, rtol=1e-12)
    levels = [np.asarray(line.get_ydata()).tolist() for line in ax.lines]
    assert [100.0, 100.0] in levels
    assert ax.get_ylim()[0] < share.min() and ax.get_ylim()[1] > 100.0


def test_a_mechanism_looks_the_same_everywhere(ds):
    panels = plotting.overview(ds).axes
    looks = [
        [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in ax.lines[:6]]
        for ax in panels
    ]
    assert all(look == looks[0] for look in looks)
    colours, markers, _ = zip(*looks[0], strict=True)
    assert len(set(colours)) == len(set(markers)) == 6


def test_many_mechanisms_stay_apart():
    """The look of a place repeats only after 7 * 5 * 9, and neighbours share no part."""
    looks = [plotting._look(place) for place in range(7 * 5 * 9)]
    assert len(set(map(str, looks))) == 7 * 5 * 9
    for place in range(300):
        near = looks[place : place + 5]
        assert all(len({str(look[part]) for look in near}) == 5 for part in near[0])


def test_overview(ds):
    figure = plotting.overview(ds, title="Pollution")
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 2 * 3
    assert [ax.get_title() for ax in figure.axes[:3]] == ["ucbvi", "q-learning", "ucb-q"]
    assert figure.get_suptitle() == "Pollution: 8 seeds, 100,000 episodes"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*NAMES, "laissez-faire"]
    assert "pointwise 95 % t interval" in legend.get_title().get_text()
    assert all(ax.get_legend() is None for ax in figure.axes)
    for row in (figure.axes[:3], figure.axes[3:]):
        (limits,) = {ax.get_ylim() for ax in row}
        heights = np.concatenate([values for ax in row for _, values in lines(ax).values()])
        assert limits[0] < heights.min() and heights.max() < limits[1]
    assert len({ax.get_xlim() for ax in figure.axes}) == 1


def test_overview_is_a_picture_for_files_and_notebooks(ds, tmp_path):
    figure = plotting.overview(ds)
    figure.savefig(tmp_path / "overview.png")
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert isinstance(figure, plotting._RichFigure)  # IPython calls _repr_png_
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.get_suptitle().startswith("Game 0: ")


# What is left alone


def test_nothing_is_mutated(ds, pyplot):
    before, parameters = ds.copy(deep=True), dict(mpl.rcParams)
    plotting.regret(ds, agent="ucbvi", ax=empty_axes())
    plotting.welfare(ds, agent="ucbvi", ax=empty_axes())
    plotting.overview(ds)
    xr.testing.assert_identical(ds, before)
    assert dict(mpl.rcParams) == parameters
    assert pyplot.get_fignums() == []


@BOTH
def test_without_axes_pyplot_knows_the_figure(ds, draw, pyplot):
    """So that a notebook shows it at the end of the cell."""
    current = pyplot.figure()
    ax = draw(ds.sel(agent=["ucb-q"]))
    assert pyplot.get_fignums() == [current.number, ax.figure.number]
    assert not current.axes


def test_importing_does_not_load_pyplot():
    code = "import sys, pajax.plotting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("draw", "scale", "heights"),
    [(plotting.regret, "log", [0.01, 1e7]), (plotting.welfare, "linear", [-50.0, 150.0])],
)
def test_axes_keep_what_was_drawn_before(ds, draw, scale, heights):
    ax = empty_axes()
    ax.set_yscale(scale)
    ax.plot([1, 1e5], heights)
    before = ax.get_ylim()
    draw(ds, agent="ucbvi", ax=ax)
    assert ax.get_ylim()[0] <= before[0] and before[1] <= ax.get_ylim()[1]


# Awkward data


def zero_and_negative(ds: xr.Dataset) -> xr.Dataset:
    ds = ds.copy(deep=True)
    place = {"mechanism": NAMES.index("oracle")}
    ds["welfare_regret"][place] = 0.0
    early = {"mechanism": NAMES.index("flat"), "episode": slice(0, 5)}
    ds["welfare_regret"][early] = -1.0
    return ds


@pytest.mark.filterwarnings("error")
def test_regret_that_a_log_axis_cannot_show(ds):
    figure = plotting.overview(zero_and_negative(ds))
    figure.canvas.draw()
    drawn = lines(figure.axes[0])
    assert np.isnan(drawn["oracle (none to show)"][1]).all()
    assert np.isnan(drawn["flat"][1][:5]).all()
    assert (drawn["flat"][1][5:] > 0).all()
    assert all((vertices[:, 1] > 0).all() for vertices in bands(figure.axes[0]) if vertices.size)
    assert figure.axes[0].get_ylim()[0] > 0.01


@pytest.mark.filterwarnings("error")
def test_bands_below_zero_are_cut(ds):
    wild = ds.copy(deep=True)
    wild["welfare_regret"][..., 0, :] *= 40.0  # one run dwarfs the others
    ax = plotting.regret(wild, agent="ucbvi", ax=empty_axes())
    ax.figure.canvas.draw()
    cut = np.concatenate(bands(ax))[:, 1]
    assert 0 < cut.min() < ax.get_ylim()[0]
    smallest = min(values.min() for _, values in lines(ax).values())
    assert smallest / 2 < ax.get_ylim()[0] < smallest


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("changes", [{"num_seeds": 1}, {"num_episodes": 1}, {"num_episodes": 7}])
def test_small_studies(changes):
    figure = plotting.overview(make_dataset(**{"num_seeds": 3} | changes))
    figure.canvas.draw()
    assert list(lines(figure.axes[0])) == NAMES


@pytest.mark.filterwarnings("error")
def test_nothing_to_show():
    ds = make_dataset(num_seeds=3, agents={"ucbvi": 1.0})
    ds["welfare_regret"][...] = np.nan
    plotting.overview(ds).canvas.draw()


def test_other_games_and_one_agent():
    ds = make_dataset(num_seeds=3, num_games=2, agents={"ucbvi": 1.0})
    ds["welfare_regret"][1] *= 2.0
    drawn = [lines(plotting.regret(ds, game=game, ax=empty_axes()))["none"] for game in (0, 1)]
    mean = ds["welfare_regret"].sel(agent="ucbvi", mechanism="none").mean("seed")
    np.testing.assert_allclose([values for _, values in drawn], mean, rtol=1e-12)
    assert plotting.overview(ds, 1).get_suptitle().startswith("Game 1: ")


@BOTH
def test_the_first_game_is_the_default(draw):
    ds = make_dataset(num_seeds=3, num_games=2, agents={"ucbvi": 1.0})
    ds["welfare_regret"][1] *= 2.0
    for labels in ([0, 1], [5, 3], ["S=3/0", "S=2"]):
        named = ds.assign_coords(game=labels)
        first, second = (lines(draw(named, game=game, ax=empty_axes())) for game in labels)
        default = lines(draw(named, ax=empty_axes()))
        np.testing.assert_array_equal(default["none"], first["none"])
        assert (default["none"] != second["none"]).any()
        assert plotting.overview(named).get_suptitle().startswith(f"Game {labels[0]}: ")
    with pytest.raises(ValueError, match="game: got 0, must be one of the 2 labels from S=3/0 to"):
        draw(named, game=0)


@BOTH
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"agent: got None, must be one of ucbvi, q-learning, ucb-q \(the Dataset has 3"),
        ({"agent": "sarsa"}, "agent: got 'sarsa', must be one of ucbvi, q-learning, ucb-q"),
        ({"agent": "ucbvi", "game": 4}, "game: got 4, must be one of the 1 labels from 0 to 0"),
        ({"agent": "ucbvi", "level": 95}, "level: got 95, must lie strictly between 0 and 1"),
    ],
)
def test_bad_arguments(ds, draw, arguments, message, pyplot):
    with pytest.raises(ValueError, match=message):
        draw(ds, **arguments)
    assert pyplot.get_fignums() == []


def test_long_names_wrap_the_legend():
    mechanisms = {f"a mechanism called number {i}": Curve(1, 1, 1, 0, 0) for i in range(9)}
    ds = make_dataset(num_seeds=2, mechanisms=mechanisms, agents={"ucbvi": 1.0})
    figure = plotting.overview(ds)
    figure.canvas.draw()
    extent = figure.legends[0].get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1


# Runs that were not done


@pytest.fixture(scope="module")
def partial(ds) -> xr.Dataset:
    """Seeds 3 to 7 of "flat" are missing, and all of "oracle" with the first agent."""
    is_missing = np.zeros(ds["status"].shape, bool)
    is_missing[:, :, NAMES.index("flat"), 3:] = True
    is_missing[:, 0, NAMES.index("oracle")] = True
    return without_runs(ds, is_missing)


def title(legend) -> str:
    return " ".join(legend.get_title().get_text().split())


def test_lines_and_bands_are_of_the_runs_that_were_done(ds, partial):
    ax = plotting.regret(partial, agent="q-learning", ax=empty_axes())
    whole = plotting.regret(ds, agent="q-learning", ax=empty_axes())
    first = plotting.regret(ds.isel(seed=slice(3)), agent="q-learning", ax=empty_axes())
    place = NAMES.index("flat")
    for name in NAMES:
        expected = lines(first if name == "flat" else whole)[name]
        np.testing.assert_allclose(lines(ax)[name], expected, rtol=1e-12)
    for found, expected in zip(bands(ax)[:2], [bands(whole)[0], bands(first)[place]], strict=True):
        # Where a band is cut depends on the other lines.
        np.testing.assert_allclose(found.max(0), expected.max(0), rtol=1e-12)


@BOTH
@pytest.mark.filterwarnings("error")
def test_a_mechanism_without_runs_is_not_drawn(partial, draw):
    ax = draw(partial, agent="ucbvi", ax=empty_axes())
    ax.figure.canvas.draw()
    drawn = lines(ax)
    assert list(drawn)[: len(NAMES)] == [*NAMES[:-1], "oracle (no runs)"]
    assert np.isnan(drawn["oracle (no runs)"][1]).all()
    assert title(ax.get_legend()).startswith("mean over 3 to 8 of 8 seeds and its pointwise 95 % t")
    assert "oracle" in lines(draw(partial, agent="ucb-q", ax=empty_axes()))


def test_overview_of_what_there_is(partial):
    figure = plotting.overview(partial)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*NAMES, "laissez-faire"]
    assert title(legend).startswith("Lines and bands: mean over 3 to 8 of 8 seeds and its")
    assert figure.get_suptitle() == "Game 0: 3 to 8 of 8 seeds, 100,000 episodes"
    alone = plotting.overview(partial.isel(agent=[0]))
    labels = [text.get_text() for text in alone.legends[0].get_texts()]
    assert labels == [*NAMES[:-1], "oracle (no runs)", "laissez-faire"]


@pytest.mark.filterwarnings("error")
def test_overview_of_no_runs_at_all(ds):
    nothing = without_runs(ds, np.ones(ds["status"].shape, bool))
    for study in (nothing, keep_moments(nothing)):
        figure = plotting.overview(study)
        figure.canvas.draw()
        assert figure.get_suptitle() == "Game 0: 0 of 8 seeds, 100,000 episodes"


# Moments in place of runs


def test_moments_have_the_same_regret(partial):
    axes = [
        plotting.regret(x, agent="ucbvi", ax=empty_axes(), level=0.9)
        for x in (partial, keep_moments(partial))
    ]
    of_runs, of_moments = map(lines, axes)
    assert list(of_moments) == list(of_runs)
    for name in of_runs:
        np.testing.assert_allclose(of_moments[name], of_runs[name], rtol=1e-12)
    for found, expected in zip(*map(bands, axes), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert title(axes[0].get_legend()) == title(axes[1].get_legend())


@pytest.mark.filterwarnings("error")
def test_moments_have_shares_without_bands(partial):
    axes = [
        plotting.welfare(x, agent="ucb-q", ax=empty_axes())
        for x in (partial, keep_moments(partial))
    ]
    of_runs, of_moments = map(lines, axes)
    assert list(of_moments) == list(of_runs)
    for name in of_runs:
        # Per cent of differences of sums up to 2e5, each rounded 20 times.
        np.testing.assert_allclose(of_moments[name], of_runs[name], rtol=0.0, atol=1e-7)
    assert not any(vertices.size for vertices in bands(axes[1]))
    words = (
        "mean over 3 to 8 of 8 seeds; shares of W* have no interval, as whole runs were not kept"
    )
    assert title(axes[1].get_legend()) == words


@pytest.mark.parametrize("agents", [["ucbvi"], ["ucbvi", "ucb-q"]])
def test_overview_of_moments(ds, agents):
    figure = plotting.overview(keep_moments(ds.sel(agent=agents)))
    figure.canvas.draw()
    assert figure.get_suptitle() == "Game 0: 8 seeds, 100,000 episodes"
    assert title(figure.legends[0]) == (
        "Lines and bands: mean over 8 seeds and its pointwise 95 % t interval; "
        "shares of W* have no interval, as whole runs were not kept"
    )
    extent = figure.legends[0].get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1
    assert all(vertices.size for vertices in bands(figure.axes[0]))
