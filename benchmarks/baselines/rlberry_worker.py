"""UCBVI and Q-learning of rlberry, run on request by `against_libraries.py` in another interpreter.

It imports nothing of pajax. First it prints its versions, then for each line of JSON that it reads
it trains one agent for each seed and prints one line: what each earned, and seconds of processor.

    {"learner", "compiled", "tables": {"P", "R", "initial", "horizon"}, "episodes", "seeds"}
"""

import importlib.metadata
import json
import os
import sys
import time

import numba
import numpy as np
from rlberry.envs.finite_mdp import FiniteMDP
from rlberry.spaces import Discrete
from rlberry_scool.agents import QLAgent, UCBVIAgent
from rlberry_scool.agents.ucbvi import ucbvi

PLANNERS = ("backward_induction_reward_sd", "backward_induction_in_place")
AS_IS = {name: getattr(ucbvi, name) for name in PLANNERS}
COMPILED = {name: numba.njit(planner) for name, planner in AS_IS.items()}


class Stationary(FiniteMDP):
    """A finite MDP with rewards in [0, 1] that adds up what was earned."""

    def __init__(self, tables):
        self.horizon, self.earned = tables["horizon"], 0.0
        super().__init__(*(np.array(tables[name]) for name in ("R", "P", "initial")))
        self.reward_range = (0.0, 1.0)

    def step(self, action):
        """One step, which is added up."""
        s, reward, *rest = super().step(action)
        self.earned += reward
        return s, reward, *rest


class Episodic(Stationary):
    """It ends after H steps, and shows h S + s: what a learner without a horizon needs."""

    def __init__(self, tables):
        super().__init__(tables)
        self.h, self.observation_space = 0, Discrete(self.S * self.horizon)

    def reset(self, seed=None, options=None):
        """To the first step."""
        self.h = 0
        return super().reset(seed, options)

    def step(self, action):
        """One step, of which the H-th is the last."""
        s, reward, _, truncated, info = super().step(action)
        self.h += 1
        is_last = self.h == self.horizon
        return (0 if is_last else self.h * self.S + s), reward, is_last, truncated, info


def train_ucbvi(tables, episodes, seed):
    """A trained agent."""
    agent = UCBVIAgent(Stationary(tables), horizon=tables["horizon"], seeder=seed)
    agent.set_writer(None)
    agent.fit(episodes)
    return agent


def train_q_learning(tables, episodes, seed):
    """A trained agent."""
    exploration = {"exploration_type": "epsilon", "exploration_rate": 0.1}
    agent = QLAgent(Episodic(tables), gamma=1.0, alpha=0.1, **exploration, seeder=seed)
    agent.set_writer(None)
    agent.fit(episodes * tables["horizon"])
    return agent


TRAIN = {"ucbvi": train_ucbvi, "q-learning": train_q_learning}


def answer(request):
    """What the agents of a request earned, and how long they took."""
    vars(ucbvi).update(COMPILED if request["compiled"] else AS_IS)
    train, start = TRAIN[request["learner"]], time.process_time()
    agents = (train(request["tables"], request["episodes"], seed) for seed in request["seeds"])
    earned = [float(agent.env.earned) for agent in agents]
    return {"earned": earned, "processor": time.process_time() - start}


def main():
    """Answer until the input ends; only answers go to the standard output."""
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115, as long as the process
    packages = ("rlberry", "rlberry-scool", "gymnasium", "numpy", "numba")
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
