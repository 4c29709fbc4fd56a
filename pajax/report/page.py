"""All that a page says, in its order, and its HTML."""

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import xarray as xr

from pajax import __version__, _checks, statistics
from pajax.printing import Table
from pajax.report import contents, figures, growth, sources
from pajax.report.contents import State
from pajax.report.figures import Picture
from pajax.report.rerun import Rerun, made_with, rerun
from pajax.report.sources import Given, Source
from pajax.report.verdicts import MEANINGS, Verdicts, verdicts
from pajax.studies import archive
from pajax.studies.results import is_moments


class Section(NamedTuple):
    """What a page says of a study."""

    anchor: str
    name: str
    facts: dict[str, str]
    state: State
    games: Table
    results: list[Table]
    pictures: list[Picture]
    verdicts: Verdicts | None
    no_verdicts: str  # why there are none
    rerun: Rerun


class Growth(NamedTuple):
    """What a page says of several lengths K together."""

    exponents: Table
    pictures: list[Picture]
    verdicts: Verdicts | None


def report(
    ds_or_path: Given | Sequence[Given],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
) -> Path:
    """Write one self-contained page of HTML about a study, finished or not.

    Args:
      ds_or_path: a Dataset, a file of `pajax.save` or the folder of a store; or several of these,
        of studies that differ in their number of episodes K alone.
      path: of the page. By default `report.html` in the folder of a store, FILE.html beside a file,
        and else `report.html` here.
      title: of the page; by default the names of what it is about.

    Returns:
      Where it is. It is written whole or not at all.

    The page says what was run, on what and how far it is; the results with their intervals; the
    verdicts on the bounds of the theory, and audits of what they assume; and how to run it again.
    Of many games it has means over games, and figures of the first. It needs whole runs for
    verdicts: with keep="moments" it says so. Several K add how regret grows with K.

    Raises:
      ValueError: something is damaged, or the studies do not match.
      FileNotFoundError, NotADirectoryError: there is no study.
      OSError: the page cannot be written.
    """
    is_one = isinstance(ds_or_path, (xr.Dataset, str, os.PathLike))
    given: list[Any] = [ds_or_path] if is_one else [*ds_or_path]
    _checks.require(len(given) > 0, "ds_or_path", "none", "name at least one study")
    path = sources.place(given) if path is None else Path(path)
    _checks.require(path.absolute().parent.is_dir(), "path", path, "be in a folder that exists")
    text = _html([sources.read(one) for one in given], title)
    with archive.atomic_file(path) as file:
        file.write(text.encode())
    return path


def _html(found: list[Source], title: str | None) -> str:
    """The page of one study, or of several lengths of one."""
    is_alone = len(found) == 1
    return _template().render(
        title=title or ", ".join(source.name for source in found),
        growth=None if is_alone else _growth([source.dataset for source in found]),
        sections=[_section(source, f"study-{i}", is_alone) for i, source in enumerate(found)],
        meanings=MEANINGS,
        version=__version__,
        now=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        made_with=made_with(),
    )


def _template() -> jinja2.Template:
    here = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=here,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _section(source: Source, anchor: str, is_alone: bool) -> Section:
    """A study; figures agent by agent if the page is about it alone."""
    ds = source.dataset
    own = figures.by_agent(ds, anchor) if is_alone else []
    length = "" if is_alone else f", K = {int(ds['episode'][-1]):,}"
    return Section(
        anchor=anchor,
        name=source.name + length,
        facts=_facts(ds),
        state=contents.state(ds),
        games=contents.games(ds),
        results=contents.results(ds),
        pictures=[*figures.at_a_glance(ds, anchor), *own],
        verdicts=verdicts(ds),
        no_verdicts=_why_none(ds),
        rerun=rerun(source),
    )


def _growth(datasets: list[xr.Dataset]) -> Growth:
    over_horizons = statistics.by_horizon(datasets)
    pictures = figures.over_horizons(over_horizons, "horizons")
    return Growth(growth.exponents(over_horizons), pictures, verdicts(datasets))


def _facts(ds: xr.Dataset) -> dict[str, str]:
    """The size of a study."""
    listed = {name: ", ".join(map(str, ds[name].to_numpy())) for name in ("agent", "mechanism")}
    return {
        "Games": f"{ds.sizes['game']:,}",
        "Agents": listed["agent"],
        "Mechanisms": listed["mechanism"],
        "Episodes of a run, K": f"{int(ds['episode'][-1]):,}",
        "Seeds": f"{statistics.num_seeds(ds):,}",
        "Kept": "moments of the runs" if is_moments(ds) else "every run",
    }


def _why_none(ds: xr.Dataset) -> str:
    if is_moments(ds):
        return "The study kept moments of its runs, and bounds are checked on whole runs."
    return "No run is done yet."
