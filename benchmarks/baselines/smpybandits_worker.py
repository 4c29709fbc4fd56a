"""UCB of SMPyBandits, run on request by `against_libraries.py` in another interpreter.

It imports nothing of pajax. First it prints its versions, then for each line of JSON that it reads
it plays one bandit for each seed and prints one line: the plays of each arm, and seconds of
processor. It runs `Evaluator` with `n_jobs=1` and else its defaults.

    {"means", "episodes", "seeds"}
"""

import importlib.metadata
import json
import os
import sys
import time

import numpy as np

answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115, as long as the process

from SMPyBandits.Arms import Bernoulli
from SMPyBandits.Environment import Evaluator
from SMPyBandits.Policies import UCB


def answer(request):
    """How often each seed played each arm [seeds, arms], and how long they took."""
    configuration = {
        "horizon": request["episodes"],
        "repetitions": len(request["seeds"]),
        "n_jobs": 1,
        "verbosity": 0,
        "environment": [{"arm_type": Bernoulli, "params": request["means"]}],
        "policies": [{"archtype": UCB, "params": {}}],
    }
    start = time.process_time()
    np.random.seed(request["seeds"][0])  # of all of them: with one job they share a generator
    evaluator = Evaluator(configuration)
    evaluator.startAllEnv()
    plays = evaluator.lastPulls[0][0].T.tolist()
    return {"plays": plays, "processor": time.process_time() - start}


def main():
    """Answer until the input ends; only answers go to the standard output."""
    packages = ("SMPyBandits", "numpy", "scipy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
