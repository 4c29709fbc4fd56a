"""Synthetic Datasets of the shape that `pajax.study` returns, without running a study.

The mean welfare regret of a cell is a power law after a linear start, and each seed multiplies the
regret of each interval by correlated log-normal noise of mean 1, so mean curves are known exactly.
"""

import json
import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr

from pajax.ledger import PARTIAL
from pajax.studies.kept import NON_FINITE, NOT_RUN, QUANTILES, UNRESOLVED

DIMS = ("game", "agent", "mechanism", "seed", "episode")
OPTIMAL, AGENT_VALUE, LAISSEZ_FAIRE = 6.5279, 3.6873, 4.8350
#: Of the pollution game, whose numbers these are.
EXACT = {
    "optimal_welfare": OPTIMAL,
    "agent_value": AGENT_VALUE,
    "laissez_faire_welfare": LAISSEZ_FAIRE,
    "smallest_welfare_gap": 0.006,
    "path_coverage": 0.0265,
    "laissez_faire_coverage": 0.0454,
}
SIZES = {"horizon": 5, "num_states": 3, "num_actions": 3}


class Curve(NamedTuple):
    """Mean regret `rate t` up to `phase_one`, then growing like t^exponent."""

    rate: float  # reward units an episode
    exponent: float
    phase_one: float  # episodes, at K = 1e5
    transfer_error: float  # at K; NaN where none is estimated
    payment: float  # reward units an episode


MECHANISMS = {
    "none": Curve(1.77, 1.0, 1.0, np.nan, 0.0),
    "flat": Curve(0.83, 0.99, 1.0, np.nan, 1.0),
    "levels-2": Curve(0.95, 0.98, 1.0, np.nan, 1.6),
    "levels-4": Curve(0.4, 0.98, 1.0, np.nan, 1.4),
    "two-phase": Curve(1.7, 0.45, 3000.0, 0.04, 2.1),
    "oracle": Curve(1.2, 0.4, 40.0, np.nan, 2.2),
}
AGENTS = {"ucbvi": 1.0, "q-learning": 1.4, "ucb-q": 1.8}  # how much longer each learns


def checkpoints(num_episodes: int, per_decade: int = 8) -> np.ndarray:
    """Log-spaced, with 0.9 K and K."""
    number = round(per_decade * np.log10(num_episodes)) + 2
    spaced = np.rint(np.geomspace(1, num_episodes, number)).astype(np.int64)
    return np.unique(np.append(spaced, -(-num_episodes * 9 // 10)))


def power_law(curve: Curve, episodes: np.ndarray, slowness: float = 1.0) -> np.ndarray:
    """The mean regret of a curve at the checkpoints."""
    start = curve.phase_one * slowness
    later = curve.rate * start * np.maximum(episodes / start, 1) ** curve.exponent
    return np.where(episodes < start, curve.rate * episodes, later)


def correlated_noise(
    rng: np.random.Generator, shape: tuple[int, ...], scale: float = 0.3, correlation: float = 0.9
) -> np.ndarray:
    """The exp of a stationary AR(1) along the last axis: positive, mean 1 at every point."""
    steps = rng.normal(size=shape)
    steps[..., 1:] *= np.sqrt(1 - correlation**2)
    for at in range(1, shape[-1]):
        steps[..., at] += correlation * steps[..., at - 1]
    return np.exp(scale * steps - scale**2 / 2)


def make_dataset(
    *,
    mechanisms: dict[str, Curve] | None = None,
    agents: dict[str, float] | None = None,
    num_games: int = 1,
    num_seeds: int = 20,
    num_episodes: int = 100_000,
    noise: float = 0.3,
    seed: int = 0,
) -> xr.Dataset:
    """A Dataset as a study of these mechanisms and agents might give it."""
    mechanisms = MECHANISMS if mechanisms is None else mechanisms
    agents = AGENTS if agents is None else agents
    rng, episodes = np.random.default_rng(seed), checkpoints(num_episodes)
    shape = (num_games, len(agents), len(mechanisms), num_seeds, len(episodes))

    mean = np.array(
        [[power_law(c, episodes, slow) for c in mechanisms.values()] for slow in agents.values()]
    )
    steps = np.diff(mean, prepend=0.0)[None, :, :, None] * correlated_noise(rng, shape, noise)
    regret = steps.cumsum(-1)
    phase_one = np.array(
        [[c.phase_one * slow for c in mechanisms.values()] for slow in agents.values()]
    )
    estimates = np.isfinite([c.transfer_error for c in mechanisms.values()])
    length = np.where(estimates, phase_one, 0.0)[None, :, :, None] * np.ones(shape[:-1])
    length = np.minimum(np.rint(length), num_episodes)
    error = np.array([c.transfer_error for c in mechanisms.values()])[:, None, None]
    error = error * np.sqrt(num_episodes / episodes) * correlated_noise(rng, shape, noise)
    payment = np.array([c.payment for c in mechanisms.values()])[:, None, None] * episodes
    payment = payment * correlated_noise(rng, shape, noise / 10)
    wander = rng.normal(size=shape) * np.sqrt(episodes)
    status = np.zeros(shape[:-1], np.int8)

    # those that estimate post a new contract each time the episodes grow by a tenth
    is_later = estimates[:, None, None] & (episodes > length[..., None])
    growth = np.log(np.maximum(episodes / np.maximum(length[..., None], 1.0), 1.0)) / np.log(1.1)
    is_fixed = ~estimates[:, None, None]
    contracts = np.where(is_fixed, 1.0, np.where(is_later, 1.0 + np.floor(growth), 0.0))
    young = np.where(is_later, np.ceil(episodes / 20), np.minimum(episodes, 4.0))
    age = np.where(is_fixed, episodes, young) * np.ones(shape)

    curves = {
        "welfare_regret": regret,
        "realised_regret": regret + wander,
        "principal_regret": regret + payment / 10,
        "agent_regret": regret / 2,
        "principal_utility": 3.0 * episodes - regret / 2 - payment,
        "payment": payment,
        "transfer_error": error,
        "off_target": regret,
        "phase_one": np.minimum(episodes, length[..., None]),
        "unresolved": np.zeros(shape),
        "worst_transfer_error": 3 * error,
        "contracts": contracts,
        "contract_age": age,
        "contract_regret": regret / 2 * age / episodes,
        "coverage": EXACT["path_coverage"] * (1 - episodes**-0.5) * np.ones(shape),
    }
    exact = {name: np.full(num_games, value) for name, value in (EXACT | SIZES).items()}
    terms = {
        name: np.where(estimates, value, np.nan) * np.ones((num_games, 1))
        for name, value in terms_of(num_episodes).items()
        if estimates.any()  # a study has no terms if no mechanism has
    }
    return xr.Dataset(
        {name: (DIMS, values) for name, values in curves.items()}
        | {"phase_one_length": (DIMS[:-1], length), "status": (DIMS[:-1], status)}
        | {name: ("game", values) for name, values in exact.items()}
        | {name: (("game", "mechanism"), values) for name, values in terms.items()},
        coords={
            "game": np.arange(num_games),
            "agent": list(agents),
            "mechanism": list(mechanisms),
            "seed": np.arange(num_seeds),
            "episode": episodes,
        },
        attrs={
            "num_episodes": num_episodes,
            "horizon": SIZES["horizon"],
            "version": "0.0.0",
            "spec": json.dumps({"synthetic": True, "seed": seed}),
        },
    )


def terms_of(num_episodes: int) -> dict[str, float]:
    """What `TwoPhase` says of itself to the bounds, outside bandits."""
    return {
        "width": 2 * num_episodes**-0.25,
        "test_visits": num_episodes**0.5 / 4,
        "min_visits": 20.0,
        "margin": 0.1,
        "phase_one_cap": num_episodes / 2,
    }


def without_runs(ds: xr.Dataset, is_missing: np.ndarray) -> xr.Dataset:
    """As an interrupted study would have it; `is_missing` is [game, agent, mechanism, seed]."""
    missing = xr.DataArray(is_missing, dims=DIMS[:-1])
    gone = {name: np.int8(NOT_RUN) if name == "status" else np.nan for name in of_runs(ds)}
    return ds.assign({name: ds[name].where(~missing, value) for name, value in gone.items()})


def of_runs(ds: xr.Dataset) -> list[str]:
    """The variables that each run has."""
    return [str(name) for name in ds.data_vars if "seed" in ds[name].dims]


def keep_moments(ds: xr.Dataset) -> xr.Dataset:
    """What the same study has with keep="moments": by NumPy, cell by cell, over the runs done."""
    status = ds["status"].to_numpy()
    was_run, num_runs = status != NOT_RUN, (status != NOT_RUN).sum(-1)
    shape, variables = num_runs.shape, {}
    for name in of_runs(ds):
        if name == "status":
            continue
        dims, values = ds[name].dims[4:], ds[name].to_numpy()
        found = np.full((3 + len(QUANTILES), *shape, *values.shape[4:]), np.nan)
        for at in np.ndindex(shape):
            found[(slice(None), *at)] = describe(values[at][was_run[at]])
        parts = {"": found[0], "_sd": found[1]}
        parts |= {"_runs": found[2]} if name in PARTIAL else {}
        variables |= {f"{name}{end}": ((*DIMS[:3], *dims), part) for end, part in parts.items()}
        quantile = np.moveaxis(found[3:], 0, 3)
        variables[f"{name}_quantile"] = ((*DIMS[:3], "quantile", *dims), quantile)
    for name, bit in (("share_non_finite", NON_FINITE), ("share_unresolved", UNRESOLVED)):
        share = (((status & bit) > 0) & was_run).sum(-1) / np.where(num_runs > 0, num_runs, np.nan)
        variables[name] = (DIMS[:3], share)
    variables["num_runs"] = (DIMS[:3], num_runs)
    kept = ds.drop_dims("seed").assign(variables).assign_coords(quantile=list(QUANTILES))
    return kept.assign_attrs(keep="moments", num_seeds=ds.sizes["seed"])


def describe(runs: np.ndarray) -> np.ndarray:
    """Mean, deviation, number and quantiles of runs [run, ...], each over those that have any."""
    runs = np.concatenate([runs, np.full((1, *runs.shape[1:]), np.nan)])  # so that there is one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a mean of nothing, which is NaN
        mean, deviation = np.nanmean(runs, 0), np.nanstd(runs, 0, ddof=1)
        quantiles = np.nanquantile(runs, QUANTILES, axis=0)
    return np.stack([mean, deviation, np.isfinite(runs).sum(0), *quantiles])
