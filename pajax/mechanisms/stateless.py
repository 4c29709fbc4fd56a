"""What stateless mechanisms share: they take the game for a bandit.

A stateless principal treats all steps and states alike. Of the agent's plays and its own rewards it
keeps counts and sums by (a, b) alone, wherever they happened, and it posts one transfer x[a] and
one own action b at every (h, s). On a bandit (S = H = 1) nothing is lost by that, and these are the
algorithms of the literature. In a game with states tau* differs from place to place, and as a rule
so does the action that welfare asks for; then, whatever they learn, they stay below W*.

A *round* of the literature is a play of the agent here: H in an episode, T = K H in all. Contracts
change only when a stage ends, so that what the literature does in each round (draw, ask, choose an
arm) is done here in each stage, of at most max(8, 4 (S - 1)) episodes while a mechanism adapts (see
`pajax.stages`): these are batched bandits. They adapt during the whole run.

The arm that a bandit of the principal's chooses, given transfers tau_hat, is the (a, b) with the
largest index

    min(1, mean v(a, b) + scale sqrt(log T / N(a, b))) - tau_hat[a],    1 - tau_hat[a] where N = 0

(Auer, Cesa-Bianchi and Fischer, 2002, with T known; ties to the lowest a, then b). All plays of a
that met b count, whatever was posted, since transfers do not move v. So an arm that the agent does
not play, because its tau_hat is too low, keeps its index: a bandit repairs no wrong transfer.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from pajax import lanes
from pajax.mechanisms import own_actions
from pajax.mechanisms.own_actions import OwnRewards
from pajax.protocols import Contract, Episode, Spec, Stage

#: Slack in "at most so wide", for rounding.
SLACK = 1e-4


class Offer(NamedTuple):
    """What is posted at every (h, s)."""

    transfer: Array  # [A, ...]
    own_action: Array  # int32 [...]
    target: Array  # int32 [...], -1 where none


def no_contract(spec: Spec) -> Contract:
    """No transfers, no target, own action 0."""
    return Contract(spec.per_action(), spec.per_state(0), spec.per_state(-1))


def everywhere(offer: Offer, like: Contract) -> Contract:
    """The contract with an offer at every (h, s) of the contract `like`."""
    return Contract(
        transfer=jnp.broadcast_to(offer.transfer, like.transfer.shape),
        own_action=jnp.broadcast_to(offer.own_action, like.own_action.shape),
        target=jnp.broadcast_to(offer.target, like.target.shape),
    )


def on_action(action: Array, amount: Array, num_actions: int) -> Array:
    """`amount`, [...] or [A, ...], on an action, int32 [...], and 0 elsewhere: [A, ...]."""
    return jnp.where(lanes.one_hot(action, num_actions, 0), amount, 0.0)


def plays(stage: Stage) -> Array:
    """Plays of each action in a stage, [A, ...]."""
    return lanes.total(lanes.total(stage.visits))


def num_rounds(spec: Spec) -> Array:
    """T = K H."""
    return jnp.asarray(spec.num_episodes, float) * float(spec.horizon)


def log_rounds(spec: Spec) -> Array:
    """The L = log T of an index (T counted as at least 2)."""
    return jnp.log(jnp.maximum(num_rounds(spec), 2.0))


def halvings(length: float, width: Array) -> Array:
    """How often to halve a length until it is at most `width`, a whole number."""
    return jnp.ceil(jnp.log2(length / width) - SLACK)


def nothing_seen(spec: Spec) -> OwnRewards:
    """Own rewards in which all states are one, [H, 1, A, B, ...], before the first episode."""
    none = spec.zeros(spec.horizon, 1, spec.num_actions, spec.num_own_actions)
    return OwnRewards(none, none)


def pooled(seen: OwnRewards) -> OwnRewards:
    """The same in which all steps are one, too: the own rewards of a bandit, [1, 1, A, B, ...]."""
    return OwnRewards(*(lanes.total(table)[None] for table in seen))


def optimistic(seen: OwnRewards, scale: Array | float, log_rounds: Array) -> tuple[Array, Array]:
    """The index of each action's best own action, before tau_hat, and that: [A, ...] and int32.

    With scale 0 the index is the mean of v, and 1 where nothing was seen.
    """
    value, own_action = own_actions.optimistic(pooled(seen), jnp.asarray(scale), log_rounds)
    return value[0, 0], own_action[0, 0]


def least_tried(seen: OwnRewards) -> Array:
    """The own action tried least, int32 [...]."""
    return own_actions.least_tried(pooled(seen))[0, 0]


class Stateless:
    """What a mechanism does whose state has what it has `seen` and the `contract` to post next."""

    def post(self, state: Any) -> Contract:
        """The contract that was prepared when the last stage ended."""
        return state.contract

    def update(self, state: Any, episode: Episode) -> Any:
        """Adds an episode to what was seen."""
        anywhere = episode._replace(states=jnp.zeros_like(episode.states))
        return state._replace(seen=own_actions.observe(state.seen, anywhere))
