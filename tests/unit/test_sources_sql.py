"""Databases are read in ranges of a key, never written to, and never told with their secrets."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.data.sources.database import Connector, check_query
from workbench.data.sources.fetch import fetch_again
from workbench.data.sources.laws import SourceLaws
from workbench.data.sources.secrets import without_literal_secret
from workbench.data.sources.sql import SqlSource


def database(path: Path, create: str, rows: list[tuple[Any, ...]]) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute(create)
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"insert into t values ({marks})", rows)
    connection.close()
    return f"sqlite:///{path}"


def source(url: str, **settings: Any) -> SqlSource:
    return SqlSource.parse({"name": "s", "url": url, **settings})


KEYS: dict[str, tuple[str, list[Any]]] = {
    "int": ("integer", [n * n for n in range(25)]),
    "text": ("text", [f"k'{n % 7}:{n}%" for n in range(25)]),
    "date": ("date", [f"2024-01-{n + 1:02d}" for n in range(25)]),
    "datetime": ("datetime", [f"2024-01-01 00:{n:02d}:00.000000" for n in range(25)]),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("is_query", [False, True])
def test_ranges_of_any_key_hold_every_row_once(tmp_path: Path, kind: str, is_query: bool) -> None:
    column, keys = KEYS[kind]
    create = f"create table t (k {column} primary key, text text)"
    url = database(tmp_path / "a.db", create, [(key, f"text {key}") for key in reversed(keys)])
    place = {"query": "SELECT * FROM t WHERE text <> ':x %s';"} if is_query else {"table": "t"}
    whole = source(url, rows_per_part=4, key_column="k" if is_query else "", **place)
    parts = json.loads(json.dumps(whole.parts()))
    if not (is_query and kind.startswith("date")):  # SQLite: a query's dates are texts
        assert {part["type"] for part in parts} == {kind if kind != "text" else "str"}
    assert len(parts) == 7
    found = [row for part in parts for row in whole.read_part(part)]
    assert found == list(whole.read())
    assert sorted(row.text for row in found) == sorted(f"text {key}" for key in keys)


def test_a_key_that_ranges_are_not_made_of_is_one_range(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (k real primary key, text text)",
                   [(n / 2, "x") for n in range(9)])  # fmt: skip
    assert source(url, table="t", rows_per_part=2).parts() == [{}]


def test_a_table_without_a_key_is_one_range(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (text text)", [("x",), ("y",)])
    whole = source(url, table="t", rows_per_part=1)
    assert whole.parts() == [{}]
    assert [row.provenance["row"] for row in whole.read()] == [1, 2]


@pytest.mark.parametrize(
    ("keys", "what"), [([1, 2, 2, 3], "has the value '2' twice"), ([1, None, 3], "is empty")]
)
def test_a_key_that_names_no_row_is_refused(tmp_path: Path, keys: list[Any], what: str) -> None:
    url = database(tmp_path / "a.db", "create table t (k int, text text)", [(k, "x") for k in keys])
    whole = source(url, table="t", key_column="k", rows_per_part=2)
    with pytest.raises(DataError, match=what):
        [row for part in whole.parts() for row in whole.read_part(part)]
    with pytest.raises(DataError, match=what):
        list(whole.read())


def test_a_key_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (post int, text text)", [(1, "x")])
    with pytest.raises(DataError) as caught:
        list(source(url, table="t", key_column="pots").read())
    assert caught.value.next_step == "Did you mean 'post'?"


def test_columns_of_one_name_are_told(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (text text)", [("x",)])
    with pytest.raises(DataError, match="Two columns are called 'text'"):
        list(source(url, query="SELECT text, text FROM t").read())


def test_bytes_where_text_was_meant_are_rejected(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (text)", [("x",), (b"\xff",)])
    assert [getattr(row, "rule", "") for row in source(url, table="t").read()] == ["", "not_text"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; DROP TABLE t", "DELETE FROM t", "SELECT ';' ; COMMIT; SELECT 1", "  ",
        "SELECT 1 /* ; */; DROP TABLE t --", "SELECT $a$;$b$; DROP TABLE t",
    ],
)  # fmt: skip
def test_a_query_is_one_statement_that_reads(query: str) -> None:
    with pytest.raises(SpecError):
        source("sqlite:////x.db", query=query or "x")


@given(st.text("ab;'", max_size=12))
def test_a_semicolon_in_quotes_ends_nothing(text: str) -> None:
    check_query("SELECT '" + text.replace("'", "''") + "' ;\n")


def test_a_source_without_a_key_reads_on_after_a_limit(tmp_path: Path) -> None:
    url = database(tmp_path / "a.db", "create table t (k integer primary key, text text)",
                   [(n, "x") for n in range(50)])  # fmt: skip
    spec = IntegrateSpec.parse({"sources": [
        {"kind": "sql", "name": "s", "url": url, "table": "t", "limit": 7, "rows_per_part": 2}
    ]})  # fmt: skip
    assert FolderRun(tmp_path / "run").run(spec)["dataset"].summary["rows"] == 7


@pytest.mark.parametrize("place", [{"table": "t"}, {"query": "SELECT * FROM t"}])
def test_rows_are_fetched_again(tmp_path: Path, place: dict[str, str]) -> None:
    url = database(tmp_path / "a.db", "create table t (d date, n text, text text, "
                   "primary key (d, n))",
                   [("2024-01-01", "7", "one"), ("2024-01-02", "8", None)])  # fmt: skip
    source = {"kind": "sql", "name": "s", "url": url, **place}
    made = FolderRun(tmp_path / "run").run(IntegrateSpec.parse({"sources": [source]}))
    records = read_records(made["dataset"]).to_pylist()
    assert [fetch_again(record) for record in records] == [b"one", b""]
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("update t set text = 'two'")
    connection.close()
    with pytest.raises(DataError, match="not what it was"):
        fetch_again(records[0])


class TestSqlQuery(SourceLaws):
    def example(self, folder: Path) -> SqlSource:
        url = database(folder / "a.db", "create table t (k integer primary key, text text)",
                       [(n, f"{n}") for n in range(9)])  # fmt: skip
        return source(url, query="SELECT k, text FROM t", key_column="k", rows_per_part=2)


class TestSecretDatabase(SourceLaws):
    secrets = ("hunter2",)

    @pytest.fixture(autouse=True)
    def secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOURCE_LAW_SECRET", "hunter2")

    def example(self, folder: Path) -> SqlSource:
        database(folder / "hunter2.db", "create table t (k text primary key, text text)",
                 [("a", "x"), ("b", "y")])  # fmt: skip
        return source(f"sqlite:///{folder}/${{env:SOURCE_LAW_SECRET}}.db", table="t")


@pytest.mark.parametrize(
    ("url", "login", "others"),
    [
        ("postgresql://ann:${env:PASSWORD}@db:5432/news", ("ann", "p/a@s:s?w#r%40d"), "db/news"),
        (
            "postgresql://${env:PASSWORD}:${env:NAME}@db/news",
            ("p/a@s:s?w#r%40d", "news"),
            "db/news",
        ),
        ("postgresql://ann@db/${env:NAME}", ("ann", None), "db/news"),
        ("postgresql://db/${env:NAME}", (None, None), "db/news"),
    ],
)
def test_a_password_may_hold_any_sign(
    monkeypatch: pytest.MonkeyPatch, url: str, login: tuple[str | None, str | None], others: str
) -> None:
    monkeypatch.setenv("PASSWORD", "p/a@s:s?w#r%40d")
    monkeypatch.setenv("NAME", "news")
    assert without_literal_secret(url) == url
    read = sqlalchemy.make_url(Connector(url, "here").url_now())
    assert (read.username, read.password) == login
    assert f"{read.host}/{read.database}" == others
