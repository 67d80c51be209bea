"""Databases: a table or a query, through SQLAlchemy, read only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, model_validator

from workbench.core.errors import DataError, SpecError, nearest_name
from workbench.core.spec import option
from workbench.data.sources.files import hash_files
from workbench.data.sources.source import ColumnSource, Rejected, SourceRow

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Engine

_BATCH_ROWS = 5_000
_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]+)(\?.*)?")
_SECRET = re.compile(r"\$\{env:(\w+)\}")
_SECRET_PARAMETERS = {"password", "passwd", "pwd", "token", "secret", "sslpassword"}
_READS = re.compile(r"\s*(select|with|values|table)\b", re.IGNORECASE)
_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


def _without_literal_secret(url: str) -> str:
    parts = urlsplit(url)
    _, _, password = parts.netloc.rpartition("@")[0].partition(":")
    secrets = [password, *(v for k, v in parse_qsl(parts.query) if k.lower() in _SECRET_PARAMETERS)]
    if any(secret and not _SECRET.fullmatch(secret) for secret in secrets):
        # Raised past pydantic: its own message would repeat the password.
        raise SpecError(
            "The database URL holds a password, and Specs are stored and shown",
            where="sources.url",
            next_step="Write ${env:NAME} in its place and set that variable where workers run.",
        )
    return url


def _absolute_file(url: str) -> str:
    """Make the path of a database file absolute: workers have other working folders."""
    match = _SQLITE_FILE.fullmatch(url)
    if not match or match[2].startswith((":", "file:", "$")):
        return url
    return f"{match[1]}{Path(match[2]).expanduser().absolute()}{match[3] or ''}"


DatabaseUrl = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(_without_literal_secret),
    AfterValidator(_absolute_file),
]  # fmt: skip


class SqlSource(ColumnSource):
    """A table or a query of any database that SQLAlchemy speaks to."""

    kind: Literal["sql"] = option(
        "sql", title="Kind", help="A table or query of a database.", group="Source"
    )  # fmt: skip
    url: DatabaseUrl = option(
        title="Database URL", group="Source",
        help="SQLAlchemy URL, for example sqlite:////data/reviews.db; write secrets as "
        "${env:NAME}, they are looked up where the run runs and stored nowhere.",
    )  # fmt: skip
    table: str = option(
        "", title="Table", group="Source",
        help="Table or view to read whole, with its schema if needed (news.comments).",
    )  # fmt: skip
    query: str = option(
        "", title="Query", group="Source",
        help="A SELECT to read instead of a table; add ORDER BY, or records may change places.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_of_table_and_query(self) -> Self:
        if bool(self.table) == bool(self.query):
            raise ValueError("give either a table or a query")
        if self.query and not _READS.match(self.query):
            raise ValueError("a query must begin with SELECT or WITH: sources are only read")
        return self

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield one record per row: by primary key where there is one, else as stored."""
        with self._connect() as connection:
            connection.execution_options(stream_results=True, yield_per=_BATCH_ROWS)
            rows, keys = self._select_rows(connection)
            self.check_columns(rows.keys(), self.table or "query")
            for number, cells in enumerate(rows.mappings(), 1):
                key = {name: cells[name] for name in keys} or {"row": number}
                yield self._record(dict(cells), key)

    def fingerprint(self) -> str | None:
        """Return the SHA-256 of a SQLite file; None for servers, whose state has no hash."""
        match = _SQLITE_FILE.fullmatch(self._resolved_url())
        if not match or match[2].startswith((":", "file:")):
            return None
        path = self._existing(Path(match[2]))
        log = path.with_name(path.name + "-wal")  # holds what is committed but not yet moved
        return hash_files([("", path), *([("-wal", log)] if log.exists() else [])])

    def _record(self, cells: dict[str, Any], key: dict[str, Any]) -> SourceRow | Rejected:
        named = ",".join(f"{name}={value}" for name, value in key.items())
        position = f"{self.table or 'query'}:{named}"
        return self.row(cells, position, {"uri": self.url, **_described(self, key)})

    def _select_rows(self, connection: Connection) -> tuple[CursorResult[Any], list[str]]:
        """Start reading; return the rows and the columns of the primary key."""
        from sqlalchemy import MetaData, Table, inspect, select

        if self.query:  # as written: a colon or percent sign in it is no parameter
            connection.execution_options(no_parameters=True)
            return connection.exec_driver_sql(self.query), []

        inspector = inspect(connection)
        schema, _, name = self.table.rpartition(".")
        known = [
            *inspector.get_table_names(schema or None),
            *inspector.get_view_names(schema or None),
        ]
        if name not in known:
            raise DataError(
                f"There is no table {self.table!r}",
                where=self.place(self.url),
                next_step=nearest_name(name, known) or "The database is empty.",
            )
        table = Table(name, MetaData(), schema=schema or None, autoload_with=connection)
        self.check_columns([column.name for column in table.columns], self.table)
        keys = list(table.primary_key.columns)
        wanted = [
            column for column in table.columns if self._is_wanted(column.name) or column in keys
        ]
        rows = connection.execute(select(*wanted).order_by(*keys))
        return rows, [key.name for key in keys]

    def _is_wanted(self, column: str) -> bool:
        return column not in self.omit_columns or column in (self.text_column, self.label_column)

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        engine = self._engine()
        try:
            with engine.connect() as connection:
                if engine.dialect.name in _READ_ONLY:
                    connection.exec_driver_sql(_READ_ONLY[engine.dialect.name])
                yield connection
                connection.rollback()
        except SQLAlchemyError as error:
            reason = str(error.orig if isinstance(error, DBAPIError) else error)
            raise DataError(
                f"The database refused: {self._masked(reason)}",
                where=self.place(self.url, self.table or self.query),
                next_step="Check URL, table and query, and that it may be read.",
            ) from None
        finally:
            engine.dispose()

    def _engine(self) -> Engine:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
        from sqlalchemy.pool import NullPool

        url = self._resolved_url()
        match = _SQLITE_FILE.fullmatch(url)
        if match and not match[2].startswith((":", "file:")):
            self._existing(Path(match[2]))  # connecting would make an empty database
        try:
            return sqlalchemy.create_engine(url, poolclass=NullPool)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise DataError(
                f"The database cannot be reached: {self._masked(str(error))}",
                where=self.place(self.url),
                next_step="Check the URL; each database needs its driver "
                "(for PostgreSQL: pip install nlp-workbench[postgresql]).",
            ) from None

    def _existing(self, path: Path) -> Path:
        if not path.is_file():
            raise DataError(f"There is no database file {path}", where=self.place(self.url),
                            next_step="Check the path in the URL.")  # fmt: skip
        return path

    def _resolved_url(self) -> str:
        def look_up(match: re.Match[str]) -> str:
            if match[1] not in os.environ:
                raise DataError(f"The environment variable {match[1]} is not set on this worker",
                                where=self.place(self.url),
                                next_step="Set it where workers run.")  # fmt: skip
            return os.environ[match[1]]

        return _SECRET.sub(look_up, self.url)

    def _masked(self, message: str) -> str:
        for name in _SECRET.findall(self.url):
            if os.environ.get(name):
                message = message.replace(os.environ[name], f"${{env:{name}}}")
        return message


def _described(source: SqlSource, key: dict[str, Any]) -> dict[str, object]:
    """Return table or query and the row's key, as provenance keeps them."""
    place: dict[str, object] = {"table": source.table} if source.table else {"query": source.query}
    return {
        **place,
        **{name: value if isinstance(value, int) else str(value) for name, value in key.items()},
    }
