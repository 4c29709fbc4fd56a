"""What is kept of runs, in a shard and in a Dataset.

A study keeps either every run ("seeds") or, of all runs of a game, means, standard deviations and
quantiles ("moments", see `pajax.studies.moments`), which need no more room however many runs there
are. Each way says what a shard of finished pairs holds (`reduce`) and what the shards of a cell
amount to (`join`). Shards share no pairs, and joining them gives the same bits in any order.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from pajax.ledger import AT_END, PARTIAL, Record
from pajax.studies import moments
from pajax.studies.moments import Moments
from pajax.studies.outline import Pairs

NON_FINITE, UNRESOLVED, NOT_RUN = 1, 2, 4
SUMMED = (
    "welfare_regret",
    "principal_regret",
    "agent_regret",
    "payment",
    "principal_utility",
    "off_target",
    "phase_one",
    "contracts",
)
VARIABLES = (*SUMMED, "realised_regret", *AT_END)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Arrays = dict[str, np.ndarray]


class Shard(NamedTuple):
    """Finished pairs of a cell, and what is kept of them."""

    pairs: Pairs
    arrays: Arrays
    about: dict[str, Any]  # versions, device, seconds


def cumulate(record: Record, ends: np.ndarray, checkpoints: np.ndarray) -> dict[str, np.ndarray]:
    """Variables [..., episode] of a record whose arrays are [I, ...] sums over intervals.

    Args:
      record: from `simulate`, or the same as NumPy arrays.
      ends: [I], the episode at which each interval ends.
      checkpoints: some of `ends`; the others are only summed over.
    """
    chosen = np.searchsorted(ends, checkpoints)
    fields = {name: np.asarray(value, np.float64) for name, value in record._asdict().items()}
    at_end = {name: fields.pop(name) for name in AT_END}
    sums = {name: value.cumsum(0) for name, value in fields.items()}
    return {name: np.moveaxis(value[chosen], 0, -1) for name, value in {**sums, **at_end}.items()}


def with_regret(
    variables: Mapping[str, np.ndarray], checkpoints: np.ndarray, optimal_welfare: np.ndarray
) -> dict[str, np.ndarray]:
    """Variables [pair, episode] with `realised_regret` in place of `realised_welfare`.

    Args:
      variables: from `cumulate`.
      checkpoints: episode counts.
      optimal_welfare: W* of each pair's game, [pair].
    """
    found = dict(variables)
    found["realised_regret"] = checkpoints * optimal_welfare[:, None] - found.pop(
        "realised_welfare"
    )
    return found


class Way(Protocol):
    """A way to keep runs."""

    def dims(self, name: str) -> tuple[str, ...]:
        """Dimensions of a variable of the Dataset after those of its cell."""
        ...

    def reduce(self, pairs: Pairs, variables: Mapping[str, np.ndarray]) -> Arrays:
        """What a shard holds of `VARIABLES`, [pair, episode] each."""
        ...

    def pack(self, shards: list[Shard]) -> list[Shard]:
        """The same in less room, if it can be had."""
        ...

    def join(self, shards: Iterable[Shard], shape: tuple[int, int, int]) -> Arrays:
        """Variables of a Dataset, [game, ...] each, from shards of (games, seeds, episodes)."""
        ...


def status(variables: Mapping[str, np.ndarray]) -> np.ndarray:
    """Status of each run, [pair], from variables [pair, episode]."""
    names = (*SUMMED, "realised_regret")
    is_finite = np.all([np.isfinite(variables[name]).all(-1) for name in names], axis=0)
    has_unresolved = variables["unresolved"][:, -1] > 0
    return (NON_FINITE * ~is_finite + UNRESOLVED * has_unresolved).astype(np.int8)


class Seeds:
    """Every run is kept."""

    def dims(self, name: str) -> tuple[str, ...]:
        """Each run has its own place."""
        return ("seed",) if name in ("status", "phase_one_length") else ("seed", "episode")

    def reduce(self, pairs: Pairs, variables: Mapping[str, np.ndarray]) -> Arrays:
        """The variables themselves."""
        return {name: variables[name] for name in VARIABLES}

    def pack(self, shards: list[Shard]) -> list[Shard]:
        """Runs take what room they take."""
        return shards

    def join(self, shards: Iterable[Shard], shape: tuple[int, int, int]) -> Arrays:
        """Variables [game, seed, episode], NaN where no shard has the pair; and the status."""
        found: Arrays = {name: np.full(shape, np.nan) for name in VARIABLES}
        found["status"] = np.full(shape[:2], NOT_RUN, np.int8)
        for pairs, arrays, _ in shards:
            is_asked = (pairs.game < shape[0]) & (pairs.seed < shape[1])
            at = pairs.take(is_asked)
            for name in VARIABLES:
                found[name][at.game, at.seed] = arrays[name][is_asked]
            found["status"][at.game, at.seed] = status(arrays)[is_asked]
        return found | {"phase_one_length": found["phase_one"][..., -1]}


class OnlyMoments:
    """Of all runs of a game only counts, means, standard deviations and quantiles are kept."""

    def dims(self, name: str) -> tuple[str, ...]:
        """Runs have no place."""
        is_number = name.startswith(("num_", "share_", "phase_one_length"))
        quantile = ("quantile",) if name.endswith("_quantile") else ()
        return quantile if is_number else (*quantile, "episode")

    def reduce(self, pairs: Pairs, variables: Mapping[str, np.ndarray]) -> Arrays:
        """Moments of each game, and how many of its runs ended with which status."""
        runs = np.stack([variables[name] for name in VARIABLES], 1)  # [pair, variable, episode]
        ended = status(variables)
        found: Arrays = {}
        for g in np.unique(pairs.game).tolist():
            mine = pairs.game == g
            fields = moments.summarise(runs[mine])._asdict()
            found |= {f"{g}/{name}": array for name, array in fields.items()}
            found[f"{g}/status"] = np.bincount(ended[mine], minlength=NOT_RUN)
        return found

    def pack(self, shards: list[Shard]) -> list[Shard]:
        """One shard of all runs."""
        if len(shards) < 2:
            return shards
        pairs = Pairs(*map(np.concatenate, zip(*(shard.pairs for shard in shards), strict=True)))
        arrays: Arrays = {}
        for g in np.unique(pairs.game).tolist():
            mine = [shard.arrays for shard in shards if f"{g}/status" in shard.arrays]
            merged = moments.merge(*(_moments_of(found, g) for found in mine))
            arrays |= {f"{g}/{name}": array for name, array in merged._asdict().items()}
            arrays[f"{g}/status"] = np.sum([found[f"{g}/status"] for found in mine], 0)
        return [Shard(pairs, arrays, shards[0].about)]

    def join(self, shards: Iterable[Shard], shape: tuple[int, int, int]) -> Arrays:
        """Variables [game, episode] and so on, NaN for a game that no shard has."""
        num_games, _, num_episodes = shape
        entry = (len(VARIABLES), num_episodes)
        of_game = [moments.empty(entry) for _ in range(num_games)]
        ended = np.zeros((num_games, NOT_RUN), np.int64)
        for pairs, arrays, _ in shards:
            for g in np.unique(pairs.game[pairs.game < num_games]).tolist():
                of_game[g] = moments.merge(of_game[g], _moments_of(arrays, g))
                ended[g] += arrays[f"{g}/status"]
        return _described(of_game) | _counted(ended)


def _moments_of(arrays: Arrays, game: int) -> Moments:
    """Those of a game, of what a shard holds."""
    return Moments(**{name: arrays[f"{game}/{name}"] for name in Moments._fields})


def _described(of_game: list[Moments]) -> Arrays:
    """Mean, standard deviation and quantiles of each variable, [game, (quantile,) episode]."""
    means = np.stack([moments.mean(x) for x in of_game])
    deviations = np.stack([moments.standard_deviation(x) for x in of_game])
    quantiles = np.stack([moments.quantiles(x, QUANTILES) for x in of_game])
    is_partial = np.stack([x.num_left_out > 0 for x in of_game])
    found: Arrays = {}
    for v, name in enumerate(VARIABLES):
        unknown = is_partial[:, v] & (name not in PARTIAL)
        found[name] = np.where(unknown, np.nan, means[:, v])
        found[f"{name}_sd"] = np.where(unknown, np.nan, deviations[:, v])
        of_level = np.where(unknown[..., None], np.nan, quantiles[:, v])
        found[f"{name}_quantile"] = np.moveaxis(of_level, -1, 1)
        if name in PARTIAL:
            found[f"{name}_runs"] = np.stack([x.num_counted[v] for x in of_game])
    for end in ("", "_sd", "_quantile"):
        found[f"phase_one_length{end}"] = found[f"phase_one{end}"][..., -1]
    return found


def _counted(ended: np.ndarray) -> Arrays:
    """Numbers of runs, and shares of statuses, [game]."""
    num_runs = ended.sum(1)
    has = lambda bit: ended[:, [i for i in range(NOT_RUN) if i & bit]].sum(1)  # noqa: E731
    with np.errstate(invalid="ignore"):
        shares = {
            "share_non_finite": has(NON_FINITE) / num_runs,
            "share_unresolved": has(UNRESOLVED) / num_runs,
        }
    return {"num_runs": num_runs} | shares


WAYS: Mapping[str, Way] = {"seeds": Seeds(), "moments": OnlyMoments()}
