"""Connections between the processes of a run: who holds the workspace's certificate is let in."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from live_workspace import wait_until

from workbench.core.tls import certificate_file
from workbench.pool import channel
from workbench.pool.addresses import interface_of, is_loopback
from workbench.pool.channel import Door, connect


@pytest.fixture
def abroad(monkeypatch: pytest.MonkeyPatch) -> str:
    """Offer an address of this host that is taken for one that other hosts reach."""
    monkeypatch.setattr(channel, "is_loopback", lambda address: False)
    return "127.0.0.1"


def greet(door: Door) -> list[str]:
    """Let in whoever comes, in another thread; return what becomes of each."""
    told: list[str] = []

    def let_in() -> None:
        while True:
            try:
                connection = door.accept()
            except OSError:
                return
            try:
                with door.admit(connection) as admitted:
                    admitted.sendall(b"welcome")
                    told.append("let in")
            except OSError as error:
                told.append(type(error).__name__)

    threading.Thread(target=let_in, daemon=True).start()
    return told


@pytest.mark.parametrize("is_abroad", [False, True])
def test_who_knows_the_address_and_the_certificate_comes_in(
    tmp_path: Path, request: pytest.FixtureRequest, is_abroad: bool
) -> None:
    here = request.getfixturevalue("abroad") if is_abroad else "127.0.0.1"
    certificate_file(tmp_path)
    door = Door(tmp_path, here, 1)
    greet(door)
    with connect(tmp_path, door.address) as connection:
        assert connection.recv(10) == b"welcome"
        assert isinstance(connection, ssl.SSLSocket) == is_abroad
    door.close()
    assert not door.is_open
    with pytest.raises(OSError):
        connect(tmp_path, door.address)


def test_who_has_another_certificate_or_none_stays_outside(tmp_path: Path, abroad: str) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for root in (ours, theirs):
        root.mkdir()
        certificate_file(root)
    door = Door(ours, abroad, 3)
    told = greet(door)
    with pytest.raises(OSError), connect(theirs, door.address) as connection:
        assert connection.recv(10) == b""
        raise OSError("the connection was closed")
    _, host, port = door.address.split(":")
    with (
        suppress(ConnectionResetError),
        socket.create_connection((host, int(port))) as stranger,
    ):
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"welcome" not in stranger.recv(100)
    with connect(ours, door.address) as connection:
        assert connection.recv(10) == b"welcome", "strangers keep out nobody else"
    wait_until(lambda: len(told) == 3, "all three are told of")
    door.close()
    assert "let in" in told


def test_the_certificate_is_made_once_and_read_by_its_user_alone(tmp_path: Path) -> None:
    path = certificate_file(tmp_path)
    content = path.read_text()
    assert "PRIVATE KEY" in content
    assert path.stat().st_mode & 0o077 == 0
    assert certificate_file(tmp_path).read_text() == content


def test_the_interface_of_an_address_is_found() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert is_loopback("127.0.0.1") and not is_loopback("10.0.0.1")
