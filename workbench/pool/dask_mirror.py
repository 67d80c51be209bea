"""What tells Dask what is busy on an agent's host: Dask processes of its own, or its host's."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from workbench.pool.dask_process import ENDPOINT, Busy

LOG = logging.getLogger("workbench.agent")
FOLDER = "dask"  # of a workspace
_FIRST_SECONDS = 5.0  # runs come first
_AGAIN_SECONDS = 1.0
_LONGEST_SECONDS = 60.0
_INNOCENT = (0, -signal.SIGKILL, -signal.SIGTERM)  # ends that are not the process's own fault


class Mirror(Protocol):
    """Tells some Dask cluster what is busy on this host."""

    def look(self, busy: Busy, here: str) -> None:
        """See that the mirror works, and tell it; ``here`` is this host's address for others."""

    def pids(self) -> list[int]:
        """Return the processes of the mirror that live."""

    def close(self) -> None:
        """End the mirror."""


class NoMirror:
    """For a host that no Dask cluster knows."""

    def look(self, busy: Busy, here: str) -> None:
        """Tell nobody."""

    def pids(self) -> list[int]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""


class GuestMirror(NoMirror):
    """For an agent that a Dask worker has started, which sets the placeholders itself."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w")
        self._told = ""

    def look(self, busy: Busy, here: str) -> None:
        """Tell the worker what is busy, if that is news."""
        line = _line(busy)
        if line != self._told:
            with suppress(OSError):  # its end is noticed by the agent
                self._stream.write(line)
                self._stream.flush()
            self._told = line


class _Kept:
    """A process that is started again when it has ended, later each time."""

    def __init__(self, role: str, arguments: list[str], first_seconds: float) -> None:
        self.role = role
        self._arguments = arguments
        self._not_before = time.monotonic() + first_seconds
        self._pause = _AGAIN_SECONDS
        self._began = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def ensure(self, here: str) -> bool:
        """Return whether a new one was started; it listens at the address given."""
        now = time.monotonic()
        if self.process is not None:
            if (status := self.process.poll()) is None:
                return False
            # One that was killed, or whose scheduler was, is started at once. One that fails by
            # itself has a reason, and fails again: unless it had worked for a while.
            has_worked = now - self._began > _LONGEST_SECONDS
            if status in _INNOCENT or has_worked:
                self._pause = _AGAIN_SECONDS
            else:
                self._pause = min(2 * self._pause, _LONGEST_SECONDS)
            self._not_before = now if status in _INNOCENT else now + self._pause
            self._close_pipe()
            self.process = None
        if now < self._not_before:
            return False
        self._began = now
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workbench.pool.dask_process", self.role, str(os.getpid()),
                 *self._arguments, here],
                stdin=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            LOG.warning("the Dask %s did not start: %s", self.role, error)
            return False
        return True

    def tell(self, line: str) -> None:
        """Write a line to the process."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError):  # its end is noticed by the next look
                self.process.stdin.write(line.encode())
                self.process.stdin.flush()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()


class DaskMirror:
    """A Dask worker for this host (if it has slots), and (at home) the scheduler."""

    def __init__(self, root: Path, agent: str, num_slots: int, *, is_home: bool) -> None:
        self._folder = root / FOLDER
        arguments = [str(self._folder), agent, str(num_slots)]
        self._scheduler = _Kept("scheduler", arguments, _FIRST_SECONDS) if is_home else None
        self._worker = _Kept("worker", arguments, _FIRST_SECONDS) if num_slots else None
        self._told = ""

    def pids(self) -> list[int]:
        """Return the processes that live."""
        processes = [kept.process for kept in (self._scheduler, self._worker) if kept]
        return [one.pid for one in processes if one is not None and one.poll() is None]

    def look(self, busy: Busy, here: str) -> None:
        """Start what is missing; tell the worker what is busy."""
        if self._scheduler is not None and self._scheduler.ensure(here):
            (self._folder / ENDPOINT).unlink(missing_ok=True)  # an earlier scheduler's
        if self._worker is None or not (self._folder / ENDPOINT).exists():
            return
        if self._worker.ensure(here):
            self._told = ""
        line = _line(busy)
        if line != self._told and self._worker.process is not None:
            self._worker.tell(line)
            self._told = line

    def close(self) -> None:
        """End both."""
        for kept in (self._worker, self._scheduler):
            if kept is not None:
                kept.close()


def _line(busy: Busy) -> str:
    return json.dumps(busy, sort_keys=True) + "\n"
