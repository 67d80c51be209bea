"""Connections between the processes of one run: on one host a socket of this user, else TLS."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path

from workbench.core.tls import client_context, server_context
from workbench.pool.addresses import is_loopback
from workbench.pool.forks import remove_runtime_folder, runtime_folder

_SHAKE_SECONDS = 10.0  # for both sides to show the workspace's certificate


class Door:
    """Where others connect to: ``address`` tells them how.

    ``here`` is this host's address for other hosts; a loopback one says that all others are here.
    """

    def __init__(self, root: Path, here: str, most_waiting: int) -> None:
        self._root = root
        self._folder: Path | None = None
        self._context: ssl.SSLContext | None = None
        if is_loopback(here):
            self._folder = runtime_folder()
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.address = str(self._folder / "door")
            self._socket.bind(self.address)
        else:
            self._context = server_context(root)
            self._socket = socket.create_server((here, 0))
            self.address = f"tls:{here}:{self._socket.getsockname()[1]}"
        self._socket.listen(most_waiting)

    @property
    def is_open(self) -> bool:
        """Whether anybody can still come in."""
        return self._socket.fileno() >= 0

    def accept(self) -> socket.socket:
        """Return the next connection; ``admit`` it before anything is read from it.

        Raises:
            OSError: the door was closed.
        """
        connection, _ = self._socket.accept()
        return connection

    def admit(self, connection: socket.socket) -> socket.socket:
        """Return the connection as one over which to speak, once the other side has proved itself.

        Raises:
            OSError: it has not; the connection is closed.
        """
        if self._context is None:
            return connection
        return _shaken(self._context, connection, is_server=True)

    def close(self) -> None:
        """Let nobody in any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._folder is not None:
            remove_runtime_folder(self._folder)


def connect(root: Path, address: str) -> socket.socket:
    """Return a connection to a door.

    Raises:
        OSError: nobody is there, or it is somebody else.
    """
    if not address.startswith("tls:"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection
    _, host, port = address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=_SHAKE_SECONDS)
    return _shaken(client_context(root), connection, is_server=False)


def _shaken(
    context: ssl.SSLContext, connection: socket.socket, *, is_server: bool
) -> ssl.SSLSocket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A host that vanishes sends no word: without this its peer would wait for hours.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    connection.settimeout(_SHAKE_SECONDS)
    try:
        shaken = context.wrap_socket(connection, server_side=is_server)
    except OSError:
        connection.close()
        raise
    shaken.settimeout(None)
    return shaken
