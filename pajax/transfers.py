"""Transfers in a known game.

(T2) Minimal implementable transfers: tau*[h, s, a] = V0[h, s] - Q0[h, s, a] >= 0. Paid on the
target alone they make the agent indifferent between it and its own best action, so its continuation
stays V0 whatever the target. A contract that implements pi pays at least rho . (V0 - V_u^pi)[0] in
expectation.

(T3) Coase: E_pi sum (v - tau*) = W^pi - rho . V0[0] for every pi, so a selfish principal that pays
tau* maximises welfare; its best net value is W* - rho . V0[0].

(T4) If every transfer is known up to an interval of width w, posting its upper end plus
gamma + w (H - 1 - h) on the target makes the target strictly optimal with gap at least gamma. A
principal that plans with estimates that are off by e[h, s, a] loses at most sum_h osc(e[h]) of
welfare, osc being the largest entry less the smallest: errors alike at all (s, a) cost nothing.

(T5) Robust subsidies. An agent that is globally eps-incentive-compatible may play any policy pi,
mixed ones too, with U^pi + T^pi >= M - eps, where M = max_pi (U^pi + T^pi). For x in [0, 1) pay

    t_x[h, s, a] = V_x[h, s] - Q_x[h, s, a] >= 0  on every action,

with V_x, Q_x the optimal values of the reward x w - v, and `V*_x = rho . V_x[0]`. Payments
telescope to `T^pi = V*_x - (x W^pi - V^pi)`, so the agent's total is M - (1 - x) (W* - W^pi): it
loses (1 - x) times what welfare loses, so W^pi >= W* - eps / (1 - x), and the principal nets

    V^pi - T^pi = x W^pi - V*_x >= f(x) = x W* - V*_x - eps x / (1 - x).

The best x cannot be improved on by any transfers T >= 0. The worst case of T is, by linear duality,
max over y >= 0 of y (M - eps) + m with m = min_pi [V - y U - (1 + y) T]. As T >= 0,
m <= min_pi (V - y U); and T <= (V - y U - m) / (1 + y) gives M <= (W* - m) / (1 + y). With
y = x / (1 - x) that makes x W* - y eps + (1 - x) m, which is at most f(x). f is concave, and at
eps = 0, x -> 1 it is the Coase value (T3).

Pigouvian transfers, a potential-based shaping (Ng, Harada and Russell, 1999) of the residual claim
u + v: adding v + P phi - phi and anything that depends on h alone to the agent's reward makes its
gaps those of welfare, for any potential phi[h, s]. With phi the principal's value of the welfare
optimum, v + P phi - phi is the principal's advantage: what an action brings it, beyond the optimum.

A transfer is paid by the principal to the agent, in reward units, each time the action is played.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from pajax import _checks, lanes, planning, printing
from pajax.game import Game


class CoarseContract(NamedTuple):
    """A contract that knows few amounts, and the welfare of the best response to it.

    Attributes:
      transfer: [H, S, A, ...], reward units.
      target: the action it pays for, int32 [H, S, ...].
      welfare: W^pi of the agent's best response, an episode, [...].
    """

    transfer: Array
    target: Array
    welfare: Array

    __repr__ = printing.of_fields

    def _repr_html_(self) -> str:
        title = f"Coarse contract, welfare of the best response {printing.brief(self.welfare)}"
        return printing.of_transfers(title, self.transfer, self.target).html()


class RobustContract(NamedTuple):
    """Transfers t_x (T5), and what they guarantee.

    Attributes:
      transfer: on every action, [H, S, A, ...], reward units.
      share: x in [0, 1), [...].
      value: f(x), the principal's least net value an episode, [...].
    """

    transfer: Array
    share: Array
    value: Array

    __repr__ = printing.of_fields

    def _repr_html_(self) -> str:
        share, value = printing.brief(self.share), printing.brief(self.value)
        title = f"Robust subsidies, x = {share}, the principal nets {value} at least"
        none = np.full(self.transfer.shape[:2] + self.transfer.shape[3:], -1)
        return printing.of_transfers(title, self.transfer, none).html()


def minimal_transfers(game: Game) -> Array:
    """Minimal implementable transfers tau* (T2), [H, S, A, ...], in [0, H - h] reward units.

    Args:
      game: the game.
    """
    return planning.agent_values(game).gaps


def coase_value(game: Game) -> Array:
    """W* - rho . V0[0] (T3), [...]: the principal's best net value an episode.

    Args:
      game: the game.
    """
    welfare = planning.expected(game, planning.welfare_values(game))
    return welfare - planning.expected(game, planning.agent_values(game))


def minimal_payment(game: Game, policy: Array) -> Array:
    """Least expected payment that implements a policy, rho . (V0 - V_u^pi)[0] (T2), [...].

    Args:
      game: the game.
      policy: pi, int [H, S, ...], or [1, S, ...] if stationary.
    """
    own = planning.policy_values(game, policy, game.agent_reward)
    return planning.expected(game, planning.agent_values(game).values - own)


def on_target(target: Array, amount: Array | float, num_actions: int) -> Array:
    """An amount on the target action, 0 on the others, [H, S, A, ...].

    Args:
      target: int [H, S, ...]; -1 pays nothing.
      amount: [H, S, ...] or a number, reward units.
      num_actions: A.
    """
    amount = jnp.broadcast_to(jnp.asarray(amount, float), target.shape)
    return jnp.where(lanes.one_hot(target, num_actions, 2), amount[:, :, None], 0.0)


def implementation_gap(game: Game, target: Array, transfer: Array) -> Array:
    """Q_c[target] - max over other actions of Q_c, [H, S, ...], under the contract (T4).

    Positive where the target is strictly optimal for the agent; infinite when it has one action.

    Args:
      game: the game.
      target: int [H, S, ...].
      transfer: [H, S, A, ...], reward units.
    """
    q_values = planning.agent_values(game, transfer).q_values
    is_target = lanes.one_hot(target, game.num_actions, 2)
    others = lanes.maximum(jnp.where(is_target, -jnp.inf, q_values), 2)
    return lanes.maximum(jnp.where(is_target, q_values, -jnp.inf), 2) - others


def safe_margin(horizon: int, width: Array | float, margin: Array | float) -> Array:
    """What to add to an upper end, gamma + w (H - 1 - h) (T4), [H, ...]; more at early steps.

    Args:
      horizon: H.
      width: w, of the intervals of transfers, reward units, a number or [...].
      margin: gamma, by which the target is to be better, likewise.
    """
    width, margin = jnp.broadcast_arrays(jnp.asarray(width, float), jnp.asarray(margin, float))
    later = horizon - 1 - jnp.arange(horizon, dtype=float)
    return margin + lanes.product(width, later.reshape((-1,) + (1,) * width.ndim))


def best_flat_contract(game: Game, amounts: Array | None = None) -> CoarseContract:
    """One amount x, paid for one action a at every (h, s): the pair with the best welfare.

    Ties go to the lowest action, then the lowest amount.

    Args:
      game: the game; each lane has its own contract.
      amounts: candidates for x, reward units, [N]; by default 1,001 equally spaced from 0 to
        max tau* + 0.01.
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


def quantised_contract(game: Game, levels: int, margin: float | Array = 0.02) -> CoarseContract:
    """Minimal transfers rounded up to few amounts, equally spaced from 0 to max tau* + margin.

    An action with tau* > 0 is charged the smallest level that is at least tau* + margin, one with
    tau* = 0 nothing. The target maximises v - charge, as in (T3), and its charge is posted. The
    margin keeps the agent from being indifferent. Rounding up overpays at some steps, and the agent
    then bends earlier steps towards them: more levels need not be better.

    Args:
      game: the game.
      levels: number of amounts, zero included, at least 2.
      margin: reward units, added before rounding up; a number or [...].

    Raises:
      ValueError: `levels` is not a whole number of at least 2.
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


def robust_guarantee(game: Game, epsilon: Array | float, share: Array | float) -> Array:
    """f(x) = x W* - V*_x - eps x / (1 - x) (T5), [...]: what t_x nets the principal at least.

    Args:
      game: the game.
      epsilon: what the agent may forgo, reward units an episode, at least 0; a number, or [...] as
        the game has lanes.
      share: x in [0, 1), likewise.
    """
    best = planning.expected(game, planning.welfare_values(game))
    share, epsilon = jnp.asarray(share, best.dtype), jnp.asarray(epsilon, best.dtype)
    mixed = planning.expected(game, _mixed_values(game, share))
    return lanes.product(share, best) - mixed - lanes.product(share / (1.0 - share), epsilon)


def robust_subsidy(game: Game, epsilon: Array | float) -> RobustContract:
    """The transfers with the best worst case against an eps-incentive-compatible agent (T5).

    f has the slope W* - W(x) - eps / (1 - x)^2, with W(x) the welfare of a policy that is optimal
    for x w - v. Its sign is bisected, once for each of the m bits of a number's fraction (23 in
    float32), so that x is within 2^-m of a maximiser, from below, and f(x) within 2 H 2^-m of the
    maximum and the rounding of backward induction. At epsilon = 0 the maximum is the Coase value,
    and x goes to 1 unless a smaller one attains it.

    Args:
      game: the game; the principal's reward is max_b v.
      epsilon: what the agent may forgo, reward units an episode, at least 0; a number, or [...] as
        the game has lanes.

    Raises:
      ValueError: epsilon is negative or not finite.
    """
    if not isinstance(epsilon, Tracer):
        _checks.in_range("epsilon", epsilon, 0.0, np.inf)
    best = planning.expected(game, planning.welfare_values(game))
    loss_allowed = jnp.asarray(epsilon, best.dtype)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        share = 0.5 * (low + high)
        policy = planning.greedy(_mixed_values(game, share).q_values)
        loss = best - planning.policy_welfare(game, policy)
        is_rising = (1.0 - share) * (1.0 - share) * loss > loss_allowed
        return jnp.where(is_rising, share, low), jnp.where(is_rising, high, share)

    ends = (jnp.zeros_like(best), jnp.ones_like(best))
    share, _ = jax.lax.fori_loop(0, jnp.finfo(best.dtype).nmant, halve, ends)
    transfer = _mixed_values(game, share).gaps
    return RobustContract(transfer, share, robust_guarantee(game, epsilon, share))


def _mixed_values(game: Game, share: Array) -> planning.Values:
    """V_x, Q_x: optimal values of x w - v, which is x u - (1 - x) max_b v."""
    to_agent = lanes.product(share, game.agent_reward)
    reward = to_agent - lanes.product(1.0 - share, game.principal_reward.max(3))
    return planning.backward_induction(reward, game.transition, game.horizon)


def pigouvian_transfers(game: Game) -> Array:
    """A_P[h, s, a] + kappa_h >= 0, [H, S, A, ...]: pays each action what it brings the principal.

    A_P = max_b v + P V_P[h+1] - V_P[h], with V_P the principal's value of the welfare-optimal
    policy (ties to the lowest action) and kappa_h = max over (s, a) of -A_P[h] >= 0. The agent's
    gaps are those of welfare, so its best response is welfare-optimal; on its path it is paid
    kappa_h a step (Ng, Harada and Russell, 1999).

    Args:
      game: the game.
    """
    reward = game.principal_reward.max(3)
    target = planning.greedy(planning.welfare_values(game).q_values)
    values = planning.policy_values(game, target, reward)

    def shaped(h: Array) -> Array:
        later = planning.expectation(lanes.at_step(game.transition, h), values[h + 1])
        advantage = lanes.at_step(reward, h) + later - values[h][:, None]
        return advantage - advantage.min((0, 1))

    return jax.lax.map(shaped, jnp.arange(game.horizon))
