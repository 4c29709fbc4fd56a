"""Datasets to pictures: the study at a glance, agent by agent, and what it swept.

All are of the first game, but for those that sweep games: a page shows many games by their tables.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pajax import plotting
from pajax.bounds import WelfareRegret
from pajax.plotting.svg import blank_axes, to_svg
from pajax.plotting.sweeps import read
from pajax.studies.results import is_moments

#: Agents that still get a panel each at a glance, and figures of their own.
MOST_PANELS, MOST_AGENTS = 12, 6
#: Mechanisms whose lines can still be told apart.
MOST_LINES = 24
_SIZES = ("num_states", "num_actions", "horizon")

Draw = Callable[[Any], Any]  # on an Axes


class Picture(NamedTuple):
    """A figure and what is to be said of it."""

    svg: str
    caption: str
    is_wide: bool


def at_a_glance(ds: xr.Dataset, page: str) -> list[Picture]:
    """The overview of the first game; nothing if there is too much to be seen."""
    if ds.sizes["agent"] > MOST_PANELS or ds.sizes["mechanism"] > MOST_LINES:
        return []
    words = (
        f"Welfare regret (T1) above, share of W* earned below, {_place(ds)}. Bands of regret cover "
        "whole curves; of shares, each checkpoint on its own; both speak of seeds, not of games."
    )
    figure = plotting.overview(ds, title=f"Game {ds['game'].to_numpy()[0]}")
    return [Picture(to_svg(figure, f"{page} overview", words), words, is_wide=True)]


def by_agent(ds: xr.Dataset, page: str) -> list[Picture]:
    """Regret with its bound, local exponents, and what was swept, for the first agents."""
    if ds.sizes["mechanism"] > MOST_LINES:
        return []
    agents = [str(name) for name in ds["agent"].to_numpy()[:MOST_AGENTS]]
    return [
        _picture(draw, words, f"{page} {agent} {at}")
        for agent in agents
        for at, (words, draw) in enumerate(_of_agent(ds, agent))
    ]


def over_horizons(ds: xr.Dataset, page: str) -> list[Picture]:
    """Final regrets against K, for the first agents, of a Dataset from `by_horizon`."""
    words = "Final {} of {} against the length K of a run, {}; each interval stands on its own."
    return [
        _picture(
            lambda ax, agent=agent, name=name: plotting.scaling(
                ds, "episode", variable=name, agent=agent, is_total=True, ax=ax
            ),
            words.format(regret, agent, _place(ds)),
            f"{page} {agent} {name}",
        )
        for agent in map(str, ds["agent"].to_numpy()[:MOST_AGENTS])
        for name, regret in (
            ("welfare_regret", "welfare regret"),
            ("principal_regret", "principal's regret"),
        )
    ]


def _of_agent(ds: xr.Dataset, agent: str) -> Iterator[tuple[str, Draw]]:
    """What is drawn of an agent, with its captions."""
    place = f"{agent}, {_place(ds)}"
    bounds = [WelfareRegret()] if _has_bound(ds) else []
    beside = "; thin lines: the bound of (T8), with the audited constants of (A1)"
    yield (
        f"Welfare regret of {place}, and bands that cover whole curves{beside if bounds else ''}.",
        lambda ax: plotting.regret(ds, agent=agent, bounds=bounds, ax=ax),
    )
    yield (
        f"Local growth exponent of {place}: 1 is regret that does not slow down.",
        lambda ax: plotting.local_exponent(ds, agent=agent, ax=ax),
    )
    if _is_swept(ds, "margin"):
        yield (
            f"The principal's regret against the welfare regret as the margin varies, {place}.",
            lambda ax: plotting.frontier(
                ds, over="margin", variable="principal_regret", agent=agent, ax=ax
            ),
        )
    for size in (name for name in _SIZES if np.unique(ds[name]).size > 1):
        yield (
            f"Welfare regret an episode against {size.replace('_', ' ')}, {agent}, over the games.",
            lambda ax, size=size: plotting.scaling(ds, size, agent=agent, ax=ax),
        )


def _picture(draw: Draw, words: str, name: str) -> Picture:
    figure, ax = blank_axes()
    draw(ax)
    return Picture(to_svg(figure, name, words), words, is_wide=False)


def _place(ds: xr.Dataset) -> str:
    label, number = ds["game"].to_numpy()[0], ds.sizes["game"]
    return f"game {label}" + (f", the first of {number:,}" if number > 1 else "")


def _has_bound(ds: xr.Dataset) -> bool:
    """Whether (T8) says anything: of a mechanism with a width, in runs."""
    return not is_moments(ds) and "width" in ds and bool(ds["width"].isel(game=0).notnull().any())


def _is_swept(ds: xr.Dataset, name: str) -> bool:
    """Whether any line of a frontier would have two points."""
    if name not in ds:
        return False
    sweep = read(ds, name)
    numbers = {
        line: {n for n, of in zip(sweep.numbers, sweep.lines, strict=True) if of == line and n == n}
        for line in sweep.lines
    }
    return any(len(of_line) > 1 for of_line in numbers.values())
