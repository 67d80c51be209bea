"""The other workers of a run, as the process that leads the run reaches them.

Each is a process of its own on the slot's host, forked by the agent there when the run first needs
it. It connects to the leader, calls what it is told to, and ends with the connection.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench.core.errors import Interruption, WorkbenchError, error_from_exception
from workbench.pool.forks import remove_runtime_folder, runtime_folder

_INVITE_SECONDS = 5.0  # before a helper that does not come is asked for again
_PATIENCE_SECONDS = 40.0  # then its host is out of reach
_LENGTH = struct.Struct("!Q")

Invite = Callable[[str, list[str]], None]


class WorkerLost(Exception):
    """The helper died before it had answered, or never came."""


class Crew:
    """The helpers on a run's other slots; leaving the ``with`` block ends them.

    ``invite(address, slots)`` has the agents of these slots start helpers that connect to the
    address; asked twice for the same address, they start none twice.
    """

    def __init__(self, slots: Sequence[str], invite: Invite) -> None:
        self.slots = list(slots)
        self._invite = invite
        self._helpers: dict[str, Future[socket.socket]] = {slot: Future() for slot in slots}
        self._folder: Path | None = None
        self._address = ""
        self._door: socket.socket | None = None

    def __enter__(self) -> Self:
        if self.slots:
            self._folder = runtime_folder()
            self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._address = str(self._folder / "crew")
            self._door.bind(self._address)
            self._door.listen(len(self.slots))
            threading.Thread(target=self._let_in, args=(self._door,), daemon=True).start()
            threading.Thread(target=self._invite_all, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._door is not None and self._folder is not None:
            with suppress(OSError):
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            for helper in self._helpers.values():
                if not helper.cancel() and helper.exception() is None:
                    helper.result().close()
            remove_runtime_folder(self._folder)

    def call(self, slot: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on one slot and return its answer; one call of a slot at a time.

        Arguments are plain values and functions of modules: text stays where it is.

        Raises:
            WorkerLost: the helper is gone; whether it had begun is not known.
            Exception: whatever the function raised.
        """
        try:
            helper = self._helpers[slot].result(timeout=_PATIENCE_SECONDS)
            _send(helper, (function, arguments))
            has_worked, answer = _receive(helper)
        except (OSError, EOFError, TimeoutError) as error:
            raise WorkerLost(slot) from error
        if has_worked:
            return answer
        raise answer

    def _let_in(self, door: socket.socket) -> None:
        while True:
            try:
                helper, _ = door.accept()
                slot = _receive(helper)
            except (OSError, EOFError):
                if door.fileno() < 0:
                    return
                continue
            if slot in self._helpers and not self._helpers[slot].done():
                self._helpers[slot].set_result(helper)
            else:
                helper.close()

    def _invite_all(self) -> None:
        """Ask for the helpers that have not come, until all have, or nobody waits for them."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end and self._door is not None and self._door.fileno() >= 0:
            missing = [slot for slot, helper in self._helpers.items() if not helper.done()]
            if not missing:
                return
            with suppress(Exception):  # the daemon is away: asked again
                self._invite(self._address, missing)
            time.sleep(_INVITE_SECONDS)


def helper_process(order: dict[str, Any], _events: int, *, forked: bool) -> int:
    """Be the helper of one slot until the leader has gone."""
    del forked
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as leader:
        try:
            leader.connect(order["address"])
            _send(leader, order["slot"])
            while True:
                function, arguments = _receive(leader)
                _send(leader, _outcome(function, arguments))
        except (OSError, EOFError):
            return 0


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, function(*arguments)
    except (WorkbenchError, Interruption) as error:
        return False, error
    except Exception as error:  # its traceback would be lost on the way
        return False, error_from_exception(error, where=function.__qualname__)


def _send(connection: socket.socket, value: Any) -> None:
    # Between two processes of one run, over a socket that only their user can reach.
    content = pickle.dumps(value)
    connection.sendall(_LENGTH.pack(len(content)) + content)


def _receive(connection: socket.socket) -> Any:
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size))
    return pickle.loads(_read(connection, length))  # noqa: S301 (see _send)


def _read(connection: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        part = connection.recv(min(length - len(content), 1 << 20))
        if not part:
            raise EOFError("the other side has gone")
        content += part
    return bytes(content)
