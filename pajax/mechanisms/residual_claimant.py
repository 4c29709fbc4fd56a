"""The residual claimant: the agent is paid all that the principal earns.

It is offered, for each action at each (h, s), what the principal thinks it earns there,

    transfer[h, s, a] = min(1, mean v + scale sqrt(log K / N)),    1 where N = 0,

so that the agent maximises welfare: efficient without knowing u, and ruinous for the principal,
which keeps nothing of v (the sale of the firm, without its price). The optimism has the agent try
what has looked bad by chance. With own actions v is that of the best one.
"""

from jax import Array

from pajax._pytree import axes, pytree
from pajax.mechanisms.repricing import Repricing, State


@pytree
class ResidualClaimant(Repricing):
    """Pays the principal's own estimated reward on every action.

    The sale of the firm of contract theory, without its price (see
    `pajax.mechanisms.residual_claimant`).

    Attributes:
      own_bonus: scale of the optimism, reward units; 2^(-1/2) is that of Hoeffding's inequality.
    """

    own_bonus: float | Array = axes(low=0.0, default=0.5**0.5)

    def transfers(self, state: State, rewards: Array) -> Array:
        """All of it."""
        return rewards
