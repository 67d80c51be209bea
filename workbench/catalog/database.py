"""The one database of a workspace: SQLite by default, PostgreSQL for a team.

Only the daemon opens it. All statements are SQLAlchemy Core that both databases take.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.core.errors import DataError, ResourceError, WorkbenchError

METADATA = sa.MetaData()

# SQLite's write-ahead log needs shared memory between processes, which these do not give.
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs",
     "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"}
)  # fmt: skip


# What SQLite complains of that is no mistake of ours, by its primary error code.
MACHINE_FAULTS = {
    sqlite3.SQLITE_FULL: "The disk is full",
    sqlite3.SQLITE_IOERR: "The disk cannot be read or written",
    sqlite3.SQLITE_READONLY: "The database may not be written",
    sqlite3.SQLITE_CANTOPEN: "The database cannot be opened",
    sqlite3.SQLITE_BUSY: "Another process holds the database",
}
_FILE_FAULTS = {
    sqlite3.SQLITE_NOTADB: "The file is not a database",
    sqlite3.SQLITE_CORRUPT: "The database is damaged",
}


class Database:
    """An engine with one writer at a time and any number of readers.

    Raises (from ``read`` and ``write``):
        ResourceError: the disk is full or cannot be written, or the database server is gone.
        DataError: the file is not a database, or a damaged one.
    """

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)
        self._place = self.engine.url.database or str(self.engine.url)
        self._writing = threading.Lock()
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that is durable when the block ends, undone when it raises."""
        with self._writing, self._named_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a consistent view for reading."""
        with self._named_errors(), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Tell what the machine lacks as the error that it is."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            named = _named(error, self._place)
            if named is None:
                raise
            raise named from error


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's code of an error without its finer distinctions."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _named(error: sa.exc.DBAPIError, place: str) -> WorkbenchError | None:
    """Return the error for the owner of the machine or of the file; None if it is our own."""
    if not isinstance(error.orig, sqlite3.Error):
        if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
            return None
        return ResourceError(f"The database does not answer: {error.orig}", where=place,
                             next_step="See that its server runs and can be reached.")  # fmt: skip
    code = primary_code(error.orig)
    if code in MACHINE_FAULTS:
        return ResourceError(
            f"{MACHINE_FAULTS[code]}: {error.orig}",
            where=place,
            next_step="Mend that; what was recorded before is kept, and runs can be resumed.",
        )
    if code in _FILE_FAULTS:
        return DataError(
            f"{_FILE_FAULTS[code]}: {error.orig}",
            where=place,
            next_step="Restore it from a backup, or use another workspace folder.",
        )
    return None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def open_database(root: Path, url: str | None = None) -> Database:
    """Open (and bring up to date) the database of the workspace at ``root``.

    Raises:
        ResourceError: SQLite was asked for on a network file system, where it loses data.
    """
    if url is None:
        refuse_network_file_system(root)
        url = f"sqlite:///{root / 'catalog.sqlite'}"
    database = Database(url)
    _migrate(database)
    return database


def _migrate(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def refuse_network_file_system(root: Path, mounts: str | None = None) -> None:
    """Check that ``root`` is on a local disk; ``mounts`` is the text of /proc/mounts.

    Raises:
        ResourceError: the folder is on a network file system.
    """
    if mounts is None:
        table = Path("/proc/mounts")
        mounts = table.read_text() if table.exists() else ""
    kind = _file_system_of(root.resolve(), mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise ResourceError(
            f"The workspace is on a network file system ({kind}), where SQLite loses data",
            where=str(root),
            next_step="Set WORKBENCH_WORKSPACE to a folder on a local disk, "
            "or WORKBENCH_DATABASE to a PostgreSQL URL.",
        )


def _file_system_of(folder: Path, mounts: str) -> str:
    """Return the type of the mount with the longest path above ``folder``."""
    best_length, best_kind = -1, ""
    for line in mounts.splitlines():
        _device, mount_point, kind, *_ = line.split(" ")
        mount = Path(mount_point.replace("\\040", " "))
        if (folder == mount or mount in folder.parents) and len(mount.parts) >= best_length:
            best_length, best_kind = len(mount.parts), kind
    return best_kind
