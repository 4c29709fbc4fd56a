"""Plain-loop stateless principals: bisection and a bandit, epsilon-greedy, elimination.

Source: the algorithms as the module docstrings of `pajax.mechanisms` state them, after
arXiv:2406.19824, 2403.03811, 2304.07407 and 2412.16318. One principal, float64. It posts an `Offer`
for every step and state, and then observes the plays of a stage: triples (a, b, v), in any order,
and two random words.
"""

import math
from typing import NamedTuple

from .records import first_argmax, uniform
from .reenactment import threefry2x32


class Sizes(NamedTuple):
    """What the principal is told of the game."""

    num_actions: int
    num_own_actions: int
    horizon: int
    num_episodes: int

    @property
    def rounds(self):
        """T = K H."""
        return float(self.num_episodes * self.horizon)


class Offer(NamedTuple):
    """What is posted everywhere: a transfer for each action, an own action, a target or -1."""

    transfer: list
    own_action: int
    target: int


class Memory:
    """The principal's rewards by action and own action."""

    def __init__(self, sizes):
        self.sizes = sizes
        pairs = range(sizes.num_actions), range(sizes.num_own_actions)
        self.count = {(a, b): 0 for a in pairs[0] for b in pairs[1]}
        self.sum = dict.fromkeys(self.count, 0.0)

    def add(self, plays):
        """Take in the plays of a stage."""
        for a, b, v in plays:
            self.count[a, b] += 1
            self.sum[a, b] += v

    def index(self, a, b, scale):
        """Return the upper bound on mean v(a, b), at most 1."""
        n = self.count[a, b]
        if n == 0:
            return 1.0
        bonus = scale * math.sqrt(math.log(max(self.sizes.rounds, 2.0)) / n)
        return min(1.0, self.sum[a, b] / n + bonus)

    def best_own(self, a, scale):
        """Return the own action with the largest index for a, and that index."""
        indices = [self.index(a, b, scale) for b in range(self.sizes.num_own_actions)]
        b = first_argmax(indices)
        return b, indices[b]

    def best_arm(self, tau_hat, scale):
        """Return the (a, b) with the largest index less its transfer."""
        best = [self.best_own(a, scale) for a in range(self.sizes.num_actions)]
        a = first_argmax([index - tau for (_, index), tau in zip(best, tau_hat, strict=True)])
        return a, best[a][0]

    def least_tried(self):
        """Return the own action with the fewest rounds."""
        tried = [
            sum(self.count[a, b] for a in range(self.sizes.num_actions))
            for b in range(self.sizes.num_own_actions)
        ]
        return tried.index(min(tried))


def on_action(sizes, action, amount):
    """Return a list with an amount on one action."""
    return [amount if a == action else 0.0 for a in range(sizes.num_actions)]


class SearchThenBandit:
    """Bisection for one action after the other, then a bandit on shifted rewards."""

    def __init__(self, sizes, rounds, questions, threshold, inflation, margin, bonus):
        self.sizes, self.memory = sizes, Memory(sizes)
        self.needed, self.questions, self.threshold = rounds, questions, threshold
        self.inflation, self.margin, self.bonus = inflation, margin, bonus
        self.low = [0.0] * sizes.num_actions
        self.high = [float(sizes.horizon)] * sizes.num_actions
        self.searched, self.answers, self.batch = 0, 0, []
        self.num_yes = 0

    @property
    def is_searching(self):
        """Whether a transfer is still being searched for."""
        return self.searched < self.sizes.num_actions

    def middle(self, a):
        """Return the middle of the interval of a."""
        return (self.low[a] + self.high[a]) / 2.0

    def post(self):
        """Return the question, or the arm."""
        if self.is_searching:
            question = on_action(self.sizes, self.searched, self.middle(self.searched))
            return Offer(question, self.memory.least_tried(), -1)
        tau_hat = [high + self.margin for high in self.high]
        a, b = self.memory.best_arm(tau_hat, self.bonus)
        return Offer(on_action(self.sizes, a, tau_hat[a]), b, a)

    def observe(self, plays, words):
        """Take in a stage."""
        self.memory.add(plays)
        if not self.is_searching:
            return
        self.batch += [a for a, _, _ in plays]
        if len(self.batch) >= self.needed:
            self._answer(self.searched)

    def _answer(self, a):
        x = self.middle(a)
        if self.batch.count(a) > self.threshold * len(self.batch):
            self.high[a] = x + self.inflation
            self.num_yes += 1
        else:
            self.low[a] = x - self.inflation
        self.batch = []
        self.answers += 1
        if self.answers == self.questions:
            self.searched, self.answers = self.searched + 1, 0


def belgic(sizes, alpha=0.5, beta=0.25, threshold=0.5, margin=0.1, bonus=0.5**0.5):
    """Return the principal of BELGIC."""
    i = sizes.rounds**-beta
    questions = 0
    while sizes.horizon * 0.5**questions > i * (1.0 + 1e-9):
        questions += 1
    batch = round(sizes.rounds**alpha)
    return SearchThenBandit(sizes, batch, questions, threshold, i, i + margin, bonus)


def ipa(sizes, bonus=0.5**0.5):
    """Return the principal of IPA."""
    questions = math.ceil(math.log2(sizes.horizon * sizes.rounds))
    return SearchThenBandit(sizes, 1, questions, 0.5, 0.0, 1.0 / sizes.rounds, bonus)


class EpsilonGreedy:
    """Bounds on differences of the agent's rewards, from its choices."""

    def __init__(self, sizes, exploration=None, margin=0.1):
        self.sizes, self.memory, self.margin = sizes, Memory(sizes), margin
        self.exploration = sizes.num_actions if exploration is None else exploration
        actions = range(sizes.num_actions)
        self.bounds = [[0.0 if i == j else float(sizes.horizon) for j in actions] for i in actions]
        self.rounds, self.num_contradictions = 0, 0
        self.offer = Offer([0.0] * sizes.num_actions, 0, -1)

    def post(self):
        """Return what was decided when the last stage ended."""
        return self.offer

    def observe(self, plays, words):
        """Learn from the action played most, and decide."""
        self.memory.add(plays)
        self.rounds += len(plays)
        counts = [0] * self.sizes.num_actions
        for a, _, _ in plays:
            counts[a] += 1
        self._learn(first_argmax(counts), self.offer.transfer)
        drawn = [uniform(threefry2x32(words, (0, n))[0]) for n in range(self.sizes.num_actions + 2)]
        if drawn[0] < min(1.0, self.exploration / math.sqrt(self.rounds)):
            own = int(drawn[1] * self.sizes.num_own_actions)
            self.offer = Offer([self.sizes.horizon * f for f in drawn[2:]], own, -1)
        else:
            tau_hat = self.tau_hat()
            a, b = self.memory.best_arm(tau_hat, 0.0)
            self.offer = Offer(on_action(self.sizes, a, tau_hat[a] + self.margin), b, a)

    def tau_hat(self):
        """Return the transfers that suffice by the bounds."""
        return [max(row) for row in self.bounds]

    def _learn(self, i, x):
        for j in range(self.sizes.num_actions):
            if j == i:
                continue
            # s_j - s_i <= x_i - x_j, hence also s_i - s_j >= x_j - x_i
            self.bounds[i][j] = min(self.bounds[i][j], x[i] - x[j])
            if self.bounds[j][i] < x[j] - x[i]:
                self.bounds[j][i] = x[j] - x[i]
                self.num_contradictions += 1


class Elimination:
    """Phases of sampling, searching, playing and comparing, each for one arm after the other."""

    def __init__(self, sizes, plays=0.5, repeats=1.0, safety=4.0, lead=3.0, bonus=0.5**0.5):
        self.sizes, self.memory = sizes, Memory(sizes)
        self.plays, self.repeats, self.safety = plays, repeats, safety
        self.lead, self.bonus = lead, bonus
        self.log = math.log(max(sizes.rounds, 2.0))
        self.cap = sizes.horizon + 1.0 / sizes.rounds
        self.active = list(range(sizes.num_actions))
        self.found = [float(sizes.horizon)] * sizes.num_actions
        self.phase, self.num_lost, self.parts = 0, 0, []
        self._next_phase()

    # The steps of a phase, as a list that is worked off --------------------------------------

    def _next_phase(self):
        self.phase += 1
        eliminated = [a for a in range(self.sizes.num_actions) if a not in self.active]
        self.samples = self._phase_plays(self.phase - 1)
        self.samples = math.sqrt(self.samples * len(self.active) / max(1, len(eliminated)))
        self.drift = math.sqrt(self.log / (2.0 * self._phase_plays(self.phase - 1)))
        self.left = [("sample", a) for a in eliminated]
        self.left += [("search", a) for a in self.active] + [("play", a) for a in self.active]
        if len(self.active) > 1:
            self.left += [("compare", a) for a in self.active]
        self.kept = list(self.active)
        self._start()

    def _phase_plays(self, phase):
        return self.plays * 4.0**phase * self.log

    def _start(self):
        self.batch, self.low, self.high = [], 0.0, float(self.sizes.horizon)
        self.again = False

    def _next_step(self):
        self.parts.append(self.left.pop(0)[0])
        self._start()
        if not self.left:
            self.active = self.kept or self.active
            self._next_phase()

    # What is posted and what is made of it ---------------------------------------------------

    def post(self):
        """Return the offer of the step."""
        part, arm = self.left[0]
        b, _ = self.memory.best_own(arm, self.bonus)
        if part == "sample":
            return Offer(on_action(self.sizes, arm, self.cap), b, arm)
        if part == "search":
            return Offer(on_action(self.sizes, arm, self._question()), b, -1)
        if part == "play":
            paid = self.found[arm] + self.safety * self.drift + 1.0 / self.samples
            return Offer(on_action(self.sizes, arm, min(paid, self.cap)), b, arm)
        offers = [0.0] * self.sizes.num_actions
        for a in self.active:
            offers[a] = self.sizes.horizon + self.memory.best_own(a, 0.0)[1]
        offers[arm] += self.lead * 0.5**self.phase
        return Offer(offers, b, -1)

    def _question(self):
        return self.high if self.again else (self.low + self.high) / 2.0

    def observe(self, plays, words):
        """Take in a stage."""
        self.memory.add(plays)
        self.batch += [a for a, _, _ in plays]
        part, arm = self.left[0]
        asked = self.repeats * self.log
        needed = {"sample": self.samples, "play": self._phase_plays(self.phase)}.get(part, asked)
        if len(self.batch) < needed:
            return
        yes = self.batch.count(arm) > len(self.batch) / 2.0
        self.batch = []
        if part == "search" and not self._is_found(yes):
            return
        if part == "search":
            self.found[arm] = self.high
        if part == "compare" and not yes:
            self.kept.remove(arm)
        self._next_step()

    def _is_found(self, yes):
        middle = (self.low + self.high) / 2.0
        if self.again and not yes:
            self.num_lost += 1
            return True
        if self.again:
            self.low = middle
        elif yes:
            self.high = middle
        self.again = not self.again and not yes
        return self.high - self.low <= 0.5**self.phase
