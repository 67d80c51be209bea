"""A workspace whose daemon really runs: what tests start, look into, kill and clean away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from workbench.core.client import Client, FixedEndpoint
from workbench.core.daemon_process import running_daemon
from workbench.workspace import Workspace

PLUGIN = Path(__file__).parent / "plugin"
_POOL_SECONDS = 60.0
_STOP_SECONDS = 45.0  # an agent that cannot be told ends with its lease


class LiveWorkspace(Workspace):
    """A Workspace that knows its processes.

    They are told from all others by ``WORKBENCH_WORKSPACE`` in the environment they began with,
    which daemon, agent, attempts and servers hand down to each other.
    """

    def up(self) -> LiveWorkspace:
        """Start the daemon and return when its pool can work."""
        wait_until(lambda: self.status()["pool"] != "starting", "the pool is up", _POOL_SECONDS)
        assert self.status()["pool"] == "running", self.log()
        return self

    def daemon(self) -> psutil.Process:
        """Return the daemon's process."""
        found = running_daemon(self.root)
        assert found is not None, f"no daemon is running\n{self.log()}"
        return psutil.Process(found["pid"])

    def direct_client(self) -> Client:
        """Return a client that only ever speaks with the daemon that runs now."""
        found = running_daemon(self.root)
        assert found is not None, f"no daemon is running\n{self.log()}"
        return Client(FixedEndpoint(found["url"], found["token"], self.root), patience_seconds=1.0)

    def processes(self) -> list[psutil.Process]:
        """Return every process of this workspace that is alive."""
        return [p for p in psutil.process_iter() if _belongs_to(p, str(self.root))]

    def workers(self) -> list[psutil.Process]:
        """Return the processes that work on slots."""
        return self.named("wb-attempt", "wb-helper")

    def coordinators(self) -> list[psutil.Process]:
        """Return the processes of runs that take no slot."""
        return self.named("wb-coordinator")

    def agent(self) -> psutil.Process:
        """Return the agent's process."""
        (found,) = [p for p in self.processes() if "workbench.pool.agent" in _command(p)]
        return found

    def named(self, *names: str) -> list[psutil.Process]:
        """Return the processes with one of these names."""
        return [p for p in self.processes() if _name(p) in names]

    def log(self) -> str:
        """Return the end of the daemon's log, for messages of failed assertions."""
        path = self.root / "daemon.log"
        return path.read_text(errors="replace")[-4_000:] if path.exists() else "(no daemon.log)"

    def down(self) -> None:
        """Stop the daemon in an orderly way; leave no process behind, whatever happened.

        Raises:
            AssertionError: something had to be killed.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        asked_pid = None
        while (left := self.processes()) and time.monotonic() < deadline:
            found = running_daemon(self.root)
            if found is not None and found["pid"] != asked_pid:
                asked_pid = found["pid"]
                self.direct_client().post("/shutdown")
            time.sleep(0.05)
        for process in left:
            if process.is_running():
                process.kill()
        self.client.close()
        commands = [_command(process) for process in left]
        assert not left, f"had to be killed: {commands}\n{self.log()}"


def wait_until(is_so: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    """Return when a condition holds.

    Raises:
        AssertionError: it still does not hold after this many seconds.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"after {seconds} s it is not so that {what}"
        time.sleep(0.02)


def diary_lines(path: Path) -> list[str]:
    """Return what the parts of a ``count`` run wrote into its diary."""
    return path.read_text().split() if path.exists() else []


def _belongs_to(process: psutil.Process, root: str) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get("WORKBENCH_WORKSPACE") == root
    except psutil.Error:
        return False  # it ended while we looked


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


# What the fixture ``start_workspace`` offers: ``(slots=2, **environment)``.
StartWorkspace = Callable[..., LiveWorkspace]
