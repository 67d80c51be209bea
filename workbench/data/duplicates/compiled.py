"""Compiled functions over flat arrays; loaded only when duplicates are looked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.kernels.compiled import entry as compiled

__all__ = ["Integer", "compiled", "mix", "read_only"]

Integer = Any  # int64, which is no int to a type checker

# The finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit of the result depends on every
# bit of the value, and no two values give the same.
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Spread the bits of a uint64."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST_FACTOR
    value = (value ^ (value >> np.uint64(27))) * _SECOND_FACTOR
    return value ^ (value >> np.uint64(31))


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a plain read-only view, so that a kernel is compiled for one type of each argument."""
    view = np.ascontiguousarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view
