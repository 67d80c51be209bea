"""Kills the processes of a workspace as a crash would."""

from __future__ import annotations

import psutil
from live_workspace import LiveWorkspace, wait_until

_GONE_SECONDS = 15.0  # for what a killed process leaves behind: a busy machine takes its time


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return True


def kill_daemon(workspace: LiveWorkspace) -> None:
    """Kill the daemon; what works under its agent goes on."""
    daemon = workspace.daemon()
    daemon.kill()
    wait_until(lambda: is_gone(daemon), "the daemon is gone", _GONE_SECONDS)


def kill_agent(workspace: LiveWorkspace) -> None:
    """Kill the agent; see that all that works under it dies with it."""
    agent = workspace.agent()
    working = agent.children(recursive=True)
    agent.kill()
    wait_until(
        lambda: all(map(is_gone, working)),
        f"what the killed agent had started is gone: {working}",
        _GONE_SECONDS,
    )
