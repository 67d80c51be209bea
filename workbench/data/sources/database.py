"""Connections to databases that can only read, from URLs whose secrets stay references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.core.errors import Cause, DataError, WorkbenchError
from workbench.core.paths import home_expanded
from workbench.data.sources.secrets import REFERENCE, look_up, masked

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Engine

_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]+)(\?.*)?")
_LOGIN = re.compile(
    rf"(?P<scheme>[\w+]+://)(?P<name>{REFERENCE.pattern}|[^:/@]*)"
    rf"(?::(?P<password>{REFERENCE.pattern}|[^@]*))?@"
)
_READS = re.compile(r"\s*(select|with|values|table)\b", re.IGNORECASE)
# What may hold a semicolon that ends no statement.
_QUOTED = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/", re.DOTALL
)
# For the session, not for one transaction: a statement that commits must not free itself.
_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


def absolute_file(url: str) -> str:
    """Make the path of a database file absolute: workers have other working folders."""
    match = _SQLITE_FILE.fullmatch(url)
    if not match or match[2].startswith((":", "file:", "$")):
        return url
    return f"{match[1]}{home_expanded(match[2]).absolute()}{match[3] or ''}"


def sqlite_file(url: str) -> Path | None:
    """Return the file that a URL of SQLite names; None for anything else."""
    match = _SQLITE_FILE.fullmatch(url)
    return Path(match[2]) if match and not match[2].startswith((":", "file:")) else None


def check_query(query: str) -> None:
    """Refuse what is not one statement that reads.

    Raises:
        ValueError: says what it is.
    """
    if not _READS.match(query):
        raise ValueError("a query must begin with SELECT or WITH: sources are only read")
    if ";" in _QUOTED.sub("", query).rstrip().removesuffix(";"):
        raise ValueError("a query must be one statement: a semicolon may only end it")


class Connector:
    """Opens connections to one database; ``place`` is how its errors name it."""

    def __init__(self, url: str, place: str) -> None:
        self._url, self._place = url, place

    def url_now(self) -> str:
        """Return the URL with its secrets looked up; never show it.

        What stands for a user's name or password may hold any sign, as it is.
        """
        login = _LOGIN.match(self._url)
        if login is None:
            return look_up(self._url, self._place)
        name, password = (
            quote(look_up(text, self._place), safe="") if REFERENCE.fullmatch(text) else text
            for text in (login["name"], login["password"] or "")
        )
        rest = look_up(self._url[login.end() :], self._place)
        return f"{login['scheme']}{name}{':' if password else ''}{password}@{rest}"

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection that can only read; what the database refuses becomes a DataError."""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        engine = self._engine()
        is_open = False
        try:
            with engine.connect() as connection:
                is_open = True
                if engine.dialect.name in _READ_ONLY:
                    connection.exec_driver_sql(_READ_ONLY[engine.dialect.name])
                    connection.commit()
                yield connection
                connection.rollback()
        except SQLAlchemyError as error:
            is_lost, reason = not is_open, str(error)
            if isinstance(error, DBAPIError):
                is_lost, reason = is_lost or error.connection_invalidated, str(error.orig)
            raise self._refused(reason, is_lost) from None
        finally:
            engine.dispose()

    def _refused(self, reason: str, is_lost: bool) -> DataError:
        error = DataError(
            f"The database refused: {masked(reason, self._url)}",
            where=self._place,
            next_step="Check URL, table and query, and that it may be read.",
        )
        if is_lost or _LOST.search(reason):
            error.add_note(_CUT_OFF)
        if _LOST.search(reason):  # not what a wrong password or name brings
            error.cause = Cause.UNREACHABLE
        return error

    def _engine(self) -> Engine:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
        from sqlalchemy.pool import NullPool

        url = self.url_now()
        path = sqlite_file(url)
        if path is not None and not path.is_file():  # connecting would make an empty database
            raise DataError(f"There is no database file {masked(str(path), self._url)}",
                            where=self._place, next_step="Check the path in the URL.")  # fmt: skip
        try:
            return sqlalchemy.create_engine(url, poolclass=NullPool)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise DataError(
                f"The database cannot be reached: {masked(str(error), self._url)}",
                where=self._place,
                next_step="Check the URL; each database needs its driver "
                "(for PostgreSQL: pip install nlp-workbench[postgresql]).",
            ) from None


@contextmanager
def closing_cursor(result: CursorResult[Any]) -> Iterator[CursorResult[Any]]:
    """Close a result's cursor in the end, on the server too while it can still be reached."""
    cursor = result.cursor
    try:
        yield result
    finally:
        with suppress(Exception):  # the connection may be lost, which its reader is told of
            cursor.close()
        result.close()


_CUT_OFF = "the connection was lost"
# Drivers tell a server that is gone or starting in words only.
_LOST = re.compile(
    r"connection (was |is )?(closed|lost|refused|reset|timed out|failed)|server closed|gone away|"
    r"terminating connection|starting up|shutting down|recovery mode|disk i/o error",
    re.IGNORECASE,
)


def was_cut_off(error: WorkbenchError) -> bool:
    """Whether an error of a connector says that the connection was lost."""
    return _CUT_OFF in getattr(error, "__notes__", ())
