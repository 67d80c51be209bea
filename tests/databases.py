"""Empty databases by the dozen, of both kinds: what laws of the queue and the catalog run on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from postgresql_server import Server

from workbench.catalog.database import METADATA, Database, open_database
from workbench.daemon.deployments import DEPLOYMENTS

assert DEPLOYMENTS.metadata is METADATA  # with it, all tables are known


class Databases(Protocol):
    """One kind of database; only the newest that it has given is to be used."""

    num_examples: int  # how many examples of a law are worth their time

    def empty(self, root: Path) -> Database:
        """Return a migrated database without a row, for the workspace at ``root``."""

    def again(self, root: Path) -> Database:
        """Return another door to the database that was given last, as another process has."""


def new_folder() -> Path:
    """Make a folder in memory where there is one: a law is not about how fast the disk flushes."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="workbench-laws-", dir=memory if memory.is_dir() else None))


class SqliteDatabases:
    """Files: copying a migrated one is cheaper than migrating again."""

    num_examples = 25

    def __init__(self, template: Path) -> None:
        self._template = template
        open_database(template).close()

    def empty(self, root: Path) -> Database:
        shutil.copytree(self._template, root, dirs_exist_ok=True)
        return self.again(root)

    def again(self, root: Path) -> Database:
        return Database(f"sqlite:///{root / 'catalog.sqlite'}")


class PostgresqlDatabases:
    """One database of a server, emptied: that is cheaper than making another one."""

    num_examples = 8
    _name = "laws"

    def __init__(self, server: Server, folder: Path) -> None:
        server.execute(f"drop database if exists {self._name}", f"create database {self._name}")
        self._url = server.url(database=self._name)
        open_database(folder, self._url).close()

    def empty(self, root: Path) -> Database:
        root.mkdir(parents=True, exist_ok=True)
        database = self.again(root)
        names = ", ".join(table.name for table in METADATA.sorted_tables)
        with database.write() as connection:
            connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY"))
        return database

    def again(self, root: Path) -> Database:
        return Database(self._url)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Offer a folder in memory that is gone afterwards."""
    folder = new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
