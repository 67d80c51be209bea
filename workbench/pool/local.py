"""The default pool: the agent on the daemon's own host, kept alive as long as the daemon lives."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from workbench.core.errors import ResourceError
from workbench.pool.agents import Agents
from workbench.pool.stopped import StoppedProcesses

LOG = logging.getLogger(__name__)
HOME = "local"  # the agent's name; coordinators work there, whatever else the pool has
_LOOK_SECONDS = 0.5
_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0


class LocalPool:
    """Keeps an agent with so many slots on this host.

    The agent outlives a daemon that is killed, and the next daemon finds it at work.
    """

    def __init__(self, root: Path, agents: Agents, num_slots: int) -> None:
        self.num_slots = num_slots
        self._root = root
        self._agents = agents
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = StoppedProcesses()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="local pool", daemon=True)

    def start(self) -> None:
        """Start the agent, or find the one that an earlier daemon has started.

        Raises:
            ResourceError: it did not come up in time.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._agents.slots():
            if time.monotonic() > deadline or self._closing.wait(0.01):
                raise ResourceError(
                    f"The pool's agent did not come up in {_START_SECONDS:.0f} s",
                    where="pool",
                    next_step="Look at daemon.log; a smaller WORKBENCH_SLOTS needs less memory.",
                )

    def close(self) -> None:
        """End the agent and all that works under it."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        pid = self._pid()
        if pid is not None:
            _signal(pid, signal.SIGTERM)
            deadline = time.monotonic() + _CLOSE_SECONDS
            while _is_alive(pid) and time.monotonic() < deadline:
                self._has_ended()
                time.sleep(0.01)
            _signal(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _keep(self) -> None:
        while not self._closing.is_set():
            pid = self._pid()
            if pid is None:
                self._start_one()
            for stopped in self._stopped.look([pid] if pid else []):
                LOG.warning("the pool's agent stands still: somebody stopped it; it is replaced")
                _signal(stopped, signal.SIGKILL)
            self._closing.wait(_LOOK_SECONDS if self._agents.slots() else 0.05)

    def _pid(self) -> int | None:
        """Return the process of the living agent: ours, or one that reports."""
        if self._process is not None and not self._has_ended():
            return self._process.pid
        for found in self._agents.found():
            if found["agent"] == HOME:
                if _is_alive(found["pid"]):
                    return int(found["pid"])
                self._agents.gone(HOME, found["incarnation"])
        return None

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _start_one(self) -> None:
        """Start an agent; it ends at once where another holds the name, which reports soon."""
        command = [
            sys.executable, "-m", "workbench.pool.agent", "--workspace", str(self._root),
            "--name", HOME, "--slots", str(self.num_slots), "--home",
        ]  # fmt: skip
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:  # no more processes or memory: the next look tries again
            LOG.warning("the pool's agent did not start: %s", error)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def default_num_slots() -> int:
    """Return the number of slots: ``WORKBENCH_SLOTS``, else one per core.

    Raises:
        ResourceError: the variable is no positive number.
    """
    wished = os.environ.get("WORKBENCH_SLOTS", "")
    if not wished:
        return max(1, os.cpu_count() or 1)
    if wished.isdigit() and int(wished) >= 1:
        return int(wished)
    raise ResourceError(
        f"WORKBENCH_SLOTS={wished!r} is no number of slots",
        where="environment",
        next_step="Give a whole number of 1 or more.",
    )
