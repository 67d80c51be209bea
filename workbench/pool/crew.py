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
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench.core.errors import Interruption, WorkbenchError, error_from_exception
from workbench.pool.addresses import LOOPBACK
from workbench.pool.channel import Door, connect
from workbench.pool.gpus import take_gpu

_INVITE_SECONDS = 5.0  # before a helper that does not come is asked for again
_PATIENCE_SECONDS = 40.0  # then its host is out of reach
_LENGTH = struct.Struct("!Q")
_LENT = "lent"  # in place of a function: the connection is given away with the next one

Invite = Callable[[str, list[str]], None]


class WorkerLost(Exception):
    """The helper died before it had answered, or never came."""


class Crew:
    """The helpers on a run's other slots; leaving the ``with`` block ends them.

    ``invite(address, slots)`` has the agents of these slots start helpers that connect to the
    address; asked twice for the same address, they start none twice. ``here`` is this host's
    address for the hosts of the slots, and ``root`` the workspace whose certificate both show.
    """

    def __init__(
        self, slots: Sequence[str], invite: Invite, root: Path, here: str = LOOPBACK
    ) -> None:
        self.slots = list(slots)
        self._invite = invite
        self._root = root
        self._here = here
        self._helpers: dict[str, Future[socket.socket]] = {slot: Future() for slot in slots}
        self._door: Door | None = None

    def __enter__(self) -> Self:
        if self.slots:
            self._door = Door(self._root, self._here, len(self.slots))
            threading.Thread(target=self._let_in, args=(self._door,), daemon=True).start()
            threading.Thread(target=self._invite_all, args=(self._door,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._door is not None:
            self._door.close()
            for helper in self._helpers.values():
                if not helper.cancel() and helper.exception() is None:
                    helper.result().close()

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

    def lend(self, slot: str, function: Callable[..., None], *arguments: Any) -> socket.socket:
        """Have ``function(connection, *arguments)`` called on one slot; return the other end.

        The helper is the function's from then on: it ends with it.

        Raises:
            WorkerLost: it never came, or has gone.
        """
        try:
            helper = self._helpers[slot].result(timeout=_PATIENCE_SECONDS)
            _send(helper, (_LENT, (function, arguments)))
        except (OSError, TimeoutError) as error:
            raise WorkerLost(slot) from error
        return helper

    def _let_in(self, door: Door) -> None:
        while True:
            try:
                connection = door.accept()
            except OSError:
                if not door.is_open:
                    return
                continue
            # Each by itself: one that says nothing shall hold up no other.
            threading.Thread(target=self._greet, args=(door, connection), daemon=True).start()

    def _greet(self, door: Door, connection: socket.socket) -> None:
        try:
            helper = door.admit(connection)
        except OSError:
            return
        with suppress(OSError, EOFError, InvalidStateError):
            slot = _receive(helper)
            if slot in self._helpers:
                self._helpers[slot].set_result(helper)
                return
        helper.close()

    def _invite_all(self, door: Door) -> None:
        """Ask for the helpers that have not come, until all have, or nobody waits for them."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end and door.is_open:
            missing = [slot for slot, helper in self._helpers.items() if not helper.done()]
            if not missing:
                return
            with suppress(Exception):  # the daemon is away: asked again
                self._invite(door.address, missing)
            time.sleep(_INVITE_SECONDS)


def helper_process(order: dict[str, Any], _descriptors: list[int], *, forked: bool) -> int:
    """Be the helper of one slot until the leader has gone."""
    del forked
    take_gpu(order["slot"])
    try:
        with connect(Path(order["workspace"]), order["address"]) as leader:
            _send(leader, order["slot"])
            while True:
                function, arguments = _receive(leader)
                if function == _LENT:
                    lent, lent_arguments = arguments
                    lent(leader, *lent_arguments)
                    return 0
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
    # Between two processes of one run, over a connection that only their user can open.
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
