"""Thompson sampling in a bandit, with Beta posteriors (Thompson, 1933; Agrawal and Goyal, 2012).

In every round the mean own reward of each arm is drawn afresh from its posterior,

    u[a] ~ Beta(1 + sum of rewards, 1 + sum of (1 - rewards)),

and the arm played is the best of the draws plus what it is paid. The posterior is exact for
Bernoulli rewards; others in [0, 1] count as fractions of a success. (Agrawal and Goyal would toss a
coin instead, which has the same mean and more noise.) With Bernoulli rewards the regret grows like
log t sum_a Delta[a] / kl[a], the least that is possible (Kaufmann, Korda and Munos, 2012).
"""

from jax import Array

from pajax import draws, lanes
from pajax._pytree import pytree, static
from pajax.agents import experience
from pajax.agents.base import MEMORIES, check_is_bandit
from pajax.agents.experience import Experience
from pajax.protocols import Contract, Episode, Spec


@pytree
class ThompsonSampling:
    """Plays argmax_a of (a draw of u[a]) + payment[a], in games with S = H = 1 only.

    Source: Thompson, 1933; Agrawal and Goyal, 2012 (see `pajax.agents.thompson`).

    In others `PosteriorSampling` is the same idea; where both can play, it differs in keeping one
    draw for a whole stage. The 2A gamma numbers that this one draws in a round make it slow: a
    round takes about twenty times as long as one of `UCB1`.

    Attributes:
      memory: "aware" adds the transfers posted; "restarting" and "blind" add the mean of the
        payments seen (see `pajax.agents.base`).
    """

    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 2

    def init(self, spec: Spec) -> Experience:
        """Nothing seen.

        Raises:
          ValueError: the game has more than one state or step.
        """
        check_is_bandit(spec, "PosteriorSampling")
        return experience.empty(spec)

    def begin(self, state: Experience, contract: Contract) -> Experience:
        """Takes note of the contract."""
        return experience.begin(state, contract, self.memory)

    def act(self, state: Experience, h: Array, s: Array, words: Array) -> tuple[Array, None]:
        """Best of the draws; ties go to the lowest arm."""
        successes, visits = state.model.rewards[0, 0], state.model.visits[0, 0]
        drawn = draws.beta(words, 0, 1.0 + successes, 1.0 + (visits - successes))
        return lanes.argmax(drawn + experience.expected_payment(state, self.memory)[0, 0])[0], None

    def update(self, state: Experience, episode: Episode, memo: None) -> Experience:
        """Adds the round to what was seen."""
        return experience.update(state, episode, self.memory)
