"""Test settings: strict dtype promotion, warnings as errors, two CPU devices, 64 bits on request.

Rank promotion stays allowed: arrays with trailing lanes broadcast against lanes by design.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pajax as px

px.configure(cpu_devices=2)

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def x64():
    """Run a test in 64 bits."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def key():
    """A fixed key."""
    return jax.random.key(0)
