"""What the agent of the daemon's own host does beside its work: it keeps the daemon alive."""

from __future__ import annotations

import logging
from pathlib import Path

from workbench.core.client import Location
from workbench.core.daemon_process import (
    FileEndpoint,
    WorkspaceEndpoint,
    daemon_lock,
    is_of_this_host,
    running_daemon,
)
from workbench.core.locks import is_locked
from workbench.pool.process import end_process
from workbench.pool.stopped import StoppedProcesses

LOG = logging.getLogger("workbench.agent")
_DAEMON_PATIENCE_SECONDS = 5.0  # for a daemon that stands still; longer than for a worker


class HomeEndpoint(WorkspaceEndpoint):
    """The daemon on this host, started if there is none; one that comes or goes is waited for."""

    def locate(self) -> Location:
        """Return the address of the daemon, after starting one if the last one is dead.

        Raises:
            OSError: there is none at the moment, and none is to be started.
        """
        # A workspace that was deleted shall not come back: its agent ends. And a daemon on another
        # host may have succeeded the one of this host.
        told = running_daemon(self.root)
        is_succeeded = told is not None and not is_of_this_host(told)
        if is_succeeded or is_locked(daemon_lock(self.root)) or not self.root.exists():
            return FileEndpoint(self.root).locate()
        LOG.info("the daemon is gone: starting the next one")
        return super().locate()


class DaemonWatch:
    """Ends a daemon that somebody has stopped: nobody gets an answer from it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stopped = StoppedProcesses(_DAEMON_PATIENCE_SECONDS)

    def look(self) -> None:
        """End it if it has stood still for long."""
        found = running_daemon(self._root)
        is_here = found is not None and is_of_this_host(found)  # else its number is another's here
        for pid in self._stopped.look([found["pid"]] if found and is_here else []):
            LOG.warning("the daemon (process %d) stands still: it is replaced", pid)
            end_process(pid)
