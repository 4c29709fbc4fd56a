"""The agent that knows the game: an exact best response to every contract, with exploration."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes, planning
from pajax._pytree import axes, pytree
from pajax.agents.base import epsilon_greedy
from pajax.game import Game
from pajax.protocols import Contract, Episode, Spec
from pajax.schedules import Schedule, value_at


class State(NamedTuple):
    """The plan under the current contract."""

    q_values: Array  # flat [H * S * A, ...], Q_c
    epsilon: Array  # [...], this stage's exploration rate
    episodes: Array  # [...], done so far


@pytree
class BestResponse:
    """Plays argmax_a Q_c[h, s, a] of its own game; an oracle, it takes the game.

    With probability epsilon the action is uniform. Ties go to the lowest action.

    Attributes:
      game: which it plays, and knows.
      epsilon: a number or a schedule over episodes, read when a stage begins. A constant one costs
        linear regret (T9).
    """

    game: Game
    epsilon: Schedule = axes(low=0.0, high=1.0, default=0.0)

    num_words = 1

    def init(self, spec: Spec) -> State:
        """Plans are made in `begin`."""
        return State(lanes.flat(spec.per_action()), spec.zeros(), spec.zeros())

    def begin(self, state: State, contract: Contract) -> State:
        """Plans against the contract."""
        plan = planning.agent_values(self.game, contract.transfer)
        epsilon = value_at(self.epsilon, state.episodes)
        epsilon = jnp.broadcast_to(epsilon, state.epsilon.shape)
        return state._replace(q_values=lanes.flat(plan.q_values), epsilon=epsilon)

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, None]:
        """Epsilon-greedy on the plan."""
        values = lanes.row(state.q_values, h, s, (self.game.num_states, self.game.num_actions))
        return epsilon_greedy(values, state.epsilon, words[0])[0], None

    def update(self, state: State, episode: Episode, memo: None) -> State:
        """Learns nothing; counts the episode."""
        return state._replace(episodes=state.episodes + 1.0)
