"""How figures look: one style file, and what such a file cannot say.

`STYLE` is the file, for `matplotlib.pyplot.style.use`. Every public function of `pajax.plotting`
draws in that style and leaves Matplotlib's settings as they were. A file has one cycle for all
properties of a line; here colours, dashes and markers have periods 7, 5 and 9, so that 315 lines
differ, and neighbours differ in all three: dashes and markers say in grey what colours say.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl

#: The style file.
STYLE = Path(__file__).with_name("pajax.mplstyle")

_SETTINGS: dict[Any, Any] = dict(mpl.rc_params_from_file(STYLE, use_default_template=False))

COLOURS = tuple(_SETTINGS["axes.prop_cycle"].by_key()["color"])
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (10, 1.5)))
THIN_DASHES = ((4, 1.5), (1, 1), (4, 1.5, 1, 1.5), (9, 1.5), (1, 3), (4, 1.5, 1, 1.5, 1, 1.5))
MARKERS = ("o", "s", "^", "D", "v", "X", "P", "<", ">")
DOTS_PER_INCH = _SETTINGS["savefig.dpi"]

BAND: dict[str, Any] = {"alpha": 0.16, "linewidth": 0.0}
GUIDE: dict[str, Any] = {"color": "0.6", "linewidth": 0.9}
REFERENCE: dict[str, Any] = {"color": "0.35", "linewidth": 1.0, "zorder": 1.5}
NOTE: dict[str, Any] = {"color": "0.35", "fontsize": 8.5}
CELL: dict[str, Any] = {"fontsize": 7.5, "ha": "center", "va": "center"}


_F = TypeVar("_F", bound=Callable[..., Any])


def in_style(function: _F) -> _F:
    """Decorates a function that draws in the style."""
    return _styled()(function)


@contextlib.contextmanager
def _styled() -> Iterator[None]:
    """The settings of the style, and then those of before.

    `matplotlib.rc_context` would put back all settings, "interactive" too, which a notebook turns
    on when its first figure is made: later figures would not be shown.
    """
    before = {name: mpl.rcParams[name] for name in _SETTINGS}
    mpl.rcParams.update(_SETTINGS)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def look(place: int) -> dict[str, Any]:
    """Colour, dash and marker of the line at this place."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[place % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
    }
