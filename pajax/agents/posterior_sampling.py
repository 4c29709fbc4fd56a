"""PSRL, posterior sampling for reinforcement learning (Osband, Russo and Van Roy, 2013).

What is known of the game is a posterior, with prior weight alpha of each successor and a uniform
prior of each mean reward,

    P[s, a, :] ~ Dirichlet(alpha + transitions[s, a, :]),
    u[s, a]    ~ Beta(1 + sum of rewards, 1 + sum of (1 - rewards)).

One model is drawn from it, planned in exactly, and the plan is played greedily: a policy is played
with the probability that it is the best one. The Beta posterior is exact for Bernoulli rewards;
others in [0, 1] count as fractions of a success: the right mean, and more spread than need be.

A model is drawn when a stage begins, and serves it throughout: this is *batched* posterior
sampling. A stage that begins after e episodes lasts 1 + e / 64 under a fixed contract, so that the
posterior in use knows all but 1/64 of what was played. Up to this staleness the expected regret is
that of a draw in every episode, for which the paper shows O~(H S sqrt(A T)) after T steps, over
games from the prior.

Measured in the pollution game without transfers (64 pairs): regret 153 +- 8 after 30,000 episodes,
growing with exponent 0.36 since 3,000; 124 +- 4 if no stage is longer than 8 episodes. The upper
tail is heavy: 5 of 1,024 pairs, unlucky with the first rewards of a good action, had paid four
times the median after 4,000 episodes, and went on until the posterior tried that action again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pajax import draws, lanes, model, planning
from pajax._pytree import axes, pytree, static
from pajax.agents import experience
from pajax.agents.base import MEMORIES, epsilon_greedy
from pajax.agents.experience import Experience
from pajax.protocols import Contract, Episode, Spec

_TRANSITIONS, _REWARDS = 0, 1  # what is drawn from one key


class State(NamedTuple):
    """What was seen, the plan made in the model drawn last, and the key of the next draw."""

    seen: Experience
    q_values: Array  # flat [H * S * A, ...]
    words: Array  # uint32 [2, ...], those of the last step played
    epsilon: Array  # [...], 1 in the first stage, which has no model, and 0 later
    episodes: Array  # [...], done so far


def draw_model(words: Array, known: model.Model, prior: Any) -> tuple[Array, Array]:
    """A model drawn from the posterior.

    Args:
      words: uint32 [2, ...], the key of the draw.
      known: counts [T, S, A, S', ...] and sums of rewards [T, S, A, ...], T either 1 or H.
      prior: weight alpha of each successor.

    Returns:
      Mean rewards [T, S, A, ...], and transition probabilities [T, S, A, S', ...].
    """
    failures = known.visits - known.rewards
    rewards = draws.beta(words, _REWARDS, 1.0 + known.rewards, 1.0 + failures)
    return rewards, draws.dirichlet(words, _TRANSITIONS, prior + known.transitions, axis=3)


@pytree
class PosteriorSampling:
    """Greedy on the exact plan in a model drawn from the posterior, anew when a stage begins.

    Source: PSRL (Osband, Russo and Van Roy, 2013); see `pajax.agents.posterior_sampling`.

    The key of a draw is the two words of the last step played before it. Before the first episode
    there are none: the first stage (one episode) is played uniformly at random.

    Attributes:
      prior: weight alpha of each successor in the Dirichlet prior, at least 0.1. A row of the
        prior weighs as much as alpha S visits: 1 is much where there are many states.
      stationary: one model for all steps; False keeps one for each step.
      memory: "aware" plans with the transfers posted; "restarting" and "blind" plan with the mean
        of the payments seen (see `pajax.agents.base`).
    """

    prior: float | Array = axes(low=0.1, default=1.0)
    stationary: bool = static(default=True)
    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 2

    def init(self, spec: Spec) -> State:
        """Nothing seen; plans are made in `begin`."""
        return State(
            seen=experience.empty(spec),
            q_values=lanes.flat(spec.per_action()),
            words=jnp.zeros((2, *spec.lanes), jnp.uint32),
            epsilon=spec.zeros(),
            episodes=spec.zeros(),
        )

    def begin(self, state: State, contract: Contract) -> State:
        """Takes note of the contract, draws a model and plans in it."""
        seen = experience.begin(state.seen, contract, self.memory)
        known = self._known(seen)
        rewards, kernel = draw_model(state.words, known.model, self.prior)
        paid = experience.expected_payment(known, self.memory)
        plan = planning.backward_induction(rewards + paid, kernel, contract.transfer.shape[0])
        return state._replace(
            seen=seen,
            q_values=lanes.flat(plan.q_values),
            epsilon=jnp.where(state.episodes > 0.0, 0.0, 1.0),
        )

    def _known(self, seen: Experience) -> Experience:
        """What was seen: of all steps together, with a time axis of 1, if stationary."""
        if not self.stationary:
            return seen
        pool = lambda table: lanes.total(table)[None]  # noqa: E731
        return seen._replace(model=jax.tree.map(pool, seen.model), payments=pool(seen.payments))

    def act(self, state: State, h: Array, s: Array, words: Array) -> tuple[Array, Array]:
        """Greedy on the plan, ties to the lowest action; uniform in the first stage."""
        values = lanes.row(state.q_values, h, s, state.seen.transfer.shape[1:3])
        return epsilon_greedy(values, state.epsilon, words[0])[0], words

    def update(self, state: State, episode: Episode, memo: Array) -> State:
        """Adds the episode to what was seen, and keeps the words of its last step."""
        seen = experience.update(state.seen, episode, self.memory)
        return state._replace(seen=seen, words=memo[-1], episodes=state.episodes + 1.0)
