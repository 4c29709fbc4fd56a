"""How much faster is pajax than NumPy over all pairs, and than a plain Python loop?

On one device. By default pajax runs 1e8 steps; NumPy (`baselines.numpy_vectorised`) runs 2e6, with
as many pairs and fewer episodes; the loop (`baselines.python_loop`) runs 1e5 with 32 pairs. Steps a
second are compared. A minute or so.
"""

import slow
from baselines import numpy_vectorised, python_loop

BASELINES = {
    "numpy": slow.Slow(numpy_vectorised, pairs=1024, steps=2e6),
    "python": slow.Slow(python_loop, pairs=32, steps=1e5),
}

if __name__ == "__main__":
    slow.contest(__doc__, BASELINES)
