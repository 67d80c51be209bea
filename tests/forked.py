"""What tests have a zygote call in new processes: ``function(argument, descriptors, forked=)``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any


def tell(argument: Any, descriptors: list[int], *, forked: bool) -> int:
    """Write what this process is and was given."""
    told = {
        "pid": os.getpid(), "group": os.getpgrp(), "forked": forked, "argument": argument,
        "threads": os.environ.get("OMP_NUM_THREADS"), "modules": sorted(sys.modules),
    }  # fmt: skip
    os.write(descriptors[0], json.dumps(told).encode())
    return 7


def count_descriptors(argument: Any, descriptors: list[int], *, forked: bool) -> int:
    """Return how many open descriptors this process was given."""
    return len([os.fstat(descriptor) for descriptor in descriptors])


def load(argument: list[str], descriptors: list[int], *, forked: bool) -> int:
    """Load modules, as a stage does when it needs them."""
    for name in argument:
        __import__(name)
    return 0


def wait_with_child(argument: Any, descriptors: list[int], *, forked: bool) -> int:
    """Start a process and stay; both are to be ended from outside."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    for told in descriptors:
        os.write(told, f"{os.getpid()} {child.pid}\n".encode())
    time.sleep(600)
    return 0


def fail(argument: Any, descriptors: list[int], *, forked: bool) -> int:
    """Fail as a bug does."""
    raise RuntimeError(str(argument))


def crash(argument: Any, descriptors: list[int], *, forked: bool) -> int:
    """Die as native code does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def draw(argument: Any, descriptors: list[int], *, forked: bool) -> int:
    """Write random numbers."""
    import random

    import numpy as np

    numbers = [random.random(), float(np.random.random())]
    os.write(descriptors[0], json.dumps(numbers).encode())
    return 0
