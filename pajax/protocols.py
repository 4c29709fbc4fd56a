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
    """What a learner may know before it starts: sizes.

    Attributes:
      num_states: S.
      num_actions: A.
      num_own_actions: B, of the principal.
      horizon: H.
      num_episodes: K.
      lanes: shape of the lanes.
    """

    num_states: int
    num_actions: int
    num_own_actions: int
    horizon: int
    num_episodes: int
    lanes: tuple[int, ...] = ()

    def zeros(self, *axes: int) -> Array:
        """Zeros of shape `axes + lanes` in the default float type.

        Args:
          axes: lengths of the leading axes.
        """
        return jnp.zeros(axes + self.lanes)

    def per_action(self, value: float = 0.0) -> Array:
        """A value in the shape [H, S, A, ...].

        Args:
          value: a number, or what broadcasts against this shape.
        """
        return self.zeros(self.horizon, self.num_states, self.num_actions) + value

    def per_state(self, value: int) -> Array:
        """A value as int32 in the shape [H, S, ...].

        Args:
          value: a whole number.
        """
        return jnp.full((self.horizon, self.num_states, *self.lanes), value, jnp.int32)

    def steps_left(self) -> Array:
        """H - h in the shape [H, 1, 1, 1...], to broadcast over [H, S, A, ...]."""
        left = self.horizon - jnp.arange(self.horizon, dtype=float)
        return left.reshape((-1, 1, 1) + (1,) * len(self.lanes))

    def transition_counts(self) -> Array:
        """Zeros [H, S, A, S', ...]."""
        return self.zeros(self.horizon, self.num_states, self.num_actions, self.num_states)


class Contract(NamedTuple):
    """What the principal announces before a stage.

    Attributes:
      transfer: paid to the agent when it plays a at (h, s), [H, S, A, ...] >= 0, reward units.
      own_action: the principal's b, int32 [H, S, ...].
      target: the action it means to implement, int32 [H, S, ...]; -1 where none.
    """

    transfer: Array
    own_action: Array
    target: Array

    __repr__ = printing.of_fields

    def _repr_html_(self) -> str:
        return printing.of_transfers("Contract", self.transfer, self.target).html()


class Episode(NamedTuple):
    """One episode as one of the two saw it; each [H, ...].

    Attributes:
      states: int32.
      actions: the agent's, int32.
      next_states: int32.
      rewards: its own, payments aside, reward units.
      payments: from the principal to the agent, reward units.
      own_actions: the principal's, as its contract announced them, int32.
    """

    states: Array
    actions: Array
    next_states: Array
    rewards: Array
    payments: Array
    own_actions: Array


class Stage(NamedTuple):
    """One stage as the principal saw it.

    Attributes:
      visits: counts of plays, [H, S, A, ...].
      num_episodes: int32, the same in all lanes.
      words: a random key for what it draws (see `pajax.draws`), uint32 [2, ...].
    """

    visits: Array
    num_episodes: Array
    words: Array


class Report(NamedTuple):
    """What a mechanism says of itself, for the record.

    Attributes:
      is_estimating: still in its first phase, bool [...].
      transfer: estimate of tau*, [H, S, A, ...], reward units; NaN where it estimates none.
      is_resolved: estimated as closely as it meant to, bool [H, S, A, ...].
    """

    is_estimating: Array
    transfer: Array
    is_resolved: Array


class Agent(Protocol):
    """A learner of the agent's side.

    Attributes:
      num_words: how many random words `act` gets a step.
    """

    num_words: int

    def init(self, spec: Spec) -> Any:
        """Its state before the first episode, any tree of arrays.

        Args:
          spec: the sizes of the game and of the run.
        """
        ...

    def begin(self, state: Any, contract: Contract) -> Any:
        """Its state when it is told a contract, which it may plan for, restart at or ignore.

        Args:
          state: its state.
          contract: of the coming stage.
        """
        ...

    def act(self, state: Any, h: Array, s: Array, words: Array) -> tuple[Array, Any]:
        """An action, int32 [...], at (h, s), and a memo for `update`. It writes nothing.

        Args:
          state: its state.
          h: the step, a scalar.
          s: the state of the game, int32 [...].
          words: random, uint32 [num_words, ...].
        """
        ...

    def update(self, state: Any, episode: Episode, memo: Any) -> Any:
        """Its state after an episode, from which it learns.

        Tables are indexed by h, so an episode meets a cell at most once, and writing all steps
        after the episode is exactly the online rule.

        Args:
          state: its state.
          episode: what it saw.
          memo: what `act` returned, stacked, [H, ...].
        """
        ...


class Mechanism(Protocol):
    """A learner of the principal's side.

    One that bounds speak of may also have a method `terms(spec)` that returns numbers by name, such
    as {"width": w}: they become variables of a Dataset (see `pajax.bounds`).

    Attributes:
      adapting_until: the share of a run in which its contracts change every few visits: stages
        stay short until then, and grow with time afterwards.
    """

    adapting_until: float

    def init(self, spec: Spec) -> Any:
        """Its state before the first stage, any tree of arrays.

        Args:
          spec: the sizes of the game and of the run.
        """
        ...

    def post(self, state: Any) -> Contract:
        """The contract of the coming stage.

        Args:
          state: its state.
        """
        ...

    def update(self, state: Any, episode: Episode) -> Any:
        """Its state after an episode, with its own rewards; cheap, like the agent's `update`.

        Args:
          state: its state.
          episode: what it saw.
        """
        ...

    def observe(self, state: Any, stage: Stage) -> Any:
        """Its state when a stage ends: it learns, and prepares the next contract.

        Args:
          state: its state.
          stage: what was played in it.
        """
        ...

    def report(self, state: Any) -> Report:
        """Its estimates, for the record; they feed nothing back.

        Args:
          state: its state.
        """
        ...
