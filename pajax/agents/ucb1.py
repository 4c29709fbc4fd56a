"""UCB1, the upper confidence bound of a bandit (Auer, Cesa-Bianchi and Fischer, 2002).

Each arm is played once, the lowest first; after that, in round t + 1, the arm with the largest

    mean own reward[a] + sqrt(2 log t / n[a]) + payment[a],

n[a] its plays so far. Without payments, or with known ones that stay, the expected regret after t
rounds is at most

    8 sum_a log t / Delta[a] + (1 + pi^2 / 3) sum_a Delta[a],

over the arms with Delta > 0 (their Theorem 1): payments shift the means and leave the noise alone.
"""

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax._pytree import axes, pytree, static
from pajax.agents import experience
from pajax.agents.base import MEMORIES, check_is_bandit
from pajax.agents.experience import Experience
from pajax.protocols import Contract, Episode, Spec


@pytree
class UCB1:
    """Plays the largest upper confidence bound, computed every round; for S = H = 1 only.

    Source: Auer, Cesa-Bianchi and Fischer, 2002 (see `pajax.agents.ucb1`).

    In other games `UCBVI` is the same idea; where both can play, it differs in planning once a
    stage, with log K for log t and a bonus of 0.2 sqrt(log K / n).

    Attributes:
      bonus: the factor 2 of log t / n; the theorem is for 2.
      memory: "aware" adds the transfers posted; "restarting" and "blind" add the mean of the
        payments seen (see `pajax.agents.base`), and "restarting" counts t anew.
    """

    bonus: float | Array = axes(low=0.0, default=2.0)
    memory: str = static(default="aware", choices=MEMORIES)

    num_words = 0

    def init(self, spec: Spec) -> Experience:
        """Nothing seen.

        Raises:
          ValueError: the game has more than one state or step.
        """
        check_is_bandit(spec, "UCBVI")
        return experience.empty(spec)

    def begin(self, state: Experience, contract: Contract) -> Experience:
        """Takes note of the contract."""
        return experience.begin(state, contract, self.memory)

    def act(self, state: Experience, h: Array, s: Array, words: Array) -> tuple[Array, None]:
        """The largest upper confidence bound; ties go to the lowest arm."""
        rewards, visits = state.model.rewards[0, 0], state.model.visits[0, 0]
        plays, rounds = jnp.maximum(visits, 1.0), jnp.maximum(lanes.total(visits), 1.0)
        width = jnp.sqrt(self.bonus * jnp.log(rounds) / plays)
        bound = rewards / plays + width + experience.expected_payment(state, self.memory)[0, 0]
        return lanes.argmax(jnp.where(visits > 0.0, bound, jnp.inf))[0], None

    def update(self, state: Experience, episode: Episode, memo: None) -> Experience:
        """Adds the round to what was seen."""
        return experience.update(state, episode, self.memory)
