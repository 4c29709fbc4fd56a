"""What is on an Axes, as numbers and words."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def empty_axes() -> Axes:
    """An Axes that pyplot does not know."""
    return Figure().subplots()


def data(line: Any) -> np.ndarray:
    """What a line joins, [2, point]."""
    return np.array(line.get_data())


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """Label to [2, point] of every line that has a label."""
    shown = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): data(line) for line in shown}


def bands(ax: Axes) -> list[np.ndarray]:
    """Vertices of every band."""
    nothing = np.zeros((0, 2))
    paths = [band.get_paths() for band in ax.collections]
    return [np.concatenate([nothing, *(path.vertices for path in some)]) for some in paths]


def segments(collection: Any) -> np.ndarray:
    """Ends of segments, [segment, end, 2]."""
    return np.array(collection.get_segments())


def with_bars(ax: Axes) -> dict[str, np.ndarray]:
    """Label to [2, point] of every line with error bars."""
    some: Any = ax.containers
    return {str(line.get_label()): data(line.lines[0]) for line in some}


def bars(ax: Axes, axis: int) -> list[np.ndarray]:
    """Ends [point, 2] of the error bars of each line along an axis; those along y come last."""
    some: Any = ax.containers
    return [segments(line.lines[2][-axis])[:, :, axis] for line in some]


def rectangles(ax: Axes) -> np.ndarray:
    """Left, foot, width and height of every patch."""
    patches: Any = ax.patches
    return np.array([(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in patches])


def entries(shown: Any) -> list[str]:
    """What stands in the legend of an Axes, or in a legend."""
    return [words(text.get_text()) for text in _legend(shown).get_texts()]


def caption(shown: Any) -> str:
    """What stands above the entries."""
    return words(_legend(shown).get_title().get_text())


def words(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def _legend(shown: Any) -> Any:
    return shown.get_legend() if isinstance(shown, Axes) else shown
