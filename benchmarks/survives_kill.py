"""Does a stored study survive SIGKILL at any moment?

A small study is run to its end once. Then, `--kills` times, it is begun in a new folder, killed at
a random moment, and run again. After each kill every shard must be whole; after the second run the
Dataset must have the bytes of the undisturbed one. Moments are uniform over the run time of a study
whose programs are compiled already (JAX's cache on disk); about half of it is start-up. Exits with
1 if anything differs.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pajax.studies import archive

STUDY = [
    *("pollution", "--seeds", "24", "--episodes", "4000", "--shard-runs", "8"),
    *("--agents", "ucbvi", "q-learning", "--mechanisms", "none", "two-phase"),
]
#: Makes a checkpoint inside a shard between any two blocks, where a study would wait a minute.
CHILD = """
import sys
import pajax.studies.store
pajax.studies.store.CHECKPOINT_SECONDS = pajax.studies.store.CHECKPOINT_RATIO = 0.0
from pajax.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def start(folder: Path, cache: Path) -> subprocess.Popen[bytes]:
    """The study in a process of its own."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-c", CHILD, "study", *STUDY, "--out", str(folder)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def finish(folder: Path, cache: Path) -> bytes:
    """Run the study to its end; the bytes of its Dataset."""
    code = start(folder, cache).wait()
    if code != 0:
        raise SystemExit(f"the study in {folder} ended with {code}")
    return (folder / "results.npz").read_bytes()


def kill(folder: Path, cache: Path, seconds: float) -> bool:
    """Begin the study and kill it after so long; whether it was still running."""
    child = start(folder, cache)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return True
    return False


def count(folder: Path) -> dict[str, int]:
    """Whole shards, broken ones, and checkpoints that a kill left."""
    shards = sorted(folder.glob("shards/*/*.npz"))
    broken = 0
    for path in shards:
        try:
            archive.read(path)
        except archive.DamagedError:
            broken += 1
    resumes = len(list(folder.glob("shards/*/*.resume")))
    return {"shards": len(shards), "broken": broken, "checkpoints": resumes}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as place:
        root, cache = Path(place), Path(place) / "cache"
        finish(root / "warm", cache)
        begun = time.perf_counter()
        expected = finish(root / "whole", cache)
        whole = count(root / "whole")["shards"]
        seconds = time.perf_counter() - begun
        rows = []
        for number in range(args.kills):
            folder = root / str(number)
            moment = draw.uniform(0.0, seconds)
            was_running = kill(folder, cache, moment)
            found = count(folder)
            is_same = finish(folder, cache) == expected
            rows.append(found | {"moment": moment, "killed": was_running, "same": is_same})
            print(f"{number:3d}  after {moment:5.1f} s  {found}  same bytes: {is_same}", flush=True)
            shutil.rmtree(folder)
    broken, different = sum(row["broken"] for row in rows), sum(not row["same"] for row in rows)
    summary = {
        "kills": sum(row["killed"] for row in rows),
        "run_seconds": seconds,
        "with_some_shards": sum(0 < row["shards"] < whole for row in rows),
        "with_checkpoint": sum(row["checkpoints"] > 0 for row in rows),
        "broken_shards": broken,
        "different_bytes": different,
    }
    print(json.dumps({"question": "survives_kill"} | summary))
    return int(broken + different > 0)


if __name__ == "__main__":
    sys.exit(main())
