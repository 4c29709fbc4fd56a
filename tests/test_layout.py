"""Lanes of a chunk, by the device and by the size of a pair."""

from typing import NamedTuple

import jax
import pytest

from pajax.studies.batch import Layout, default_lanes


class Device(NamedTuple):
    """As much of a JAX device as the choice looks at."""

    platform: str
    stats: dict | None = None

    def memory_stats(self):
        return self.stats


@pytest.mark.parametrize(("pair_bytes", "expected"), [(1, 128), (4096, 128), (4097, 64)])
def test_a_cpu_gets_few_lanes_of_large_pairs(pair_bytes, expected):
    assert default_lanes(Device("cpu"), pair_bytes) == expected
    # memory, if a CPU says how much it has, does not matter
    assert default_lanes(Device("cpu", {"bytes_limit": 1}), pair_bytes) == expected


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize(
    ("limit", "pair_bytes", "expected"),
    [(10_000, 1_000, 3), (10_000, 1_001, 2), (100, 1_000, 1), (16 * 2**30, 2_100, 2_454_267)],
)
def test_an_accelerator_gets_what_three_tenths_of_its_memory_hold(
    platform, limit, pair_bytes, expected
):
    """And one lane at least."""
    assert default_lanes(Device(platform, {"bytes_limit": limit}), pair_bytes) == expected


@pytest.mark.parametrize("stats", [None, {}, {"bytes_in_use": 1}])
def test_an_accelerator_that_does_not_tell_its_memory_gets_all(stats):
    assert default_lanes(Device("gpu", stats), 1_000) is None


def test_a_layout_asks_for_the_default():
    device = jax.devices("cpu")[:1]
    assert Layout.of(1_000, 4096, devices=device).chunk_lanes == 128
    assert Layout.of(1_000, 4097, devices=device).chunk_lanes == 64
    assert Layout.of(50, 1, devices=device).chunk_lanes == 50
    assert Layout.of(1_000, 1, chunk_lanes=7, devices=device).chunk_lanes == 7
