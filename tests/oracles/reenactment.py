"""Plain-loop re-enactment of one pair's whole trajectory, and the random words it runs on.

Source: the trajectory specification in the docstrings of pajax and THEORY.md section 1.
Threefry-2x32 with 20 rounds follows Salmon, Moraes, Dror and Shaw, *Parallel random numbers: as
easy as 1, 2, 3* (SC 2011), the Random123 standard that JAX uses. Every word is a function of (key,
episode, place), so nothing here depends on the order of the draws.
"""

import numpy as np

from .agents import UCBQ, UCBVI, BestResponse, QLearning
from .principal import FixedContract, TwoPhase
from .records import (
    Contract,
    Episode,
    GameArrays,
    SamplerTables,
    Sizes,
    Stage,
    Trajectory,
    table_at,
    uniform,
)

__all__ = [
    "UCBQ",
    "UCBVI",
    "BestResponse",
    "Contract",
    "Episode",
    "FixedContract",
    "GameArrays",
    "QLearning",
    "SamplerTables",
    "Sizes",
    "Stage",
    "Trajectory",
    "TwoPhase",
    "draw",
    "reenact",
    "threefry2x32",
    "threefry_words",
    "uniform",
]

MASK = 0xFFFFFFFF
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def _rotate_left(word, distance):
    return ((word << distance) | (word >> (32 - distance))) & MASK


def threefry2x32(key, counter):
    """Return the two 32-bit words of Threefry-2x32-20 at this key and counter."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    x0 = (counter[0] + schedule[0]) & MASK
    x1 = (counter[1] + schedule[1]) & MASK
    for block in range(5):
        for distance in ROTATIONS[block % 2]:
            x0 = (x0 + x1) & MASK
            x1 = _rotate_left(x1, distance) ^ x0
        x0 = (x0 + schedule[(block + 1) % 3]) & MASK
        x1 = (x1 + schedule[(block + 2) % 3] + block + 1) & MASK
    return x0, x1


def threefry_words(key):
    """Return words(e, d) for a pair's key (k0, k1): counter (e, d)."""
    k0, k1 = int(key[0]), int(key[1])
    return lambda episode, place: threefry2x32((k0, k1), (episode, place))


def draw(row, word):
    """Draw an index from a packed alias row of S entries with one 32-bit word."""
    product = int(word) * len(row)
    index, fraction = product >> 32, (product & MASK) >> 8
    entry = int(row[index])
    return index if fraction < (entry >> 8) else entry & 255


def _noisy(mean, word, noise):
    if noise == "deterministic":
        return float(mean)
    if noise == "bernoulli":
        return 1.0 if uniform(word) < mean else 0.0
    raise ValueError(f"noise must be 'bernoulli' or 'deterministic', got {noise!r}")


class _Recorder:
    """Fills the arrays of a Trajectory and counts each stage for the principal."""

    def __init__(self, sizes):
        shape = (sizes.num_episodes, sizes.horizon)
        self.sizes = sizes
        self.trajectory = Trajectory(
            states=np.zeros(shape, dtype=np.int64),
            actions=np.zeros(shape, dtype=np.int64),
            agent_rewards=np.zeros(shape),
            principal_rewards=np.zeros(shape),
            payments=np.zeros(shape),
            transfers=[],
            targets=[],
        )

    def begin(self, contract, num_episodes):
        self.trajectory.transfers.append(contract.transfer.copy())
        self.trajectory.targets.append(contract.target.copy())
        shape = (self.sizes.horizon, self.sizes.num_states, self.sizes.num_actions)
        transitions = np.zeros((*shape, self.sizes.num_states), dtype=np.int64)
        self.stage = Stage(transitions, np.zeros(shape), num_episodes)

    def add(self, index, episode, principal_rewards):
        for step in range(self.sizes.horizon):
            cell = (step, episode.states[step], episode.actions[step])
            self.stage.transitions[(*cell, episode.next_states[step])] += 1
            self.stage.rewards[cell] += principal_rewards[step]
        self.trajectory.states[index] = episode.states
        self.trajectory.actions[index] = episode.actions
        self.trajectory.agent_rewards[index] = episode.rewards
        self.trajectory.principal_rewards[index] = principal_rewards
        self.trajectory.payments[index] = episode.payments

    def finish(self, mechanism):
        if isinstance(mechanism, TwoPhase):
            self.trajectory.lo = mechanism.lo
            self.trajectory.hi = mechanism.hi
            self.trajectory.resolved = mechanism.resolved
            ended = mechanism.phase_one_episodes
            self.trajectory.phase_one_episodes = mechanism.episodes_done if ended is None else ended
        return self.trajectory


def _play_episode(index, game, tables, words, agent, contract):
    """Return the agent's Episode and the list of v seen by the principal."""
    horizon = game.horizon
    episode, principal_rewards = Episode(), []
    state = draw(np.ravel(tables.initial), words(index, 2 * horizon)[0])
    for step in range(horizon):
        word_u, word_v = words(index, 2 * step)
        word_next, word_agent = words(index, 2 * step + 1)
        action = agent.act(step, state, word_agent)
        own_action = contract.own_action[step, state]
        agent_mean = table_at(game.agent_reward, step)[state, action]
        principal_mean = table_at(game.principal_reward, step)[state, action, own_action]
        episode.states.append(state)
        episode.actions.append(action)
        episode.rewards.append(_noisy(agent_mean, word_u, game.noise))
        principal_rewards.append(_noisy(principal_mean, word_v, game.noise))
        episode.payments.append(float(contract.transfer[step, state, action]))
        state = draw(table_at(tables.kernel, step)[state, action], word_next)
        episode.next_states.append(state)
    return episode, principal_rewards


def reenact(game_arrays, sampler_tables, words, agent, mechanism, stage_lengths):
    """Play every stage in turn and return the Trajectory; K is the sum of stage_lengths."""
    _, num_states, num_actions = game_arrays.agent_reward.shape
    num_episodes = int(sum(stage_lengths))
    recorder = _Recorder(Sizes(game_arrays.horizon, num_states, num_actions, num_episodes))
    index = 0
    for length in stage_lengths:
        contract = mechanism.post()
        agent.begin(contract)
        recorder.begin(contract, int(length))
        for _ in range(int(length)):
            episode, principal_rewards = _play_episode(
                index, game_arrays, sampler_tables, words, agent, contract
            )
            agent.update(episode)
            recorder.add(index, episode, principal_rewards)
            index += 1
        mechanism.observe(recorder.stage)
    return recorder.finish(mechanism)
