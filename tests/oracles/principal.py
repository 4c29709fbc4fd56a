"""Plain-loop mechanisms: FixedContract and TwoPhase.

Source: the trajectory specification in the docstrings of pajax; THEORY.md section 4 (the mechanism)
and (T4) (the posted margin). One principal, float64. Life of a mechanism: post() at the start of a
stage, observe(stage) at its end. The tests of phase 1 are in interval_tests.
"""

import math

import numpy as np

from .interval_tests import (
    BASELINE,
    BISECT,
    DONE,
    WIDTH_SLACK,
    Intervals,
    Settings,
    Test,
    close_baseline,
    close_bisection,
    close_check,
    next_test,
)
from .records import Contract, first_argmax, weighted_sum


class FixedContract:
    """Announces the same transfers before every stage."""

    def __init__(self, transfer, target=None):
        self.transfer = np.array(transfer, dtype=np.float64)
        shape = self.transfer.shape[:2]
        self.target = np.full(shape, -1) if target is None else np.array(target)

    def post(self):
        """Return the contract."""
        own_action = np.zeros(self.target.shape, dtype=np.int64)
        return Contract(self.transfer.copy(), own_action, self.target.copy())

    def observe(self, stage):
        """Learn nothing."""


class TwoPhase:
    """Estimate tau* by tests, then steer with it (THEORY.md section 4)."""

    def __init__(self, sizes, order="parallel", verify=None, **fields):
        if order not in ("parallel", "backward"):
            raise ValueError(f"order must be 'parallel' or 'backward', got {order!r}")
        self.sizes = sizes
        self.order = order
        self.verify = (order == "parallel") if verify is None else verify
        self.settings = Settings(**fields).fill(sizes.num_episodes)
        self.log_term = math.log(max(sizes.num_episodes, 2))
        self.episodes_done = 0
        self._start_phase_one()
        self._start_model()
        self._start_phase_two()

    def _start_phase_one(self):
        horizon, num_states, num_actions, _ = self.sizes
        baseline = max(self.settings.min_visits, self.settings.test_visits / 10.0)
        self.intervals = [
            [Intervals.start(float(horizon - step), num_actions) for _ in range(num_states)]
            for step in range(horizon)
        ]
        self.tests = [
            [Test(BASELINE, 0, 0.0, baseline, [0] * num_actions) for _ in range(num_states)]
            for _ in range(horizon)
        ]
        self.in_phase_one = True
        self.phase_one_episodes = None
        self.level = horizon - 1
        self.level_start = 0
        self.last_plan = 0
        self.rolled = np.zeros((horizon, num_states), dtype=np.int64)

    def _start_model(self):
        shape = (self.sizes.horizon, self.sizes.num_states, self.sizes.num_actions)
        self.transitions = np.zeros((*shape, self.sizes.num_states), dtype=np.int64)
        self.reward_sum = np.zeros(shape)
        self.visits = np.zeros(shape, dtype=np.int64)

    def _start_phase_two(self):
        shape = self.visits.shape
        self.target = np.full(shape[:2], -1)
        self.visits_at_plan = np.zeros(shape, dtype=np.int64)
        self.bump = np.zeros(shape)
        self.streak = np.zeros(shape, dtype=np.int64)
        self.window_visits = np.zeros(shape[:2], dtype=np.int64)
        self.window_hits = np.zeros(shape[:2], dtype=np.int64)

    def _places(self):
        for step in range(self.sizes.horizon):
            for state in range(self.sizes.num_states):
                yield step, state

    def _is_active(self, step, state):
        on_level = self.order == "parallel" or step == self.level
        return self.in_phase_one and on_level and self.tests[step][state].kind != DONE

    def post(self):
        """Return the contract of the next stage."""
        transfer = np.zeros(self.visits.shape)
        for step, state in self._places():
            if not self.in_phase_one:
                action = self.target[step, state]
                transfer[step, state, action] = self._steering_transfer(step, state, action)
            elif self._is_active(step, state):
                test = self.tests[step][state]
                transfer[step, state, test.action] = test.offer
            elif self.order == "backward" and step < self.level:
                transfer[step, state, self.rolled[step, state]] = self.settings.roll_in
        own_action = np.zeros(self.target.shape, dtype=np.int64)
        return Contract(transfer, own_action, self.target.copy())

    def _steering_transfer(self, step, state, action):
        high = self.intervals[step][state].hi[action]
        growing = self.settings.width * (self.sizes.horizon - 1 - step)
        return high + self.settings.margin + growing + self.bump[step, state, action]

    def observe(self, stage):
        """Take in one stage: tests or repair, then the model, then what the next stage needs."""
        was_in_phase_one = self.in_phase_one
        stage_visits = stage.transitions.sum(axis=3)
        for step, state in self._places():
            if self._is_active(step, state):
                self._count_test(step, state, [int(n) for n in stage_visits[step, state]])
        self.transitions += stage.transitions
        self.reward_sum += stage.rewards
        self.visits += stage_visits
        self.episodes_done += stage.num_episodes
        if was_in_phase_one:
            self._advance_phase_one()
        else:
            self._repair(stage_visits)
        if not self.in_phase_one:
            self._refresh_targets(just_entered=was_in_phase_one)

    # Phase 1 ---------------------------------------------------------------------------------

    def _count_test(self, step, state, stage_counts):
        test = self.tests[step][state]
        if test.visits >= self.settings.burn * test.needed:
            test.counts = [a + b for a, b in zip(test.counts, stage_counts, strict=True)]
        test.visits += sum(stage_counts)
        if sum(test.counts) >= (1.0 - self.settings.burn) * test.needed:
            self._finish_test(step, state, test)

    def _finish_test(self, step, state, test):
        intervals = self.intervals[step][state]
        plurality = first_argmax(test.counts)
        yes = plurality == test.action
        if test.kind == BASELINE:
            close_baseline(intervals, plurality, self.settings.width)
        elif test.kind == BISECT:
            close_bisection(intervals, test, yes, self.settings.inflation)
        else:
            close_check(intervals, test, yes, self.settings.width)
        self.tests[step][state] = next_test(intervals, self.settings, self.verify)

    def _level_is_done(self, step):
        return all(test.kind == DONE for test in self.tests[step])

    def _advance_phase_one(self):
        if self.order == "backward":
            self._advance_level()
            ended = self.level < 0
        else:
            all_done = all(self._level_is_done(step) for step in range(self.sizes.horizon))
            limit = self.settings.cap * self.sizes.num_episodes
            ended = all_done or self.episodes_done >= limit
        if ended:
            self.in_phase_one = False
            self.phase_one_episodes = self.episodes_done

    def _advance_level(self):
        limit = self.settings.cap * self.sizes.num_episodes / self.sizes.horizon
        spent = self.episodes_done - self.level_start
        level_changed = self._level_is_done(self.level) or spent >= limit
        if level_changed:
            self.level -= 1
            self.level_start = self.episodes_done
        due = self.episodes_done - self.last_plan >= self.settings.roll_in_episodes
        if level_changed or due:
            self._plan_roll_in()
            self.last_plan = self.episodes_done

    def _plan_roll_in(self):
        if self.level < 0:
            return
        value = [0.0 if test.kind == DONE else 1.0 for test in self.tests[self.level]]
        for step in reversed(range(self.level)):
            rows = [
                [self._reach_value((step, state, a), value) for a in range(self.sizes.num_actions)]
                for state in range(self.sizes.num_states)
            ]
            value = [max(row) for row in rows]
            for state, row in enumerate(rows):
                self.rolled[step, state] = first_argmax(row)

    def _reach_value(self, cell, next_value):
        visits = int(self.visits[cell])
        if visits == 0:
            return 1.0
        bonus = self.settings.bonus * math.sqrt(self.log_term / visits)
        return min(1.0, bonus + self._mean_next(cell, visits, next_value))

    def _mean_next(self, cell, visits, next_value):
        return weighted_sum([count / visits for count in self.transitions[cell]], next_value)

    # Phase 2 ---------------------------------------------------------------------------------

    def _repair(self, stage_visits):
        for step, state in self._places():
            target = self.target[step, state]
            self.window_visits[step, state] += sum(stage_visits[step, state])
            self.window_hits[step, state] += stage_visits[step, state, target]
            if self.window_visits[step, state] >= self.settings.repair_visits:
                self._judge_window(step, state, (step, state, target))

    def _judge_window(self, step, state, cell):
        compliance = self.window_hits[step, state] / self.window_visits[step, state]
        if compliance < 0.5:
            raised = self.bump[cell] + self.settings.width * 2.0 ** int(self.streak[cell])
            self.bump[cell] = min(float(self.sizes.horizon - step), raised)
            self.streak[cell] = min(self.streak[cell] + 1, self.settings.max_failures)
        else:
            self.streak[cell] = 0
        self.window_visits[step, state] = 0
        self.window_hits[step, state] = 0

    def _refresh_targets(self, just_entered):
        doubled = any(
            self.visits[cell] >= 2 * max(self.visits_at_plan[cell], 1)
            for cell in np.ndindex(*self.visits.shape)
        )
        if not (just_entered or doubled):
            return
        planned = self._plan_targets()
        for place in self._places():
            if just_entered or planned[place] != self.target[place]:
                self.window_visits[place] = 0
                self.window_hits[place] = 0
        self.target = planned
        self.visits_at_plan = self.visits.copy()

    def _plan_targets(self):
        planned = np.zeros(self.target.shape, dtype=np.int64)
        next_value = [0.0] * self.sizes.num_states
        for step in reversed(range(self.sizes.horizon)):
            value = []
            for state in range(self.sizes.num_states):
                row = [
                    self._shifted_value((step, state, action), next_value)
                    for action in range(self.sizes.num_actions)
                ]
                planned[step, state] = first_argmax(row)
                value.append(max(row))
            next_value = value
        return planned

    def _shifted_value(self, cell, next_value):
        step, state, action = cell
        top = float(self.sizes.horizon - step)
        visits = int(self.visits[cell])
        if visits == 0:
            return top
        intervals = self.intervals[step][state]
        middle = (intervals.lo[action] + intervals.hi[action]) / 2.0
        bonus = self.settings.bonus * top * math.sqrt(self.log_term / visits)
        value = self.reward_sum[cell] / visits - middle + bonus
        return min(top, value + self._mean_next(cell, visits, next_value))

    # What is read at the end -----------------------------------------------------------------

    @property
    def lo(self):
        """Lower ends, [H, S, A]."""
        return np.array([[place.lo for place in row] for row in self.intervals])

    @property
    def hi(self):
        """Upper ends, [H, S, A]."""
        return np.array([[place.hi for place in row] for row in self.intervals])

    @property
    def resolved(self):
        """Whether the interval is narrow and, under verify, has passed its checks; [H, S, A]."""
        resolved = np.zeros(self.visits.shape, dtype=bool)
        for cell in np.ndindex(*resolved.shape):
            resolved[cell] = self._is_resolved(*cell)
        return resolved

    def _is_resolved(self, step, state, action):
        place = self.intervals[step][state]
        width = self.settings.width
        narrow = place.hi[action] - place.lo[action] <= width * (1.0 + WIDTH_SLACK)
        if not self.verify:
            return narrow
        low_fine = place.checked_lo[action] or place.lo[action] <= width / 2.0
        return narrow and place.checked_hi[action] and low_fine
