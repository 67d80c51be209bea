"""A PostgreSQL server of the tests' own: a cluster in a folder, which can be stopped any time."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "hunter2"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Server:
    """A cluster of its own in a folder of its own, on a socket in that folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        (folder / "password").write_text(PASSWORD)
        self._call("initdb", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}",
                   "--username=ann", "--no-sync", "--encoding=UTF8", "--locale=C")  # fmt: skip
        self.start()

    def _call(self, program: str, *arguments: str) -> None:
        command = [self.programs / program, "-D", self.folder / "data", *arguments]
        done = subprocess.run(
            command, user=self._user, cwd=self.folder, capture_output=True, text=True, env={}
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off"
        self._call("pg_ctl", "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-w", "-m", "immediate", "stop")

    def url(self, password: str = PASSWORD, database: str = "postgres") -> str:
        return f"postgresql+psycopg://ann:{password}@/{database}?host={self.folder}"

    def execute(self, *statements: str) -> list[Any]:
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user="ann", password=PASSWORD, dbname="postgres", autocommit=True
        ) as connection:
            cursors = [connection.execute(statement) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else []


@contextmanager
def postgresql_server() -> Iterator[Server]:
    """Offer a server while the block lasts; skip the test where PostgreSQL is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("LOUD SKIP: no PostgreSQL server is installed (apt-get install postgresql)")
    # Not pytest's folder: its parents are closed to other users, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="wb-pg-"))
    try:
        server = Server(programs, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
