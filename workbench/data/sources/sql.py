"""Databases: a table or a query, through SQLAlchemy, read only, in ranges of a key."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from workbench.core.errors import DataError, WorkbenchError
from workbench.core.spec import option
from workbench.data.sources.database import (
    Connector,
    absolute_file,
    check_query,
    closing_cursor,
    sqlite_file,
    was_cut_off,
)
from workbench.data.sources.files import hash_files
from workbench.data.sources.relation import KeyRange, Relation, as_key, key_type
from workbench.data.sources.secrets import without_literal_secret
from workbench.data.sources.source import ColumnSource, Part, Rejected, SourceRow, raw_hash

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult

_BATCH_ROWS = 5_000
# Before each try to go on with a database that went away; a restart takes seconds.
_PAUSES_SECONDS = (0.2, 1.0, 3.0, 10.0, 30.0)

DatabaseUrl = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(without_literal_secret),
    AfterValidator(absolute_file),
]


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
        help="A SELECT to read instead of a table; add ORDER BY or name a key column, or records "
        "may change places.",
    )  # fmt: skip
    key_column: str = option(
        "", title="Key column", group="Source",
        help="A column without repeated or empty values, by which a big table is read in parts "
        "and reading goes on after the database went away; empty: the table's primary key if that "
        "is one column.",
    )  # fmt: skip
    rows_per_part: int = option(
        100_000, title="Rows in a part", group="Source", unit="rows", ge=1,
        help="How many rows are read in one go where there is a key column: what a pause or a "
        "kill may cost.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_of_table_and_query(self) -> Self:
        if bool(self.table) == bool(self.query):
            raise ValueError("give either a table or a query")
        if self.query:
            check_query(self.query)
        return self

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield one record per row: in the order of the key where there is one, else as stored."""
        return self.read_part({})

    def parts(self) -> list[Part]:
        """Return ranges of the key column; one of all rows where there is none to cut by."""
        with self._connector().connect() as connection:
            relation = self._relation(connection)
            if not relation.key:
                return [{}]
            if relation.has_empty_key(connection):
                raise self._bad_key(relation.key, None)
            borders = list(relation.borders(connection, self.rows_per_part))
        kinds = {key_type(border) for border in borders}
        if len(kinds) != 1 or "" in kinds:
            return [{}]
        ends = [None, *map(str, borders), None]
        return [
            {"after": after, "until": until, "type": min(kinds)}
            for after, until in itertools.pairwise(ends)
        ]

    def read_part(self, part: Part) -> Iterator[SourceRow | Rejected]:
        """Yield the rows of one range of the key, going on where a lost connection broke off."""
        keys = KeyRange(
            *(as_key(part.get(name), part.get("type", "")) for name in ("after", "until"))
        )
        num_rows, pauses = 0, list(_PAUSES_SECONDS)
        while True:
            try:
                for key, row in self._read_range(keys, num_rows):
                    num_rows += 1
                    keys = keys._replace(after=key)
                    yield row
                return
            except _CutOff as error:
                if not error.has_key or not pauses:
                    raise self._gone(error, num_rows) from None
                time.sleep(pauses.pop(0))

    def fingerprint(self) -> str | None:
        """Return the SHA-256 of a SQLite file; None for servers, whose state has no hash."""
        path = sqlite_file(self._connector().url_now())
        if path is None:
            return None
        log = path.with_name(path.name + "-wal")  # holds what is committed but not yet moved
        return hash_files([("", path), *([("-wal", log)] if log.exists() else [])])

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Return the text cell of the row that a record was read from."""
        names = ("table", "query", "key_column")
        settings = {name: provenance[name] for name in names if name in provenance}
        column = provenance["column"]
        source = cls.model_validate(
            {"name": "again", "url": provenance["uri"], "text_column": column, **settings}
        )
        with source._connector().connect() as connection:
            row = source._relation(connection).row(connection, provenance)
        cell = row.get(column) if row else None
        return b"" if cell is None else str(cell).encode("utf-8", "surrogatepass")

    def _read_range(
        self, keys: KeyRange, num_before: int
    ) -> Iterator[tuple[Any, SourceRow | Rejected]]:
        relation: Relation | None = None
        try:
            with self._connector().connect() as connection:
                relation = self._relation(connection)
                connection.execution_options(stream_results=True, yield_per=_BATCH_ROWS)
                with closing_cursor(connection.execute(relation.select(keys))) as result:
                    yield from self._keyed_rows(result, relation, keys.after, num_before)
        except WorkbenchError as error:
            is_under_way = relation is not None or keys.after is not None
            if is_under_way and was_cut_off(error):
                raise _CutOff(error, relation is None or bool(relation.key)) from None
            raise

    def _keyed_rows(
        self, result: CursorResult[Any], relation: Relation, last: Any, number: int
    ) -> Iterator[tuple[Any, SourceRow | Rejected]]:
        self.check_columns(result.keys(), self.table or "query")
        for values in result:
            number += 1
            cells = dict(zip(result.keys(), values, strict=True))
            key = cells[relation.key] if relation.key else None
            if relation.key and (key is None or key == last):
                raise self._bad_key(relation.key, key)
            last = key
            yield key, self._record(cells, relation, number)

    def _record(
        self, cells: dict[str, Any], relation: Relation, number: int
    ) -> SourceRow | Rejected:
        key = {name: cells[name] for name in relation.identity} or {"row": number}
        named = ",".join(f"{name}={value}" for name, value in key.items())
        place: dict[str, object] = {"uri": self.url, **self._named_relation()}
        place |= {n: v if isinstance(v, int) else str(v) for n, v in key.items()}
        kept = {name: cell for name, cell in cells.items() if self._is_wanted(name)}
        row = self.row(kept, f"{self.table or 'query'}:{named}", place)
        if isinstance(row, SourceRow):
            place |= {"column": self.text_column, "hash": raw_hash(row.text)}
        return row

    def _named_relation(self) -> dict[str, object]:
        named: dict[str, object] = {"table": self.table} if self.table else {"query": self.query}
        return {**named, **({"key_column": self.key_column} if self.key_column else {})}

    def _relation(self, connection: Connection) -> Relation:
        place = self.place(self.url)
        relation = Relation.find(connection, self.table, self.query, self.key_column, place)
        if self.table:
            self.check_columns(relation.columns, self.table)
        return relation.without([n for n in relation.columns if not self._is_wanted(n)])

    def _is_wanted(self, column: str) -> bool:
        return column not in self.omit_columns or column in (self.text_column, self.label_column)

    def _connector(self) -> Connector:
        return Connector(self.url, self.place(self.url, self.table or self.query))

    def _bad_key(self, name: str, key: object) -> DataError:
        what = "is empty in a row" if key is None else f"has the value {str(key)[:100]!r} twice"
        return DataError(f"The key column {name!r} {what}", where=self.place(self.url),
                         next_step="Name a column that differs in each row.")  # fmt: skip

    def _gone(self, error: _CutOff, num_rows: int) -> DataError:
        why, next_step = (
            (f"{len(_PAUSES_SECONDS)} tries to go on failed", "Resume the run when it is back.")
            if error.has_key
            else ("without a key column reading cannot go on", "Name a key column.")
        )
        return DataError(
            f"The database went away after {num_rows} rows, and {why}: {error.cause.what}",
            where=error.cause.where,
            next_step=next_step,
        )


class _CutOff(Exception):
    """The connection was lost while reading, by a key column or not."""

    def __init__(self, cause: WorkbenchError, has_key: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.has_key = cause, has_key
