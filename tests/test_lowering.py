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


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="hoisting is for CPUs")
@pytest.mark.parametrize("agent", AGENTS)
def test_a_run_on_a_cpu_is_hoisted_to_one_kernel(agent):
    """`configure` (in conftest) asks XLA for it; it saves a factor of several."""
    compiled = jax.jit(run).lower(*arguments(agent, "parallel")).compile().as_text()
    assert "xla_cpu_small_call" in compiled
