"""The logit estimator at one (h, s) of one pair, in plain float64 loops.

Source: the docstring of `pajax.mechanisms.discrete_choice` (a logit of McFadden, 1974; the
up-and-down rule of Dixon and Mood, 1948). Offered x on the action a, b is played with probability
exp(beta (theta_b + x 1[b = a])) over its sum; a record is a list of questions (a, x, plays), plays
being counts of each action.
"""

import math

import numpy as np
from scipy.optimize import minimize

#: Relative slack in comparisons with a step or a width.
SLACK = 1e-4


def probabilities(theta, beta, action, offer):
    """p_b of one question."""
    logits = [beta * (t + (offer if b == action else 0.0)) for b, t in enumerate(theta)]
    weights = [math.exp(x - max(logits)) for x in logits]
    return [x / sum(weights) for x in weights]


def log_likelihood(theta, beta, record):
    """Sum over questions and actions of n_b log p_b."""
    total = 0.0
    for action, offer, plays in record:
        chances = probabilities(theta, beta, action, offer)
        total += sum(n * math.log(p) for n, p in zip(plays, chances, strict=True) if n > 0)
    return total


def standard_errors(theta, beta, record):
    """1 / sqrt(I) of each action, I = beta^2 sum over its questions of n p (1 - p)."""
    information = [0.0] * len(theta)
    for action, offer, plays in record:
        p = probabilities(theta, beta, action, offer)[action]
        information[action] += beta**2 * sum(plays) * p * (1.0 - p)
    return [1.0 / math.sqrt(x) if x > 0 else math.inf for x in information]


def maximum_likelihood(num_actions, record):
    """(max theta - theta, beta) where the likelihood is largest, by a quasi-Newton method.

    With weights g_b = beta theta_b it is concave in (g, beta); g_0 = 0 fixes its level.
    """

    def loss(x):
        beta = x[-1]
        return -log_likelihood([g / beta for g in (0.0, *x[:-1])], beta, record)

    start = np.append(np.zeros(num_actions - 1), 1.0)
    found = minimize(loss, start, method="BFGS", jac="3-point", options={"gtol": 1e-7})
    theta = np.append(0.0, found.x[:-1]) / found.x[-1]
    return theta.max() - theta, found.x[-1]


class Stairs:
    """The up-and-down rule at one (h, s), for a principal that never changes its fit."""

    def __init__(self, num_actions, top, task, fields):
        self.top, self.task, self.fields = top, task, fields
        first = min(fields["first_offer"], 0.5 * top)
        self.offer = [first] * num_actions
        self.step = [max(first, 0.5 * task["width"])] * num_actions
        self.direction = [0] * num_actions
        self.asked = [0] * num_actions
        self.repeats = [0] * num_actions
        self.kept = [[None] * fields["memory"] for _ in range(num_actions)]
        self.is_done = False
        self.order = []
        self.ask(0)

    def ask(self, action):
        """Begin a question about an action."""
        ratio = self.task["width"] / (2.0 * self.step[action])
        self.action, self.visits = action, 0
        self.needed = max(self.task["min_visits"], self.task["test_visits"] * ratio**2)
        self.counts = [0] * len(self.offer)

    def hear(self, plays):
        """A stage's plays; perhaps the question is over, and the next one begins."""
        burn = self.fields["burn"]
        if self.visits >= burn * self.needed:
            self.counts = [x + y for x, y in zip(self.counts, plays, strict=True)]
        self.visits += sum(plays)
        if sum(self.counts) >= (1.0 - burn) * self.needed:
            self.finish()

    def finish(self):
        a = self.action
        self.order.append(a)
        self.kept[a][self.asked[a] % self.fields["memory"]] = (a, self.offer[a], self.counts)
        self.climb(a, self.counts.index(max(self.counts)) == a)
        is_open = [self.is_open(b) for b in range(len(self.offer))]
        self.is_done = not any(is_open)
        steps = [x if is_open[b] else -1.0 for b, x in enumerate(self.step)]
        self.ask(steps.index(max(steps)))

    def climb(self, a, yes):
        """A step down after yes, up after no; half as large where the answer turned."""
        smallest = 0.5 * self.task["width"]
        self.asked[a] += 1
        if self.step[a] <= smallest * (1.0 + SLACK):
            self.repeats[a] += 1
        direction = -1 if yes else 1
        stands_at_end = self.offer[a] <= 0.0 if yes else self.offer[a] >= self.top
        if direction == -self.direction[a] or stands_at_end:
            self.step[a] = max(0.5 * self.step[a], smallest)
        self.direction[a] = direction
        self.offer[a] = min(max(self.offer[a] + direction * self.step[a], 0.0), self.top)

    def record(self):
        """The questions kept."""
        return [question for kept in self.kept for question in kept if question is not None]

    def is_open(self, a):
        """Whether there is more to ask about an action, with theta = 0 and beta = 4 / (H - h)."""
        width, z = self.task["width"], self.fields["confidence"]
        beta = min(4.0 / self.top, 4.0 / width)
        error = standard_errors([0.0] * len(self.offer), beta, self.record())[a]
        is_close = z == 0.0 or z * error <= 0.5 * width * (1.0 + SLACK)
        repeats = self.repeats[a]
        few = repeats < self.fields["repeats"]
        return few or (not is_close and repeats < self.fields["max_repeats"])
