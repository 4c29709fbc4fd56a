"""pajax.tables: the text of the summary table."""

import numpy as np
import pytest
import xarray as xr
from synthetic import Curve, keep_moments, make_dataset, without_runs

import pajax as px
from pajax import printing, statistics, tables
from pajax.studies import kept


@pytest.fixture(scope="module")
def realistic() -> xr.Dataset:
    return statistics.summary(make_dataset(num_seeds=20))


def exact(**changes) -> xr.Dataset:
    """A study without noise, so that every number of its table is known."""
    mechanisms = {
        "none": Curve(1.5, 1.0, 1.0, np.nan, 0.0),
        "two-phase": Curve(1.5, 0.5, 1000.0, 0.04, 2.0),
    }
    arguments = {"mechanisms": mechanisms, "agents": {"ucbvi": 1.0}, "num_seeds": 3, "noise": 0.0}
    return make_dataset(**arguments | changes)


def test_table_of_known_numbers():
    lines = repr(px.table(exact())).splitlines()
    assert lines[:9] == [
        "Game 0: W* = 6.5279 an episode, laissez-faire 4.8350 (74.1 % of W*), W* - rho.V0 = 2.8406",
        "",
        "agent  mechanism  welfare regret  regret per    growth exponent  late share"
        "  payment  principal  transfer  phase-one",
        "                         +- 95 %     episode    [95 % interval]       of W*"
        "  per ep.       nets     error      share",
        "-" * 116,
        "ucbvi  none         150,000 +- 0       1.500  1.00 [1.00, 1.00]      77.0 %"
        "    0.000      2.250         -      0.0 %",
        "ucbvi  two-phase     15,000 +- 0       0.150  0.50 [0.50, 0.50]      98.8 %"
        "    2.000      0.925     0.040      1.0 %",
        "-" * 116,
        "",
    ]
    notes = " ".join(lines[9:])
    assert notes.startswith("+- and [low, high]: 95 % intervals for the mean over seeds (3 here)")
    assert "at K = 100,000 episodes" in notes
    assert "say nothing about other games" in notes
    assert "bootstrap over whole runs" in notes
    assert "Seeds that ended" not in notes


def test_markdown_of_known_numbers():
    lines = px.table(exact(), level=0.9).to_markdown().splitlines()
    assert lines[:6] == [
        "**Game 0: W* = 6.5279 an episode, laissez-faire 4.8350 (74.1 % of W*), "
        "W* - rho.V0 = 2.8406**",
        "",
        "| agent | mechanism | welfare regret +- 90 % | regret per episode "
        "| growth exponent [90 % interval] | late share of W* | payment per ep. | principal nets "
        "| transfer error | phase-one share |",
        "| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| ucbvi | none | 150,000 +- 0 | 1.500 | 1.00 [1.00, 1.00] | 77.0 % | 0.000 "
        "| 2.250 | - | 0.0 % |",
        "| ucbvi | two-phase | 15,000 +- 0 | 0.150 | 0.50 [0.50, 0.50] | 98.8 % "
        "| 2.000 | 0.925 | 0.040 | 1.0 % |",
    ]


def test_realistic_table_fits_and_lines_up(realistic):
    table = repr(px.StudyTable(realistic))
    assert "nan" not in table
    assert max(map(len, table.splitlines())) <= printing.WIDTH
    body = table.split("-" * 20)[0], *table.splitlines()
    rows = [line for line in body if line.startswith(("ucbvi", "q-learning", "ucb-q"))]
    assert len(rows) == 18
    assert len({len(row) for row in rows}) == 1
    names = [tuple(row.split()[:2]) for row in rows]
    assert names[:2] == [("ucbvi", "none"), ("ucbvi", "flat")]
    assert names[-1] == ("ucb-q", "oracle")


def test_long_runs_fit():
    ds = make_dataset(num_episodes=1_000_000)
    table = repr(px.table(ds))
    assert max(map(len, table.splitlines())) <= printing.WIDTH


def test_a_block_a_game():
    summary = statistics.summary(exact(num_games=3))
    table = repr(px.StudyTable(summary))
    assert [f"Game {game}: W*" in table for game in range(4)] == [True, True, True, False]
    assert table.count("[low, high]") == 1
    assert px.StudyTable(summary).to_markdown().count("| ucbvi | none |") == 3


def test_what_does_not_exist_is_a_dash():
    table = repr(px.table(exact(num_seeds=1)))
    assert "150,000 +- -" in table
    assert "1.00 [-, -]" in table
    ds = exact()
    ds["welfare_regret"][...] = 0.0
    row = repr(px.table(ds)).splitlines()[5]
    assert " ".join(row.split()) == "ucbvi none 0.00 +- 0.00 0.000 - 100.0 % 0.000 2.250 - 0.0 %"


def test_failures_are_named():
    ds = exact(num_games=2, num_seeds=4)
    ds["status"][1, 0, 1, 0] = kept.UNRESOLVED
    ds["status"][0, 0, 0] = kept.NON_FINITE
    table = repr(px.table(ds))
    assert table.endswith(
        "Seeds that ended with unresolved transfers: game 1 ucbvi / two-phase 25.0 %.\n"
        "Seeds that ended with non-finite numbers: game 0 ucbvi / none 100.0 %."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.0, "1,234,567 +- 2"),
        (12.345, "12.3 +- 2.5"),
        (0.5, "0.50 +- 2.50"),
        (np.nan, "-"),
    ],
)
def test_amounts(value, text):
    assert tables._amounts(value, value - 2.5, value + 2.5) == text


def rows_and_notes(ds: xr.Dataset) -> tuple[list[str], str]:
    """The rows of the table with single spaces, and the notes in one line."""
    body, notes = repr(px.table(ds)).rsplit("---\n\n", 1)
    rows = [" ".join(line.split()) for line in body.splitlines() if line.startswith("ucbvi")]
    return rows, " ".join(notes.split())


def with_missing(counts: list[int], **changes) -> xr.Dataset:
    """Two cells of four seeds, of which the last so many were not done."""
    ds = exact(num_seeds=4, **changes)
    is_missing = np.arange(4) >= 4 - np.array(counts)[:, None]
    return without_runs(ds, np.broadcast_to(is_missing, ds["status"].shape))


def test_a_cell_without_runs_is_a_row_of_dashes():
    rows, notes = rows_and_notes(with_missing([4, 1]))
    assert rows == [
        "ucbvi none - - - - - - - -",
        "ucbvi two-phase 15,000 +- 0 0.150 0.50 [0.50, 0.50] 98.8 % 2.000 0.925 0.040 1.0 %",
    ]
    assert "for the mean over seeds (3 of 4 here)" in notes
    assert notes.endswith(
        "Runs done, where not all are: ucbvi / none 0 of 4, ucbvi / two-phase 3 of 4."
    )


def test_cells_with_all_runs_are_not_listed():
    _, notes = rows_and_notes(with_missing([0, 2], num_games=2))
    assert "for the mean over seeds (2 to 4 of 4 here)" in notes
    assert notes.endswith(
        "where not all are: game 0 ucbvi / two-phase 2 of 4, game 1 ucbvi / two-phase 2 of 4."
    )


def test_equal_numbers_of_runs_are_said_once():
    _, notes = rows_and_notes(with_missing([1, 1]))
    assert "for the mean over seeds (3 of 4 here)" in notes
    assert "where not all are" not in notes
    _, notes = rows_and_notes(exact(num_seeds=4))
    assert "for the mean over seeds (4 here)" in notes


@pytest.mark.filterwarnings("error")
def test_a_study_that_has_no_runs_yet():
    rows, notes = rows_and_notes(with_missing([4, 4]))
    assert rows == ["ucbvi none - - - - - - - -", "ucbvi two-phase - - - - - - - -"]
    assert "for the mean over seeds (0 of 4 here)" in notes


def test_moments_have_no_interval_of_the_exponent_and_a_note_says_why():
    ds = keep_moments(with_missing([0, 1]))
    rows, notes = rows_and_notes(ds)
    assert rows == [
        "ucbvi none 150,000 +- 0 1.500 1.00 [-, -] 77.0 % 0.000 2.250 - 0.0 %",
        "ucbvi two-phase 15,000 +- 0 0.150 0.50 [-, -] 98.8 % 2.000 0.925 0.040 1.0 %",
    ]
    assert "for the mean over seeds (3 to 4 of 4 here)" in notes
    assert "The study kept moments, not runs: how far runs differ in their growth" in notes
    assert "kept moments" not in rows_and_notes(exact())[1]


def test_games_may_have_names():
    ds = exact(num_games=2).assign_coords(game=["S=2", "S=3/0"])
    ds["status"][1, 0, 1, 0] = kept.UNRESOLVED
    table = repr(px.table(ds))
    assert "Game S=2: W*" in table
    assert "Game S=3/0: W*" in table
    assert table.endswith("game S=3/0 ucbvi / two-phase 33.3 %.")
