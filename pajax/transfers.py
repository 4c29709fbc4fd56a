"""Transfers in a known game (THEORY: section 2).

(T2) Minimal implementable transfers: tau*[h, s, a] = V0[h, s] - Q0[h, s, a] >= 0. Paid on the
target alone they make the agent indifferent everywhere, so its continuation stays V0 whatever the
target. A contract that implements pi pays at least rho . (V0 - V_u^pi)[0] in expectation.

(T3) Coase: E_pi sum (v - tau*) = W^pi - rho . V0[0] for every pi, so a selfish principal that pays
tau* maximises welfare; its best net value is W* - rho . V0[0].

(T4) If every transfer is known up to an interval of width w, posting its upper end plus
gamma + w (H - 1 - h) on the target makes the target strictly optimal with gap at least gamma.

A transfer is paid by the principal to the agent, in reward units, each time the action is played.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pajax import _checks, lanes, planning
from pajax.game import Game


class CoarseContract(NamedTuple):
    """A contract that knows few amounts, and the welfare of the best response to it."""

    transfer: Array  # [H, S, A, ...]
    target: Array  # int32 [H, S, ...], the action it pays for
    welfare: Array  # [...], W^pi of the agent's best response


def minimal_transfers(game: Game) -> Array:
    """tau* (T2), [H, S, A, ...], in [0, H - h]."""
    return planning.agent_values(game).gaps


def coase_value(game: Game) -> Array:
    """W* - rho . V0[0] (T3), [...]: the principal's best net value an episode."""
    welfare = planning.expected(game, planning.welfare_values(game))
    return welfare - planning.expected(game, planning.agent_values(game))


def minimal_payment(game: Game, policy: Array) -> Array:
    """Least expected payment that implements a policy, rho . (V0 - V_u^pi)[0] (T2), [...]."""
    own = planning.policy_values(game, policy, game.agent_reward)
    return planning.expected(game, planning.agent_values(game).values - own)


def on_target(target: Array, amount: Array | float, num_actions: int) -> Array:
    """`amount` ([H, S, ...] or a number) on the target action, else 0: [H, S, A, ...]."""
    amount = jnp.broadcast_to(jnp.asarray(amount, float), target.shape)
    return jnp.where(lanes.one_hot(target, num_actions, 2), amount[:, :, None], 0.0)


def implementation_gap(game: Game, target: Array, transfer: Array) -> Array:
    """Q_c[target] - max over other actions of Q_c, [H, S, ...], under the contract (T4).

    Positive where the target is strictly optimal for the agent; infinite when it has one action.
    """
    q_values = planning.agent_values(game, transfer).q_values
    is_target = lanes.one_hot(target, game.num_actions, 2)
    others = lanes.maximum(jnp.where(is_target, -jnp.inf, q_values), 2)
    return lanes.maximum(jnp.where(is_target, q_values, -jnp.inf), 2) - others


def safe_margin(horizon: int, width: Array | float, margin: Array | float) -> Array:
    """What to add to an upper end, gamma + w (H - 1 - h) (T4), [H, ...]; more at early steps."""
    width, margin = jnp.broadcast_arrays(jnp.asarray(width, float), jnp.asarray(margin, float))
    later = horizon - 1 - jnp.arange(horizon, dtype=float)
    return margin + lanes.product(width, later.reshape((-1,) + (1,) * width.ndim))


def best_flat_contract(game: Game, amounts: Array | None = None) -> CoarseContract:
    """One amount x, paid for one action a at every (h, s): the pair with the best welfare.

    Args:
      game: the game; each lane has its own contract.
      amounts: candidates for x; by default 1,001 equally spaced from 0 to max tau* + 0.01.

    Ties go to the lowest action, then the lowest amount.
    """
    if amounts is None:
        top = float(np.max(np.asarray(minimal_transfers(game)))) + 0.01
        amounts = jnp.linspace(0.0, top, 1001)
    shape = (game.horizon, game.num_states, *game.lanes)

    def welfare(action: Array, amount: Array) -> Array:
        paid = on_target(jnp.full(shape, action, jnp.int32), amount, game.num_actions)
        return planning.policy_welfare(game, planning.best_response(game, paid))

    actions = jnp.arange(game.num_actions, dtype=jnp.int32)
    every_amount = lambda action: jax.lax.map(lambda x: welfare(action, x), amounts)  # noqa: E731
    found = jax.lax.map(every_amount, actions).reshape((-1, *game.lanes))
    best = jnp.argmax(found, 0)
    target = jnp.broadcast_to(actions[best // len(amounts)], shape)
    paid = on_target(
        target, jnp.broadcast_to(amounts[best % len(amounts)], shape), game.num_actions
    )
    return CoarseContract(transfer=paid, target=target, welfare=found.max(0))


def quantised_contract(game: Game, levels: int, margin: float = 0.02) -> CoarseContract:
    """Minimal transfers rounded up to `levels` amounts, equally spaced from 0 to max tau* + margin.

    An action with tau* > 0 is charged the smallest level that is at least tau* + margin, one with
    tau* = 0 nothing. The target maximises v - charge, as in (T3), and its charge is posted. The
    margin, in reward units, keeps the agent from being indifferent. Rounding up overpays at some
    steps, and the agent then bends earlier steps towards them: more levels need not be better.
    """
    levels = _checks.whole("levels", levels, 2)
    least = minimal_transfers(game)
    top = least.max((0, 1, 2)) + margin
    spacing = top / (levels - 1)
    rounded = jnp.ceil((least + margin) / spacing - 1e-6) * spacing
    charge = jnp.where(least > 0.0, rounded, 0.0)
    net = game.principal_reward.max(3) - charge
    plan = planning.backward_induction(net, game.transition, game.horizon)
    target = planning.greedy(plan.q_values)
    amount = lanes.lookup(charge, target, 2)
    transfer = on_target(target, amount, game.num_actions)
    response = planning.best_response(game, transfer)
    return CoarseContract(transfer, target, planning.policy_welfare(game, response))
