"""Processes that stand still because somebody stopped them: no death tells of them, only a look."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

STOPPED_SECONDS = 2.0  # what lasts shorter was a mistake that somebody has taken back


class StoppedProcesses:
    """Notes since when processes are stopped (SIGSTOP, Ctrl-Z, a frozen terminal).

    A process that a debugger holds is not meant: who debugs it wants it to live.
    """

    def __init__(self, patience_seconds: float = STOPPED_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._since: dict[int, float] = {}

    def look(self, pids: Iterable[int]) -> list[int]:
        """Return those of the processes that have been stopped for longer than the patience."""
        now = time.monotonic()
        stopped = [pid for pid in pids if _is_stopped(pid)]
        self._since = {pid: self._since.get(pid, now) for pid in stopped}
        return [pid for pid in stopped if now - self._since[pid] >= self._patience_seconds]


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have (Linux)."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            found += [int(child) for child in listed.read_text().split()]
    return [*found, *(below for child in found for below in descendants(child))]


def is_held(pid: int) -> bool:
    """Whether a debugger holds a process."""
    import psutil

    return _has_status(pid, psutil.STATUS_TRACING_STOP)


def _is_stopped(pid: int) -> bool:
    import psutil

    return _has_status(pid, psutil.STATUS_STOPPED)


def _has_status(pid: int, status: str) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() == status)
    except psutil.Error:
        return False
