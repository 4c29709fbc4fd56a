"""Figures of studies: every function takes and returns a Matplotlib Axes, `overview` a Figure.

- `regret`, `welfare`, `local_exponent`: curves against episodes, one line a mechanism
- `scaling`, `frontier`: final values against a swept parameter, and each other
- `transfer_error`, `transfers`: estimates of tau* from the tables of `pajax.examine`
- `visitation`: states and actions visited before and after learning
- `overview`: a study at a glance
- `actions`, `insurance_fit`: what was played in logged runs; the fit of a game

Every band and bar says in its caption what it covers. Runs that were not done do not count, and
captions say how many were. A mechanism has one colour, dash and marker wherever it appears in the
figures of a Dataset, from its place in the coordinate `mechanism`.

All are drawn in one style, the file `STYLE`, also for `matplotlib.pyplot.style.use`. This is the
only package of pajax that imports matplotlib. It sets no global state, and imports pyplot only to
make an Axes where none is given, so that a notebook shows it; a Figure is made without pyplot.
"""

from pajax.plotting.curves import regret, welfare
from pajax.plotting.errors import transfer_error
from pajax.plotting.exponents import local_exponent
from pajax.plotting.figures import overview
from pajax.plotting.finals import frontier, scaling
from pajax.plotting.games import actions, insurance_fit
from pajax.plotting.maps import transfers
from pajax.plotting.style import STYLE
from pajax.plotting.visits import visitation

__all__ = [
    "STYLE",
    "actions",
    "frontier",
    "insurance_fit",
    "local_exponent",
    "overview",
    "regret",
    "scaling",
    "transfer_error",
    "transfers",
    "visitation",
    "welfare",
]
