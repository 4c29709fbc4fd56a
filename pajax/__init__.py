"""Learning in principal-agent Markov decision processes, simulated in batch with JAX.

```python
import jax, pajax as px

px.configure()
dataset = px.study(
    jax.random.key(0),
    px.games.pollution(),
    agents={"UCBVI": px.agents.UCBVI()},
    mechanisms={"none": px.mechanisms.NoTransfer(), "two-phase": px.mechanisms.TwoPhase()},
    num_episodes=10_000,
    num_seeds=16,
)
px.plotting.regret(dataset)
```

A game (`games`, `make_game`) is played by an agent (`agents`) under the contracts of a mechanism
(`mechanisms`); `simulate` is one run, `study` many. `planning` and `transfers` solve a known game
exactly; `statistics`, `check_bounds` and `plotting` say what a study shows, `report` all of it.
`protocols` says what a part of one's own has to do, `testing` checks it.

Tags (T1) to (T9), (A1) and (A2) in docstrings name statements of the theory; the notebook
`07_theory` derives them. Indices stand in the order h (step), s (state), a (action), s' (next
state); `...` are lanes, one for each run or game side by side. Rewards and transfers are in reward
units: u and v lie in [0, 1] a step.
"""

__version__ = "0.3.0"

from pajax import (
    agents,
    bounds,
    games,
    lanes,
    mechanisms,
    planning,
    plotting,
    schedules,
    statistics,
    testing,
    transfers,
)
from pajax._pytree import axes, pytree, static
from pajax.bounds import Bound, Checks, check_bounds
from pajax.config import configure
from pajax.game import Game, make_game, stack_games
from pajax.hardness import Hardness, hardness
from pajax.lanes import lift
from pajax.ledger import Record
from pajax.protocols import Agent, Contract, Episode, Mechanism, Report, Spec, Stage
from pajax.report import report
from pajax.simulate import simulate
from pajax.stages import checkpoints
from pajax.studies.examine import examine
from pajax.studies.files import load, save
from pajax.studies.forecast import Plan, plan
from pajax.studies.grids import grid
from pajax.studies.results import to_dataframe
from pajax.studies.specs import load_spec
from pajax.studies.status import Status, status
from pajax.studies.store import merge
from pajax.studies.study import StudyInterrupted, study
from pajax.tables import StudyTable, table

__all__ = [
    "Agent",
    "Bound",
    "Checks",
    "Contract",
    "Episode",
    "Game",
    "Hardness",
    "Mechanism",
    "Plan",
    "Record",
    "Report",
    "Spec",
    "Stage",
    "Status",
    "StudyInterrupted",
    "StudyTable",
    "agents",
    "axes",
    "bounds",
    "check_bounds",
    "checkpoints",
    "configure",
    "examine",
    "games",
    "grid",
    "hardness",
    "lanes",
    "lift",
    "load",
    "load_spec",
    "make_game",
    "mechanisms",
    "merge",
    "plan",
    "planning",
    "plotting",
    "pytree",
    "report",
    "save",
    "schedules",
    "simulate",
    "stack_games",
    "static",
    "statistics",
    "status",
    "study",
    "table",
    "testing",
    "to_dataframe",
    "transfers",
]
