"""Settings of JAX that make studies fast on a CPU. They must be made before JAX starts."""

import functools
import os
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pajax import _checks

_EXTRA = "--xla_backend_extra_options="
_HOIST = "xla_cpu_small_while_loop_byte_threshold"


class Configuration(NamedTuple):
    """What `configure` set."""

    cpu_devices: int
    hoist_loops: bool


def configure(*, cpu_devices: int | None = None, hoist_loops: bool = True) -> Configuration:
    """Prepare JAX for studies on a CPU; optional, and results do not depend on it.

    Args:
      cpu_devices: devices to split the cores into; studies use all of them. By default the number
        of cores this process may use.
      hoist_loops: compile a whole run to one kernel, which is several times faster.

    Returns:
      What was set: `cpu_devices` and `hoist_loops`.

    Raises:
      RuntimeError: JAX has already started; call `configure` before anything else that uses it.
      ValueError: `cpu_devices` is not a whole number of at least 1.
    """
    if cpu_devices is None:
        cpu_devices = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    cpu_devices = _checks.whole("cpu_devices", cpu_devices)
    try:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    except RuntimeError as error:
        message = "pajax.configure: JAX has already started, must be called before it is used"
        raise RuntimeError(message) from error
    if hoist_loops:
        os.environ["XLA_FLAGS"] = _with_hoisting(os.environ.get("XLA_FLAGS", ""))
    return Configuration(cpu_devices, hoist_loops)


@functools.cache
def warn_unless_hoisting() -> None:
    """Warn, once, if this process compiles loops on the CPU the slow way."""
    if not _is_hoisting():
        warnings.warn(
            "pajax runs several times slower than it could: loops are not hoisted. "
            "Call pajax.configure() before anything else uses JAX.",
            stacklevel=3,
        )


def _is_hoisting() -> bool:
    """Whether XLA makes one kernel of a loop over an array larger than its default limit."""
    loop = lambda n: lax.fori_loop(0, n, lambda _, x: x + 1.0, jnp.zeros(2**18))  # noqa: E731
    return "xla_cpu_small_call" in str(jax.jit(loop).lower(1).compile().as_text())


def _with_hoisting(flags: str) -> str:
    """XLA's flags with loop hoisting, next to whatever else is set."""
    if _HOIST in flags:
        return flags
    option = f"{_HOIST}={10**15}"
    words = flags.split()
    merged = [f"{word},{option}" if word.startswith(_EXTRA) else word for word in words]
    return " ".join(merged if merged != words else [*words, _EXTRA + option])
