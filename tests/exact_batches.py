"""1,000 random games in eight shapes, for the oracle (one by one) and for pajax (as lanes).

Eight shapes mean eight compilations. What pajax computes on a batch is computed once, in one
jitted call, and shared by the tests. Nothing here runs at import, so a test module's 64-bit mode is
on by then.
"""

import functools

import jax
import numpy as np
from oracles import exact
from oracles.exact import NumpyGame, Shape

import pajax as px

GAMES_PER_SHAPE = 125
NONE_STATIONARY = (False, False, False)
SHAPES = (
    Shape(1, 2, 1, 1),
    Shape(1, 4, 2, 3, NONE_STATIONARY),
    Shape(2, 2, 2, 6),
    Shape(3, 3, 1, 5),
    Shape(3, 3, 2, 4, NONE_STATIONARY),
    Shape(4, 4, 1, 2, (False, True, True)),
    Shape(5, 2, 1, 6, NONE_STATIONARY),
    Shape(5, 3, 2, 5, (True, False, True)),
)
NAMES = [f"S{z.num_states}A{z.num_actions}B{z.num_own_actions}H{z.horizon}" for z in SHAPES]


def to_pajax(game: NumpyGame, **options) -> "px.Game":
    """The same game through `px.make_game`, a stationary array without its step axis.

    Rank 3 of a principal reward means [S, A, B], so for v the step axis goes with B kept.
    """

    def drop(array):
        return array[0] if array.shape[0] == 1 else array

    return px.make_game(
        transition=drop(game.transition),
        agent_reward=drop(game.agent_reward),
        principal_reward=drop(game.principal_reward),
        initial=game.initial,
        horizon=game.horizon,
        **options,
    )


def lanes_last(arrays) -> np.ndarray:
    """One array a game, stacked on a trailing lane axis."""
    return np.stack([np.asarray(array) for array in arrays], axis=-1)


@functools.cache
def oracle_games(shape: Shape) -> list[NumpyGame]:
    rng = np.random.default_rng([2601, 3451, SHAPES.index(shape)])
    return [exact.random_game(rng, shape) for _ in range(GAMES_PER_SHAPE)]


@functools.cache
def oracle_policies(shape: Shape) -> list[np.ndarray]:
    rng = np.random.default_rng([1, SHAPES.index(shape)])
    return [exact.random_policy(rng, game).astype(np.int32) for game in oracle_games(shape)]


@functools.cache
def oracle_transfers(shape: Shape) -> list[np.ndarray]:
    """Random contracts in [0, 1], about half of the entries zero."""
    rng = np.random.default_rng([2, SHAPES.index(shape)])
    drawn = [rng.uniform(-1.0, 1.0, size=game.shape) for game in oracle_games(shape)]
    return [np.maximum(transfer, 0.0) for transfer in drawn]


@functools.cache
def pajax_games(shape: Shape) -> "px.Game":
    return px.stack_games([to_pajax(game) for game in oracle_games(shape)])


def analyse(game, policy, transfer) -> dict:
    """Everything exact that pajax says of a game, a policy and a contract."""
    plan, coin = px.planning, px.transfers
    selfish = plan.agent_values(game)
    paid = plan.agent_values(game, transfer)
    welfare = plan.welfare_values(game)
    response = plan.best_response(game, transfer)
    tau = coin.minimal_transfers(game)
    welfare_reward, agent_reward = plan.welfare_reward(game), game.agent_reward
    net = welfare_reward - agent_reward - tau  # max_b v - tau*
    return {
        "values": selfish.values,
        "q_values": selfish.q_values,
        "paid_values": paid.values,
        "paid_q_values": paid.q_values,
        "welfare_values": welfare.values,
        "welfare_q_values": welfare.q_values,
        "welfare_reward": welfare_reward,
        "optimal_welfare": plan.expected(game, welfare.values),
        "best_response": response,
        "greedy": plan.greedy(paid.q_values),
        "policy_values": plan.policy_values(game, policy, agent_reward),
        "policy_transfer_values": plan.policy_values(game, policy, transfer),
        "policy_tau_values": plan.policy_values(game, policy, tau),
        "policy_net_values": plan.policy_values(game, policy, net),
        "policy_welfare": plan.policy_welfare(game, policy),
        "response_welfare": plan.policy_welfare(game, response),
        "occupancy": plan.occupancy(game, policy),
        "tau": tau,
        "coase": coin.coase_value(game),
        "minimal_payment": coin.minimal_payment(game, policy),
        "response_minimal_payment": coin.minimal_payment(game, response),
        "response_paid_values": plan.policy_values(game, response, transfer),
        "gap": coin.implementation_gap(game, policy, transfer),
    }


def analysis_inputs(shape: Shape) -> tuple:
    policies, transfers = oracle_policies(shape), oracle_transfers(shape)
    return pajax_games(shape), lanes_last(policies), lanes_last(transfers)


@functools.cache
def pajax_analysis(shape: Shape) -> dict[str, np.ndarray]:
    """`analyse` on the lanes of a shape, as NumPy arrays with the lane axis last."""
    found = jax.jit(analyse)(*analysis_inputs(shape))
    return {name: np.asarray(array) for name, array in found.items()}


def oracle_lanes(shape: Shape, quantity) -> np.ndarray:
    """``quantity(game, policy, transfer)`` of every game of a shape, the lane axis last."""
    lanes = zip(oracle_games(shape), oracle_policies(shape), oracle_transfers(shape), strict=True)
    return lanes_last(quantity(*lane) for lane in lanes)
