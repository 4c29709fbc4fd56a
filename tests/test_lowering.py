"""Runs lower for GPUs and TPUs, without either; and on a CPU they are one kernel."""

import re

import jax
import pytest
from jax import export

import pajax as px

AGENTS = {"q-learning": px.agents.QLearning(), "ucbvi": px.agents.UCBVI()}
ORDERS = ("parallel", "backward")


def run(keys, game, agent, mechanism):
    return px.simulate(keys, game, agent, mechanism, num_episodes=1000)


def arguments(agent: str, order: str) -> tuple:
    keys = jax.random.split(jax.random.key(0), 16)
    return keys, px.games.pollution(), AGENTS[agent], px.mechanisms.TwoPhase(order=order)


def custom_calls(module: str) -> set[str]:
    return set(re.findall(r"stablehlo\.custom_call @(\w+)", module))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("agent", AGENTS)
def test_lowers_for_cuda_and_tpu_without_calling_python(agent, order):
    lowered = export.export(jax.jit(run), platforms=("cuda", "tpu"))(*arguments(agent, order))
    assert set(lowered.platforms) == {"cuda", "tpu"}
    module = lowered.mlir_module()
    assert "stablehlo.while" in module
    # Neither callbacks into Python nor kernels of one vendor. A sharding mark is no call.
    assert custom_calls(module) <= {"Sharding", "shape_assertion"}
    assert "callback" not in module


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_lowers_for_each_alone(platform):
    exported = export.export(jax.jit(run), platforms=(platform,))
    lowered = exported(*arguments("ucbvi", "parallel"))
    assert lowered.platforms == (platform,)


def test_the_search_for_calls_finds_one():
    def calls_python(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((), "float32"), x)

    module = jax.jit(calls_python).lower(1.0).as_text()
    assert custom_calls(module) or "callback" in module


def game_of_size(size: str) -> px.Game:
    if size == "small":
        return px.games.pollution()
    states, actions, horizon = {"mid": (8, 4, 10), "large": (20, 5, 4)}[size]
    return px.games.garnet(
        jax.random.key(1), num_states=states, num_actions=actions, horizon=horizon
    )


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_large_tables_are_written_by_loops_on_a_cpu_and_by_scatters_elsewhere(platform):
    exported = export.export(jax.jit(run), platforms=(platform,))
    keys, _, agent, mechanism = arguments("q-learning", "parallel")
    module = exported(keys, game_of_size("large"), agent, mechanism).mlir_module()
    assert ("stablehlo.scatter" in module) == (platform == "cuda")


def entry(compiled: str) -> str:
    """The entry computation of a compiled module."""
    return compiled[compiled.index("\nENTRY ") :]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="hoisting is for CPUs")
@pytest.mark.parametrize("size", ["small", "mid", "large"])
@pytest.mark.parametrize("agent", AGENTS)
def test_a_run_on_a_cpu_is_hoisted_to_one_kernel(agent, size):
    """`configure` (in conftest) asks XLA for it; it saves a factor of several.

    A loop that is not in such a call runs operation by operation. One sum over an axis that XLA
    takes for a matter of its library is enough to bring that about.
    """
    keys, _, agent, mechanism = arguments(agent, "parallel")
    compiled = jax.jit(run).lower(keys, game_of_size(size), agent, mechanism).compile().as_text()
    assert "xla_cpu_small_call" in entry(compiled)
    assert " while(" not in entry(compiled)
    assert "ynn" not in compiled
