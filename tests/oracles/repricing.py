"""Mechanisms that price what they know, anew when some count has doubled; plain float64 loops.

Source: the docstrings of `pajax.mechanisms` repricing, own_actions, residual_claimant and
pigouvian. One principal. It is told the episodes of a stage, (s, a, b, s', v) for each step.
"""

import math

import numpy as np

from .records import first_argmax


def claim(principal, rewards):
    """The residual claim: all that the principal thinks it earns."""
    return rewards


def tax(principal, rewards):
    """The principal's advantages over what the agent is used to play, and the least rebate."""
    return pigouvian(principal.transitions, rewards)


def pigouvian(transitions, rewards):
    """v + P phi[h+1] - phi[h] + kappa[h] from counts [H, S, A, S'] and rewards [H, S, A]."""
    horizon, num_states, num_actions, _ = transitions.shape
    transfer, later = np.zeros(rewards.shape), [0.0] * num_states
    for h in reversed(range(horizon)):
        phi = []
        for s in range(num_states):
            worth, plays = [], []
            for a in range(num_actions):
                visits = transitions[h, s, a].sum()
                moves = zip(transitions[h, s, a], later, strict=True)
                unseen = float(horizon - h)
                ahead = sum(n * value for n, value in moves)
                worth.append(rewards[h, s, a] + ahead / visits if visits > 0 else unseen)
                plays.append(visits)
            total = sum(plays)
            used = sum(n * q for n, q in zip(plays, worth, strict=True))
            phi.append(used / total if total > 0 else float(horizon - h))
            transfer[h, s] = [q - phi[s] for q in worth]
        transfer[h] += max(0.0, -transfer[h].min())
        later = phi
    return transfer


class Repricer:
    """Posts `prices(self, optimistic rewards)`."""

    def __init__(self, shape, num_episodes, scale, prices):
        horizon, num_states, num_actions, _ = shape
        self.scale, self.prices = scale, prices
        self.confidence = math.log(num_episodes)
        self.sums = np.zeros(shape)
        self.own_visits = np.zeros(shape)
        self.transitions = np.zeros((horizon, num_states, num_actions, num_states))
        self.priced_visits = np.zeros(shape[:3])
        self.num_prices = 0
        self.price()

    @property
    def visits(self):
        """Plays of each (h, s, a)."""
        return self.transitions.sum(axis=3)

    def price(self):
        """A new contract: transfers [H, S, A] and own actions [H, S]."""
        rewards, best = np.zeros(self.visits.shape), np.zeros(self.visits.shape, int)
        for cell in np.ndindex(*rewards.shape):
            row = [self.index(*x) for x in zip(self.sums[cell], self.own_visits[cell], strict=True)]
            best[cell] = first_argmax(row)
            rewards[cell] = row[best[cell]]
        self.transfer = self.prices(self, rewards)
        self.own_action = np.zeros(rewards.shape[:2], int)
        lately = self.visits - self.priced_visits
        for h, s in np.ndindex(*self.own_action.shape):
            self.own_action[h, s] = best[h, s, first_argmax(lately[h, s])]
        self.priced_visits = self.visits
        self.num_prices += 1

    def index(self, total, visits):
        """mean + scale sqrt(log K / N), at most 1, and 1 where nothing was seen."""
        if visits == 0:
            return 1.0
        return min(1.0, total / visits + self.scale * math.sqrt(self.confidence / visits))

    def observe(self, episodes):
        """A stage's episodes; then perhaps a new contract."""
        for episode in episodes:
            for h, (s, a, b, following, v) in enumerate(episode):
                self.sums[h, s, a, b] += v
                self.own_visits[h, s, a, b] += 1
                self.transitions[h, s, a, following] += 1
        cells = np.ndindex(*self.priced_visits.shape)
        if any(self.visits[cell] >= 2 * max(self.priced_visits[cell], 1) for cell in cells):
            self.price()
