"""Loaded by every Python process that finds it on its path: the time of day jumps as a file says.

The file named by TEST_CLOCK holds the seconds by which the clock is off. Monotonic clocks are as
they were, as on a machine whose clock somebody sets.
"""

import os
import time
from pathlib import Path

_true_time = time.time
_file = Path(os.environ["TEST_CLOCK"]) if "TEST_CLOCK" in os.environ else None


def _jumping_time() -> float:
    assert _file is not None
    return _true_time() + float(_file.read_text())


if _file is not None:
    time.time = _jumping_time
    time.time_ns = lambda: int(_jumping_time() * 1e9)
