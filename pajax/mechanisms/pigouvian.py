"""The Pigouvian tax: each action is priced at what it brings the principal, now and later.

With phi[h, s] the principal's value of what the agent is used to play, transfers are the
principal's advantages, and a rebate that makes them payable:

    transfer[h, s, a] = v + P phi[h+1] - phi[h, s] + kappa[h],
    kappa[h] = max over (s, a) of phi[h, s] - v - P phi[h+1],    at least 0.

For *any* phi this is a potential-based shaping (Ng, Harada and Russell, 1999) of the residual claim
u + v, and kappa[h] depends on the step alone: the agent's gaps are those of welfare, whatever it is
used to play. The principal pays kappa[h] a step to an agent that does not change, instead of v.

The known game's tax is `pajax.transfers.pigouvian_transfers`, with phi the value of the welfare
optimum. Here v is the optimistic estimate of `pajax.mechanisms.repricing`, P the estimated kernel,
phi the value in them of the policy with the frequencies of the plays so far; what was never played
is taken to be worth H - h.
"""

import jax.numpy as jnp
from jax import Array, lax

from pajax import lanes
from pajax._pytree import axes, pytree
from pajax.game import Game
from pajax.mechanisms.repricing import Repricing, State
from pajax.mechanisms.static import FixedTransfers
from pajax.planning import best_own_action, expectation, greedy, welfare_values
from pajax.transfers import pigouvian_transfers


@pytree
class PigouvianTax(Repricing):
    """Taxes what harms the principal, by its own estimates (see `pajax.mechanisms.pigouvian`).

    Source: a tax in the sense of Pigou (1920), made payable as a potential-based shaping (Ng,
    Harada and Russell, 1999).

    Attributes:
      own_bonus: scale of the optimism, reward units; 2^(-1/2) is that of Hoeffding's inequality.
    """

    own_bonus: float | Array = axes(low=0.0, default=0.5**0.5)

    @staticmethod
    def oracle(game: Game) -> FixedTransfers:
        """The tax of the known game, for ever (`pajax.transfers.pigouvian_transfers`).

        Args:
          game: the game.
        """
        target = greedy(welfare_values(game).q_values)
        return FixedTransfers(
            transfer=pigouvian_transfers(game),
            target=target,
            own_action=best_own_action(game, target),
        )

    def transfers(self, state: State, rewards: Array) -> Array:
        """Advantages over the usual policy, and the rebate."""

        def back(values: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
            transitions, visits, reward, bound = inputs
            kernel = transitions / jnp.maximum(visits, 1.0)[:, :, None]
            q_values = reward + expectation(kernel, values)
            q_values = jnp.where(visits > 0.0, q_values, bound)
            plays = lanes.total(visits, 1)
            share = visits / jnp.maximum(plays, 1.0)[:, None]
            usual = lanes.total(lanes.product(share, q_values), 1)
            usual = jnp.where(plays > 0.0, usual, bound[:, 0])
            advantage = q_values - usual[:, None]
            harm = lanes.maximum(lanes.maximum(-advantage, 1))
            return usual, advantage + jnp.maximum(harm, 0.0)

        seen = state.known.model.transitions
        last = jnp.zeros_like(rewards[0, :, 0])
        bound = jnp.broadcast_to(state.prior, rewards.shape)
        inputs = (seen, state.known.visits, rewards, bound)
        return lax.scan(back, last, inputs, reverse=True)[1]
