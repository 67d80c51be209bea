"""How the work is cut: runs of ranges that hold about as much as one worker should at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def cut_evenly(counts: npt.NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Return runs (first, end) of all places whose counts sum to at most ``most`` each.

    A place that holds more is a run by itself.
    """
    runs = []
    first, held = 0, 0
    for place, count in enumerate(counts.tolist()):
        if held and held + count > most:
            runs.append((first, place))
            first, held = place, 0
        held += count
    runs.append((first, len(counts)))
    return runs
