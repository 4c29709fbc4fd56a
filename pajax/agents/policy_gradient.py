"""Policy gradient: REINFORCE (Williams, 1992) on a table of softmax logits, with any optimiser.

The policy is pi(a | h, s) = softmax(theta[h, s, :])_a. After an episode with returns
G[h] = sum of (u + payment) from step h on,

    g[h, s_h, a] = (G[h] - b[h, s_h]) (1{a = a_h} - pi(a | h, s_h)),    0 elsewhere,

is an unbiased estimate of the gradient of the expected return for any baseline b that the episode
has not touched (Sutton, McAllester, Singh and Mansour, 2000). An optimiser of optax takes one step
along g, and the baseline moves a little towards G.

An agent that is aware of its contract need not sample what it is paid at (h, s). With x the
transfers posted there it leaves x[a_h] out of G, so that b is about the rest, and adds

    sum_a' pi(a') x[a'] (1{a = a'} - pi(a)) = pi(a) (x[a] - sum_a' pi(a') x[a']),

the mean of what it left out: the same expectation, with less noise. Payments of later steps stay
in G.

Measured alone (no transfers, K = 1e5, 32 seeds; 8 seeds each of 8 Garnets), agent regret grows with
the exponent 0.09 in the bandit, 0.30 in pollution, 0.20 in Garnet. But a policy that is sure of
itself has hardly a gradient left, whatever it is offered: after 2e4 episodes without transfers and
then 5e4 under the oracle's contract (16 seeds), regret under that contract grows with the exponent
1.02 (bandit) and 0.97 (pollution) if aware, 1.02 and 0.98 if blind, which violates (A1); with 0.08
and 0.21 if restarting, which is therefore the default.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pajax import gradients, lanes
from pajax._pytree import axes, pytree, static
from pajax.agents.base import MEMORIES, changed, returns_to_go, softmax_draw
from pajax.protocols import Contract, Episode, Spec


class State(NamedTuple):
    """The policy, what it is compared with, and what is known of the contract."""

    logits: Array  # flat [H * S * A, ...], theta
    optimiser: Any  # of the logits
    baseline: Array  # flat [H * S, ...], b
    transfer: Array  # [H, S, A, ...], the contract known last


class Memo(NamedTuple):
    """What the gradient at (h, s) needs."""

    policy: Array  # [A, ...], pi(. | h, s)
    baseline: Array  # [...], b[h, s]
    gain: Array  # [A, ...], pi(a) (x[a] - sum pi x); 0 unless aware


@pytree
class PolicyGradient:
    """One step of stochastic gradient ascent on theta after each episode, from theta = 0.

    Source: REINFORCE (Williams, 1992); `pajax.agents.policy_gradient` has the gradient.

    Attributes:
      learning_rate: handed to `optimiser`; a leaf, so that a sweep compiles once.
      optimiser: makes an optax optimiser from the learning rate, as `optax.sgd` and `optax.adam`
        do; part of the program. It is applied pair by pair, to the whole table after each episode.
      baseline_rate: share by which b[h, s] moves towards a return, from 0.
      memory: "restarting" takes payments for rewards, and where transfers change at (h, s) it sets
        the logits, the baseline and the optimiser's moments back (not its count of steps); "blind"
        forgets nothing; "aware" does not either, and knows its payments as told there.
    """

    learning_rate: float | Array = axes(low=0.0, default=0.1)
    baseline_rate: float | Array = axes(low=0.0, high=1.0, default=0.1)
    optimiser: gradients.Optimiser = static(default=optax.sgd)
    memory: str = static(default="restarting", choices=MEMORIES)

    num_words = 1

    def init(self, spec: Spec) -> State:
        """The uniform policy."""
        none = spec.per_action()
        logits = lanes.flat(none)
        optimiser = gradients.start(self.optimiser, self.learning_rate, logits, len(spec.lanes))
        return State(logits, optimiser, lanes.flat(none[:, :, 0], 2), none)

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract."""
        if self.memory == "restarting":
            state = self._restart(state, changed(state.transfer, contract.transfer))
        return state._replace(transfer=contract.transfer)

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, Memo]:
        """Draws from the policy."""
        states, actions = state.transfer.shape[1:3]
        a, policy = softmax_draw(lanes.row(state.logits, h, s, (states, actions)), words[0])
        gain = jnp.zeros_like(policy)
        if self.memory == "aware":
            offered = lanes.lookup(lanes.at_step(state.transfer, h), s)
            mean = lanes.total(lanes.product(policy, offered))
            gain = lanes.product(policy, offered - mean)
        return a, Memo(policy, lanes.row(state.baseline, h, s, (states, 1))[0], gain)

    def update(self, state: State, episode: Episode, memo: Memo) -> State:
        """One step of the optimiser, and of the baseline."""
        states, actions = state.transfer.shape[1:3]
        returns = returns_to_go(episode.rewards + episode.payments)
        if self.memory == "aware":
            returns = returns - episode.payments
        surprise = lanes.once(returns - memo.baseline)
        played = lanes.one_hot(episode.actions, actions, 1).astype(surprise.dtype)
        ascent = lanes.product(surprise[:, None], played - memo.policy) + memo.gain
        here = lanes.one_hot(episode.states, states, 1)
        loss_gradient = jnp.where(here[:, :, None], lanes.once(-ascent)[:, None], 0.0)
        logits, optimiser = gradients.descend(
            self.optimiser,
            self.learning_rate,
            lanes.flat(loss_gradient),
            state.optimiser,
            state.logits,
            num_lane_axes=surprise.ndim - 1,
        )
        moved = memo.baseline + lanes.product(jnp.asarray(self.baseline_rate), surprise)
        pair = lanes.cells((states,), episode.states)
        baseline = lanes.write(state.baseline, pair, lanes.once(moved))
        return State(logits, optimiser, baseline, state.transfer)

    def _restart(self, state: State, forget: Array) -> State:
        """The state with (h, s) as it began where `forget`, bool [H, S, 1, ...]."""
        cells = lanes.flat(jnp.broadcast_to(forget, state.transfer.shape))
        logits = jnp.where(cells, 0.0, state.logits)
        fresh = gradients.start(self.optimiser, self.learning_rate, logits, forget.ndim - 3)

        def reset(old: Array, new: Array) -> Array:
            return jnp.where(cells, new, old) if old.shape == cells.shape else old

        optimiser = jax.tree.map(reset, state.optimiser, fresh)
        baseline = jnp.where(lanes.flat(forget), 0.0, state.baseline)
        return State(logits, optimiser, baseline, state.transfer)
