"""What agents and mechanisms are, and all that they are told.

Both are pytrees whose fields are hyper-parameters; what they learn is a state that the engine
carries. Information is honest by construction: an agent sees sizes, the announced contract, states,
its own actions, its own rewards and payments; a mechanism sees sizes, states, the agent's actions
and its own rewards, never the agent's. Neither sees the game. (An oracle is handed the game by its
user, in its constructor.)

A *stage* is a run of episodes under one contract. Stage lengths are a fixed schedule, the same in
all lanes. All arrays end in lanes, written `...`; without lanes they describe one pair.
"""

from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
from jax import Array

from pajax import printing


class Spec(NamedTuple):
    """What a learner may know before it starts: sizes."""

    num_states: int
    num_actions: int
    num_own_actions: int  # the principal's
    horizon: int
    num_episodes: int
    lanes: tuple[int, ...] = ()

    def zeros(self, *axes: int) -> Array:
        """Zeros of shape `axes + lanes` in the default float type."""
        return jnp.zeros(axes + self.lanes)

    def per_action(self, value: float = 0.0) -> Array:
        """`value` in the shape [H, S, A, ...]."""
        return self.zeros(self.horizon, self.num_states, self.num_actions) + value

    def per_state(self, value: int) -> Array:
        """`value` as int32 in the shape [H, S, ...]."""
        return jnp.full((self.horizon, self.num_states, *self.lanes), value, jnp.int32)

    def steps_left(self) -> Array:
        """H - h in the shape [H, 1, 1, 1...], to broadcast over [H, S, A, ...]."""
        left = self.horizon - jnp.arange(self.horizon, dtype=float)
        return left.reshape((-1, 1, 1) + (1,) * len(self.lanes))

    def transition_counts(self) -> Array:
        """Zeros [H, S, A, S', ...]."""
        return self.zeros(self.horizon, self.num_states, self.num_actions, self.num_states)


class Contract(NamedTuple):
    """What the principal announces before a stage."""

    transfer: Array  # [H, S, A, ...] >= 0, paid to the agent when it plays a at (h, s)
    own_action: Array  # int32 [H, S, ...], the principal's b
    target: Array  # int32 [H, S, ...], the action it means to implement; -1 where none

    __repr__ = printing.of_fields

    def _repr_html_(self) -> str:
        return printing.of_transfers("Contract", self.transfer, self.target).html()


class Episode(NamedTuple):
    """One episode as one of the two saw it; each [H, ...]."""

    states: Array  # int32
    actions: Array  # int32
    next_states: Array  # int32
    rewards: Array  # its own, payments aside
    payments: Array  # from the principal to the agent
    own_actions: Array  # int32, the principal's, as its contract announced them


class Stage(NamedTuple):
    """One stage as the principal saw it."""

    visits: Array  # [H, S, A, ...], counts of plays
    num_episodes: Array  # int32, the same in all lanes
    words: Array  # uint32 [2, ...], a random key for what it draws (see `draws.expand`)


class Report(NamedTuple):
    """What a mechanism says of itself, for the record."""

    is_estimating: Array  # bool [...], still in its first phase
    transfer: Array  # [H, S, A, ...], estimate of tau*; NaN where it estimates none
    is_resolved: Array  # bool [H, S, A, ...], estimated as closely as it meant to


class Agent(Protocol):
    """A learner of the agent's side. `num_words` is how many random words `act` gets a step."""

    num_words: int

    def init(self, spec: Spec) -> Any:
        """Its state before the first episode."""
        ...

    def begin(self, state: Any, contract: Contract) -> Any:
        """It is told the contract of the coming stage: it may replan, restart or ignore it."""
        ...

    def act(self, state: Any, h: Array, s: Array, words: Array) -> tuple[Array, Any]:
        """An action, int32 [...], at (h, s), and a memo for `update`. It writes nothing.

        `h` is a scalar, `s` int32 [...], `words` uint32 [num_words, ...].
        """
        ...

    def update(self, state: Any, episode: Episode, memo: Any) -> Any:
        """It learns from a whole episode; `memo` stacks what `act` returned, [H, ...].

        Tables are indexed by h, so an episode meets a cell at most once, and writing all steps
        after the episode is exactly the online rule.
        """
        ...


class Mechanism(Protocol):
    """A learner of the principal's side.

    `adapting_until` is the share of a run in which its contracts change every few visits: stages
    stay short until then, and grow with time afterwards.

    One that bounds speak of may also have a method `terms(spec)` that returns numbers by name, such
    as {"width": w}: they become variables of a Dataset (see `pajax.bounds`).
    """

    adapting_until: float

    def init(self, spec: Spec) -> Any:
        """Its state before the first stage."""
        ...

    def post(self, state: Any) -> Contract:
        """The contract of the coming stage."""
        ...

    def update(self, state: Any, episode: Episode) -> Any:
        """It takes note of an episode, with its own rewards; cheap, like the agent's `update`."""
        ...

    def observe(self, state: Any, stage: Stage) -> Any:
        """It learns when a stage ends, and prepares the next contract."""
        ...

    def report(self, state: Any) -> Report:
        """Its estimates, for the record; they feed nothing back."""
        ...
