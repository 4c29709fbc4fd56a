"""Neural Q-learning: action values from a network with one hidden layer.

With x(s) the features of a state and one vector of weights for each step,

    z[h, s] = max(0, W[h] + sum_f x(s)[f] U[f]),    net[h, s, a] = c[a] + sum_d z[h, s][d] V[d, a].

The network learns what is not announced. An agent that is aware of its contract acts on
Q[h, s, a] = net[h, s, a] + transfer[h, s, a], a blind one on Q = net. After an episode it takes one
step of an optax optimiser along the semi-gradient (the goals are held constant) of

    1 / (2 H) sum_h (goal[h] - net[h, s_h, a_h])^2,
    goal[h] = u[h] (+ payment[h] if blind) + max_a Q[h+1, s_{h+1}, a], all by the weights before it.

This is Q-learning (Watkins, 1989) as Mnih et al. (2015) fit it, with neither replay nor a second
network: an episode is a batch of H. Cells share weights, so nothing is promised, and too high a
learning rate spoils it (optax.sgd at 0.5 in pollution: regret grows with the exponent 1.03).

Measured alone (no transfers, K = 1e5, 32 seeds; 8 seeds each of 8 Garnets), agent regret grows with
the exponent 0.35 in the bandit, 0.47 in pollution, 0.38 in Garnet. After 2e4 episodes without
transfers and then 5e4 under the oracle's contract (16 seeds), regret under that contract grows with
the exponent 0.46 (bandit) and 0.51 (pollution) if aware, 0.24 and 0.26 if blind: weights that move
at a constant rate do not freeze.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from pajax import draws, gradients, lanes
from pajax._pytree import axes, pytree, static
from pajax.agents.base import epsilon_greedy, next_values
from pajax.protocols import Contract, Episode, Spec
from pajax.schedules import PowerSchedule, Schedule, value_at


def _default_epsilon() -> PowerSchedule:
    return PowerSchedule(scale=3.0, exponent=0.5)


class Network(NamedTuple):
    """Weights of D hidden units."""

    step: Array  # [H, D, ...], W
    feature: Array  # [F, D, ...], U
    output: Array  # [D, A, ...], V
    bias: Array  # [A, ...], c


class State(NamedTuple):
    """The network, and what is known of the stage."""

    network: Network
    optimiser: Any  # of the network
    transfer: Array  # flat [H * S * A, ...], the contract known last
    epsilon: Array  # [...], this stage's exploration rate
    episodes: Array  # [...], done so far


class Memo(NamedTuple):
    """What the gradient at (h, s, a) needs."""

    hidden: Array  # [D, ...], z[h, s]
    value: Array  # [...], net[h, s, a]
    best: Array  # [...], max_a Q[h, s, a]


@pytree
class NeuralQ:
    """Epsilon-greedy on the values of a small network (see `pajax.agents.neural_q`).

    Source: Q-learning (Watkins, 1989) as Mnih et al. (2015) fit it, without replay.

    The first weights are uniform, within +-1 / sqrt(F + 1) into the hidden layer and +-1 / sqrt(D)
    out of it; c is 0. An agent has no key of its own when it starts: the weights come from `seed`
    alone, so that all seeds of a study begin with the same network, and differ in what happens.

    Attributes:
      learning_rate: handed to `optimiser`; a leaf, so that a sweep compiles once.
      epsilon: exploration rate, a number or a schedule over episodes, read when a stage begins; by
        default 3 / (k + 1)^(1/2), since a constant rate costs linear regret (T9).
      features: x, [S, F, ...]; by default one feature for each state, 1 there and 0 elsewhere.
      seed: of the first weights, a whole number of at least 0.
      hidden_size: D.
      optimiser: makes an optax optimiser from the learning rate; part of the program. It is applied
        pair by pair.
      memory: "aware" or "blind" of the contract. There is no restart: weights belong to no (h, s).
    """

    learning_rate: float | Array = axes(low=0.0, default=0.001)
    epsilon: Schedule = axes(low=0.0, high=1.0, default_factory=_default_epsilon)
    features: Any = axes("s", "f", default=None)
    seed: int | Array = axes(low=0, default=0)
    hidden_size: int = static(default=32)
    optimiser: gradients.Optimiser = static(default=optax.adam)
    memory: str = static(default="aware", choices=("aware", "blind"))

    num_words = 1

    def init(self, spec: Spec) -> State:
        """Random weights."""
        num_features = spec.num_states if self.features is None else self.features.shape[1]
        inward, outward = (num_features + 1) ** -0.5, self.hidden_size**-0.5
        network = Network(
            step=inward * self._random(spec, 0, spec.horizon, self.hidden_size),
            feature=inward * self._random(spec, 1, num_features, self.hidden_size),
            output=outward * self._random(spec, 2, self.hidden_size, spec.num_actions),
            bias=spec.zeros(spec.num_actions),
        )
        optimiser = gradients.start(self.optimiser, self.learning_rate, network, len(spec.lanes))
        none = lanes.flat(spec.per_action())
        return State(network, optimiser, none, spec.zeros(), spec.zeros())

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract, and of the exploration rate."""
        epsilon = jnp.broadcast_to(value_at(self.epsilon, state.episodes), state.epsilon.shape)
        return state._replace(transfer=lanes.flat(contract.transfer), epsilon=epsilon)

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, Memo]:
        """Epsilon-greedy; ties go to the lowest action."""
        network = state.network
        inward = lanes.total(lanes.product(self._features(state, s)[:, None], network.feature))
        hidden = lanes.once(jnp.maximum(lanes.at_step(network.step, h) + inward, 0.0))
        values = network.bias + lanes.total(lanes.product(hidden[:, None], network.output))
        q_values = values
        if self.memory == "aware":
            q_values = values + lanes.row(state.transfer, h, s, _sizes(state))
        a, best = epsilon_greedy(q_values, state.epsilon, words[0])
        return a, Memo(hidden, lanes.lookup(values, a), best)

    def update(self, state: State, episode: Episode, memo: Memo) -> State:
        """One step of the optimiser."""
        goal = episode.rewards + next_values(memo.best)
        if self.memory == "blind":
            goal = goal + episode.payments
        error = lanes.once((memo.value - goal) / goal.shape[0])
        network, optimiser = gradients.descend(
            self.optimiser,
            self.learning_rate,
            self._gradient(state, episode, memo, error),
            state.optimiser,
            state.network,
            num_lane_axes=error.ndim - 1,
        )
        done = state.episodes + 1.0
        return state._replace(network=network, optimiser=optimiser, episodes=done)

    def _gradient(self, state: State, episode: Episode, memo: Memo, error: Array) -> Network:
        """The gradient of sum_h error[h] net[h, s_h, a_h], error [H, ...] held constant."""
        played = lanes.one_hot(episode.actions, _sizes(state)[1], 1)
        outward = lanes.once(jnp.where(played, error[:, None], 0.0))  # [H, A, ...]
        back = lanes.total(lanes.product(outward[:, None], state.network.output[None]), 2)
        inward = lanes.once(jnp.where(memo.hidden > 0.0, back, 0.0))  # [H, D, ...]
        features = self._features(state, episode.states)  # [F, H, ...]
        of_feature = lanes.product(features[:, :, None], inward[None])
        of_output = lanes.product(memo.hidden[:, :, None], outward[:, None])
        return Network(
            step=inward,
            feature=lanes.total(of_feature, 1),
            output=lanes.total(of_output),
            bias=lanes.total(outward),
        )

    def _features(self, state: State, s: Array) -> Array:
        """x(s): s [...] or [H, ...] -> [F, ...] or [F, H, ...]."""
        if self.features is None:
            return lanes.one_hot(s, _sizes(state)[0], 0).astype(state.epsilon.dtype)
        table = jnp.moveaxis(self.features, 0, 1)  # [F, S, ...]
        steps = (1,) * (s.ndim - state.epsilon.ndim)
        table = table.reshape((*table.shape[:2], *steps, *table.shape[2:]))
        return lanes.lookup(table, s, 1)

    def _random(self, spec: Spec, layer: int, *sizes: int) -> Array:
        """Numbers in [-1, 1) for a layer, [*sizes, ...]."""
        number = jnp.arange(sizes[0] * sizes[1], dtype=jnp.uint32)
        number = number.reshape(sizes + (1,) * len(spec.lanes))
        key = (jnp.asarray(self.seed).astype(jnp.uint32), jnp.uint32(layer))
        word, _ = draws.threefry2x32(key, (number, jnp.zeros_like(number)))
        return 2.0 * draws.uniform(word) - 1.0 + spec.zeros(*sizes)


def _sizes(state: State) -> tuple[int, int]:
    """S and A."""
    horizon, num_actions = state.network.step.shape[0], state.network.bias.shape[0]
    return state.transfer.shape[0] // (horizon * num_actions), num_actions
