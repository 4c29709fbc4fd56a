"""BELGIC: batched bisection, then a bandit on shifted rewards.

Source: Scheid, Capitaine, Boursier, Moulines, Jordan and Durmus, *Learning to Mitigate
Externalities: the Coase Theorem with Hindsight Rationality*, NeurIPS 2024, arXiv:2406.19824. The
agent, upstream, is any learner that satisfies (A1); the principal, downstream, owes it a transfer
for each action, and has to find out which, since (T3) then makes its own interest welfare's.

Each action is searched for in batches of T^alpha rounds. The middle of [low, high] is offered for a
whole batch, which ends with *yes* if the action was played in most of it. With i = T^(-beta),

    yes: high = middle + i,    no: low = middle - i,    tau_hat = high + i  at the end.

After log2(H T^beta) batches high - low <= 3 i, and tau* is inside if every answer was right when
|middle - tau*| >= i. An agent of (A1) plays the worse side of a gap i at most C T^(alpha kappa) / i
times in a batch, so that this holds if C T^(alpha kappa + beta) <= T^alpha / 2: beta < alpha
(1 - kappa), or equal, with C at most 1/2. Then a bandit follows on the shifted rewards (see
`pajax.mechanisms.search_then_bandit`). With kappa = 1/2, alpha = 1/2 and beta = 1/4 both regrets,
welfare's and the principal's, are of order T^(3/4).

The paper was known here by its abstract and by accounts of it. Chosen here: *most of a batch* is
more than `threshold` = 1/2 of it (the paper counts rounds against C T^(alpha kappa + beta), which
takes knowing C and kappa); H instead of 1 as the first upper end, as tau* may be so large in a game
of H steps; the own action of the search, the least tried; the bandit, an upper confidence bound,
which also uses what was seen during the search. A batch ends with the first stage in which it has
its rounds, so that it is up to a stage longer than T^alpha. Added here: the margin.

Measured on the default bandit, 20 seeds, against best responses, UCBVI and Q-learning: the last
tenth of K = 1e5 episodes earns 100, 100 and 99.8 % of W*, and the regret of whole runs grows like
K^0.63, K^0.64 and K^0.61 from K = 3e3 to 1e5. The principal's own regret grows like K^0.78, K^0.78
and K^0.82 with margin 0, as published; the default margin, which welfare does not feel, makes it
linear in the end. The margin is for agents that explore too little to know their best arm while
another one is searched for: without it 2 of 64 runs against UCBVI stay at 72 % of W*. In the
pollution game it stays at 87 % (K = 3e4), where the best flat subsidy is.
"""

import jax.numpy as jnp
from jax import Array

from pajax._pytree import axes, pytree, static
from pajax.mechanisms import stateless
from pajax.mechanisms.search_then_bandit import Search, SearchThenBandit
from pajax.protocols import Spec


@pytree
class Belgic(SearchThenBandit):
    """The stateless ancestor of the two-phase mechanism (see `pajax.mechanisms.belgic`).

    Source: Scheid, Capitaine, Boursier, Moulines, Jordan and Durmus, NeurIPS 2024,
    arXiv:2406.19824.

    Attributes:
      alpha: a batch has `batch` T^alpha rounds.
      beta: i = `accuracy` T^(-beta).
      batch: see alpha, rounds.
      accuracy: see beta, reward units.
      threshold: share of a batch above which the answer is yes.
      margin: reward units, added to tau_hat = high + i; 0 as published.
      bonus: scale of the bandit's bonus; 2^(-1/2) is that of Hoeffding's inequality.
      adapting_until: share of the K episodes with short stages (see `pajax.protocols.Mechanism`).
    """

    alpha: float | Array = axes(low=0.0, high=1.0, default=0.5)
    beta: float | Array = axes(low=0.0, high=1.0, default=0.25)
    batch: float | Array = axes(low=0.0, default=1.0)
    accuracy: float | Array = axes(low=1e-06, default=1.0)
    threshold: float | Array = axes(low=0.0, high=1.0, default=0.5)
    margin: float | Array = axes(low=0.0, default=0.1)
    bonus: float | Array = axes(low=0.0, default=0.5**0.5)
    adapting_until: float = static(default=1.0)

    def search(self, spec: Spec) -> Search:
        """Batches of T^alpha rounds, answers moved outward by T^(-beta)."""
        rounds = stateless.num_rounds(spec)
        inflation = self.accuracy * rounds ** -jnp.asarray(self.beta, float)
        return Search(
            rounds=jnp.round(self.batch * rounds ** jnp.asarray(self.alpha, float)),
            questions=stateless.halvings(float(spec.horizon), inflation),
            threshold=jnp.asarray(self.threshold, float),
            inflation=inflation,
            margin=inflation + self.margin,
        )
