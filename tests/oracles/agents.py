"""Plain-loop agents: BestResponse, QLearning, UCBQ and UCBVI.

Source: the trajectory specification in the docstrings of pajax and THEORY.md section 1 (what an
agent sees), (T2) (its values under a contract). One pair, float64, no vectorised shortcuts. Life of
an agent: begin(contract) at the start of a stage, act(step, state, word) at each step,
update(episode) after each whole episode.
"""

import math

import numpy as np

from .records import first_argmax, table_at, uniform, weighted_sum

MEMORIES = ("aware", "restarting", "blind")


def schedule_value(schedule, count):
    """Return schedule(count), or the schedule itself where it is a number."""
    return float(schedule(count)) if callable(schedule) else float(schedule)


def epsilon_greedy(row, epsilon, word):
    """Explore when uniform(word) < epsilon, with the action read off the same uniform."""
    fraction = uniform(word)
    if fraction < epsilon:
        return min(math.floor(fraction * (len(row) / epsilon)), len(row) - 1)
    return first_argmax(row)


def changed_states(new_transfer, old_transfer):
    """Return the list of (step, state) whose row of transfers differs anywhere."""
    horizon, num_states, num_actions = new_transfer.shape
    return [
        (step, state)
        for step in range(horizon)
        for state in range(num_states)
        if any(
            new_transfer[step, state, action] != old_transfer[step, state, action]
            for action in range(num_actions)
        )
    ]


def value_caps(transfer):
    """Return cap[h] = sum_{h' >= h} (1 + max transfer[h']) for h = 0..H, added from the end."""
    horizon = len(transfer)
    cap = [0.0] * (horizon + 1)
    for step in reversed(range(horizon)):
        largest = max(float(x) for x in transfer[step].ravel())
        cap[step] = (1.0 + largest) + cap[step + 1]
    return cap


def check_memory(memory):
    """Return a known memory mode, or raise."""
    if memory not in MEMORIES:
        raise ValueError(f"memory must be one of {MEMORIES}, got {memory!r}")
    return memory


class BestResponse:
    """Epsilon-greedy on the exact Q of its own game under the announced contract."""

    def __init__(self, game, epsilon=0.0):
        self.game = game
        self.epsilon_schedule = epsilon
        self.epsilon = None
        self.episodes_done = 0
        self.q = None

    def begin(self, contract):
        """Solve the game under the contract by backward induction."""
        self.epsilon = schedule_value(self.epsilon_schedule, self.episodes_done)
        horizon, num_states, num_actions = contract.transfer.shape
        self.q = np.zeros((horizon, num_states, num_actions))
        next_value = [0.0] * num_states
        for step in reversed(range(horizon)):
            reward = table_at(self.game.agent_reward, step)
            kernel = table_at(self.game.transition, step)
            for state in range(num_states):
                for action in range(num_actions):
                    paid = reward[state, action] + contract.transfer[step, state, action]
                    self.q[step, state, action] = paid + weighted_sum(
                        kernel[state, action], next_value
                    )
            next_value = [max(self.q[step, state]) for state in range(num_states)]

    def act(self, step, state, word):
        """Return the action of this step."""
        return epsilon_greedy(self.q[step, state], self.epsilon, word)

    def update(self, episode):
        """Learn nothing, count the episode."""
        self.episodes_done += 1


class _TabularQ:
    """A table q[h, s, a] with visit counts, and what each memory mode does to it."""

    def __init__(self, sizes, memory, start):
        self.sizes = sizes
        self.memory = check_memory(memory)
        self.start = start  # per step, the value q starts from
        shape = (sizes.horizon, sizes.num_states, sizes.num_actions)
        self.q = np.zeros(shape)
        for step in range(sizes.horizon):
            self.q[step] = start[step]
        self.visits = np.zeros(shape, dtype=np.int64)
        self.known_transfer = np.zeros(shape)
        self.episodes_done = 0

    def begin(self, contract):
        """Carry q over to the new contract as the memory mode says."""
        new, old = contract.transfer, self.known_transfer
        if self.memory == "aware":
            for cell in np.ndindex(*self.q.shape):
                self.q[cell] += new[cell] - old[cell]
        elif self.memory == "restarting":
            for step, state in changed_states(new, old):
                self.q[step, state, :] = self.start[step]
                self.visits[step, state, :] = 0
        self.known_transfer = np.array(new, dtype=np.float64)

    def update(self, episode):
        """Update the cell met at each step, bootstrapping from q as it was before the episode."""
        old_q = self.q.copy()
        last = self.sizes.horizon - 1
        for step in range(self.sizes.horizon):
            cell = (step, episode.states[step], episode.actions[step])
            following = 0.0 if step == last else max(old_q[step + 1, episode.states[step + 1]])
            count = int(self.visits[cell]) + 1
            paid = episode.rewards[step] + episode.payments[step]
            target = self._target(step, paid, following, count)
            self.q[cell] += self._rate(count) * (target - self.q[cell])
            self.visits[cell] = count
        self.episodes_done += 1

    def _rate(self, count):
        return (self.sizes.horizon + 1) / (self.sizes.horizon + count)

    def _target(self, step, paid, following, count):
        raise NotImplementedError


class QLearning(_TabularQ):
    """Epsilon-greedy Q-learning; q includes payments. learning_rate None means (H+1)/(H+n)."""

    def __init__(self, sizes, epsilon=0.0, learning_rate=None, memory="aware"):
        super().__init__(sizes, memory, start=[0.0] * sizes.horizon)
        self.epsilon_schedule = epsilon
        self.epsilon = None
        self.learning_rate = learning_rate

    def begin(self, contract):
        """Fix the stage's epsilon, then carry q over."""
        self.epsilon = schedule_value(self.epsilon_schedule, self.episodes_done)
        super().begin(contract)

    def act(self, step, state, word):
        """Return the action of this step."""
        return epsilon_greedy(self.q[step, state], self.epsilon, word)

    def _rate(self, count):
        if self.learning_rate is None:
            return super()._rate(count)
        return schedule_value(self.learning_rate, count - 1)

    def _target(self, step, paid, following, count):
        return paid + following


class UCBQ(_TabularQ):
    """Greedy Q-learning with an optimistic start and a bonus in the target."""

    def __init__(self, sizes, bonus, memory="aware"):
        super().__init__(
            sizes, memory, start=[float(sizes.horizon - h) for h in range(sizes.horizon)]
        )
        self.bonus = bonus
        self.log_term = math.log(
            sizes.num_states * sizes.num_actions * sizes.horizon * sizes.num_episodes
        )
        self.cap = None

    def begin(self, contract):
        """Carry q over and take the caps from the contract just announced."""
        super().begin(contract)
        self.cap = value_caps(contract.transfer)

    def act(self, step, state, word):
        """Return the first maximiser of q."""
        return first_argmax(self.q[step, state])

    def _target(self, step, paid, following, count):
        bonus = self.bonus * math.sqrt(self.sizes.horizon**3 * self.log_term / count)
        return paid + bonus + min(self.cap[step + 1], following)


class UCBVI:
    """Plans optimistically at the start of a stage on the model it has counted so far."""

    def __init__(self, sizes, bonus, memory="aware", stationary=False):
        self.sizes = sizes
        self.bonus = bonus
        self.memory = check_memory(memory)
        self.stationary = stationary
        shape = (sizes.horizon, sizes.num_states, sizes.num_actions)
        self.reward_sum = np.zeros(shape)
        self.transitions = np.zeros((*shape, sizes.num_states), dtype=np.int64)
        self.known_transfer = np.zeros(shape)
        self.log_term = math.log(max(sizes.num_episodes, 2))
        self.q = None

    def begin(self, contract):
        """Forget what the memory mode says, then plan."""
        if self.memory == "restarting":
            for step, state in changed_states(contract.transfer, self.known_transfer):
                self.reward_sum[step, state, :] = 0.0
                self.transitions[step, state, :, :] = 0
        self.known_transfer = np.array(contract.transfer, dtype=np.float64)
        self._plan(value_caps(contract.transfer))

    def _plan(self, cap):
        self.q = np.zeros(self.reward_sum.shape)
        next_value = [0.0] * self.sizes.num_states
        for step in reversed(range(self.sizes.horizon)):
            for state in range(self.sizes.num_states):
                for action in range(self.sizes.num_actions):
                    cell = (step, state, action)
                    self.q[cell] = self._optimistic_value(cell, cap[step], next_value)
            next_value = [max(row) for row in self.q[step]]

    def _optimistic_value(self, cell, cap, next_value):
        rewards, transitions = self._known(cell)
        visits = int(sum(transitions))
        if visits == 0:
            return cap
        value = rewards / visits
        if self.memory == "aware":
            value = value + self.known_transfer[cell]
        steps_left = self.sizes.horizon - cell[0]
        value = value + self.bonus * steps_left * math.sqrt(self.log_term / visits)
        estimate = [count / visits for count in transitions]
        return min(cap, value + weighted_sum(estimate, next_value))

    def _known(self, cell):
        """Reward sum and counts at a cell: of its own step, or of all steps if stationary."""
        if not self.stationary:
            return self.reward_sum[cell], self.transitions[cell]
        _, state, action = cell
        return self.reward_sum[:, state, action].sum(), self.transitions[:, state, action].sum(0)

    def act(self, step, state, word):
        """Return the first maximiser of the last plan."""
        return first_argmax(self.q[step, state])

    def update(self, episode):
        """Count the episode's transitions and rewards (with the payment unless aware)."""
        for step in range(self.sizes.horizon):
            cell = (step, episode.states[step], episode.actions[step])
            reward = episode.rewards[step]
            if self.memory != "aware":
                reward = reward + episode.payments[step]
            self.reward_sum[cell] += reward
            self.transitions[(*cell, episode.next_states[step])] += 1
