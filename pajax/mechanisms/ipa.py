"""IPA: bisection against an agent that knows best, then a bandit on shifted means.

Source: Scheid, Tiapkin, Boursier, Capitaine, El Mhamdi, Moulines, Jordan and Durmus, *Incentivized
Learning in Principal-Agent Bandit Games*, ICML 2024, arXiv:2403.03811. The agent plays a best
response in every round, so that one round answers a question, and no answer is ever wrong:

    yes: high = middle,    no: low = middle,    ceil(log2(H T)) questions about each action,
    pi_hat[a] = high + 1/T, with 0 < pi_hat[a] - tau*[a] <= 2/T,

and then an upper confidence bound on X_a - pi_hat[a], X the principal's mean rewards (see
`pajax.mechanisms.search_then_bandit`). Regret is O(A log T) for the search, and for the bandit
logarithmic or of order sqrt(T), as the gaps are.

The paper was known here by its abstract and by accounts of it. Chosen here: a question takes one
stage, the first 256 of which are one episode long, and is answered yes if the action was played in
more than half of it; H instead of 1 as the first upper end; the constant of the index. float32 has
pi_hat to 6e-8 H, so that beyond T = 1e7 the 1/T is lost in rounding.

It is meant for `pajax.agents.BestResponse`. Measured on the default bandit, 20 seeds: against best
responses the regret of whole runs is 44 at K = 3e3 and 68 at K = 1e5, whose last tenth earns 100 %
of W*. A learner answers what it believes in its first episodes, and is never asked again: against
UCBVI 19 of 20 runs stay below 95 % of W* (on average 74 %), against Q-learning 14 (80 %). In the
pollution game it earns 84 % against best responses, less than the best flat subsidy.
"""

import jax.numpy as jnp
from jax import Array

from pajax._pytree import axes, pytree, static
from pajax.mechanisms import stateless
from pajax.mechanisms.search_then_bandit import Search, SearchThenBandit
from pajax.protocols import Spec


@pytree
class IPA(SearchThenBandit):
    """Bisection and a bandit, for an agent that knows its game (see `pajax.mechanisms.ipa`).

    Source: Scheid, Tiapkin, Boursier, Capitaine, El Mhamdi, Moulines, Jordan and Durmus, ICML 2024,
    arXiv:2403.03811.

    Attributes:
      bonus: scale of the bandit's bonus; 2^(-1/2) is that of Hoeffding's inequality.
      adapting_until: share of the K episodes with short stages (see `pajax.protocols.Mechanism`).
    """

    bonus: float | Array = axes(low=0.0, default=0.5**0.5)
    adapting_until: float = static(default=1.0)

    def search(self, spec: Spec) -> Search:
        """A stage a question, answers taken as they are."""
        accuracy = 1.0 / stateless.num_rounds(spec)
        return Search(
            rounds=jnp.asarray(1.0),
            questions=stateless.halvings(float(spec.horizon), accuracy),
            threshold=jnp.asarray(0.5),
            inflation=jnp.asarray(0.0),
            margin=accuracy,
        )
