"""Axes, legends and limits, the same for every figure.

An Axes that is given keeps what was drawn on it, and its limits only grow. One that is made is of a
figure that pyplot knows, so that a notebook shows it; pyplot is imported only then.
"""

import textwrap
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from pajax.plotting import style

Limits = tuple[float, float]

NUM_MARKERS = 7  # a line
LOG_SPREAD = 8.0  # numbers that differ by more go on a log axis
MOST_TICKS = 8  # of a sweep; more numbers have the ticks of the axis


def new_axes(height: float | None = None) -> Axes:
    """An Axes that a notebook shows: of a figure that pyplot knows, unlike a bare Figure."""
    from matplotlib import pyplot

    width, usual = mpl.rcParams["figure.figsize"]
    return pyplot.subplots(figsize=(width, usual if height is None else height))[1]


def prepare(ax: Axes | None, xscale: str, yscale: str) -> tuple[Axes, Limits | None]:
    """An Axes with these scales, and the limits of what was drawn before, None if nothing was."""
    ax = new_axes() if ax is None else ax
    ax.set_xscale(xscale)
    ax.set_yscale(yscale)
    previous = ax.get_ylim() if ax.has_data() else None
    tidy(ax)
    return ax, previous


def tidy(ax: Axes, lines_of: Literal["both", "x", "y"] = "both") -> None:
    """A grid for these axes, below the data, and no frame, also on an Axes of another style."""
    ax.grid(False)
    colour, width = mpl.rcParams["grid.color"], mpl.rcParams["grid.linewidth"]
    ax.grid(True, "major", lines_of, color=colour, linewidth=width)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def union(limits: Limits, others: Limits | None) -> Limits:
    """The smallest interval that holds both."""
    if others is None:
        return limits
    return min(limits[0], others[0]), max(limits[1], others[1])


def scale_of(numbers: Any) -> str:
    """The scale on which numbers stand apart: log for positive ones of different magnitudes."""
    numbers = np.asarray(numbers, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0 or numbers.min() <= 0:
        return "linear"
    return "log" if numbers.max() / numbers.min() > LOG_SPREAD else "linear"


def mark_numbers(ax: Axes, numbers: Any) -> None:
    """Ticks at the numbers of a sweep, if they are few: a log axis of a decade has hardly any."""
    few = np.unique(np.asarray(numbers, np.float64))
    if len(few) <= MOST_TICKS:
        ax.set_xticks(few, labels=[_short(number) for number in few])
        ax.minorticks_off()


def _short(number: float) -> str:
    """50000 as 50k, 1000000 as 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.4g}{letter}"
    return f"{number:.4g}"


def room(numbers: Any, scale: str, share: float = 0.07) -> Limits:
    """Limits that hold finite numbers, and this share of their span on both sides."""
    numbers = np.asarray(numbers, np.float64)
    numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (scale == "linear"))]
    if numbers.size == 0:
        return (0.1, 10.0) if scale == "log" else (0.0, 1.0)
    if scale == "log":
        low, high = room(np.log(numbers), "linear", share)
        return float(np.exp(low)), float(np.exp(high))
    margin = share * (np.ptp(numbers) or max(1.0, abs(numbers[0])))
    return float(numbers.min() - margin), float(numbers.max() + margin)


def markers_at(place: int, number: int, num_points: int) -> tuple[int, int]:
    """First marker and the step between them, staggered so that lines that coincide both show."""
    step = max(1, num_points // NUM_MARKERS)
    return place * step // number, step


def note(ax: Axes, text: str, at: tuple[float, float], shift: Limits, **more: Any) -> None:
    """Small words at a point of the data, moved by some points of type."""
    ax.annotate(text, at, shift, textcoords="offset points", **style.NOTE, **more)


def wrap(text: str, width: int) -> str:
    """Each line of a text in lines of at most so many letters."""
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def legend_beside(ax: Axes, caption: str, **entries: Any) -> Axes:
    """The entries in their order, beside the data, below a caption that says what is drawn."""
    legend = ax.legend(
        **entries,
        title=wrap(caption, 28),
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        alignment="left",
    )
    for text in legend.get_texts():
        text.set_text(wrap(text.get_text(), 26))
    return ax


def caption_above(ax: Axes, text: str) -> Axes:
    """A caption above the data, for figures without a legend."""
    width = round(ax.get_window_extent().width / ax.figure.dpi / 0.058)
    ax.set_title(wrap(text, max(width, 40)), loc="left", **style.NOTE)
    return ax
