"""A real PostgreSQL server as a source: ranges, read only, and a connection that goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgresql_server import PASSWORD, Server, postgresql_server

from workbench.core.errors import DataError
from workbench.core.laws import FolderRun
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.data.sources import sql
from workbench.data.sources.fetch import fetch_again
from workbench.data.sources.laws import SourceLaws
from workbench.data.sources.sql import SqlSource

NUM_ROWS = 30_000
HIDDEN = "${env:POSTGRESQL_TEST_PASSWORD}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql_server() as server:
        server.execute(
            "create table reviews (id bigint primary key, body text, stars int, at timestamptz)",
            f"insert into reviews select n * 3, repeat('text ' || n || ' ', 20), n % 5, "
            f"timestamptz '2024-01-01 00:00:00+00' + n * interval '1 minute' "
            f"from generate_series(1, {NUM_ROWS}) n",
            "create sequence counter",
            "create table plain as select body from reviews limit 20000",
        )
        yield server


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRESQL_TEST_PASSWORD", PASSWORD)
    monkeypatch.setattr(sql, "_PAUSES_SECONDS", (0.1, 0.3, 1.0, 2.0, 4.0))


def source(server: Server, **settings: Any) -> SqlSource:
    return SqlSource.parse(
        {"name": "s", "url": server.url(HIDDEN), "text_column": "body", **settings}
    )


@pytest.mark.parametrize("key", ["", "at", "text_key"])
def test_ranges_hold_every_row_once(server: Server, key: str) -> None:
    place = {"query": "SELECT *, 'k' || id AS text_key FROM reviews WHERE body LIKE '%ex%'"}
    settings: dict[str, Any] = {**place, "key_column": key} if key else {"table": "reviews"}
    whole = source(server, rows_per_part=7_000, **settings)
    parts = json.loads(json.dumps(whole.parts()))
    assert len(parts) == 5
    found = [row for part in parts for row in whole.read_part(part)]
    assert found == list(whole.read())
    assert len({row.extra["id"] for row in found if hasattr(row, "extra")}) == NUM_ROWS


@pytest.mark.parametrize("again", ["terminate", "restart"])
def test_a_connection_that_goes_away_costs_no_row(server: Server, again: str) -> None:
    rows = source(server, table="reviews").read()
    found = [next(rows) for _ in range(6_000)]
    if again == "terminate":
        server.execute("select pg_terminate_backend(pid) from pg_stat_activity "
                       "where pid <> pg_backend_pid() and usename = 'ann'")  # fmt: skip
    else:
        server.stop()
        server.start()
    found.extend(rows)
    assert [row.provenance["id"] for row in found] == [3 * n for n in range(1, NUM_ROWS + 1)]


def test_without_a_key_a_connection_that_goes_away_is_a_named_error(server: Server) -> None:
    rows = source(server, table="plain").read()
    for _ in range(6_000):
        next(rows)
    server.execute("select pg_terminate_backend(pid) from pg_stat_activity "
                   "where pid <> pg_backend_pid() and usename = 'ann'")  # fmt: skip
    with pytest.raises(DataError) as caught:
        list(rows)
    assert "went away after" in caught.value.what
    assert caught.value.next_step == "Name a key column."
    assert PASSWORD not in json.dumps(caught.value.to_json())


def test_a_server_that_stays_away_is_a_named_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "_PAUSES_SECONDS", (0.0, 0.0))
    rows = source(server, table="reviews").read()
    next(rows)
    server.stop()
    try:
        with pytest.raises(DataError) as caught:
            list(rows)
    finally:
        server.start()
    assert "2 tries to go on failed" in caught.value.what
    assert PASSWORD not in json.dumps(caught.value.to_json())


def test_a_query_cannot_write(server: Server) -> None:
    with pytest.raises(DataError, match="read-only transaction"):
        list(source(server, query="SELECT nextval('counter')::text AS body").read())
    with pytest.raises(DataError, match="refused"):
        list(source(server, query="WITH x AS (DELETE FROM reviews RETURNING body) "
                    "SELECT * FROM x").read())  # fmt: skip
    assert server.execute("select count(*) from reviews") == [(NUM_ROWS,)]


def test_signs_of_parameters_in_a_query_are_text(server: Server) -> None:
    query = "SELECT '100% :x ' || chr(58) AS body, 1::int AS one"
    assert [row.text for row in source(server, query=query).read()] == ["100% :x :"]
    keyed = source(server, query=query, key_column="one")
    assert [row.text for row in keyed.read()] == ["100% :x :"]


def test_a_wrong_password_is_told_without_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRESQL_TEST_PASSWORD", "wrong-secret")
    with pytest.raises(DataError) as caught:
        list(source(server, table="reviews").read())
    assert "password authentication failed" in caught.value.what
    assert "wrong-secret" not in json.dumps(caught.value.to_json())


def test_rows_are_integrated_in_parts_and_fetched_again(server: Server, tmp_path: Path) -> None:
    settings = {"kind": "sql", "name": "pg", "url": server.url(HIDDEN), "table": "reviews",
                "text_column": "body", "label_column": "stars", "rows_per_part": 7_000}  # fmt: skip
    run = FolderRun(tmp_path)
    dataset = run.run(IntegrateSpec.parse({"sources": [settings]}))["dataset"]
    assert run.num_written_checkpoints == 6, "the plan, and five ranges of the key"
    records = read_records(dataset)
    assert records.num_rows == NUM_ROWS
    first = records.slice(0, 1).to_pylist()[0]
    assert fetch_again(first) == first["text"].encode()
    assert PASSWORD not in str(records.slice(0, 100).to_pylist())


class TestPostgresql(SourceLaws):
    secrets = (PASSWORD,)
    server: Server

    @pytest.fixture(autouse=True)
    def use(self, server: Server) -> None:
        type(self).server = server

    def example(self, folder: Path) -> SqlSource:
        query = "SELECT id, body, at FROM reviews WHERE id < 90"
        return source(self.server, query=query, key_column="at", rows_per_part=11)
