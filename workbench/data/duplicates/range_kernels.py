"""Laying rows out by ranges of their key, so that each run of ranges can be read by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.data.duplicates.compiled import compiled

NUM_RANGES = 4096
_SHIFT = np.uint64(64 - 12)


@compiled
def range_starts(keys: Any) -> Any:
    """Return where the rows of each range start, for keys [n]; int64 [NUM_RANGES + 1]."""
    starts = np.zeros(NUM_RANGES + 1, np.int64)
    for place in range(len(keys)):
        starts[np.int64(keys[place] >> _SHIFT) + 1] += 1
    for number in range(NUM_RANGES):
        starts[number + 1] += starts[number]
    return starts


@compiled
def lay_out_bands(keys: Any, rows: Any, tags: Any, starts: Any, out: Any) -> None:
    """Write (key, row << 32 | tag) of each band [n, num_bands] by range; out is uint64 [-1, 2]."""
    ends = starts.copy()
    for place in range(len(rows)):
        value = np.uint64(rows[place]) << np.uint64(32) | np.uint64(tags[place])
        for band in range(keys.shape[1]):
            key = keys[place, band]
            number = np.int64(key >> _SHIFT)
            out[ends[number], 0], out[ends[number], 1] = key, value
            ends[number] += 1


@compiled
def lay_out_identities(identities: Any, starts: Any, out: Any) -> None:
    """Write (low, high, row) of identities [n, 2] by range of low; out is uint64 [n, 3]."""
    ends = starts.copy()
    for row in range(len(identities)):
        number = np.int64(identities[row, 0] >> _SHIFT)
        place = ends[number]
        out[place, 0], out[place, 1] = identities[row, 0], identities[row, 1]
        out[place, 2] = np.uint64(row)
        ends[number] += 1
