"""An epsilon-greedy principal that infers the agent's rewards from its choices.

Source: Dogan, Shen and Aswani, *Repeated Principal-Agent Games with Unobserved Agent Rewards and
Perfect-Knowledge Agents*, 2023, arXiv:2304.07407 (regret of order sqrt(T), up to a logarithm), and
*Estimating and Incentivizing Imperfect-Knowledge Agents with Hidden Rewards*, 2023,
arXiv:2308.06717, for agents that learn.

With s the agent's mean rewards, the choice of i when x is posted says

    s_j - s_i <= x_i - x_j    for every j.

The principal keeps D[i, j], the tightest such bound on s_j - s_i (H at first, 0 if i = j). What
makes the agent play a, with nothing posted on the others, is at most tau_hat[a] = max_j D[a, j].
With probability eps_t = min(1, m / sqrt(t)), t the rounds done, a stage explores: x uniform in
[0, H]^A, b uniform. Otherwise it posts tau_hat[a] + margin on the a of the largest
mean v(a, b) - tau_hat[a], with that b (ties to the lowest; 1 for the mean of what was never seen).

An agent that learns answers wrongly now and then, and answers contradict each other. Here the
answer of a stage is the action that it was played most (ties to the lowest), and the newest answer
wins: that i was chosen also says s_i - s_j >= x_j - x_i, and where D[j, i] says less, it is raised
to that. An agent of perfect knowledge never contradicts itself, and nothing changes for it. Where
the principal posts tau_hat[a] + margin in vain, the rule raises tau_hat[a] by the margin, stage by
stage, until the agent follows: the margin is a step of repair, and must not be 0 for learners.

The papers were known here by their abstracts. Chosen here: eps_t and its m = A; the law of x; the
margin; the newest answer instead of an estimate from all of them; the first stage, which posts
nothing, for want of a random word.

Measured on the default bandit, 20 seeds, against best responses, UCBVI and Q-learning: the last
tenth of K = 1e5 episodes earns 99.6, 99.6 and 99.4 % of W*, and the regret of whole runs grows like
K^0.47, K^0.50 and K^0.47 from K = 3e3 to 1e5. If the tightest bound is kept whatever contradicts
it, the two learners leave it at 72 %, what laissez-faire earns; if the newest answer wins but the
margin is 0, at 78 and 85 %. In the pollution game it earns 86 to 87 % (K = 3e4).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import draws, lanes
from pajax._pytree import axes, pytree, static
from pajax.mechanisms import stateless
from pajax.mechanisms.own_actions import OwnRewards
from pajax.mechanisms.stateless import Offer, Stateless
from pajax.protocols import Contract, Report, Spec, Stage


class State(NamedTuple):
    """What choices have told, and what has been seen."""

    largest: Array  # H, a bound on any difference of rewards
    exploration: Array  # m
    bounds: Array  # D, [A, A, ...]
    rounds: Array  # [...], t
    is_exploring: Array  # bool [...], in the stage under way
    seen: OwnRewards
    contract: Contract


@pytree
class EpsilonGreedyPrincipal(Stateless):
    """Explores with random transfers, else pays for the best arm it knows of.

    Source: Dogan, Shen and Aswani, 2023, arXiv:2304.07407 and arXiv:2308.06717 (see
    `pajax.mechanisms.epsilon_greedy`).

    Attributes:
      exploration: m, in eps_t = min(1, m / sqrt(t)); None means A.
      margin: reward units, posted above tau_hat.
      adapting_until: share of the K episodes with short stages (see `pajax.protocols.Mechanism`).
    """

    exploration: float | Array | None = axes(low=0.0, default=None)
    margin: float | Array = axes(low=0.0, default=0.1)
    adapting_until: float = static(default=1.0)

    def init(self, spec: Spec) -> State:
        """Nothing told; a first stage with nothing posted."""
        num_actions, largest = spec.num_actions, float(spec.horizon)
        is_same = jnp.eye(num_actions, dtype=bool)
        is_same = is_same.reshape(is_same.shape + (1,) * len(spec.lanes))
        scale = num_actions if self.exploration is None else self.exploration
        return State(
            largest=jnp.asarray(largest),
            exploration=jnp.asarray(scale, float),
            bounds=spec.zeros(num_actions, num_actions) + jnp.where(is_same, 0.0, largest),
            rounds=spec.zeros(),
            is_exploring=spec.zeros() == 0.0,
            seen=stateless.nothing_seen(spec),
            contract=stateless.no_contract(spec),
        )

    def observe(self, state: State, stage: Stage) -> State:
        """Learns from the agent's choice, and draws whether to explore."""
        plays = stateless.plays(stage)
        choice, _ = lanes.argmax(plays)
        offered = state.contract.transfer[0, 0]
        rounds = state.rounds + lanes.total(plays)
        num_actions, num_own_actions = state.seen.sums.shape[2:4]
        words, _ = draws.expand(stage.words, 0, (num_actions + 2,))
        coin, own, *transfer = lanes.slices(lanes.once(draws.uniform(words)))
        state = state._replace(
            bounds=_told(state.bounds, choice, offered),
            rounds=rounds,
            is_exploring=coin * jnp.sqrt(rounds) < state.exploration,
        )
        explored = Offer(
            transfer=state.largest * jnp.stack(transfer),
            own_action=(own * num_own_actions).astype(jnp.int32),
            target=jnp.full_like(choice, -1),
        )
        offer = lanes.where_lane(state.is_exploring, explored, self._best(state))
        return state._replace(contract=stateless.everywhere(offer, state.contract))

    def report(self, state: State) -> Report:
        """tau_hat; resolved where a choice has told something; estimating while it explores."""
        shape, tau_hat = state.contract.transfer.shape, lanes.maximum(state.bounds, 1)
        return Report(
            is_estimating=state.is_exploring,
            transfer=jnp.broadcast_to(tau_hat, shape),
            is_resolved=jnp.broadcast_to(tau_hat < state.largest, shape),
        )

    def _best(self, state: State) -> Offer:
        """The arm with the best estimate, and what makes the agent play it."""
        tau_hat = lanes.maximum(state.bounds, 1)
        mean, own_action = stateless.optimistic(state.seen, 0.0, jnp.asarray(0.0))
        arm, _ = lanes.argmax(mean - tau_hat)
        paid = stateless.on_action(arm, tau_hat + self.margin, len(tau_hat))
        return Offer(paid, lanes.lookup(own_action, arm), arm)


def _told(bounds: Array, choice: Array, offered: Array) -> Array:
    """D after the agent chose an action, int32 [...], when [A, ...] was offered."""
    told = lanes.lookup(offered, choice) - offered  # no less than s_j - s_choice
    is_choice = lanes.one_hot(choice, len(offered), 0)
    bounds = jnp.where(is_choice[:, None], jnp.minimum(bounds, told), bounds)
    return jnp.where(is_choice, jnp.maximum(bounds, -told[:, None]), bounds)
