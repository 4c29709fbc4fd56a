"""Figures as text for web pages: SVG that stands in the page itself.

Words stay words, which a reader can search and enlarge; coordinates have two decimals, a hundredth
of a point; and no two figures of a page that have other names share a name inside. Equal figures of
one name give equal text.
"""

import io
import re
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pajax.plotting.style import in_style

_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
#: What a page does without: all before the root, notes, names of groups, space between elements.
_NEEDLESS = re.compile(
    r"^.*?(?=<svg )|<metadata>.*?</metadata>|<!--.*?-->|(?<=<g) id=\"[^\"]*\"|(?<=>)\s+(?=<)", re.S
)
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


@in_style
def blank_axes() -> tuple[Figure, Axes]:
    """A Figure that pyplot does not know, so that nobody need close it, and its only Axes."""
    figure = Figure()
    return figure, figure.subplots()


@in_style
def to_svg(figure: Figure, name: str, words: str) -> str:
    """A figure as an `svg` element.

    Args:
      figure: to be drawn.
      name: what no other figure of the page is called.
      words: what it shows, for those who do not see it.
    """
    buffer = io.StringIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    short = _LONG_NUMBER.sub(_rounded, _NEEDLESS.sub("", buffer.getvalue()))
    return short.replace("<svg ", f'<svg role="img" aria-label={quoteattr(words)} ', 1)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
