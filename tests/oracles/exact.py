"""The known game, in plain float64 NumPy loops: planning, minimal transfers, coarse contracts.

Written from THEORY.md alone, for reading rather than for speed. Conventions:

- arrays have the axes h, s, a, s' (and b) in that order; there are no lanes;
- a *reward* argument is always ``[H, S, A]``, a *policy* ``[H, S]`` of actions, a *transfer*
  ``[H, S, A]``;
- the principal's own action is always the best one, so its reward is ``max_b v``;
- ties go to the lowest action.

With ``r`` a reward and ``V[H] = 0``, backward induction is ``Q[h, s, a] = r[h, s, a] +
sum_s' P[h, s, a, s'] V[h+1, s']`` and ``V[h, s] = max_a Q[h, s, a]``.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class NumpyGame:
    """A principal-agent MDP. The leading T of each array is 1 (stationary) or H."""

    transition: np.ndarray  # [T, S, A, S']
    agent_reward: np.ndarray  # [T, S, A]
    principal_reward: np.ndarray  # [T, S, A, B]
    initial: np.ndarray  # [S]
    horizon: int

    @property
    def num_states(self) -> int:
        return self.initial.shape[0]

    @property
    def num_actions(self) -> int:
        return self.agent_reward.shape[2]

    @property
    def cells(self) -> Iterator[tuple[int, int, int]]:
        """Every (h, s, a), the steps backwards."""
        steps = reversed(range(self.horizon))
        return itertools.product(steps, range(self.num_states), range(self.num_actions))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.horizon, self.num_states, self.num_actions


def at_step(array: np.ndarray, h: int) -> np.ndarray:
    """The slice of step h of an array whose leading axis is 1 or H."""
    return array[h] if array.shape[0] > 1 else array[0]


# Rewards, all [H, S, A]


def agent_rewards(game: NumpyGame, transfer: np.ndarray | None = None) -> np.ndarray:
    """``u + c``."""
    reward = np.zeros(game.shape)
    for h, s, a in game.cells:
        paid = 0.0 if transfer is None else transfer[h, s, a]
        reward[h, s, a] = at_step(game.agent_reward, h)[s, a] + paid
    return reward


def principal_rewards(game: NumpyGame) -> np.ndarray:
    """``max_b v``."""
    reward = np.zeros(game.shape)
    for h, s, a in game.cells:
        reward[h, s, a] = max(at_step(game.principal_reward, h)[s, a])
    return reward


def welfare_rewards(game: NumpyGame) -> np.ndarray:
    """``u + max_b v``."""
    return agent_rewards(game) + principal_rewards(game)


# Planning


def backward_induction(game: NumpyGame, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Optimal values [H+1, S] and q-values [H, S, A] of a reward."""
    values = np.zeros((game.horizon + 1, game.num_states))
    q_values = np.zeros(game.shape)
    for h in reversed(range(game.horizon)):
        for s in range(game.num_states):
            for a in range(game.num_actions):
                later = at_step(game.transition, h)[s, a] @ values[h + 1]
                q_values[h, s, a] = reward[h, s, a] + later
            values[h, s] = max(q_values[h, s])
    return values, q_values


def greedy(q_values: np.ndarray) -> np.ndarray:
    """The best action at each (h, s), the lowest one of a tie."""
    num_steps, num_states, num_actions = q_values.shape
    policy = np.zeros((num_steps, num_states), dtype=int)
    for h in range(num_steps):
        for s in range(num_states):
            for a in range(1, num_actions):
                if q_values[h, s, a] > q_values[h, s, policy[h, s]]:
                    policy[h, s] = a
    return policy


def best_response(game: NumpyGame, transfer: np.ndarray | None = None) -> np.ndarray:
    """What the agent plays under a contract, when it knows the game."""
    return greedy(backward_induction(game, agent_rewards(game, transfer))[1])


def policy_evaluation(game: NumpyGame, policy: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Values [H+1, S] of a policy: the same recursion without the maximum."""
    values = np.zeros((game.horizon + 1, game.num_states))
    for h in reversed(range(game.horizon)):
        for s in range(game.num_states):
            a = policy[h, s]
            later = at_step(game.transition, h)[s, a] @ values[h + 1]
            values[h, s] = reward[h, s, a] + later
    return values


def expected(game: NumpyGame, values: np.ndarray) -> float:
    """``rho . V[0]``."""
    return float(game.initial @ values[0])


def policy_return(game: NumpyGame, policy: np.ndarray, reward: np.ndarray) -> float:
    """``E_pi sum_h reward``."""
    return expected(game, policy_evaluation(game, policy, reward))


def policy_welfare(game: NumpyGame, policy: np.ndarray) -> float:
    """``W^pi``."""
    return policy_return(game, policy, welfare_rewards(game))


def occupancy(game: NumpyGame, policy: np.ndarray) -> np.ndarray:
    """Probability [H, S] of being in s at step h, pushed forward from rho."""
    visited = np.zeros((game.horizon, game.num_states))
    visited[0] = game.initial
    for h in range(game.horizon - 1):
        for s in range(game.num_states):
            visited[h + 1] += visited[h, s] * at_step(game.transition, h)[s, policy[h, s]]
    return visited


def occupancy_return(game: NumpyGame, policy: np.ndarray, reward: np.ndarray) -> float:
    """``sum_{h, s} d_h(s) reward[h, s, pi(h, s)]``: a policy's return, read forward."""
    visited = occupancy(game, policy)
    steps = itertools.product(range(game.horizon), range(game.num_states))
    return float(sum(visited[h, s] * reward[h, s, policy[h, s]] for h, s in steps))


def trajectory_return(game: NumpyGame, policy: np.ndarray, reward: np.ndarray) -> float:
    """The same return as a sum over every path of states. Tiny games only: S^H paths."""
    total = 0.0
    for path in itertools.product(range(game.num_states), repeat=game.horizon):
        probability, earned = game.initial[path[0]], 0.0
        for h, s in enumerate(path):
            a = policy[h, s]
            earned += reward[h, s, a]
            if h + 1 < game.horizon:
                probability *= at_step(game.transition, h)[s, a, path[h + 1]]
        total += probability * earned
    return float(total)


def all_policies(game: NumpyGame) -> Iterator[np.ndarray]:
    """Every deterministic policy: A^(H S) of them, so tiny games only."""
    shape = (game.horizon, game.num_states)
    for choice in itertools.product(range(game.num_actions), repeat=shape[0] * shape[1]):
        yield np.array(choice).reshape(shape)


def optimal_welfare(game: NumpyGame) -> float:
    """``W* = rho . VW[0]``."""
    return expected(game, backward_induction(game, welfare_rewards(game))[0])


def best_response_welfare(game: NumpyGame, transfer: np.ndarray | None = None) -> float:
    """Welfare when the agent answers a contract at its best."""
    return policy_welfare(game, best_response(game, transfer))


# Transfers


def minimal_transfers(game: NumpyGame) -> np.ndarray:
    """(T2) ``tau* = V0 - Q0``."""
    values, q_values = backward_induction(game, agent_rewards(game))
    tau = np.zeros(game.shape)
    for h, s, a in game.cells:
        tau[h, s, a] = values[h, s] - q_values[h, s, a]
    return tau


def coase_value(game: NumpyGame) -> float:
    """(T3) ``W* - rho . V0[0]``."""
    return optimal_welfare(game) - expected(game, backward_induction(game, agent_rewards(game))[0])


def minimal_payment(game: NumpyGame, policy: np.ndarray) -> float:
    """(T2) ``rho . (V0 - V_u^pi)[0]``."""
    best = expected(game, backward_induction(game, agent_rewards(game))[0])
    return best - policy_return(game, policy, agent_rewards(game))


def on_target(target: np.ndarray, amount: np.ndarray, num_actions: int) -> np.ndarray:
    """Pay ``amount[h, s]`` for the target action and nothing for the others."""
    transfer = np.zeros((*target.shape, num_actions))
    for h, s in np.ndindex(target.shape):
        transfer[h, s, target[h, s]] = amount[h, s]
    return transfer


def along(policy: np.ndarray, array: np.ndarray) -> np.ndarray:
    """``array[h, s, policy[h, s]]``, [H, S]."""
    chosen = np.zeros(policy.shape)
    for h, s in np.ndindex(policy.shape):
        chosen[h, s] = array[h, s, policy[h, s]]
    return chosen


def implementation_gap(game: NumpyGame, target: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    """(T4) What the agent loses at (h, s) by its best step off the target, [H, S]."""
    _, q_values = backward_induction(game, agent_rewards(game, transfer))
    gap = np.zeros(target.shape)
    for h, s in np.ndindex(target.shape):
        rest = [q for a, q in enumerate(q_values[h, s]) if a != target[h, s]]
        gap[h, s] = q_values[h, s, target[h, s]] - max(rest, default=-np.inf)
    return gap


def safe_margin(horizon: int, width: float, margin: float) -> np.ndarray:
    """(T4) ``gamma + w (H-1-h)``, [H]."""
    return np.array([margin + width * (horizon - 1 - h) for h in range(horizon)])


def oscillation(error: np.ndarray) -> float:
    """(T4) ``sum_h osc(e_h)``, the spread of each step taken over (s, a)."""
    return float(sum(step.max() - step.min() for step in error))


# Coarse contracts


@dataclass(frozen=True)
class NumpyCoarse:
    """A coarse contract, the action it pays for at each (h, s), and its best-response welfare."""

    transfer: np.ndarray  # [H, S, A]
    target: np.ndarray  # [H, S]
    welfare: float


def flat_contract(game: NumpyGame, amounts: Iterable[float]) -> NumpyCoarse:
    """The best of: one amount for one action, the same at every (h, s)."""
    found = None
    for a, amount in itertools.product(range(game.num_actions), amounts):
        target = np.full(game.shape[:2], a)
        transfer = on_target(target, np.full(target.shape, amount), game.num_actions)
        welfare = best_response_welfare(game, transfer)
        if found is None or welfare > found.welfare:
            found = NumpyCoarse(transfer, target, welfare)
    return found


def quantised_charge(tau: np.ndarray, levels: int, margin: float) -> np.ndarray:
    """tau* raised to the first of a few levels that leaves the margin; 0 where tau* is 0."""
    ladder = np.linspace(0.0, tau.max() + margin, levels)
    charge = np.zeros(tau.shape)
    for cell in np.ndindex(tau.shape):
        if tau[cell] > 0.0:
            charge[cell] = min(level for level in ladder if level >= tau[cell] + margin)
    return charge


def quantised_contract(game: NumpyGame, levels: int, margin: float = 0.02) -> NumpyCoarse:
    """(T3) Plan on ``v - charge``, post the charge on the plan."""
    charge = quantised_charge(minimal_transfers(game), levels, margin)
    target = greedy(backward_induction(game, principal_rewards(game) - charge)[1])
    transfer = on_target(target, along(target, charge), game.num_actions)
    return NumpyCoarse(transfer, target, best_response_welfare(game, transfer))


# Sizes and rounding


@dataclass(frozen=True)
class Shape:
    """Sizes of a random game; ``stationary`` for the kernel, u and v, in this order."""

    num_states: int
    num_actions: int
    num_own_actions: int
    horizon: int
    stationary: tuple[bool, bool, bool] = (True, True, True)


def rounding(sizes: NumpyGame | Shape, reward_bound: float) -> float:
    """How far two float64 evaluations of one backward (or forward) recursion may differ.

    A step is S products, S additions and the rounding of a kernel row's own total: relative error
    at most (S + 2) eps, plus eps for a difference taken afterwards. H steps add up, each on a value
    of at most H * reward_bound; two evaluations double it, and second-order terms and a kernel
    that was normalised again are covered by doubling once more.
    """
    largest_value = sizes.horizon * reward_bound
    return 4 * sizes.horizon * (sizes.num_states + 3) * EPSILON * largest_value


# Games


def pollution() -> NumpyGame:
    """THEORY.md, section 5: states clean, hazy, polluted; actions clean, dirty, very dirty."""
    transition = [
        [[0.95, 0.05, 0.00], [0.70, 0.28, 0.02], [0.35, 0.45, 0.20]],
        [[0.65, 0.33, 0.02], [0.15, 0.45, 0.40], [0.05, 0.25, 0.70]],
        [[0.15, 0.60, 0.25], [0.02, 0.18, 0.80], [0.00, 0.05, 0.95]],
    ]
    agent_reward = [[0.35, 0.75, 0.80], [0.25, 0.70, 0.80], [0.10, 0.55, 0.70]]
    principal_reward = [[0.90, 0.85, 0.50], [0.65, 0.45, 0.20], [0.25, 0.10, 0.00]]
    return stationary_game(transition, agent_reward, principal_reward, [0.5, 0.3, 0.2], 5)


def bandit() -> NumpyGame:
    """THEORY.md, section 5: one state, one step, five actions."""
    agent_reward = [[0.2, 0.35, 0.5, 0.65, 0.8]]
    principal_reward = [[0.55, 0.9, 0.5, 0.3, 0.1]]
    return stationary_game([[[1.0]] * 5], agent_reward, principal_reward, [1.0], 1)


def stationary_game(transition, agent_reward, principal_reward, initial, horizon) -> NumpyGame:
    """A game with one kernel [S, A, S'] and rewards [S, A] for all steps, B = 1."""
    return NumpyGame(
        transition=np.array(transition, dtype=float)[None],
        agent_reward=np.array(agent_reward, dtype=float)[None],
        principal_reward=np.array(principal_reward, dtype=float)[None, :, :, None],
        initial=np.array(initial, dtype=float),
        horizon=horizon,
    )


def random_shape(rng: np.random.Generator) -> Shape:
    """S 1..5, A 2..4, B 1..2, H 1..6."""
    sizes = (int(rng.integers(low, high + 1)) for low, high in ((1, 5), (2, 4), (1, 2), (1, 6)))
    return Shape(*sizes, stationary=tuple(bool(flag) for flag in rng.integers(2, size=3)))


def random_rows(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Probability rows: full, with about half of the entries zero, or one entry only."""
    kind = rng.choice(["full", "sparse", "deterministic"], p=[0.5, 0.25, 0.25])
    weights = rng.exponential(size=shape)
    if kind != "full":
        dropped = rng.uniform(size=shape) < (0.5 if kind == "sparse" else 1.0)
        kept = rng.integers(shape[-1], size=shape[:-1])[..., None] == np.arange(shape[-1])
        weights = np.where(dropped & ~kept, 0.0, weights)
    return weights / weights.sum(axis=-1, keepdims=True)


def random_game(rng: np.random.Generator, shape: Shape | None = None) -> NumpyGame:
    """Uniform, or mostly small, or mostly large rewards; kernels of `random_rows`."""
    shape = random_shape(rng) if shape is None else shape
    steps = [1 if flag else shape.horizon for flag in shape.stationary]
    cells = (shape.num_states, shape.num_actions)
    power = rng.choice([1.0, 3.0, 1 / 3], size=2)
    return NumpyGame(
        transition=random_rows(rng, (steps[0], *cells, shape.num_states)),
        agent_reward=rng.uniform(size=(steps[1], *cells)) ** power[0],
        principal_reward=rng.uniform(size=(steps[2], *cells, shape.num_own_actions)) ** power[1],
        initial=random_rows(rng, (shape.num_states,)),
        horizon=shape.horizon,
    )


def random_policy(rng: np.random.Generator, game: NumpyGame) -> np.ndarray:
    """A deterministic policy, uniform over all of them."""
    return rng.integers(game.num_actions, size=game.shape[:2])
