"""What the tests of every learner ask of it in the engine: bits of a lane, one kernel, exports."""

import functools
import re
from typing import Any

import jax
import numpy as np
from jax import export

import pajax as px


def assert_a_lane_is_its_pair_alone(agent: Any, game: px.Game, mechanism: Any) -> None:
    """Bitwise, among nine lanes: one more than a vector register of 8 holds, a scalar rest."""
    keys = jax.random.split(jax.random.key(0), 9)
    run = jax.jit(functools.partial(px.simulate, num_episodes=300))
    among = run(keys, game, agent, mechanism)
    for i in (0, 8):
        alone = run(keys[i], game, agent, mechanism)
        for name, x, y in zip(among._fields, alone, among, strict=True):
            np.testing.assert_array_equal(x, y[:, i], err_msg=name)


def assert_is_one_kernel(agent: Any, game: px.Game) -> None:
    """No loop is left outside the kernel of a run on a CPU, and no call of a library in it."""
    keys = jax.random.split(jax.random.key(0), 16)
    run = jax.jit(functools.partial(px.simulate, num_episodes=300))
    compiled = run.lower(keys, game, agent, px.mechanisms.NoTransfer()).compile().as_text()
    entry = compiled[compiled.index("\nENTRY ") :]
    assert "xla_cpu_small_call" in entry
    assert " while(" not in entry
    assert "ynn" not in compiled


def assert_lowers_for_accelerators(agent: Any) -> None:
    """For GPUs and TPUs, without calls into Python or of one vendor's kernels."""
    keys = jax.random.split(jax.random.key(0), 16)
    run = jax.jit(functools.partial(px.simulate, num_episodes=300))
    exported = export.export(run, platforms=("cuda", "tpu"))
    lowered = exported(keys, px.games.pollution(), agent, px.mechanisms.NoTransfer())
    assert set(lowered.platforms) == {"cuda", "tpu"}
    calls = set(re.findall(r"stablehlo\.custom_call @(\w+)", lowered.mlir_module()))
    assert calls <= {"Sharding", "shape_assertion"}


def game_of_20_states() -> px.Game:
    """Tables too large to be written by comparing every cell, and looked up by gathers."""
    return px.games.garnet(jax.random.key(1), num_states=20, num_actions=5, horizon=4)
