"""A plain NumPy Q-learner with one hidden layer: forward and backward passes step by step.

Source: the module docstring of pajax's NeuralQ; the chain rule. One pair, float64.
"""

import numpy as np

from .agents import epsilon_greedy, schedule_value
from .records import uniform
from .reenactment import threefry2x32


def random_layer(seed, layer, rows, columns):
    """Return numbers in [-1, 1), entry i from the block with key (seed, layer), counter (i, 0)."""
    words = [threefry2x32((seed, layer), (i, 0))[0] for i in range(rows * columns)]
    return np.array([2.0 * uniform(word) - 1.0 for word in words]).reshape(rows, columns)


class NeuralQ:
    """Epsilon-greedy on a network's values, plus the transfers if aware of them."""

    def __init__(self, sizes, optimiser, epsilon, features=None, seed=0, width=32, memory="aware"):
        self.features = np.eye(sizes.num_states) if features is None else np.asarray(features)
        self.optimiser = optimiser
        self.epsilon_schedule = epsilon
        self.epsilon = None
        self.is_aware = {"aware": True, "blind": False}[memory]
        self.episodes_done = 0
        num_features = self.features.shape[1]
        inward, outward = 1.0 / np.sqrt(num_features + 1.0), 1.0 / np.sqrt(width)
        self.weights = {
            "step": inward * random_layer(seed, 0, sizes.horizon, width),
            "feature": inward * random_layer(seed, 1, num_features, width),
            "output": outward * random_layer(seed, 2, width, sizes.num_actions),
            "bias": np.zeros(sizes.num_actions),
        }
        self.transfer = None

    def begin(self, contract):
        """Take note of the contract and the stage's epsilon."""
        self.transfer = np.array(contract.transfer, dtype=np.float64)
        self.epsilon = schedule_value(self.epsilon_schedule, self.episodes_done)

    def hidden(self, step, state):
        """Return the activations of the hidden layer."""
        before = self.weights["step"][step] + self.features[state] @ self.weights["feature"]
        return np.maximum(before, 0.0)

    def net(self, step, state):
        """Return what the network says of each action."""
        return self.weights["bias"] + self.hidden(step, state) @ self.weights["output"]

    def values(self, step, state):
        """Return what the agent acts on."""
        offered = self.transfer[step, state] if self.is_aware else 0.0
        return self.net(step, state) + offered

    def act(self, step, state, word):
        """Return the action of this step."""
        return epsilon_greedy(list(self.values(step, state)), self.epsilon, word)

    def update(self, episode):
        """Take one step against the semi-gradient of the mean squared error, halved."""
        horizon = len(episode.states)
        gradient = {name: np.zeros(x.shape) for name, x in self.weights.items()}
        for step in range(horizon):
            state, action = episode.states[step], episode.actions[step]
            goal = episode.rewards[step]
            if not self.is_aware:
                goal += episode.payments[step]
            if step + 1 < horizon:
                goal += max(self.values(step + 1, episode.states[step + 1]))
            error = (self.net(step, state)[action] - goal) / horizon
            hidden = self.hidden(step, state)
            gradient["bias"][action] += error
            gradient["output"][:, action] += error * hidden
            inward = error * self.weights["output"][:, action] * (hidden > 0.0)
            gradient["step"][step] += inward
            gradient["feature"] += np.outer(self.features[state], inward)
        for name, slope in gradient.items():
            self.weights[name] = self.optimiser.step(name, self.weights[name], slope)
        self.episodes_done += 1
