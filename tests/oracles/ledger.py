"""What is recorded of a run for the bounds, in plain loops over its episodes.

Source: THEORY.md, (T1), (T3), (A1) and (A2); which (h, s) matter, and what counts as a contract,
are said in the docstrings of pajax.
"""

from typing import NamedTuple

import numpy as np

from . import exact
from .exact import NumpyGame

OFTEN = 0.01  # what the welfare optimum visits more rarely does not matter


class Run(NamedTuple):
    """Every episode of one run, and what was in force in it."""

    states: np.ndarray  # [K, H]
    actions: np.ndarray  # [K, H]
    transfer: np.ndarray  # [K, H, S, A]
    own_action: np.ndarray  # [K, H, S]
    target: np.ndarray  # [K, H, S]
    is_estimating: np.ndarray  # [K]

    def has_new_contract(self, k: int) -> bool:
        """Whether episode k is the first one under its contract."""
        contracts = (self.transfer, self.own_action, self.target)
        return k == 0 or any((x[k] != x[k - 1]).any() for x in contracts)


class Account(NamedTuple):
    """At some checkpoint."""

    principal_regret: float
    contracts: int
    contract_age: int
    contract_regret: float
    coverage: float


def matters(game: NumpyGame) -> np.ndarray:
    """The (h, s) that the welfare optimum visits often, [H, S]."""
    q_values = exact.backward_induction(game, exact.welfare_rewards(game))[1]
    return exact.occupancy(game, exact.greedy(q_values)) >= OFTEN


def keep_account(game: NumpyGame, run: Run, checkpoints: list[int]) -> list[Account]:
    """What there was to record at each checkpoint."""
    welfare = losses(game, exact.welfare_rewards(game))
    tau, best = exact.minimal_transfers(game), exact.principal_rewards(game)
    path = np.argwhere(matters(game))
    visits = np.zeros(game.shape[:2])
    found, regret, contracts, age, lost = [], 0.0, 0, 0, 0.0
    own = welfare
    for k, (states, actions) in enumerate(zip(run.states, run.actions, strict=True)):
        if run.has_new_contract(k):
            age, lost = 0, 0.0
            contracts += not run.is_estimating[k]
            own = losses(game, exact.agent_rewards(game, run.transfer[k]))
        age += 1
        for h, (s, a) in enumerate(zip(states, actions, strict=True)):
            b = run.own_action[k, h, s]
            v = exact.at_step(game.principal_reward, h)[s, a, b]
            beyond = run.transfer[k, h, s, a] - tau[h, s, a]
            regret += welfare[h, s, a] + best[h, s, a] - v + beyond
            lost += own[h, s, a]
            visits[h, s] += 1
        if k + 1 in checkpoints:
            coverage = min(visits[h, s] for h, s in path) / (k + 1)
            found.append(Account(regret, contracts, age, lost, coverage))
    return found


def losses(game: NumpyGame, reward: np.ndarray) -> np.ndarray:
    """``V - Q`` of a reward, [H, S, A]."""
    values, q_values = exact.backward_induction(game, reward)
    return values[:-1, :, None] - q_values
