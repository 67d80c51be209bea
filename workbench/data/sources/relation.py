"""What is read of a database: the columns of a table or query, its key, and ranges of it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.core.errors import DataError, nearest_name

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, FromClause, Select


class KeyRange(NamedTuple):
    """Rows whose key is greater than ``after`` and at most ``until``; None is no bound."""

    after: Any = None
    until: Any = None


_TYPES: dict[str, Any] = {
    "int": int,
    "str": str,
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
}


def key_type(key: object) -> str:
    """Return the name of a key's type; empty for one that ranges are not made of."""
    name = type(key).__name__
    return name if name in _TYPES else ""


def as_key(text: str | None, kind: str) -> Any:
    """Return a key from its text."""
    return None if text is None else _TYPES[kind](text)


class Relation:
    """A table or query: ``key`` is the column it is ordered and cut by, if any.

    ``identity`` are the columns that name a row: the key, or all of a primary key.
    """

    def __init__(
        self, source: FromClause, columns: Sequence[str], key: str, identity: Sequence[str]
    ) -> None:
        self._from = source
        self.columns, self.key, self.identity = list(columns), key, list(identity)
        self._as_written = ""

    @classmethod
    def find(cls, connection: Connection, table: str, query: str, key: str, place: str) -> Relation:
        """Look a table or query up in the database.

        Raises:
            DataError: there is no such table or key column; the nearest name is told.
        """
        if table:
            relation = cls._of_table(connection, table, place)
        else:
            relation = cls._of_query(connection, query, bool(key))
        if key and key not in relation.columns:
            raise DataError(f"There is no column {key!r}", where=place,
                            next_step=nearest_name(key, relation.columns))  # fmt: skip
        if key:
            relation.key, relation.identity = key, [key]
        return relation

    @classmethod
    def _of_table(cls, connection: Connection, table: str, place: str) -> Relation:
        from sqlalchemy import MetaData, Table, inspect

        inspector = inspect(connection)
        schema, _, name = table.rpartition(".")
        known = [
            *inspector.get_table_names(schema or None),
            *inspector.get_view_names(schema or None),
        ]
        if name not in known:
            raise DataError(
                f"There is no table {table!r}",
                where=place,
                next_step=nearest_name(name, known) or "The database is empty.",
            )
        found = Table(name, MetaData(), schema=schema or None, autoload_with=connection)
        primary = [column.name for column in found.primary_key.columns]
        key = primary[0] if len(primary) == 1 else ""
        return cls(found, [column.name for column in found.columns], key, primary)

    @classmethod
    def _of_query(cls, connection: Connection, query: str, has_key: bool) -> Relation:
        from sqlalchemy import column, text

        written = query.rstrip().removesuffix(";")
        # As written: a colon in it begins no parameter.
        statement = text(written.replace("\\", "\\\\").replace(":", "\\:"))
        columns: list[str] = []
        if has_key:
            inner = statement.columns().subquery("q")
            columns = list(connection.execute(_limited(inner, 0)).keys())
            statement_columns = statement.columns(*(column(name) for name in columns))
            return cls(statement_columns.subquery("q"), columns, "", [])
        relation = cls(statement.columns().subquery("q"), columns, "", [])
        relation._as_written = written
        return relation

    def without(self, names: Sequence[str]) -> Relation:
        """Return the relation without some columns, but with those that name a row."""
        kept = [n for n in self.columns if n not in names or n in (*self.identity, self.key)]
        relation = Relation(self._from, kept, self.key, self.identity)
        relation._as_written = self._as_written
        return relation

    def select(self, keys: KeyRange) -> Any:
        """Return the statement that reads a range, in the order of the key or primary key."""
        from sqlalchemy import select, text

        if self._as_written:
            return text(_escaped(self._as_written))
        chosen = [self._from.c[name] for name in self.columns]
        ordered: Select[Any] = select(*chosen).order_by(
            *(self._from.c[name] for name in self.identity)
        )
        if self.key:
            ordered = _within(ordered, self._from.c[self.key], keys)
        return ordered

    def has_empty_key(self, connection: Connection) -> bool:
        """Whether a row has no key: ranges would leave it out."""
        empty = self._keys(KeyRange()).where(self._from.c[self.key].is_(None))
        return connection.execute(empty.limit(1)).first() is not None

    def borders(self, connection: Connection, num_rows: int) -> Iterator[Any]:
        """Yield the last keys of ranges of so many rows each, but for the last range."""
        keys = KeyRange()
        while True:
            statement = self._keys(keys).offset(num_rows - 1).limit(2)
            found = connection.execute(statement).scalars().all()
            if len(found) < 2:
                return
            yield found[0]
            keys = KeyRange(after=found[0])

    def row(self, connection: Connection, place: Mapping[str, Any]) -> Mapping[Any, Any] | None:
        """Return the row that a provenance names: by its key, else by its number."""
        if not self.identity:
            result = connection.execute(self.select(KeyRange()))
            rows = enumerate(result.mappings(), 1)
            return next((row for number, row in rows if number == place["row"]), None)
        values = [(self._from.c[name], place[name]) for name in self.identity]
        for kind in ("", *(kind for kind in _TYPES if kind.startswith("date"))):
            tests = [_equals(column, value, kind) for column, value in values]
            if all(test is not None for test in tests):
                statement = self.select(KeyRange()).where(*tests)
                found = connection.execute(statement).mappings().first()
                if found is not None:
                    return found
        return None

    def _keys(self, keys: KeyRange) -> Select[Any]:
        from sqlalchemy import select

        key = self._from.c[self.key]
        return _within(select(key).order_by(key), key, keys)


def _within(statement: Select[Any], key: ColumnElement[Any], keys: KeyRange) -> Select[Any]:
    if keys.after is not None:
        statement = statement.where(key > keys.after)
    if keys.until is not None:
        statement = statement.where(key <= keys.until)
    return statement


def _equals(column: ColumnElement[Any], value: Any, kind: str) -> ColumnElement[bool] | None:
    """Compare a column with a key as provenance keeps it: whole numbers, and texts of the rest.

    A column of a query does not say its type, so it is compared as each kind; None: it is no such.
    """
    from sqlalchemy import String, cast
    from sqlalchemy.types import NullType

    known = "" if isinstance(column.type, NullType) else column.type.python_type.__name__
    if isinstance(value, int) or known == "str":
        return column.__eq__(value)
    try:
        kind = known if known in _TYPES else kind
        left = column if kind else cast(column, String)
        return left.__eq__(as_key(value, kind) if kind else value)
    except ValueError:
        return None


def _limited(source: FromClause, num_rows: int) -> Select[Any]:
    from sqlalchemy import literal_column, select

    return select(literal_column("*")).select_from(source).limit(num_rows)


def _escaped(query: str) -> str:
    return query.replace("\\", "\\\\").replace(":", "\\:")
