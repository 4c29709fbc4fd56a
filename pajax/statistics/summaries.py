"""The summary of a study: the numbers it is judged by, each with its interval."""

import xarray as xr

from pajax.statistics.cells import exponent_over_runs, mean_over_runs, num_runs, num_seeds
from pajax.statistics.estimates import Estimate, check_level
from pajax.statistics.shares import late_share
from pajax.studies.kept import NON_FINITE, UNRESOLVED
from pajax.studies.results import is_moments, was_run


def summary(ds: xr.Dataset, level: float = 0.95) -> xr.Dataset:
    """The numbers a study is judged by, at its last checkpoint K: dims [game, agent, mechanism].

    Args:
      ds: from `pajax.study`.
      level: coverage of each interval, in (0, 1).

    Returns:
      A Dataset with the following variables, each with the ends of its interval in `NAME_low` and
      `NAME_high`:

      - `welfare_regret`: (T1), cumulative, in reward units
      - `welfare_regret_per_episode`: the same over K
      - `growth_exponent`: over the last decade and a half of K
      - `late_share`: share of W* earned over the last tenth of the episodes
      - `payment_per_episode`: paid by the principal, in reward units
      - `principal_utility_per_episode`: its rewards less its payments, in reward units
      - `transfer_error`: mean |estimate - tau*| over resolved transfers, in reward units
      - `phase_one_share`: share of the episodes spent estimating

      Each interval covers the mean over seeds of its own cell (one game, agent and mechanism), by
      `mean_over_runs`; that of the exponent is by `growth_exponent`. Besides: `num_runs`, those
      done in each cell, of `num_seeds`; `share_unresolved` and `share_non_finite`, the share of
      runs whose status says so; and, by game, what the Dataset says of the game.

    Raises:
      ValueError: `level` is out of its range, or the Dataset is one of `by_horizon`.
    """
    check_level(level)
    num_episodes = int(ds["episode"][-1])
    last = ds.isel(episode=-1, drop=True).assign(late_share=late_share(ds))
    columns = _triple("growth_exponent", exponent_over_runs(ds, level=level))
    for name in ("welfare_regret", "late_share", "transfer_error"):
        columns |= _triple(name, mean_over_runs(last, name, level))
    per_episode = {
        "welfare_regret_per_episode": "welfare_regret",
        "payment_per_episode": "payment",
        "principal_utility_per_episode": "principal_utility",
        "phase_one_share": "phase_one_length",
    }
    for name, total in per_episode.items():
        estimate = mean_over_runs(last, total, level)
        columns |= _triple(name, Estimate(*(number / num_episodes for number in estimate)))
    for name, bit in (("share_unresolved", UNRESOLVED), ("share_non_finite", NON_FINITE)):
        columns[name] = ds[name] if is_moments(ds) else _share_of_runs(ds, bit)
    columns["num_runs"], columns["num_seeds"] = num_runs(ds), xr.DataArray(num_seeds(ds))
    for name in ("optimal_welfare", "agent_value", "laissez_faire_welfare"):
        columns[name] = ds[name]
    attrs = dict(ds.attrs) | {"level": float(level), "num_episodes": num_episodes}
    return xr.Dataset(columns, attrs=attrs)


def _share_of_runs(ds: xr.Dataset, bit: int) -> xr.DataArray:
    """Share of the runs done whose status has a bit."""
    return ((ds["status"] & bit) > 0).where(was_run(ds)).mean("seed")


def _triple(name: str, parts: Estimate) -> dict[str, xr.DataArray]:
    """An estimate as three named variables."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), parts, strict=True))
