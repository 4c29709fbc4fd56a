"""Plain-loop agents that count: PosteriorSampling, ThompsonSampling, UCB1; and what they draw.

Sources: Osband, Russo and Van Roy (2013); Agrawal and Goyal (2012); Auer, Cesa-Bianchi and Fischer
(2002); gamma numbers after Marsaglia and Tsang (2000), in the form of their paper. Block layouts
are those of the docstring of `pajax.draws`. One pair, float64, no vectorised shortcuts. Agents live
as in `oracles.agents`; one that draws takes words(e, d) of its pair, since it needs two words a
step.
"""

import math

import numpy as np
from scipy.special import ndtri

from .agents import changed_states, check_memory
from .records import Contract, first_argmax, uniform, weighted_sum
from .reenactment import threefry2x32

PROPOSALS = 4


def normal(word):
    """Return the quantile of the word, at the middle of its cell of width 2^-24."""
    return float(ndtri(uniform(word) + 2.0**-25))


def gamma(key, tag, shape, number, how_many):
    """Return gamma number `number` of `how_many` drawn together, from its first good proposal."""
    boosted = shape + 1.0 if shape < 1.0 else shape
    d = boosted - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    v, left = 1.0, 1.0
    for proposal in range(PROPOSALS):
        first, second = threefry2x32(key, (tag, proposal * how_many + number))
        x, u = normal(first), 1.0 - uniform(second)
        cube = (1.0 + c * x) ** 3
        if cube <= 0.0:
            continue
        likelihood = math.exp(0.5 * x * x + d - d * cube + d * math.log(cube))
        if u < likelihood:
            v, left = cube, u / likelihood
            break
    return d * v * left ** (1.0 / shape) if shape < 1.0 else d * v


def gammas(key, tag, shapes):
    """Return gamma numbers of an array of shapes, numbered row by row."""
    flat = np.ravel(shapes)
    drawn = [gamma(key, tag, float(a), i, len(flat)) for i, a in enumerate(flat)]
    return np.array(drawn).reshape(np.shape(shapes))


def betas(key, tag, successes, failures):
    """Return beta numbers of two arrays of the same shape."""
    x, y = gammas(key, tag, np.stack([successes, failures]))
    return x / (x + y)


def dirichlets(key, tag, concentration):
    """Return distributions over the last axis."""
    drawn = gammas(key, tag, concentration)
    return drawn / drawn.sum(axis=-1, keepdims=True)


class _Counting:
    """Counts of transitions, sums of own rewards and of payments at (h, s, a)."""

    def __init__(self, sizes, memory):
        self.sizes = sizes
        self.memory = check_memory(memory)
        shape = (sizes.horizon, sizes.num_states, sizes.num_actions)
        self.transitions = np.zeros((*shape, sizes.num_states))
        self.rewards = np.zeros(shape)
        self.payments = np.zeros(shape)
        self.transfer = np.zeros(shape)
        self.episodes_done = 0

    def begin(self, contract):
        """Forget what the memory mode says."""
        if self.memory == "restarting":
            for step, state in changed_states(contract.transfer, self.transfer):
                for table in (self.transitions, self.rewards, self.payments):
                    table[step, state] = 0.0
        self.transfer = np.array(contract.transfer, dtype=np.float64)

    def update(self, episode):
        """Count the episode."""
        for step in range(self.sizes.horizon):
            cell = (step, episode.states[step], episode.actions[step])
            self.transitions[(*cell, episode.next_states[step])] += 1
            self.rewards[cell] += episode.rewards[step]
            self.payments[cell] += episode.payments[step]
        self.episodes_done += 1

    def known(self, cell, pool):
        """Return counts of successors, reward sum and payment sum at a cell or over all steps."""
        tables = (self.transitions, self.rewards, self.payments)
        if not pool:
            return [table[cell] for table in tables]
        return [table[:, cell[1], cell[2]].sum(axis=0) for table in tables]

    def paid(self, cell, pool=False):
        """Return what it expects to be paid at a cell."""
        if self.memory == "aware":
            return self.transfer[cell]
        counts, _, payments = self.known(cell, pool)
        return payments / max(1.0, counts.sum())


class PosteriorSampling(_Counting):
    """Draws a model when a stage begins and plays its optimal policy."""

    def __init__(self, sizes, words, prior=1.0, memory="aware", stationary=True):
        super().__init__(sizes, memory)
        self.words = words
        self.prior = prior
        self.stationary = stationary
        self.key = None
        self.q = None

    def posterior(self):
        """Return Dirichlet weights [T, S, A, S'] and both Beta parameters [T, S, A]."""
        num_steps = 1 if self.stationary else self.sizes.horizon
        shape = (num_steps, self.sizes.num_states, self.sizes.num_actions)
        weights = np.zeros((*shape, self.sizes.num_states))
        successes, failures = np.zeros(shape), np.zeros(shape)
        for cell in np.ndindex(*shape):
            counts, rewards, _ = self.known(cell, self.stationary)
            weights[cell] = self.prior + counts
            successes[cell] = 1.0 + rewards
            failures[cell] = 1.0 + counts.sum() - rewards
        return weights, successes, failures

    def begin(self, contract):
        """Draw a model, unless nothing was played yet, and plan in it."""
        super().begin(contract)
        if self.episodes_done == 0:
            return
        weights, successes, failures = self.posterior()
        kernel = dirichlets(self.key, 0, weights)
        rewards = betas(self.key, 1, successes, failures)
        self.q = self.plan(rewards, kernel)

    def plan(self, rewards, kernel):
        """Return optimal values [H, S, A] of a model, payments included."""
        q = np.zeros(self.transfer.shape)
        next_value = [0.0] * self.sizes.num_states
        for step in reversed(range(self.sizes.horizon)):
            at = 0 if self.stationary else step
            for state in range(self.sizes.num_states):
                for action in range(self.sizes.num_actions):
                    cell = (step, state, action)
                    now = rewards[at, state, action] + self.paid(cell, self.stationary)
                    later = weighted_sum(kernel[at, state, action], next_value)
                    q[cell] = now + later
            next_value = [max(row) for row in q[step]]
        return q

    def act(self, step, state, word):
        """Return the first maximiser, or a uniform action in the first stage."""
        further = 2 * self.sizes.horizon + 1 + step
        self.key = (word, self.words(self.episodes_done, further)[0])
        if self.q is None:
            return math.floor(uniform(word) * self.sizes.num_actions)
        return first_argmax(self.q[step, state])


class ThompsonSampling(_Counting):
    """Draws every arm's mean in every round."""

    def __init__(self, sizes, words, memory="aware"):
        super().__init__(sizes, memory)
        self.words = words

    def act(self, step, state, word):
        """Return the best of the draws, payments included."""
        key = (word, self.words(self.episodes_done, 3)[0])
        successes = 1.0 + self.rewards[0, 0]
        failures = 1.0 + self.transitions[0, 0, :, 0] - self.rewards[0, 0]
        drawn = betas(key, 0, successes, failures)
        return first_argmax([x + self.paid((0, 0, arm)) for arm, x in enumerate(drawn)])


class UCB1(_Counting):
    """Plays each arm once, then the largest upper confidence bound."""

    def __init__(self, sizes, memory="aware", bonus=2.0):
        super().__init__(sizes, memory)
        self.bonus = bonus

    def act(self, step, state, word):
        """Return the first arm never played, or the first maximiser of the bound."""
        plays = [int(x) for x in self.transitions[0, 0, :, 0]]
        if 0 in plays:
            return plays.index(0)
        log_rounds = math.log(sum(plays))
        bounds = [
            self.rewards[0, 0, arm] / n
            + math.sqrt(self.bonus * log_rounds / n)
            + self.paid((0, 0, arm))
            for arm, n in enumerate(plays)
        ]
        return first_argmax(bounds)


class AlternatingContracts:
    """Announces two contracts in turn."""

    def __init__(self, transfers):
        self.transfers = np.asarray(transfers, dtype=np.float64)
        self.stages_done = 0

    def post(self):
        """Return the contract of this stage."""
        transfer = self.transfers[self.stages_done % 2].copy()
        none = np.zeros(transfer.shape[:2], dtype=np.int64)
        return Contract(transfer, none, none - 1)

    def observe(self, stage):
        """Count the stage."""
        self.stages_done += 1
