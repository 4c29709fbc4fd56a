"""Exp3: exponential weights for exploration and exploitation, at every (h, s).

Auer, Cesa-Bianchi, Freund and Schapire (2002) play a bandit with arbitrary rewards by exponential
weights on importance-weighted estimates. In a game each (h, s) is such a bandit: its reward is the
return G[h] = sum of (u + payment) from step h on, which also depends on what is learned later, so
that nothing is promised when H > 1. With B[h] the largest return possible under the contract,

    L[h, s, a] += (B[h] - G[h]) / p(a)    for the action played, which had probability p(a),
    p = softmax(-eta_n L[h, s, :] / B[h]),    eta_n = rate sqrt(log A / (n A)) at the n-th visit.

This is the form with losses, a rate for every horizon, and no uniform exploration mixed in (Bubeck
and Cesa-Bianchi, 2012, theorem 3.1): with one step, regret is at most 2 sqrt(K A log A). What Auer
et al. publish has gains, and mixes in a constant share gamma of uniform play, tuned to a known K;
kept constant, it would cost linear regret (T9).

Measured alone (no transfers, K = 1e5, 32 seeds; 8 seeds each of 8 Garnets), agent regret grows with
the exponent 0.14 in the bandit, 0.47 in pollution, 0.42 in Garnet: without transfers it does
converge, slowly at first. It does not keep to (A1) when a contract comes late: after 2e4 episodes
without transfers and then 5e4 under the oracle's contract (16 seeds, pollution), regret under that
contract grows with the exponents 0.87, 0.67, 0.90 if aware, restarting, blind, at 0.09, 0.12, 0.26
an episode in the end.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax._pytree import axes, pytree, static
from pajax.agents.base import MEMORIES, changed, returns_to_go, softmax_draw, value_bound
from pajax.protocols import Contract, Episode, Spec


class State(NamedTuple):
    """Estimated losses, and what scales them."""

    losses: Array  # flat [H * S * A, ...], L, in reward units
    visits: Array  # flat [H * S, ...], n - 1
    transfer: Array  # [H, S, A, ...], the contract known last
    bound: Array  # [H, ...], B


@pytree
class Exp3:
    """An instance of Exp3 at every (h, s), fed with returns (see `pajax.agents.exp3`).

    Source: Auer, Cesa-Bianchi, Freund and Schapire, 2002, in the form of Bubeck and Cesa-Bianchi,
    2012.

    Attributes:
      learning_rate: factor of the learning rate eta_n; 1 is that of the theorem.
      memory: "aware" takes a change of the transfer of a off its losses, (n - 1) times: what a
        would have lost less in the visits so far, in the mean. "restarting" and "blind" as in
        `pajax.agents.base`.
    """

    learning_rate: float | Array = axes(low=0.0, default=1.0)
    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 1

    def init(self, spec: Spec) -> State:
        """No losses."""
        none = spec.per_action()
        visits = lanes.flat(none[:, :, 0], 2)
        return State(lanes.flat(none), visits, none, spec.zeros(spec.horizon))

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract, and of the returns that it allows."""
        losses, visits, transfer = state.losses, state.visits, contract.transfer
        if self.memory == "aware":
            times = visits.reshape((*transfer.shape[:2], 1, *transfer.shape[3:]))
            losses = losses - lanes.flat(lanes.product(times, transfer - state.transfer))
        elif self.memory == "restarting":
            forget = changed(state.transfer, transfer)
            visits = jnp.where(lanes.flat(forget), 0.0, visits)
            losses = jnp.where(lanes.flat(jnp.broadcast_to(forget, transfer.shape)), 0.0, losses)
        return State(losses, visits, transfer, value_bound(transfer))

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, Array]:
        """Draws from the exponential weights; the memo is the probability of the action."""
        states, actions = state.transfer.shape[1:3]
        losses = lanes.row(state.losses, h, s, (states, actions))
        visit = lanes.row(state.visits, h, s, (states, 1))[0] + 1.0
        scale = jnp.log(jnp.asarray(float(actions))) / actions
        rate = self.learning_rate * jnp.sqrt(scale / visit) / lanes.at_step(state.bound, h)
        a, law = softmax_draw(lanes.product(-rate, losses), words[0])
        return a, lanes.lookup(law, a)

    def update(self, state: State, episode: Episode, memo: Array) -> State:
        """Adds the losses of the whole episode."""
        states, actions = state.transfer.shape[1:3]
        returns = returns_to_go(episode.rewards + episode.payments)
        loss = lanes.once((state.bound - returns) / memo)
        cell = lanes.cells((states, actions), episode.states, episode.actions)
        pair = lanes.cells((states,), episode.states)
        return state._replace(
            losses=lanes.add(state.losses, cell, loss),
            visits=lanes.add(state.visits, pair, jnp.ones_like(loss)),
        )
