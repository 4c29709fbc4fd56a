"""The work that every contestant of a benchmark does, and what it hands back.

A workload is a batch of finite-horizon games with Bernoulli rewards, one fixed contract for each,
and a number of seeds: pair p plays game p // num_seeds. Contestants get plain NumPy arrays, games
first; `as_game` and `as_mechanism` are the same work in pajax's terms.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import pajax as px

#: States, actions and horizon.
SIZES = {"small": (2, 2, 5), "mid": (8, 4, 10), "large": (20, 5, 20)}
ALGORITHMS = ("q-learning", "ucb-q")
LARGEST_TRANSFER = 0.5


#: A name in `SIZES`, or (S, A, H).
Size = str | tuple[int, int, int]


class Workload(NamedTuple):
    """Games [G, ...] in float32, and how long and how often each is played."""

    transition: np.ndarray  # [G, S, A, S']
    agent_reward: np.ndarray  # [G, S, A], mean u
    principal_reward: np.ndarray  # [G, S, A], mean v
    initial: np.ndarray  # [G, S]
    transfer: np.ndarray  # [G, H, S, A], the contract
    welfare_gap: np.ndarray  # [G, H, S, A], VW - QW
    num_seeds: int  # pairs of each game
    horizon: int
    num_episodes: int
    checkpoints: np.ndarray  # int64 [C], episode counts; the last is num_episodes

    @property
    def sizes(self) -> tuple[int, int, int]:
        """S, A, H."""
        return (*self.agent_reward.shape[1:], self.horizon)

    @property
    def num_pairs(self) -> int:
        """G * num_seeds."""
        return len(self.initial) * self.num_seeds

    @property
    def num_steps(self) -> int:
        """Environment steps of all pairs together."""
        return self.num_pairs * self.num_episodes * self.horizon

    @property
    def game_of_pair(self) -> np.ndarray:
        """The game that each pair plays, [pairs]."""
        return np.repeat(np.arange(len(self.initial)), self.num_seeds)


class Curves(NamedTuple):
    """What a contestant returns: float64 [pairs, C], cumulative from the first episode."""

    welfare_regret: np.ndarray  # sum of welfare_gap along the trajectory
    payment: np.ndarray  # sum of transfers paid
    realised_welfare: np.ndarray  # sum of u + v as drawn


def sizes_of(size: Size) -> tuple[int, int, int]:
    """States, actions and horizon."""
    return SIZES[size] if isinstance(size, str) else size


def random_workload(
    size: Size,
    num_games: int,
    num_seeds: int,
    num_episodes: int,
    seed: int = 0,
) -> Workload:
    """Games with Dirichlet(1/2) dynamics, uniform rewards, a random transfer in each state.

    Args:
      size: of every game.
      num_games: G.
      num_seeds: pairs of each game.
      num_episodes: K.
      seed: of the games; it has nothing to do with how they are played.
    """
    states, actions, horizon = sizes_of(size)
    rng = np.random.default_rng(seed)
    cells = (num_games, states, actions)
    workload = Workload(
        transition=_dirichlet(rng, cells, states),
        agent_reward=rng.random(cells, np.float32),
        principal_reward=rng.random(cells, np.float32),
        initial=_dirichlet(rng, (num_games,), states),
        transfer=_random_transfer(rng, (num_games, horizon, states, actions)),
        welfare_gap=np.zeros(0, np.float32),
        num_seeds=num_seeds,
        horizon=horizon,
        num_episodes=num_episodes,
        checkpoints=px.checkpoints(num_episodes),
    )
    gaps = px.planning.welfare_values(as_game(workload)).gaps
    return workload._replace(welfare_gap=np.ascontiguousarray(np.moveaxis(gaps, -1, 0)))


def as_game(workload: Workload) -> px.Game:
    """The games as one `pajax.Game`, on lanes."""
    stationary = lambda table: jnp.asarray(np.moveaxis(table, 0, -1)[None])  # noqa: E731
    return px.Game(
        transition=stationary(workload.transition),
        agent_reward=stationary(workload.agent_reward),
        principal_reward=stationary(workload.principal_reward[..., None]),
        initial=jnp.asarray(workload.initial.T),
        horizon=workload.horizon,
    )


def as_mechanism(workload: Workload) -> px.mechanisms.FixedTransfers:
    """The contracts as one pajax mechanism, on the games' lanes."""
    return px.mechanisms.FixedTransfers.make(np.moveaxis(workload.transfer, 0, -1))


def _dirichlet(rng: np.random.Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    return rng.dirichlet(np.full(size, 0.5), shape).astype(np.float32)


def _random_transfer(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform on [0, LARGEST_TRANSFER) on one random action in each state, 0 elsewhere."""
    target = rng.integers(0, shape[-1], shape[:-1])[..., None]
    transfer = np.zeros(shape, np.float32)
    amount = LARGEST_TRANSFER * rng.random(target.shape, np.float32)
    np.put_along_axis(transfer, target, amount, axis=-1)
    return transfer
