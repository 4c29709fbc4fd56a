"""pajax.tables: the text of the summary table."""

import numpy as np
import pytest
import xarray as xr
from synthetic import Curve, make_dataset

from pajax import results, statistics, tables


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
    lines = tables.format_summary(statistics.summary(exact())).splitlines()
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
    lines = tables.to_markdown(statistics.summary(exact(), level=0.9)).splitlines()
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
    table = tables.format_summary(realistic)
    assert "nan" not in table
    assert max(map(len, table.splitlines())) <= tables.WIDTH
    body = table.split("-" * 20)[0], *table.splitlines()
    rows = [line for line in body if line.startswith(("ucbvi", "q-learning", "ucb-q"))]
    assert len(rows) == 18
    assert len({len(row) for row in rows}) == 1
    names = [tuple(row.split()[:2]) for row in rows]
    assert names[:2] == [("ucbvi", "none"), ("ucbvi", "flat")]
    assert names[-1] == ("ucb-q", "oracle")


def test_long_runs_fit():
    ds = make_dataset(num_episodes=1_000_000)
    table = tables.format_summary(statistics.summary(ds))
    assert max(map(len, table.splitlines())) <= tables.WIDTH


def test_a_block_a_game():
    summary = statistics.summary(exact(num_games=3))
    table = tables.format_summary(summary)
    assert [f"Game {game}: W*" in table for game in range(4)] == [True, True, True, False]
    assert table.count("[low, high]") == 1
    assert tables.to_markdown(summary).count("| ucbvi | none |") == 3


def test_what_does_not_exist_is_a_dash():
    table = tables.format_summary(statistics.summary(exact(num_seeds=1)))
    assert "150,000 +- -" in table
    assert "1.00 [-, -]" in table
    ds = exact()
    ds["welfare_regret"][...] = 0.0
    row = tables.format_summary(statistics.summary(ds)).splitlines()[5]
    assert " ".join(row.split()) == "ucbvi none 0.00 +- 0.00 0.000 - 100.0 % 0.000 2.250 - 0.0 %"


def test_failures_are_named():
    ds = exact(num_games=2, num_seeds=4)
    ds["status"][1, 0, 1, 0] = results.UNRESOLVED
    ds["status"][0, 0, 0] = results.NON_FINITE
    table = tables.format_summary(statistics.summary(ds))
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
