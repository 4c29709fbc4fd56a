"""pajax.report: a page says what the numbers say, needs nothing else, and any study has one."""

import ast
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from synthetic import Curve, keep_moments, make_dataset, without_runs

import pajax as px
from pajax import printing, statistics
from pajax.bounds import check_bounds
from pajax.plotting.svg import blank_axes, to_svg
from pajax.report import contents, figures, growth, page, report, sources, verdicts
from pajax.report.contents import number
from pajax.studies import kept

VOID = {"meta", "br", "hr", "img", "link", "input"}
TWO = {
    "none": Curve(1.5, 1.0, 1.0, np.nan, 0.0),
    "two-phase": Curve(1.5, 0.5, 100.0, 0.04, 2.0),
}
SPEC = {
    "game": "Game(S=3)",
    "agents": {"ucbvi": "UCBVI(bonus=0.2)"},
    "mechanisms": {
        "none": "NoTransfer()",
        "two-phase": {"one": "TwoPhase(1)", "two": "Two\n  (2)"},
    },
    "num_episodes": 2000,
    "key": [3, 14],
}


def make(**options: Any) -> xr.Dataset:
    """A small synthetic study, with what a study says of itself."""
    usual = {"mechanisms": TWO, "agents": {"ucbvi": 1.0}, "num_seeds": 8, "num_episodes": 2000}
    return told(make_dataset(**usual | options))


def told(ds: xr.Dataset) -> xr.Dataset:
    seeds = statistics.num_seeds(ds)
    spec = json.dumps(SPEC | {"num_seeds": seeds, "num_episodes": int(ds["episode"][-1])})
    about = {"spec": spec, "keep": ds.attrs.get("keep", "seeds"), "num_seeds": seeds}
    return ds.assign_attrs(about, device="cpu (some)", jax="0.9.1", pajax="0.2.0")


class Read(HTMLParser):
    """A page as a reader's program sees it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def write(given: Any, folder: Path, **options: Any) -> str:
    return report(given, folder / "page.html", **options).read_text()


@pytest.fixture(scope="module")
def usual() -> xr.Dataset:
    """Of so many runs that a bound can be called consistent."""
    return make(num_seeds=40)


@pytest.fixture(scope="module")
def html(usual, tmp_path_factory) -> str:
    return write(usual, tmp_path_factory.mktemp("usual"), title="What <b>I</b> & you ran")


def test_a_page_needs_nothing_else(html):
    """All that it refers to is in it, once; and browsers are told to load nothing."""
    found = Read(html)
    assert "default-src 'none'" in html
    assert not found.tags.keys() & {"script", "link", "iframe", "object", "img", "base"}
    targets = found.of("href") + found.of("xlink:href")
    targets += [f"#{name}" for name in re.findall(r"url\(\"?#([^)\"]*)", html)]
    assert html.count("url(") == len(re.findall(r"url\(\"?#", html))
    assert not found.of("src") and "@import" not in html
    names = found.of("id")
    assert len(names) == len(set(names))
    assert targets and {target.removeprefix("#") for target in targets} <= set(names)
    assert all(target.startswith("#") for target in targets)


def test_what_people_call_things_is_not_html(html):
    assert "What &lt;b&gt;I&lt;/b&gt; &amp; you ran" in html
    assert "<b>" not in html


def test_a_page_has_the_table(usual, html):
    cells = Read(html).cells
    (table,) = px.table(usual).as_tables()
    assert table.title in Read(html).text
    for row in ([" ".join(heading.split()) for heading in table.headings], *table.rows):
        assert any(cells[at : at + len(row)] == row for at in range(len(cells))), row
    for note in table.notes:
        assert note in Read(html).text


def test_a_page_has_the_verdicts(usual, html):
    checks, text = check_bounds(usual), Read(html)
    shown = Counter(re.findall(r'<td><span class="mark [a-z-]+">([a-z ]+)</span>', html))
    assert shown == Counter(checks.table["verdict"])
    assert {"consistent", "not applicable"} <= set(shown)  # else nothing is tested
    for reason in checks.table["reason"]:
        assert reason in text.text
    for bound in set(checks.table["bound"]):
        assert any(cell.startswith(bound) for cell in text.cells)


def test_a_page_has_what_was_run(html):
    text = Read(html).text
    assert "Finished: all 80 runs are done." in text
    for words in ("UCBVI(bonus=0.2)", "two-phase in one", "Two (2)", "cpu (some)", "jax 0.9.1"):
        assert words in text, words
    assert f"pajax {px.__version__}, jax {jax.__version__}" in text  # which made the page


def test_the_call_of_a_page_is_python_for_the_same_key(usual, monkeypatch):
    given = {}
    monkeypatch.setattr(px, "study", lambda *args, **options: given.update(options, args=args))
    call = page.rerun(sources.read(usual)).call
    ast.parse(call)
    exec(call, {"game": 1, "agents": 2, "mechanisms": 3})
    key, game = given.pop("args")
    assert jax.random.key_data(key).tolist() == SPEC["key"]
    record = given.pop("record")
    assert (game, record) == (1, usual["episode"].to_numpy().tolist())
    sizes = {"num_episodes": 2000, "num_seeds": 40, "keep": "seeds"}
    assert given == {"agents": 2, "mechanisms": 3, **sizes}


def test_the_call_leaves_out_the_usual_checkpoints(usual):
    ends = px.checkpoints(2000)
    at_usual = usual.sel(episode=usual["episode"][:1]).reindex(episode=ends)
    assert "record" not in page.rerun(sources.read(at_usual)).call


# Figures


def test_figures_say_what_their_bands_are(html):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert len(captions) == 3
    assert "Bands of regret cover whole curves" in captions[0]
    words = Read(html).text  # in figures they are words too
    assert "simultaneous 95 % band" in words and "pointwise 95 % bootstrap interval" in words


def test_an_svg_is_short_and_has_names_of_its_own():
    def drawn(name: str) -> str:
        figure, ax = blank_axes()
        ax.plot([0.0, 1 / 3], [0.123456, 1e3], marker="o", clip_on=True)
        return to_svg(figure, name, 'so-called "words"')

    one, same, other = drawn("one"), drawn("one"), drawn("other")
    assert one == same
    assert one.startswith('<svg role="img" aria-label=\'so-called "words"\' ')
    assert re.findall(r"\d\.\d{3,}", one.replace('version="1.1"', "")) == []
    names, others = (set(re.findall(r' id="([^"]*)"', x)) for x in (one, other))
    assert names and not names & others
    Read(one)


def test_a_figure_leaves_nothing_open(usual, html):
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


SWEPT = {f"two-phase(margin={margin})": TWO["two-phase"] for margin in (0.1, 0.2)}


def drawn_of(ds: xr.Dataset) -> dict[str, Any]:
    """What is drawn of the agent, by caption."""
    return dict(figures._of_agent(ds, "ucbvi"))


def test_a_frontier_where_a_margin_is_swept():
    ds = make(mechanisms=SWEPT, num_seeds=3)
    assert len(drawn_of(ds)) == 2  # both have 0.1
    ds["margin"] = ds["margin"] * [1.0, 2.0]
    assert len(drawn_of(ds.assign_coords(mechanism=["one", "other"]))) == 2  # lines of a point each
    *_, (words, draw) = drawn_of(ds).items()
    assert "as the margin varies" in words
    _, ax = blank_axes()
    draw(ax)
    assert ax.get_ylabel() == "principal's regret (reward units an episode)"


def test_scaling_where_games_differ_in_size():
    ds = make(num_games=2, num_seeds=3)
    ds["horizon"] = ds["horizon"] * [1, 2]
    *_, (words, draw) = drawn_of(ds).items()
    assert "against horizon" in words
    _, ax = blank_axes()
    draw(ax)
    assert ax.get_xlabel() == "horizon"


def test_too_many_lines_make_no_figures(monkeypatch, usual):
    monkeypatch.setattr(figures, "MOST_LINES", 1)
    assert figures.at_a_glance(usual, "page") == figures.by_agent(usual, "page") == []


# Any study


def unfinished() -> xr.Dataset:
    """Five of the eight runs of one mechanism, and none of the other; two of them went wrong."""
    ds = without_runs(make(), np.arange(8) >= np.array([5, 0])[None, None, :, None])
    status = ds["status"].copy()
    status[0, 0, 0, :2] = kept.NON_FINITE
    return ds.assign(status=status)


UNFINISHED = "Unfinished: 5 of 16 runs are done; 2 of them ended with numbers that are not finite."
ODD = {
    "unfinished": (unfinished, UNFINISHED),
    "no runs": (lambda: without_runs(make(), np.ones((1, 1, 2, 8), bool)), "No run is done yet."),
    "one short run": (lambda: make(num_seeds=1, num_episodes=4), "Finished: all 2 runs are done."),
    "no terms": (lambda: make(mechanisms={"none": TWO["none"]}), "Finished: all 8 runs are done."),
    "moments": (lambda: told(keep_moments(make())), "bounds are checked on whole runs"),
}


@pytest.mark.parametrize("name", ODD)
def test_any_study_has_a_page(name, tmp_path):
    dataset, words = ODD[name]
    assert words in Read(write(dataset(), tmp_path)).text


def test_many_games_are_shown_by_their_means(tmp_path):
    labels = ["one", *(f"more/{g}" for g in range(4))]  # of two groups of games
    ds = make(num_games=5, num_seeds=3).assign_coords(game=labels)
    html = write(ds, tmp_path)
    text = Read(html).text
    assert "Means over 5 games" in text and "games being replicates" in text
    assert "Game one: W*" in text and "Game more/0: W*" not in text
    assert html.count("<figure") == 3
    for count, verdict in (
        check_bounds(ds)
        .counts()
        .melt(value_vars=verdicts.VERDICTS)[["value", "variable"]]
        .itertuples(index=False)
    ):
        assert not count or f"{count} {verdict}" in text


def test_means_over_games_are_those_of_the_games():
    """By NumPy: the mean over games of the means over seeds, to the digits shown."""
    ds = make(num_games=6, num_seeds=3)
    table = contents.results(ds)[0]
    at = table.headings.index("regret per episode")
    regret = ds["welfare_regret"].to_numpy()[:, 0, :, :, -1].mean((0, -1)) / 2000
    shown = [float(row[at].split()[0]) for row in table.rows]
    np.testing.assert_allclose(shown, regret, rtol=0.005)  # three digits
    free = table.headings.index("payment")
    assert table.rows[0][free] == "0 [0, 0]"


def test_the_range_of_many_games():
    ds = make(num_games=6, num_seeds=1)
    ds["optimal_welfare"] = ("game", np.array([4.0, 1.0, 9.0, 2.0, 3.0, 2.0]))
    table = contents.games(ds)
    assert [row[4] for row in table.rows] == ["1", "2.50", "9"]


@pytest.mark.parametrize(
    ("value", "words"),
    [(3.0, "3"), (0.5, "0.500"), (99.04, "99.0"), (1234.5, "1,234"), (np.nan, printing.DASH)],
)
def test_numbers_in_words(value, words):
    assert number(value) == words


# Several lengths


@pytest.fixture(scope="module")
def lengths() -> list[xr.Dataset]:
    """Without noise, so that regret is rate K and rate 10 K^(1/2) exactly."""
    return [make(num_episodes=k, noise=0.0, num_seeds=2) for k in (1000, 4000, 16000)]


def test_growth_over_lengths_is_that_of_the_power_laws(lengths):
    table = growth.exponents(statistics.by_horizon(lengths))
    at = table.headings.index("welfare regret")
    assert [row[at] for row in table.rows] == ["1.00 [1.00, 1.00]", "0.500 [0.500, 0.500]"]
    many = [make(num_episodes=k, noise=0.0, num_seeds=2, num_games=5) for k in (1000, 4000)]
    table = growth.exponents(statistics.by_horizon(many))
    assert "5 games" in table.title and table.rows[1][at] == "0.500 [0.500, 0.500]"


def test_several_lengths_make_one_page(lengths, monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "MOST_PANELS", 0)  # what each looks like is tested above
    html = write(lengths[:2], tmp_path)
    found = Read(html)
    assert len(found.of("id")) == len(set(found.of("id")))
    assert found.text.count("What was run, and how to run it again") == 2
    assert "Growth exponents in K, game 0" in found.text
    assert "Bounds over K" in found.text
    assert html.count("<figure") == 2  # growth of two regrets; none of an agent in one study


# Places


def test_where_pages_belong(usual, tmp_path):
    assert sources.place([usual]) == sources.place([tmp_path] * 2) == Path("report.html")
    assert sources.place([tmp_path]) == tmp_path / "report.html"  # the folder of a store
    assert sources.place([tmp_path / "mine.npz"]) == tmp_path / "mine.html"
    saved = px.save(usual, tmp_path / "mine.npz")
    source = sources.read(saved)
    assert source.name == f"{tmp_path.name}/mine.npz" and source.manifest is None
    xr.testing.assert_identical(source.dataset, usual)


BAD = {
    "nothing": ([], ValueError, "ds_or_path"),
    "no store": ("nowhere", FileNotFoundError, "nowhere"),
    "no study": (xr.Dataset(), ValueError, "attributes that pajax.study gives"),
}


@pytest.mark.parametrize(("given", "error", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input(given, error, words, tmp_path):
    with pytest.raises(error, match=words):
        report(given, tmp_path / "page.html")
    assert [*tmp_path.iterdir()] == []


def test_a_page_in_no_folder_is_refused_before_anything_is_computed(usual, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "_html", None)
    with pytest.raises(ValueError, match="be in a folder that exists"):
        report(usual, tmp_path / "nowhere" / "page.html")


def test_a_page_is_whole_or_as_it_was(usual, monkeypatch, tmp_path):
    class Unwritable:
        def encode(self) -> bytes:
            raise OSError("the disk is full")

    (tmp_path / "page.html").write_text("old")
    monkeypatch.setattr(page, "_html", lambda *_: Unwritable())
    with pytest.raises(OSError, match="full"):
        report(usual, tmp_path / "page.html")
    assert [x.name for x in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


@pytest.mark.slow
def test_a_page_of_the_usual_size_is_below_a_megabyte(tmp_path):
    """Three agents, six mechanisms, one game, 64 seeds, the checkpoints of K = 10^6."""
    ds = told(make_dataset(num_seeds=64, num_episodes=1_000_000))
    assert len(write(ds, tmp_path)) < 1e6


def test_figures_elsewhere_are_untouched_by_pages(html):
    """Their words are outlines still."""
    figure, ax = blank_axes()
    ax.set_xlabel("words")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    assert "<text" not in buffer.getvalue()
