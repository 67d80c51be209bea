"""Kills the processes of a workspace as a crash would."""

from __future__ import annotations

import psutil
from live_workspace import LiveWorkspace, wait_until

_GONE_SECONDS = 15.0  # for what a killed daemon leaves behind: a busy machine takes its time


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return True


def kill_daemon(workspace: LiveWorkspace) -> None:
    """Kill the daemon; see that all it had started dies with it."""
    daemon = workspace.daemon()
    belonging = workspace.processes()
    daemon.kill()
    wait_until(
        lambda: all(map(is_gone, belonging)),
        f"what the killed daemon had started is gone: {belonging}",
        _GONE_SECONDS,
    )
