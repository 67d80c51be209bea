"""The one database of a workspace: SQLite by default, PostgreSQL for a team.

Only the daemon opens it. All statements are SQLAlchemy Core that both databases take.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.database_faults import DatabaseAwayError, named_fault, primary_code
from workbench.catalog.database_url import (
    record_database_url,
    settle_database_url,
    url_without_secrets,
)
from workbench.core.errors import ResourceError

METADATA = sa.MetaData()

# SQLite's write-ahead log needs shared memory between processes, which these do not give.
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs",
     "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"}
)  # fmt: skip


# Any number will do, as long as nobody else locks it: these are the letters "workbenc".
_WRITERS_LOCK = 0x776F726B62656E63
_WAIT_FOR_OTHER_WRITERS = sa.select(sa.func.pg_advisory_xact_lock(_WRITERS_LOCK))

# Said to a PostgreSQL server once for each connection. A writer waits as long as one does for
# SQLite; one that has frozen is thrown out, or its lock would hold up all others for good; and what
# was acknowledged is on the server's disk, whatever the server is configured to.
_POSTGRESQL_SESSION = """
    SELECT set_config('lock_timeout', '10s', false),
           set_config('idle_in_transaction_session_timeout', '120s', false),
           CASE WHEN current_setting('synchronous_commit') = 'off'
                THEN set_config('synchronous_commit', 'on', false) END
"""
# A server whose machine has gone says nothing any more: noticed within a minute, not hours.
_POSTGRESQL_NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}


_BUSY_SECONDS = 10  # how long to wait for another process that writes


class Database:
    """An engine with one writer at a time and any number of readers.

    One writer at a time holds for every process that has the database open, and is what the rest of
    the workbench is written for: what a transaction has read stays true until it commits, be it
    runs, aliases, the cache, a project's use of its quota, or that nobody has made a version again
    whose files are about to go. SQLite gives it by ``BEGIN IMMEDIATE``, PostgreSQL by an advisory
    lock that each writing transaction takes first and that ends with it. Locks on rows would have
    to be taken in one order by every transaction there is, and cannot guard rows that are not there
    yet; ``SERIALIZABLE`` would ask for a transaction to be repeated, which one that renames a
    folder cannot be. A transaction takes some milliseconds, so that a queue of them is short.

    Raises (from ``read`` and ``write``):
        ResourceError: the disk is full or cannot be written, or another process holds the database.
        DatabaseAwayError: the database server does not answer.
        DataError: the file is not a database, or a damaged one.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self.engine = _make_engine(sa.make_url(url))
        self.is_on_server = self.engine.dialect.name == "postgresql"
        self.place = (
            url_without_secrets(self.engine.url)
            if self.is_on_server
            else self.engine.url.database or "memory"
        )
        # Asked first in each writing transaction: who may not write (any more) raises.
        self.fence: Callable[[sa.Connection], None] = lambda connection: None
        self._writing = threading.Lock()
        self._writer = self.engine.execution_options(writes=True)
        self._reader = self.engine
        if self.is_on_server:  # else each statement would see another moment
            self._reader = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @contextmanager
    def write(self, *, is_fenced: bool = True) -> Iterator[sa.Connection]:
        """Open a transaction that is durable when the block ends, undone when it raises."""
        with self._writing, self._named_errors(), self._writer.begin() as connection:
            if self.is_on_server:
                # Each later statement sees what the writers before this one have committed: that
                # takes READ COMMITTED, as a snapshot would have been taken before the wait.
                connection.execute(_WAIT_FOR_OTHER_WRITERS)
            if is_fenced:
                self.fence(connection)
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a consistent view for reading."""
        with self._named_errors(), self._reader.connect() as connection:
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
            named = named_fault(error, self.place)
            if named is None:
                raise
            raise named from error
        except sa.exc.TimeoutError as error:
            raise DatabaseAwayError(
                "All connections to the database are in use",
                where=self.place,
                next_step="Try again; if it stays so, see whether the database answers slowly.",
            ) from error


def _make_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = sa.create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,  # connections to a server that was started again are made anew
            connect_args={k: v for k, v in _POSTGRESQL_NETWORK.items() if k not in url.query},
        )
    except ModuleNotFoundError as error:
        raise ResourceError(
            f"The driver of this database is not installed: {error.name}",
            where=url_without_secrets(url),
            next_step="Install it: pip install 'nlp-workbench[postgresql]'",
        ) from error
    sa.event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1_000}")
    _use_write_ahead_log(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; of two that do so at once SQLite refuses one without waiting."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer that began as a reader could not go on once another process has written meanwhile.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_SESSION)
    connection.commit()


def open_database(root: Path, url: str | None = None) -> Database:
    """Open (and bring up to date) the database of the workspace at ``root``.

    Args:
        root: the workspace's folder.
        url: where its catalog is, if not in the folder; the folder remembers it.

    Raises:
        ResourceError: SQLite was asked for on a network file system, where it loses data; or the
            URL is none, is not this workspace's, or its driver is not installed.
        DatabaseAwayError: the database server does not answer.
    """
    settled = settle_database_url(root, url)
    if settled.get_backend_name() == "sqlite":
        refuse_network_file_system(Path(settled.database or root))
    database = Database(settled)
    try:
        _migrate(database)
    except BaseException:
        database.close()
        raise
    record_database_url(root, settled)
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
