"""Plain-loop agents that draw from a softmax: Logit, Exp3 and PolicyGradient; and two optimisers.

Source: McKelvey and Palfrey (1995), Bubeck and Cesa-Bianchi (2012, theorem 3.1), Williams (1992),
Kingma and Ba (2015), and what the docstrings of pajax say where these are silent. One pair,
float64, no vectorised shortcuts; the life of an agent is that of `oracles.agents`.
"""

import math

import numpy as np

from .agents import QLearning, changed_states, check_memory, schedule_value, value_caps
from .records import uniform


def softmax(logits):
    """Return the list of probabilities proportional to exp(logit)."""
    largest = max(logits)
    weights = [math.exp(x - largest) for x in logits]
    return [weight / sum(weights) for weight in weights]


def draw_softmax(logits, word):
    """Return the first action at which the running sum of the softmax exceeds the word's number."""
    fraction, passed = max(uniform(word), 2.0**-25), 0.0
    law = softmax(logits)
    for action in range(len(law) - 1):
        passed += law[action]
        if fraction < passed:
            return action
    return len(law) - 1


def returns_to_go(episode):
    """Return the list of sums of rewards and payments from each step on."""
    horizon = len(episode.rewards)
    return [
        sum(episode.rewards[step] + episode.payments[step] for step in range(first, horizon))
        for first in range(horizon)
    ]


class Logit(QLearning):
    """Q-learning whose actions are drawn from softmax(q / temperature)."""

    def __init__(self, sizes, temperature, memory="aware"):
        super().__init__(sizes, memory=memory)
        self.temperature_schedule = temperature
        self.temperature = None

    def begin(self, contract):
        """Fix the stage's temperature, then carry q over."""
        self.temperature = schedule_value(self.temperature_schedule, self.episodes_done)
        super().begin(contract)

    def act(self, step, state, word):
        """Return the action of this step."""
        return draw_softmax([q / self.temperature for q in self.q[step, state]], word)


class Exp3:
    """Exponential weights on estimated losses at every (h, s)."""

    def __init__(self, sizes, learning_rate=1.0, memory="aware"):
        self.sizes = sizes
        self.learning_rate = learning_rate
        self.memory = check_memory(memory)
        shape = (sizes.horizon, sizes.num_states, sizes.num_actions)
        self.losses = np.zeros(shape)
        self.visits = np.zeros(shape[:2], dtype=np.int64)
        self.known_transfer = np.zeros(shape)
        self.cap = None

    def begin(self, contract):
        """Carry the losses over to the new contract."""
        new, old = contract.transfer, self.known_transfer
        if self.memory == "aware":
            for step, state, action in np.ndindex(*self.losses.shape):
                rise = new[step, state, action] - old[step, state, action]
                self.losses[step, state, action] -= self.visits[step, state] * rise
        elif self.memory == "restarting":
            for step, state in changed_states(new, old):
                self.losses[step, state, :] = 0.0
                self.visits[step, state] = 0
        self.known_transfer = np.array(new, dtype=np.float64)
        self.cap = value_caps(new)

    def _logits(self, step, state):
        num_actions = self.sizes.num_actions
        count = int(self.visits[step, state]) + 1
        rate = self.learning_rate * math.sqrt(math.log(num_actions) / (count * num_actions))
        return [-rate * loss / self.cap[step] for loss in self.losses[step, state]]

    def act(self, step, state, word):
        """Return the action of this step."""
        return draw_softmax(self._logits(step, state), word)

    def update(self, episode):
        """Estimate the losses at the cells met, by the law that was played."""
        old = [softmax(self._logits(h, s)) for h, s in enumerate(episode.states)]
        for step, gain in enumerate(returns_to_go(episode)):
            state, action = episode.states[step], episode.actions[step]
            self.losses[step, state, action] += (self.cap[step] - gain) / old[step][action]
            self.visits[step, state] += 1


class GradientDescent:
    """weights -= rate * gradient."""

    def __init__(self, rate):
        self.rate = rate

    def step(self, name, weights, gradient):
        """Return the new weights; `name` tells several arrays apart."""
        return weights - self.rate * gradient

    def restart(self, name, where):
        """Nothing is remembered."""


class Adam:
    """Kingma and Ba (2015), with their constants."""

    def __init__(self, rate):
        self.rate = rate
        self.steps, self.mean, self.square = {}, {}, {}

    def step(self, name, weights, gradient):
        """Return the new weights; `name` tells several arrays apart."""
        count = self.steps[name] = self.steps.get(name, 0) + 1
        mean = self.mean[name] = 0.9 * self.mean.get(name, 0.0) + 0.1 * gradient
        square = self.square[name] = 0.999 * self.square.get(name, 0.0) + 0.001 * gradient**2
        mean_hat, square_hat = mean / (1 - 0.9**count), square / (1 - 0.999**count)
        return weights - self.rate * mean_hat / (np.sqrt(square_hat) + 1e-8)

    def restart(self, name, where):
        """Forget the moments at an index; the count of steps goes on."""
        if name in self.mean:
            self.mean[name][where] = 0.0
            self.square[name][where] = 0.0


class PolicyGradient:
    """REINFORCE with a baseline at every (h, s)."""

    def __init__(self, sizes, optimiser, baseline_rate=0.1, memory="aware"):
        self.optimiser = optimiser
        self.baseline_rate = baseline_rate
        self.memory = check_memory(memory)
        shape = (sizes.horizon, sizes.num_states, sizes.num_actions)
        self.logits, self.known_transfer = np.zeros(shape), np.zeros(shape)
        self.baseline = np.zeros(shape[:2])

    def begin(self, contract):
        """Forget what the memory mode says."""
        if self.memory == "restarting":
            for where in changed_states(contract.transfer, self.known_transfer):
                self.logits[where] = 0.0
                self.baseline[where] = 0.0
                self.optimiser.restart("logits", where)
        self.known_transfer = np.array(contract.transfer, dtype=np.float64)

    def act(self, step, state, word):
        """Return the action of this step."""
        return draw_softmax(list(self.logits[step, state]), word)

    def update(self, episode):
        """Take one step along the estimated gradient of the return."""
        gradient = np.zeros(self.logits.shape)
        moved = self.baseline.copy()
        for step, gain in enumerate(returns_to_go(episode)):
            state, action = episode.states[step], episode.actions[step]
            law = softmax(list(self.logits[step, state]))
            offered = self.known_transfer[step, state]
            if self.memory == "aware":
                gain -= offered[action]
            surprise = gain - self.baseline[step, state]
            for other in range(len(law)):
                is_played = 1.0 if other == action else 0.0
                gradient[step, state, other] = surprise * (is_played - law[other])
                if self.memory == "aware":  # sum_a' pi(a') x(a') d log pi(a') / d theta(other)
                    for played, chance in enumerate(law):
                        slope = (1.0 if played == other else 0.0) - law[other]
                        gradient[step, state, other] += chance * offered[played] * slope
            moved[step, state] += self.baseline_rate * surprise
        self.logits = self.optimiser.step("logits", self.logits, -gradient)
        self.baseline = moved
