"""The outline of a study: its names and numbers, without the parts.

A *pair* is one game under one seed. A *cell* is one agent under one mechanism in one group of games
of equal sizes; its pairs are games x seeds. An outline says which cells and pairs there are, what
is known exactly of each game, and where a Dataset has them; it is plain enough to be kept as JSON.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Pairs(NamedTuple):
    """Some pairs of a cell; int32 [P] each."""

    game: np.ndarray  # within its group
    seed: np.ndarray

    def __len__(self) -> int:
        return len(self.game)

    def take(self, chosen: Any) -> "Pairs":
        """Those that an index, a mask or a slice chooses."""
        return Pairs(self.game[chosen], self.seed[chosen])

    def without(self, others: Iterable["Pairs"]) -> "Pairs":
        """Those that are in none of the others."""
        if not len(self):
            return self
        is_left = np.zeros((self.game.max() + 1, self.seed.max() + 1), bool)
        is_left[self.game, self.seed] = True
        for other in others:
            is_inside = (other.game < is_left.shape[0]) & (other.seed < is_left.shape[1])
            is_left[other.game[is_inside], other.seed[is_inside]] = False
        return self.take(is_left[self.game, self.seed])


class Cell(NamedTuple):
    """One agent under one mechanism in one group of games, by name."""

    group: str
    agent: str
    mechanism: str

    def __str__(self) -> str:
        place = f" in {self.group}" if self.group else ""
        return f"{self.mechanism} / {self.agent}{place}"


class Group(NamedTuple):
    """Games of equal sizes, and what is known exactly of each."""

    text: str  # for people
    horizon: int
    num_states: int
    num_actions: int
    optimal_welfare: list[float]  # W*
    agent_value: list[float]  # rho . V0
    laissez_faire_welfare: list[float]  # of the agent's optimum without transfers
    smallest_welfare_gap: list[float]  # these three as in `pajax.hardness`
    path_coverage: list[float]
    laissez_faire_coverage: list[float]

    def __len__(self) -> int:
        return len(self.optimal_welfare)


#: What a Dataset says of each game.
OF_GAMES = (
    "optimal_welfare",
    "agent_value",
    "laissez_faire_welfare",
    "smallest_welfare_gap",
    "path_coverage",
    "laissez_faire_coverage",
)
SIZES = ("horizon", "num_states", "num_actions")


class Outline(NamedTuple):
    """Names and numbers of a study; JSON values, but for the type of groups."""

    key: list[int]
    groups: dict[str, Group]  # a single group has the name ""
    agents: dict[str, Any]  # text for people by name, or by name and group
    mechanisms: dict[str, Any]
    terms: dict[str, dict[str, dict[str, list[float]]]]  # by mechanism, group and name; each game's
    record: list[int]
    num_seeds: int
    keep: str

    @property
    def num_episodes(self) -> int:
        """K, the last record point."""
        return self.record[-1]

    @property
    def cells(self) -> list[Cell]:
        """All cells, in the order in which they run."""
        return [
            Cell(group, agent, mechanism)
            for group in self.groups
            for mechanism in self.mechanisms
            for agent in self.agents
        ]

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return len(self.groups) * len(self.mechanisms) * len(self.agents)

    def place(self, cell: Cell) -> int:
        """The place of a cell among all."""
        names = (self.groups, self.mechanisms, self.agents)
        at = zip((cell.group, cell.mechanism, cell.agent), names, strict=True)
        group, mechanism, agent = ([*known].index(name) for name, known in at)
        return (group * len(self.mechanisms) + mechanism) * len(self.agents) + agent

    @property
    def num_pairs(self) -> int:
        """Pairs in all cells."""
        games = sum(len(group) for group in self.groups.values())
        return games * self.num_seeds * len(self.mechanisms) * len(self.agents)

    def pairs(self, cell: Cell) -> Pairs:
        """All pairs of a cell, game by game."""
        number = len(self.groups[cell.group]) * self.num_seeds
        return Pairs(*np.divmod(np.arange(number, dtype=np.int32), np.int32(self.num_seeds)))

    @property
    def labels(self) -> np.ndarray:
        """A label for each game: its number, or by the name of its group."""
        if list(self.groups) == [""]:
            return np.arange(len(self.groups[""]))
        of_groups = [
            [name] if len(group) == 1 else [f"{name}/{g}" for g in range(len(group))]
            for name, group in self.groups.items()
        ]
        return np.array([label for labels in of_groups for label in labels], str)

    def union(self, other: "Outline") -> "Outline":
        """What either has, of two outlines of one study."""
        return self._replace(
            groups=_merged(self.groups, other.groups),
            agents={**self.agents, **other.agents},
            mechanisms={**self.mechanisms, **other.mechanisms},
            terms=_merged(self.terms, other.terms),
            num_seeds=max(self.num_seeds, other.num_seeds),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        groups = {name: group._asdict() for name, group in self.groups.items()}
        return self._asdict() | {"groups": groups}

    @staticmethod
    def of_json(value: Mapping[str, Any]) -> "Outline":
        """The inverse of `to_json`."""
        groups = {name: Group(**group) for name, group in value["groups"].items()}
        return Outline(**{**value, "groups": groups})


def _merged(one: Any, other: Any) -> Any:
    """What either has, by name; of what both have, the one of more games."""
    if isinstance(one, dict):
        both = {name: _merged(one[name], other[name]) for name in one if name in other}
        return {**one, **other, **both}
    return max(one, other, key=len)
