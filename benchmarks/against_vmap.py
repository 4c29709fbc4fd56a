"""How much faster is pajax than the JAX code one would write first?

That is `jit(vmap(scan))` over one pair in plain code (`baselines.plain_vmap`), on one device; so is
pajax. By default pajax runs 1e8 steps and the plain code 2e6, with as many pairs and fewer
episodes, and steps a second are compared. A minute or so.
"""

import slow
from baselines import plain_vmap

if __name__ == "__main__":
    slow.contest(__doc__, {"plain vmap": slow.Slow(plain_vmap, pairs=1024, steps=2e6)})
