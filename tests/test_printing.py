"""How things print: tables of words, and games, contracts and plans in a notebook."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_studies import arguments

import pajax as px
from pajax import printing
from pajax.printing import Table

PLAIN = Table("Fruit", ["name", "eaten\nper day"], [["fig", "3"], ["pear", "12"]], num_names=1)


def cells(html: str) -> list[list[str]]:
    """The words of a table's body."""
    rows = re.findall("<tr>(.*?)</tr>", html.split("<tbody>")[1])
    return [re.findall("<td[^>]*>(.*?)</td>", row) for row in rows]


def test_text_puts_names_left_and_numbers_right():
    assert PLAIN.text() == (
        "Fruit\n\nname    eaten\n      per day\n-------------\n"
        "fig         3\npear       12\n-------------"
    )


def test_text_keeps_groups_apart_and_wraps_notes():
    rows = [["fig", "1"], ["fig", "2"], ["pear", "3"]]
    table = Table("", ["name", "n"], rows, is_grouped=True, notes=["so " * 60])
    body, note = table.text().rsplit("\n\n", 1)
    assert body.splitlines()[2:-1] == ["fig   1", "fig   2", "", "pear  3"]
    assert len(note.splitlines()) == 2
    assert max(map(len, note.splitlines())) <= printing.WIDTH


def test_rows_without_headings_are_a_list():
    assert Table("Facts", [], [["runs", "3"], ["of", "12"]], notes=["end"]).text() == (
        "Facts\nruns  3\nof    12\nend"
    )


def test_markdown_escapes_what_would_end_a_cell():
    assert PLAIN._replace(rows=[["a|b", "1"]]).markdown().splitlines() == [
        "**Fruit**",
        "",
        "| name | eaten per day |",
        "| :--- | ---: |",
        r"| a\|b | 1 |",
    ]


def test_html_escapes_what_would_be_a_tag():
    html = Table("<b>", ["<i>"], [["<script>"]], notes=["a & b"]).html()
    assert cells(html) == [["&lt;script&gt;"]]
    assert "<b>" not in html
    assert "<i>" not in html
    assert "a &amp; b" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.25, "0.25"),
        (None, "None"),
        (jnp.float32(0.5), "0.5"),
        (np.array([1.0, 2.5]), "[1. , 2.5]"),
        (np.arange(12.0, dtype=np.float32).reshape(3, 4), "float32[3, 4] from 0 to 11"),
        (np.ones(9, bool), "bool[9]"),
        (jnp.tanh, "tanh"),
    ],
)
def test_a_value_in_brief(value, shown):
    assert printing.brief(value) == shown


def test_keys_and_what_jax_traces_print():
    assert "key" in printing.brief(jax.random.key(0))
    seen = []

    @jax.jit
    def trace(x):
        seen.append(repr(px.Contract(x, x, x)))
        return x

    trace(jnp.zeros((20, 1, 1)))
    assert seen[0].startswith("Contract(transfer=")


def test_a_game_shows_its_tables():
    game = px.games.pollution()
    html = game._repr_html_()
    assert repr(game) == "Game(S=3, A=3, B=1, H=5, noise='bernoulli')"
    assert cells(html)[1] == ["0", "1", "0.75", "0.85", "0: 0.70, 1: 0.28, 2: 0.02"]
    assert len(cells(html)) == 9
    assert "Initial states: 0: 0.50, 1: 0.30, 2: 0.20." in html


def test_a_batch_shows_its_first_game_and_a_large_game_its_first_rows():
    games = px.games.garnet(jax.random.key(0), num_games=3, num_states=30)
    first = jax.tree.map(lambda table: table[..., 0], games)
    assert cells(games._repr_html_()) == cells(first._repr_html_())
    assert "The first of lanes (3,)." in games._repr_html_()
    assert "The first 60 of 90 states and actions." in games._repr_html_()


def test_own_actions_and_steps_that_differ_are_said():
    game = px.games.two_player_bandit()
    assert "v, b = 1" in game._repr_html_()
    steps = px.make_game(
        transition=np.ones((2, 1, 1, 1)),
        agent_reward=np.array([[[0.1]], [[0.9]]]),
        principal_reward=np.zeros((1, 1)),
        initial=[1.0],
        horizon=2,
    )
    assert cells(steps._repr_html_()) == [["0", "0", "0.1", "0", "0: 1.00"]]
    assert "Step 0 of 2, which differ." in steps._repr_html_()


def test_a_contract_shows_what_it_pays():
    game = px.games.pollution()
    spec = px.Spec(3, 3, 1, 5, num_episodes=10)
    oracle = px.mechanisms.FixedTransfers.oracle(game)
    html = oracle.post(oracle.init(spec))._repr_html_()
    # the welfare optimum is [dirty, clean, clean], then in the last step what the agent likes
    assert [cell.split(":")[0] for cell in cells(html)[0]] == ["0", "[1]", "[0]", "[0]"]
    assert cells(html)[4] == ["4", "[1]: 0.15", "[1]: 0.2", "[2]: 0.1"]


def test_contracts_of_lanes_and_without_targets():
    transfer = np.zeros((25, 1, 2, 3))
    transfer[0, 0, 1, 0] = 0.125
    contract = px.Contract(transfer, np.zeros((25, 1, 3), int), np.full((25, 1, 3), -1))
    html = contract._repr_html_()
    assert cells(html)[:2] == [["0", "1: 0.125"], ["1", "-"]]
    assert "The first of lanes (3,)." in html
    assert "The first 20 of 25 steps, 1 of 1 states." in html


def test_solved_contracts_say_what_they_are_worth():
    game = px.games.pollution()
    flat = px.transfers.best_flat_contract(game)
    assert f"{float(flat.welfare):.4f}" in flat._repr_html_()
    assert repr(flat).startswith("CoarseContract(transfer=float32[5, 3, 3] from 0 to 0.12")
    robust = px.transfers.robust_subsidy(game, 0.1)
    assert f"the principal nets {float(robust.value):.4f} at least" in robust._repr_html_()


def test_a_plan_and_the_hardness_of_a_game_are_tables():
    planned = px.plan(**arguments(), measure=False)
    assert cells(planned._repr_html_())[0] == ["runs", "32, of which 0 are finished"]
    assert str(planned) == repr(planned)
    rows = cells(px.hardness(px.games.bandit())._repr_html_())
    assert rows[0][0] == "optimal welfare W*"


def test_the_table_of_a_study_is_html_in_a_notebook():
    dataset = px.study(**arguments(progress=False))
    html = px.table(dataset)._repr_html_()
    assert [row[:2] for row in cells(html)] == [
        ["low", "none"], ["low", "paid"], ["high", "none"], ["high", "paid"]
    ]  # fmt: skip
