"""Zygotes as others see them: who owns one, and who has children forked by it."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.pool.zygote import MOST_BYTES, MOST_DESCRIPTORS, ZygoteSettings

AGENT_VARIABLE = "WORKBENCH_AGENT"  # where those that an agent started find its socket
_MOST_WAITING = 64  # connections that a zygote has not answered yet


class ZygoteGone(Exception):
    """The zygote died, and with it all of its children."""


class ZygoteDoor:
    """A door that stays, and behind it a zygote that may end and be replaced.

    Used by its owner alone, the parent of the zygote: both die together.
    """

    def __init__(self, folder: Path, settings: ZygoteSettings) -> None:
        self._settings = settings
        self.path = str(folder / f"{settings.name}-{os.urandom(4).hex()}")
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.bind(self.path)
        self._door.listen(_MOST_WAITING)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The zygote's process, None while there is none."""
        alive = self._process is not None and self._process.poll() is None
        return self._process.pid if alive and self._process is not None else None

    def ensure(self) -> None:
        """Start a zygote if none is alive; who connects before it has loaded waits for it."""
        if self.pid is None:
            descriptor = self._door.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workbench.pool.zygote", str(descriptor), str(os.getpid()),
                 self._settings.to_json()],
                pass_fds=[descriptor], env={**os.environ, **self._settings.environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt at the terminal is for the stage alone
            )  # fmt: skip

    def attend(self) -> None:
        """Start a zygote if somebody waits for one that has died before it could answer."""
        if self.pid is None and select.select([self._door], [], [], 0)[0]:
            self.ensure()

    def close(self) -> None:
        """End the zygote and its children."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._door.close()
        Path(self.path).unlink(missing_ok=True)


class Forks:
    """The children that one caller has a zygote fork; they end with this connection.

    Raises:
        ZygoteGone: from every method, if there is no zygote (any more).
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.zygote: int | None = None  # its process, once it has answered
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ZygoteGone(str(error)) from error

    def fileno(self) -> int:
        """Return the descriptor that can be read from when ``receive`` has something to tell."""
        return self._socket.fileno()

    def start(
        self, number: int, call: str, argument: Any, *, name: str, log: Path | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Have ``call`` ("module:function") called in a new process with a value that JSON can say.

        Args:
            number: by which ``receive`` and ``kill`` name the child.
            call: gets the argument, the descriptors and ``forked``; returns the status.
            argument: of any size.
            name: of the process.
            log: file to which the child's output is appended; by default it is the zygote's.
            descriptors: for the child.
        """
        if len(descriptors) >= MOST_DESCRIPTORS:  # one is that of the argument
            raise ValueError(f"a child gets fewer than {MOST_DESCRIPTORS} descriptors")
        message = {"start": number, "call": call, "name": name, "log": log and str(log)}
        with _file_of(argument) as stream:
            given = [stream.fileno(), *descriptors]
            try:
                socket.send_fds(self._socket, [json.dumps(message).encode()], given)
            except OSError as error:
                raise ZygoteGone(str(error)) from error

    def kill(self, number: int | None = None) -> None:
        """End one child, or all; ``receive`` tells when it has happened."""
        try:
            self._socket.send(json.dumps({"kill": number}).encode())
        except OSError as error:
            raise ZygoteGone(str(error)) from error

    def receive(self) -> dict[str, Any]:
        """Return the next message: ``started`` with ``pid``, ``exited`` with ``status``."""
        try:
            content = self._socket.recv(MOST_BYTES)
        except OSError as error:
            raise ZygoteGone(str(error)) from error
        if not content:
            raise ZygoteGone("the zygote has gone")
        message: dict[str, Any] = json.loads(content)
        self.zygote = message.get("zygote", self.zygote)
        return message

    def close(self) -> None:
        """End all children that are left."""
        self._socket.close()


def zygote_at_hand(settings: ZygoteSettings) -> str:
    """Return where a zygote with these settings listens, after starting one if there is none.

    It is the agent's, who keeps it for the next that asks; without an agent, one of this process.
    """
    agent = os.environ.get(AGENT_VARIABLE)
    if not agent:
        return _own_zygote(settings)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        try:
            connection.connect(agent)
            connection.send(settings.to_json().encode())
            return connection.recv(MOST_BYTES).decode()
        except OSError as error:
            raise ZygoteGone(f"the agent does not answer: {error}") from error


_own: dict[str, ZygoteDoor] = {}
_own_folders: list[Path] = []
_own_lock = threading.Lock()


def _own_zygote(settings: ZygoteSettings) -> str:
    with _own_lock:
        if not _own_folders:
            _own_folders.append(runtime_folder())
            atexit.register(_end_own)
        door = _own.get(settings.to_json())
        if door is None:
            door = _own[settings.to_json()] = ZygoteDoor(_own_folders[0], settings)
        door.ensure()
        return door.path


def _end_own() -> None:
    for door in _own.values():
        door.close()
    remove_runtime_folder(_own_folders[0])


def _file_of(value: Any) -> Any:
    """Return an open file without a name that holds a value as JSON."""
    if hasattr(os, "memfd_create"):  # memory: where the disk is full, runs must still be ended
        stream = os.fdopen(os.memfd_create("argument"), "w+b")
    else:
        stream = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (the caller closes it)
    stream.write(json.dumps(value).encode())
    stream.seek(0)
    return stream


def runtime_folder() -> Path:
    """Make a folder for sockets: only this user can look into it, and its path is short."""
    return Path(tempfile.mkdtemp(prefix="workbench-"))


def remove_runtime_folder(folder: Path) -> None:
    """Remove what ``runtime_folder`` made."""
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
