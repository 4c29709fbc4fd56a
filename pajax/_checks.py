"""Argument checks: one-line errors that name the argument, the value and the rule."""

from typing import Any

import numpy as np

#: How far beyond its range a number of a formula may lie: 1 - 0.8 - 0.2 is below 0.
ROUNDING = 1e-6


def require(condition: Any, argument: str, value: Any, rule: str) -> None:
    """Raise `ValueError("argument: got value, must rule")` unless the condition holds."""
    if not condition:
        raise ValueError(f"{argument}: got {value}, must {rule}")


def finite(argument: str, values: Any) -> np.ndarray:
    """`values` as a float64 array, all entries finite."""
    array = np.asarray(values, np.float64)
    bad = array[~np.isfinite(array)]
    require(bad.size == 0, argument, bad[0] if bad.size else None, "be finite everywhere")
    return array


def in_range(
    argument: str, values: Any, low: float, high: float, rounding: float = 0.0
) -> np.ndarray:
    """`values` as a float64 array, all entries in [low, high]; within `rounding` they are cut."""
    array = finite(argument, values)
    bad = array[(array < low - rounding) | (array > high + rounding)]
    require(bad.size == 0, argument, bad[0] if bad.size else None, f"lie in [{low:g}, {high:g}]")
    return np.clip(array, low, high)


def distribution(argument: str, values: Any, tolerance: float = 1e-5) -> np.ndarray:
    """`values` as float64, each row over the last axis a distribution (then renormalised)."""
    array = in_range(argument, values, 0.0, 1.0, ROUNDING)
    require(array.size > 0, argument, f"shape {array.shape}", "have no empty axis")
    sums = array.sum(-1)
    worst = sums.flat[np.abs(sums - 1.0).argmax()]
    rule = f"have rows that sum to 1 (within {tolerance:g})"
    require(abs(worst - 1.0) <= tolerance, argument, f"a row that sums to {worst:.6g}", rule)
    return array / sums[..., None]


def whole(argument: str, value: Any, low: int = 1, high: int = 2**31 - 1) -> int:
    """`value` as an int in low..high."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(is_whole, argument, repr(value), "be a whole number")
    require(value >= low, argument, value, f"be at least {low}")
    require(value <= high, argument, value, f"be at most {high}")
    return int(value)


def choice(argument: str, value: Any, options: Any) -> Any:
    """`value`, which must be one of `options`."""
    require(value in tuple(options), argument, repr(value), f"be one of {', '.join(options)}")
    return value


def methods(argument: str, part: Any, names: Any) -> None:
    """Raise unless `part` has these methods and attributes."""
    missing = [name for name in names if not hasattr(part, name)]
    require(not missing, argument, repr(part), f"have {', '.join(names)}")
