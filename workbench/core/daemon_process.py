"""The daemon of a workspace as a process: found, started, waited for, and ended if it stands still.

It tells in a file of the workspace's folder where it listens. This needs only the standard library,
as it is loaded wherever ``import workbench`` is used.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workbench.core.client import ADVICE, Location
from workbench.core.errors import ResourceError, error_from_json

ENDPOINT_FILE = "daemon.json"
REFUSAL_FILE = "daemon.error.json"
DATABASE_URL_FILE = "database.url"
_LEAST_FREE_BYTES = 1_000_000  # with less a daemon cannot even say why it does not start
# Starting imports SQLAlchemy; on a busy laptop that takes seconds.
_START_SECONDS = 60.0
_STOPPED_SECONDS = 5.0  # before a daemon that stands still is given up
_REACH_SECONDS = 3.0  # for a daemon on another host to accept a connection
_AGAIN_SECONDS = 0.3


class FileEndpoint:
    """The daemon that runs now, as its file tells; never started from here.

    For attempts and agents: they outlive a daemon, and go on with the next one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def locate(self) -> Location:
        """Return the address in the file.

        Raises:
            OSError: there is none at the moment.
        """
        found = json.loads((self.root / ENDPOINT_FILE).read_text())
        return Location(found["url"], found["token"], self.root)

    def advice(self) -> str:
        """Return what to do where the daemon does not answer."""
        return _advice(self.root)


class WorkspaceEndpoint:
    """The daemon of a workspace folder; started on first use, found again when it was killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._starting = threading.Lock()

    def locate(self) -> Location:
        """Return the address of the running daemon, after starting one when there is none.

        Raises:
            ResourceError: no daemon came up; the reason it left, or the end of its log, is told.
        """
        with self._starting:  # one start for all threads of this process
            found = running_daemon(self.root)
            if found is not None and not self._is_of_use(found):
                found = None
            found = found or self._start_and_wait()
        return Location(found["url"], found["token"], self.root)

    def advice(self) -> str:
        """Return what to do where the daemon does not answer."""
        return _advice(self.root)

    def _is_of_use(self, found: dict[str, Any]) -> bool:
        """Whether a daemon may answer; one here that stands still is ended.

        One on another host that cannot be reached may be succeeded by one here if the database
        says who leads.
        """
        if is_of_this_host(found):
            return not _end_if_stopped(found["pid"])
        return not _is_on_server(self.root) or _can_connect(found["url"])

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            (self.root / REFUSAL_FILE).unlink(missing_ok=True)  # an earlier daemon's, unread
            log = (self.root / "daemon.log").open("ab")
        except OSError as error:
            raise ResourceError(
                f"The workspace folder cannot be written: {error.strerror}",
                where=str(self.root),
                next_step="Set WORKBENCH_WORKSPACE to a folder of yours on a local disk.",
            ) from error
        with log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "workbench.daemon",
                    "--workspace",
                    str(self.root.absolute()),
                ],
                # Not where we are: that may be the folder of a run, which goes when it is over.
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the kernel's terminal is not for the daemon
            )
        # It outlives this object; when it ends before this process, it shall not stay a zombie.
        threading.Thread(target=_see_to, args=(process,), name="daemon reaper", daemon=True).start()
        return process

    def _start_and_wait(self) -> dict[str, Any]:
        started = self._start()
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            found = running_daemon(self.root)
            if found is not None and (is_of_this_host(found) or _can_connect(found["url"])):
                return found
            if (code := started.poll()) is not None:
                if code != 0:
                    raise _refusal(self.root) or _died_at_once(self.root, code)
                # Another daemon held the workspace's lock: one that came up first, or one that
                # was just going down.
                time.sleep(_AGAIN_SECONDS)
                started = self._start()
            time.sleep(0.02)
        raise ResourceError(
            f"The daemon did not come up in {_START_SECONDS:.0f} s",
            where=str(self.root / "daemon.log"),
            next_step="Read the end of that log; then: workbench up",
        )


def running_daemon(root: Path) -> dict[str, Any] | None:
    """Return ``{url, token, pid, host, version}`` of the workspace's daemon, None without one.

    Of one on another host nobody here can say whether it lives: it is taken to.
    """
    try:
        found: dict[str, Any] = json.loads((root / ENDPOINT_FILE).read_text())
        if not is_of_this_host(found):
            return found
        os.kill(found["pid"], 0)
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return found if is_daemon(found["pid"], root) else None


def daemon_lock(root: Path) -> Path:
    """Return the lock that the daemon of a workspace holds.

    Where a leased row in the database says who leads, each host has a lock of its own: one that a
    dead host still holds on a network disk would keep others from taking over.
    """
    name = f"daemon-{socket.gethostname()}.lock" if _is_on_server(root) else "daemon.lock"
    return root / name


def _is_on_server(root: Path) -> bool:
    """Whether the catalog of a workspace is on a database server, as its folder remembers."""
    return (root / DATABASE_URL_FILE).exists()


def _can_connect(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), _REACH_SECONDS).close()
    except OSError:
        return False
    return True


def has_ended(found: dict[str, Any], root: Path) -> bool:
    """Whether a daemon that ``running_daemon`` has found is no more."""
    if not is_of_this_host(found):
        return running_daemon(root) is None
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    return not is_daemon(found["pid"], root)


def is_of_this_host(found: dict[str, Any]) -> bool:
    """Whether a daemon that ``running_daemon`` has found is on this host."""
    return "host" not in found or bool(found["host"] == socket.gethostname())


def _see_to(process: subprocess.Popen[bytes]) -> None:
    """Wait for a daemon's end; one that somebody has stopped, at whatever moment, is ended."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOPPED_SECONDS)
            return
        _end_if_stopped(process.pid)


def _end_if_stopped(pid: int) -> bool:
    """End a daemon that somebody has stopped for some seconds: it answers nobody, for ever."""
    deadline = time.monotonic() + _STOPPED_SECONDS
    while _is_stopped(pid):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return True
        time.sleep(0.1)
    return False


def _is_stopped(pid: int) -> bool:
    try:  # the state follows the name, which stands in brackets and may hold any character
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def is_daemon(pid: int, root: Path) -> bool:
    """Check that the process is this workspace's daemon, and not a zombie or a reused number."""
    if not Path("/proc/self").exists():
        return True
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        folder = words[words.index(b"--workspace", words.index(b"workbench.daemon")) + 1]
        return (Path(f"/proc/{pid}/cwd").readlink() / os.fsdecode(folder)).samefile(root)
    except (OSError, ValueError):
        return False


def _refusal(root: Path) -> Exception | None:
    """Return the error with which a daemon refused to start here, if it could leave one."""
    try:
        return error_from_json(json.loads((root / REFUSAL_FILE).read_text()))
    except (OSError, ValueError):
        return None


def _died_at_once(root: Path, code: int) -> ResourceError:
    log = root / "daemon.log"
    is_full = shutil.disk_usage(root).free < _LEAST_FREE_BYTES
    return ResourceError(
        "The disk is full" if is_full else f"The daemon ended at once (exit code {code})",
        where=str(root if is_full else log),
        next_step="Free some space." if is_full else "Read the end of that log; then: workbench up",
        detail=log.read_text(errors="replace")[-4_000:],
    )


def _advice(root: Path) -> str:
    found = running_daemon(root)
    if found is None or is_of_this_host(found):
        return ADVICE
    return (
        f"The daemon runs on the host {found['host']}: use the workspace there, or if that host is "
        f"gone for good, delete {root / ENDPOINT_FILE}."
    )
