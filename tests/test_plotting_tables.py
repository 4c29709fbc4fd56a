"""Figures of the tables of one game: transfers, their errors, and visits."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from artists import bands, caption, data, empty_axes, entries, rectangles, segments, words
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from pajax import plotting

DIMS = ("agent", "mechanism", "seed", "episode", "step", "state", "action")
EPISODES = np.array([1, 10, 50, 95, 100])
HORIZON, STATES, ACTIONS, SEEDS = 2, 3, 2, 4


@pytest.fixture(scope="module")
def tables() -> xr.Dataset:
    """Visits by random play; errors that are a power of visits; two mechanisms, one exact."""
    rng = np.random.default_rng(0)
    cells = STATES * ACTIONS
    plays = rng.multinomial(1, np.full(cells, 1 / cells), (1, 2, SEEDS, EPISODES[-1], HORIZON))
    totals = plays.cumsum(3)[:, :, :, EPISODES - 1]
    visits = totals.reshape(*totals.shape[:-1], STATES, ACTIONS)
    exact = rng.uniform(0.2, 0.6, (HORIZON, STATES, ACTIONS))
    sign = rng.choice([-1.0, 1.0], visits.shape)
    error = sign * 0.3 / np.sqrt(np.maximum(visits.sum(-1, keepdims=True), 1))
    error[:, 1] = 0.0
    return xr.Dataset(
        {
            "visits": (DIMS, visits),
            "transfer": (DIMS, exact + error),
            "is_resolved": (DIMS, np.broadcast_to(visits > 8, visits.shape)),
            "minimal_transfer": (DIMS[4:], exact),
            "optimal_occupancy": (DIMS[4:6], rng.dirichlet(np.ones(STATES), HORIZON)),
        },
        {
            "agent": ["ucbvi"],
            "mechanism": ["two-phase", "oracle"],
            "seed": np.arange(SEEDS),
            "episode": EPISODES,
        },
    )


# Errors by visits


def test_errors_fall_as_they_were_made_to(tables):
    """Errors are 0.3 / sqrt(N); a bin spans a quarter of a decade, the root of that in error."""
    ax = empty_axes()
    assert plotting.transfer_error(tables, ax=ax) is ax
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    visits, median = data(ax.lines[0])
    assert (np.diff(visits) > 0).all() and visits[0] >= 1
    ratio = median / (0.3 / np.sqrt(visits))
    assert (np.abs(np.log10(ratio)) <= 0.125).all()
    labels = [line.get_label() for line in ax.lines]
    assert labels == ["two-phase", "oracle (none to show)"]


def test_errors_are_quantiles_of_cells(tables):
    """The bin from 10 to 10^(5/4) holds what was visited 10 to 17 times."""
    ax = plotting.transfer_error(tables, share=0.5, ax=empty_axes())
    visits = tables["visits"].to_numpy()[0, 0].sum(-1).ravel()
    inside = visits[(visits >= 10) & (visits <= 17)]
    assert len(np.unique(inside)) > 4
    middle = np.exp(np.log(inside).mean())
    many = np.repeat(0.3 / np.sqrt(inside), ACTIONS)
    visits, median = data(ax.lines[0])
    at = int(np.abs(visits - middle).argmin())
    np.testing.assert_allclose(visits[at], middle, rtol=1e-12)
    np.testing.assert_allclose(median[at], np.median(many), rtol=1e-12)
    heights = bands(ax)[0]
    here = heights[np.isclose(heights[:, 0], visits[at])][:, 1]
    np.testing.assert_allclose(here.max(), np.quantile(many, 0.75), rtol=1e-12)
    np.testing.assert_allclose(here.min(), np.quantile(many, 0.25), rtol=1e-12)
    assert caption(ax) == (
        "median over cells (h, s, a), 4 seeds and checkpoints; shade: the middle 50 % of them"
    )


def test_the_curve_of_a_test(tables):
    ax = plotting.transfer_error(tables, constant=0.7, kappa=0.25, ax=empty_axes())
    (line,) = (x for x in ax.lines if "(T6)" in str(x.get_label()))
    visits, curve = data(line)
    np.testing.assert_allclose(curve, 1.4 * visits**-0.75, rtol=1e-12)
    assert ax.get_ylim()[1] > 1.4
    assert entries(ax)[-1] == "2 C N^(kappa - 1) (T6) C = 0.7, kappa = 0.25"


@pytest.mark.filterwarnings("error")
def test_no_estimates_at_all(tables):
    nothing = tables.assign(transfer=np.nan * tables["transfer"])
    ax = plotting.transfer_error(nothing, constant=1.0, ax=empty_axes())
    ax.figure.canvas.draw()
    assert [str(line.get_label()) for line in ax.lines[:2]] == [
        "two-phase (none to show)",
        "oracle (none to show)",
    ]


# The heat map


def mean_estimate(tables: xr.Dataset, at: int) -> np.ndarray:
    """Rows (s, a), columns h."""
    mean = tables["transfer"].to_numpy()[0, 0, :, at].mean(0)
    return np.array(
        [[mean[h, s, a] for h in range(HORIZON)] for s in range(STATES) for a in range(ACTIONS)]
    )


@pytest.mark.parametrize("show", ["estimated", "exact", "error"])
def test_transfers_are_in_their_cells(tables, show):
    ax = empty_axes()
    drawn = plotting.transfers(tables, show=show, mechanism="two-phase", episode=10, ax=ax)
    assert drawn is ax
    exact = tables["minimal_transfer"].to_numpy().transpose(1, 2, 0).reshape(-1, HORIZON)
    estimate = mean_estimate(tables, 1)
    expected = {"estimated": estimate, "exact": exact, "error": estimate - exact}[show]
    mesh = ax.collections[0]
    np.testing.assert_allclose(np.asarray(mesh.get_array()), expected, rtol=1e-12, atol=1e-15)
    form = "+.2f" if show == "error" else ".2f"
    for text in ax.texts:
        column, row = (int(x) for x in text.get_position())
        assert text.get_text() == format(expected[row, column], form)
    assert len(ax.texts) == expected.size
    low, high = mesh.get_clim()
    assert (low == -high) if show == "error" else (low == 0.0)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first state above
    rows = [f"s {s}, a {a}" for s in range(STATES) for a in range(ACTIONS)]
    assert [label.get_text() for label in ax.get_yticklabels()] == rows
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1"]


def test_cells_that_most_seeds_have_not_resolved_are_hatched(tables):
    ax = plotting.transfers(tables, mechanism="two-phase", episode=50, ax=empty_axes())
    resolved = tables["is_resolved"].to_numpy()[0, 0, :, 2]
    expected = {
        (h, s * ACTIONS + a)
        for h, s, a in np.ndindex(HORIZON, STATES, ACTIONS)
        if (~resolved[:, h, s, a]).sum() > SEEDS / 2
    }
    assert 0 < len(expected) < HORIZON * STATES * ACTIONS
    assert set(map(tuple, rectangles(ax)[:, :2])) == expected
    assert all(patch.get_hatch() for patch in ax.patches)
    assert words(ax.get_title("left")) == (
        "mean over 4 seeds at episode 50; hatched: most seeds have not resolved it"
    )
    exact = plotting.transfers(tables, show="exact", mechanism="two-phase", ax=empty_axes())
    assert not exact.patches and not exact.get_title("left")


def test_numbers_that_do_not_fit_are_left_out(tables):
    ax = Figure(figsize=(2.0, 1.0)).subplots()
    plotting.transfers(tables, mechanism="two-phase", ax=ax)
    assert not ax.texts
    assert [label.get_text() for label in ax.get_yticklabels()] == ["s 0", "s 1", "s 2"]


@pytest.mark.filterwarnings("error")
def test_cells_without_an_estimate_are_blank(tables):
    some = tables.copy(deep=True)
    some["transfer"][:, :, :, :, 0, 0, 0] = np.nan
    ax = plotting.transfers(some, mechanism="two-phase", ax=empty_axes())
    assert np.ma.is_masked(ax.collections[0].get_array()) and len(ax.texts) > 0
    assert len(ax.texts) == HORIZON * STATES * ACTIONS - 1
    ax.figure.canvas.draw()


# Visits


def bars(ax: Axes) -> np.ndarray:
    """Centre, foot and height of every bar."""
    left, foot, width, height = rectangles(ax).T
    return np.stack([left + width / 2, foot, height], -1)


def test_visits_before_and_after(tables):
    """A tenth of 100 episodes: 1 to 10; from 90 on, the nearest checkpoint is 95."""
    ax = empty_axes()
    assert plotting.visitation(tables, mechanism="two-phase", ax=ax) is ax
    visits = tables["visits"].to_numpy()[0, 0].mean(0)
    early, late = visits[1] / 10, (visits[4] - visits[3]) / 5
    drawn = bars(ax).reshape(2, ACTIONS, HORIZON * STATES, 3)
    for shares, found in zip((early, late), drawn, strict=True):
        expected = shares.reshape(HORIZON * STATES, ACTIONS).T
        np.testing.assert_allclose(found[..., 2], expected, rtol=1e-12)
        np.testing.assert_allclose(found[1, :, 1], expected[0], rtol=1e-12)
        # every episode is somewhere at every step
        np.testing.assert_allclose(found[..., 2].sum(0).reshape(HORIZON, -1).sum(1), 1.0)
    assert (drawn[0, ..., 0] < drawn[1, ..., 0]).all()
    hatches = [patch.get_hatch() for patch in ax.patches]
    half = len(hatches) // 2
    assert all(hatches[:half]) and not any(hatches[half:])
    assert entries(ax) == [
        "action 1",
        "action 0",
        "episodes 1 to 10",
        "episodes 96 to 100",
        "welfare optimum",
    ]


def test_visits_have_the_optimal_occupancy_as_marks(tables):
    ax = plotting.visitation(tables, mechanism="two-phase", ax=empty_axes())
    marks = segments(ax.collections[0])
    np.testing.assert_allclose(
        marks[:, 0, 1], tables["optimal_occupancy"].to_numpy().ravel(), rtol=1e-12
    )
    centres = bars(ax)[:, 0].reshape(2, ACTIONS, -1)[:, 0]
    assert (marks[:, 0, 0] < centres[0]).all() and (marks[:, 1, 0] > centres[1]).all()
    assert marks[:, 0, 1].max() < ax.get_ylim()[1]


def test_visits_of_some_steps(tables):
    ax = plotting.visitation(tables, steps=[1], mechanism="two-phase", ax=empty_axes())
    marks = segments(ax.collections[0])[:, 0, 1]
    np.testing.assert_allclose(marks, tables["optimal_occupancy"].isel(step=1), rtol=1e-12)
    (groups,) = ax.child_axes
    assert [text.get_text().strip() for text in groups.get_xticklabels()] == ["h = 1"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "2"]


def test_actions_differ_in_grey(tables):
    ax = plotting.visitation(tables, mechanism="two-phase", ax=empty_axes())
    colours = [patch.get_facecolor() for patch in ax.patches[:: HORIZON * STATES][:ACTIONS]]
    assert not same_color(*colours)
    grey = [np.dot(colour[:3], (0.3, 0.59, 0.11)) for colour in colours]
    assert grey[1] - grey[0] > 0.3


def test_one_checkpoint_is_early_and_late(tables):
    ax = plotting.visitation(tables.isel(episode=[4]), mechanism="oracle", ax=empty_axes())
    early, late = bars(ax)[:, 2].reshape(2, -1)
    np.testing.assert_array_equal(early, late)


# All of them


FIGURES = [plotting.transfer_error, plotting.transfers, plotting.visitation]


@pytest.mark.parametrize("draw", FIGURES)
def test_nothing_is_mutated(tables, draw):
    one = tables.sel(mechanism=["two-phase"])
    before, settings = one.copy(deep=True), dict(mpl.rcParams)
    draw(one, ax=empty_axes())
    xr.testing.assert_identical(one, before)
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("draw", FIGURES)
def test_without_axes_pyplot_knows_the_figure(tables, draw):
    mpl.use("Agg")
    from matplotlib import pyplot

    pyplot.close("all")
    ax = draw(tables.sel(mechanism=["two-phase"]))
    assert pyplot.get_fignums() == [ax.figure.number]
    pyplot.close("all")


@pytest.mark.parametrize(
    ("draw", "arguments", "message"),
    [
        (plotting.transfer_error, {"share": 1.0}, "share: got 1.0, must lie strictly between"),
        (plotting.transfer_error, {"kappa": 1.0}, "kappa: got 1.0, must lie in"),
        (plotting.transfer_error, {"agent": "x"}, "agent: got 'x', must be one of ucbvi"),
        (plotting.transfers, {}, r"mechanism: got None, must be one of .*\(the Dataset has 2 mech"),
        (plotting.transfers, {"show": "tau"}, "show: got 'tau', must be one of estimated, exact"),
        (
            plotting.transfers,
            {"mechanism": "oracle", "episode": 7},
            "episode: got 7, must be one of the 5",
        ),
        (plotting.visitation, {"mechanism": "oracle", "window": 0.6}, "window: got 0.6, must lie"),
        (
            plotting.visitation,
            {"mechanism": "oracle", "steps": [2]},
            "steps: got 2, must be at most 1",
        ),
        (plotting.visitation, {"mechanism": "oracle", "steps": []}, "steps: got none, must be at"),
    ],
)
def test_bad_arguments(tables, draw, arguments, message):
    with pytest.raises(ValueError, match=message):
        draw(tables, ax=empty_axes(), **arguments)
