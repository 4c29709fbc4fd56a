"""pajax.plotting: what is on the Axes, and what is left alone."""

import dataclasses
import functools

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from artists import bands, caption, data, empty_axes, entries, lines
from matplotlib.figure import Figure
from synthetic import MECHANISMS, OPTIMAL, Curve, keep_moments, make_dataset, without_runs

from pajax import plotting, statistics
from pajax.bounds import Bound, Case
from pajax.plotting import figures, style

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
    ax = plotting.regret(ds, agent="q-learning", ax=empty_axes(), level=0.8, band="pointwise")
    samples = ds["welfare_regret"].sel(game=0, agent="q-learning").to_numpy()
    _, low, high = statistics.mean_interval(samples, axis=1, level=0.8)
    assert len(bands(ax)) == len(NAMES)
    for place, vertices in enumerate(bands(ax)):
        heights = vertices[:, 1]
        assert (heights > 0).all()
        np.testing.assert_allclose(heights.max(), high[place].max(), rtol=1e-12)
        np.testing.assert_allclose(heights.min(), low[place].min(), rtol=1e-12)


def test_regret_has_a_band_for_the_whole_curve(ds):
    """By default, of the runs of each mechanism, on the scale on which it is drawn."""
    ax = plotting.regret(ds, agent="q-learning", ax=empty_axes(), level=0.8)
    samples = ds["welfare_regret"].sel(game=0, agent="q-learning").to_numpy()
    assert len(bands(ax)) == len(NAMES)
    for vertices, runs in zip(bands(ax), samples, strict=True):
        _, low, high = statistics.simultaneous_band(runs, 0.8, scale="log")
        np.testing.assert_allclose(np.unique(vertices[:, 1]), np.unique([low, high]), rtol=1e-12)


def test_a_band_for_the_whole_curve_is_wider(ds):
    axes = [
        plotting.regret(ds, agent="ucbvi", ax=empty_axes(), band=band)
        for band in ("simultaneous", "pointwise")
    ]
    for whole, each in zip(*map(bands, axes), strict=True):
        assert whole[:, 1].max() > each[:, 1].max()


def test_another_regret(ds):
    ax = plotting.regret(ds, agent="ucbvi", ax=empty_axes(), variable="agent_regret")
    assert ax.get_ylabel() == "agent's regret (reward units)"
    expected = ds["agent_regret"].sel(game=0, agent="ucbvi", mechanism="flat").mean("seed")
    np.testing.assert_allclose(lines(ax)["flat"][1], expected, rtol=1e-12)


def test_regret_has_guides_of_slope_one_and_a_half(ds):
    ax = plotting.regret(ds, agent="ucbvi", ax=empty_axes())
    guides = [np.log(data(line)) for line in ax.lines[len(NAMES) :]]
    slopes = [(y[1] - y[0]) / (x[1] - x[0]) for x, y in guides]
    np.testing.assert_allclose(slopes, [1.0, 0.5], rtol=1e-12)
    assert [text.get_text() for text in ax.texts] == ["slope 1", "slope 1/2"]
    top = max(values.max() for _, values in lines(ax).values())
    for x, y in np.exp(guides):  # above every curve: they start at rates below the steepest
        assert (y > top / 1e5 * x).all()


POINTWISE = "mean over 8 seeds and its pointwise 90 % t interval"


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (plotting.regret, "mean over 8 seeds and its simultaneous 90 % band, of whole curves"),
        (functools.partial(plotting.regret, band="pointwise"), POINTWISE),
        (plotting.welfare, POINTWISE),
    ],
)
def test_legend_says_what_the_bands_are_and_hides_no_data(ds, draw, words, pyplot):
    ax = draw(ds, agent="ucbvi", level=0.9)
    legend = ax.get_legend()
    assert caption(legend) == words
    assert entries(legend)[: len(NAMES)] == NAMES
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
    looks = [style.look(place) for place in range(7 * 5 * 9)]
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
    assert entries(legend) == [*NAMES, "laissez-faire"]
    assert caption(legend) == (
        "Lines and bands: mean over 8 seeds and its simultaneous 95 % band, of whole curves; "
        "of shares, its pointwise t interval"
    )
    assert all(ax.get_legend() is None for ax in figure.axes)
    for row in (figure.axes[:3], figure.axes[3:]):
        (limits,) = {ax.get_ylim() for ax in row}
        heights = np.concatenate([values for ax in row for _, values in lines(ax).values()])
        assert limits[0] < heights.min() and heights.max() < limits[1]
    assert len({ax.get_xlim() for ax in figure.axes}) == 1


def test_overview_is_a_picture_for_files_and_notebooks(ds, tmp_path):
    figure = plotting.overview(ds.isel(agent=[0]))
    figure.savefig(tmp_path / "overview.png", dpi=30)
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert isinstance(figure, figures._RichFigure)  # IPython calls _repr_png_
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.get_suptitle().startswith("Game 0: ")


# What is left alone


def test_nothing_is_mutated(ds, pyplot):
    before, parameters = ds.copy(deep=True), dict(mpl.rcParams)
    plotting.regret(ds, agent="ucbvi", ax=empty_axes())
    plotting.welfare(ds, agent="ucbvi", ax=empty_axes())
    plotting.overview(ds)
    plotting.local_exponent(ds, agent="ucbvi", ax=empty_axes())
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
    ax = plotting.regret(wild, agent="ucbvi", ax=empty_axes(), band="pointwise")
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


@pytest.mark.parametrize("draw", [plotting.regret, plotting.overview])
def test_bands_are_named(ds, draw):
    with pytest.raises(
        ValueError, match="band: got 'wide', must be one of simultaneous, pointwise"
    ):
        draw(ds.sel(agent=["ucbvi"]), band="wide")


def test_long_names_wrap_the_legend():
    mechanisms = {f"a mechanism called number {i}": Curve(1, 1, 1, 0, 0) for i in range(9)}
    ds = make_dataset(num_seeds=3, mechanisms=mechanisms, agents={"ucbvi": 1.0})
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
    assert caption(ax).startswith("mean over 3 to 8 of 8 seeds and its ")
    assert "oracle" in lines(draw(partial, agent="ucb-q", ax=empty_axes()))


def test_overview_of_what_there_is(partial):
    figure = plotting.overview(partial)
    (legend,) = figure.legends
    assert entries(legend) == [*NAMES, "laissez-faire"]
    assert caption(legend).startswith("Lines and bands: mean over 3 to 8 of 8 seeds and its")
    assert figure.get_suptitle() == "Game 0: 3 to 8 of 8 seeds, 100,000 episodes"
    alone = plotting.overview(partial.isel(agent=[0]))
    labels = entries(alone.legends[0])
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
        plotting.regret(partial, agent="ucbvi", ax=empty_axes(), level=0.9, band="pointwise"),
        plotting.regret(keep_moments(partial), agent="ucbvi", ax=empty_axes(), level=0.9),
    ]
    of_runs, of_moments = map(lines, axes)
    assert list(of_moments) == list(of_runs)
    for name in of_runs:
        np.testing.assert_allclose(of_moments[name], of_runs[name], rtol=1e-12)
    for found, expected in zip(*map(bands, axes), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    why = ", as whole runs were not kept"
    assert caption(axes[0]) + why == caption(axes[1])


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
    assert caption(axes[1]) == words


@pytest.mark.parametrize("agents", [["ucbvi"], ["ucbvi", "ucb-q"]])
def test_overview_of_moments(ds, agents):
    figure = plotting.overview(keep_moments(ds.sel(agent=agents)))
    figure.canvas.draw()
    assert figure.get_suptitle() == "Game 0: 8 seeds, 100,000 episodes"
    assert caption(figure.legends[0]) == (
        "Lines and bands: mean over 8 seeds and its pointwise 95 % t interval, "
        "as whole runs were not kept; shares of W* have no interval, as whole runs were not kept"
    )
    extent = figure.legends[0].get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1
    assert all(vertices.size for vertices in bands(figure.axes[0]))


# Bounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Only(Bound):
    """On some mechanisms: K^(3/4), as many times as the number of the run."""

    of: tuple[str, ...]

    def value(self, case: Case) -> np.ndarray:
        number = np.arange(1, case.num_runs + 1)[:, None]
        return np.where(case.place.mechanism in self.of, number * case.episodes**0.75, np.nan)


def test_bounds_are_thin_lines_of_their_mechanisms(ds):
    bounds = [
        Only(name="sketch", tag="T8", of=("two-phase",)),
        Only(name="explores", tag="(T9)", is_floor=True, of=("none", "flat")),
        Only(name="silent", of=()),
    ]
    plain = plotting.regret(ds, agent="ucbvi", ax=empty_axes())
    ax = plotting.regret(ds, agent="ucbvi", ax=empty_axes(), bounds=bounds)
    labels = entries(ax)
    assert labels == [*NAMES, "bound: sketch (T8)", "floor: explores (T9)", "bound: silent"]
    assert "thin lines: bounds" in caption(ax)
    assert "bounds" not in caption(plain)
    guides = 2  # which leave their room to bounds
    added = [
        line for line in ax.lines[len(plain.lines) - guides :] if len(np.asarray(line.get_xdata()))
    ]
    mean = 4.5 * ds["episode"].to_numpy() ** 0.75  # of 1 to 8
    for line, name in zip(added, ["two-phase", "none", "flat"], strict=True):
        own = next(x for x in ax.lines if x.get_label() == name)
        assert (line.get_color(), line.get_marker()) == (own.get_color(), own.get_marker())
        assert line.get_linewidth() < own.get_linewidth()
        assert line.get_markerfacecolor() == "white" != own.get_markerfacecolor()
        np.testing.assert_allclose(data(line)[1], mean, rtol=1e-12)
    # get_linestyle says "--" of all
    dashes = [getattr(line, "_unscaled_dash_pattern") for line in added]  # noqa: B009
    assert dashes[0] != dashes[1] == dashes[2]


def test_bounds_far_above_are_in_sight(ds):
    high = Only(name="high", of=("two-phase",))
    small = ds.assign(welfare_regret=1e-6 * ds["welfare_regret"])
    ax = plotting.regret(small, agent="ucbvi", ax=empty_axes(), bounds=[high])
    assert ax.get_ylim()[1] > 4.5 * 1e5**0.75


def test_bounds_of_something_else_are_refused(ds):
    other = Only(name="rationality", variable="agent_regret", of=("none",))
    words = "bounds: got rationality of agent_regret, must be of welfare_regret, which is drawn"
    with pytest.raises(ValueError, match=words):
        plotting.regret(ds, agent="ucbvi", ax=empty_axes(), bounds=[other])


# Local exponents


def test_local_exponents_of_power_laws():
    """Without noise, regret t^a has exponent a everywhere, up to the rounding of logs."""
    powers = {"slow": 0.5, "fast": 1.0}
    laws = {name: Curve(1.0, power, 1.0, np.nan, 0.0) for name, power in powers.items()}
    ds = make_dataset(mechanisms=laws, agents={"ucbvi": 1.0}, num_seeds=8, noise=0.0)
    ax = plotting.local_exponent(ds, ax=empty_axes())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_ylabel() == "local exponent of welfare regret"
    drawn = lines(ax)
    assert list(drawn) == ["slow", "fast"]
    for name, power in powers.items():
        _, values = drawn[name]
        assert np.isfinite(values[-1])
        np.testing.assert_allclose(values[np.isfinite(values)], power, atol=1e-4)


def test_local_exponents_are_those_of_statistics(ds):
    ax = plotting.local_exponent(ds, agent="ucb-q", ax=empty_axes(), decades=0.7, level=0.9)
    runs = ds["welfare_regret"].sel(game=0, agent="ucb-q", mechanism="two-phase").to_numpy()
    found = statistics.local_exponents(runs, ds["episode"].to_numpy(), decades=0.7, level=0.9)
    np.testing.assert_allclose(lines(ax)["two-phase"][1], found.value, rtol=1e-12)
    vertices = bands(ax)[NAMES.index("two-phase")]
    np.testing.assert_allclose(vertices[:, 1].max(), np.nanmax(found.high), rtol=1e-12)
    assert caption(ax) == (
        "slope of the mean over 8 seeds in windows [t / 10^0.7, t], "
        "and its pointwise 90 % bootstrap interval"
    )


def test_local_exponents_have_references(ds):
    ax = plotting.local_exponent(ds, agent="ucbvi", ax=empty_axes())
    heights = [float(np.asarray(line.get_ydata())[0]) for line in ax.lines[len(NAMES) :]]
    np.testing.assert_allclose(heights, [1 / 2, 2 / 3, 3 / 4, 1.0])
    assert [text.get_text() for text in ax.texts] == ["1/2", "2/3", "3/4", "1"]


@pytest.mark.filterwarnings("error")
def test_local_exponents_of_what_there_is(partial):
    some = partial.sel(mechanism=["none", "oracle"])
    ax = plotting.local_exponent(some, agent="ucbvi", ax=empty_axes())
    assert list(lines(ax))[-1] == "oracle (no runs)"
    of_moments = plotting.local_exponent(keep_moments(some), agent="ucbvi", ax=empty_axes())
    assert caption(of_moments).endswith("no interval, as whole runs were not kept")
    np.testing.assert_allclose(lines(of_moments)["none"], lines(ax)["none"], rtol=1e-9)
    assert not any(np.isfinite(vertices).all(1).any() for vertices in bands(of_moments))


# The style


def test_the_style_is_a_file_for_pyplot(pyplot):
    with pyplot.style.context(plotting.STYLE):
        colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    assert tuple(colours) == style.COLOURS


def test_figures_do_not_depend_on_settings(ds, pyplot):
    """Also on Axes that were made before, in another style."""
    with mpl.rc_context({"lines.linewidth": 7.0, "grid.color": "red"}):
        ax = plotting.regret(ds, agent="ucbvi")
    assert ax.lines[0].get_linewidth() == 1.5
    assert ax.lines[0].get_color() == f"{style.COLOURS[0]}"
    given = plotting.regret(ds, agent="ucbvi", ax=empty_axes())
    assert not given.spines["top"].get_visible()


def test_figures_leave_what_a_backend_turns_on(monkeypatch):
    """A notebook becomes interactive while its first figure is made, and has to stay so."""
    monkeypatch.setitem(mpl.rcParams, "interactive", False)
    usual = mpl.rcParams["axes.grid"]

    @style.in_style
    def first() -> None:
        mpl.rcParams["interactive"] = True
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"][0] == style.COLOURS[0]

    first()
    assert mpl.is_interactive()
    assert mpl.rcParams["axes.grid"] == usual
