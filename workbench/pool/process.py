"""What the processes of a pool have in common: how they end, and what they may use."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

_SET_DEATH_SIGNAL, _SET_NAME = 1, 15  # of Linux' prctl


def die_with_parent(parent_pid: int | None = None) -> None:
    """Have the kernel end this process when its parent dies, however that happens (Linux).

    A parent that has died before is only noticed by its process id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if parent_pid is not None and os.getppid() != parent_pid:
        sys.exit("the process that started this one has gone")


def name_process(name: str) -> None:
    """Give this process a name of at most 15 characters, as ``ps`` and ``top`` show it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_NAME, name.encode(), 0, 0, 0)


def end_process(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a process a signal; one that has ended in this moment needs none."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_group(pid: int) -> None:
    """End a process that leads a group, and all of the group, at once."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment with which a process computes on so many cores and no more.

    They count only if they are set before numpy and torch are loaded.
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "NUMBA_NUM_THREADS": str(threads),
        # These two start threads while they load, and a process with threads cannot be forked.
        "OPENBLAS_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "TOKENIZERS_PARALLELISM": "false",
    }
