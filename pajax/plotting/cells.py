"""What of a Dataset is drawn: one game, agents and mechanisms by name, and means over runs."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from pajax import _checks, statistics


class Curve(NamedTuple):
    """What one line draws: a mean and the ends of its interval, each [point]."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Quantity(NamedTuple):
    """A variable of a study in words."""

    words: str
    unit: str  # "" if it has none
    is_total: bool  # whether it adds up over the episodes

    def label(self, is_rate: bool = False) -> str:
        """As it stands beside an axis, in all or an episode."""
        per = " an episode" if is_rate and self.is_total else ""
        unit = f"{self.unit}{per}".strip()
        return f"{self.words} ({unit})" if unit else self.words


_MONEY = "reward units"
_QUANTITIES = {
    "welfare_regret": Quantity("welfare regret", _MONEY, True),
    "realised_regret": Quantity("realised regret", _MONEY, True),
    "agent_regret": Quantity("agent's regret", _MONEY, True),
    "principal_regret": Quantity("principal's regret", _MONEY, True),
    "principal_utility": Quantity("principal's utility", _MONEY, True),
    "payment": Quantity("payment", _MONEY, True),
    "contracts": Quantity("contracts begun", "", True),
    "off_target": Quantity("steps off target", "", True),
    "phase_one": Quantity("episodes in phase one", "", True),
    "phase_one_length": Quantity("episodes in phase one", "", True),
    "transfer_error": Quantity("mean error of transfers", _MONEY, False),
    "worst_transfer_error": Quantity("largest error of transfers", _MONEY, False),
    "contract_regret": Quantity("agent's regret under its contract", _MONEY, False),
}


def quantity(variable: str) -> Quantity:
    """A variable in words; one that is not known by its name, and as it is."""
    return _QUANTITIES.get(variable, Quantity(variable.replace("_", " "), "", False))


def check_variable(ds: xr.Dataset, variable: str) -> str:
    """A variable of the Dataset."""
    return _checks.choice("variable", variable, [str(name) for name in ds.data_vars])


def choose(ds: xr.Dataset, dim: str, label: str | None) -> xr.Dataset:
    """One agent or mechanism; it need not be named if the Dataset has one."""
    labels = names(ds, dim)
    if label is None:
        rule = f"be one of {', '.join(labels)} (the Dataset has {len(labels)} {dim}s)"
        _checks.require(len(labels) == 1, dim, None, rule)
        label = labels[0]
    return ds.sel({dim: _checks.choice(dim, label, labels)})


def one_game(ds: xr.Dataset, game: int | str | None) -> xr.Dataset:
    """One game, by default the first."""
    labels = ds["game"].to_numpy().tolist()
    game = labels[0] if game is None else game
    rule = f"be one of the {len(labels)} labels from {labels[0]} to {labels[-1]}"
    _checks.require(game in labels, "game", game, rule)
    return ds.sel(game=game)


def cell(ds: xr.Dataset, agent: str | None, game: int | str | None) -> xr.Dataset:
    """One game and agent, dims [mechanism, seed, episode], or without seed."""
    return choose(one_game(ds, game), "agent", agent)


def one_pair(tables: xr.Dataset, agent: str | None, mechanism: str | None) -> xr.Dataset:
    """One agent under one mechanism."""
    return choose(choose(tables, "agent", agent), "mechanism", mechanism)


def names(ds: xr.Dataset | xr.DataArray, dim: str) -> list[str]:
    """The labels of a dimension as text."""
    return [str(label) for label in np.atleast_1d(ds[dim].to_numpy())]


def by_mechanism(estimate: statistics.Estimate) -> dict[str, Curve]:
    """Curves of an estimate [mechanism, episode]."""
    parts = (part.transpose("mechanism", "episode").to_numpy() for part in estimate)
    rows = zip(names(estimate.value, "mechanism"), *parts, strict=True)
    return {name: Curve(*part) for name, *part in rows}


def percent(share: float) -> str:
    """A share in words that stay on one line."""
    return f"{100 * share:g}\u00a0%"


def seeds(ds: xr.Dataset) -> str:
    """How many runs the lines are means of."""
    numbers, asked = statistics.num_runs(ds), statistics.num_seeds(ds)
    return f"{statistics.runs_in_words(numbers, asked)} seeds"
