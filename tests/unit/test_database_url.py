"""Where a catalog is: settled once for a workspace, told without a password, or refused."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgresql_server import PASSWORD, Server

from workbench.catalog.database import Database, open_database
from workbench.catalog.database_faults import DatabaseAwayError
from workbench.catalog.database_url import (
    record_database_url,
    settle_database_url,
    url_without_secrets,
)
from workbench.core.errors import ResourceError, SpecError, WorkbenchError
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission

SERVER = "postgresql+psycopg://ann@db.example.org/team"


def settled(root: Path, wanted: str | None = None) -> str:
    return settle_database_url(root, wanted).render_as_string(hide_password=False)


def test_a_workspace_has_its_catalog_in_its_folder_if_nothing_else_is_said(tmp_path: Path) -> None:
    assert settled(tmp_path) == f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    open_database(tmp_path).close()
    assert settled(tmp_path) == f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    assert not (tmp_path / "database.url").exists()


def test_a_workspace_remembers_its_server_without_the_password(tmp_path: Path) -> None:
    url = "postgresql://ann:s3cret@db.example.org/team?sslpassword=s3cret&sslmode=require"
    record_database_url(tmp_path, settle_database_url(tmp_path, url))
    remembered = f"{SERVER}?sslmode=require"
    assert (tmp_path / "database.url").read_text() == f"{remembered}\n"
    assert settled(tmp_path) == remembered
    assert settle_database_url(tmp_path, url).password == "s3cret"


@pytest.mark.parametrize("other", ["postgresql://ann:s3cret@elsewhere/team", "sqlite:////x.sqlite"])
def test_another_database_than_the_remembered_one_is_refused(tmp_path: Path, other: str) -> None:
    record_database_url(tmp_path, settle_database_url(tmp_path, SERVER))
    with pytest.raises(ResourceError, match="The catalog of this workspace is in") as caught:
        settle_database_url(tmp_path, other)
    assert SERVER in caught.value.what
    assert "s3cret" not in json.dumps(caught.value.to_json())
    assert "database.url" in caught.value.next_step


def test_a_workspace_that_has_a_catalog_in_its_folder_keeps_it(tmp_path: Path) -> None:
    open_database(tmp_path).close()
    with pytest.raises(ResourceError, match=r"is in .*catalog\.sqlite"):
        settle_database_url(tmp_path, SERVER)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("no url at all, but s3cret", "This is no URL of a database"),
        ("postgresql://ann:s3cret@host:port/team", "This is no URL of a database"),
        ("mysql://ann:s3cret@host/team", "The catalog cannot be kept in 'mysql'"),
        ("postgresql+psycopg2://ann:s3cret@host/team", r"kept in 'postgresql\+psycopg2'"),
    ],
)
def test_what_is_no_database_for_a_catalog_is_refused(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ResourceError, match=what) as caught:
        settle_database_url(tmp_path, url)
    assert caught.value.where == "WORKBENCH_DATABASE"
    assert "s3cret" not in json.dumps(caught.value.to_json())


def test_a_driver_that_is_not_installed_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ResourceError, match="driver of this database is not installed") as caught:
        Database(SERVER)
    assert "nlp-workbench[postgresql]" in caught.value.next_step


# -- a real server --------------------------------------------------------------------------------


def refusal(url: str) -> WorkbenchError:
    database = Database(url)
    try:
        with pytest.raises(WorkbenchError) as caught, database.write() as connection:
            connection.execute(sa.text("create table t (n int)"))
    finally:
        database.close()
    assert PASSWORD not in json.dumps(caught.value.to_json())
    return caught.value


def test_a_wrong_password_and_a_database_that_is_not_there_are_told(postgresql: Server) -> None:
    wrong = refusal(postgresql.url(password="wrong-secret"))
    assert "password authentication failed" in wrong.what
    assert "wrong-secret" not in json.dumps(wrong.to_json())
    missing = refusal(postgresql.url(database="missing"))
    assert 'database "missing" does not exist' in missing.what
    assert missing.where == url_without_secrets(sa.make_url(postgresql.url(database="missing")))


def test_a_server_that_is_not_there_is_away(tmp_path: Path) -> None:
    away = refusal(f"postgresql+psycopg://ann:{PASSWORD}@/team?host={tmp_path}")
    assert type(away) is DatabaseAwayError
    assert "The database does not answer" in away.what


def test_a_user_without_rights_is_told_so(postgresql: Server) -> None:
    postgresql.execute(f"create role guest login password '{PASSWORD}'")
    url = postgresql.url().replace("ann:", "guest:")
    refused = refusal(url)
    assert "The database user may not do this: permission denied" in refused.what
    assert type(refused) is ResourceError


def test_a_database_that_may_only_be_read_is_told_so(postgresql: Server) -> None:
    read_only = "&options=-cdefault_transaction_read_only%3Don"
    refused = refusal(postgresql.url() + read_only)
    assert "The database may not be written" in refused.what


def test_a_writer_that_has_frozen_does_not_hold_up_others_for_good(postgresql: Server) -> None:
    """Reproduced with shorter times than a workspace's own."""
    frozen, other = Database(postgresql.url()), Database(postgresql.url())
    for database, setting in ((frozen, "idle_in_transaction_session_timeout"),
                              (other, "lock_timeout")):  # fmt: skip

        @sa.event.listens_for(database.engine, "begin")
        def shorten(connection: sa.Connection, setting: str = setting) -> None:
            connection.exec_driver_sql(f"SET {setting} = '300ms'")

    with pytest.raises(DatabaseAwayError), frozen.write() as held:
        with pytest.raises(DatabaseAwayError, match="Another process holds"), other.write():
            raise AssertionError("there were two writers")
        sa.event.remove(other.engine, "begin", shorten)
        with other.write() as connection:  # waits until the server has ended the frozen one
            assert connection.scalar(sa.text("select 1")) == 1
        held.execute(sa.text("select 1"))
    frozen.close()
    other.close()


def test_what_is_acknowledged_is_on_the_servers_disk(postgresql: Server) -> None:
    postgresql.execute("alter database postgres set synchronous_commit = off")
    database = Database(postgresql.url())
    try:
        with database.read() as connection:
            assert connection.scalar(sa.text("show synchronous_commit")) == "on"
    finally:
        database.close()
        postgresql.execute("alter database postgres reset synchronous_commit")


def test_more_readers_than_connections_are_told_so(postgresql: Server) -> None:
    database = Database(postgresql.url())
    database.engine.pool._timeout = 0.1  # type: ignore[attr-defined]
    refused = pytest.raises(DatabaseAwayError, match="All connections to the database are in use")
    with refused, ExitStack() as readers:
        for _ in range(100):
            readers.enter_context(database.read()).execute(sa.text("select 1"))
    database.close()


def test_a_reader_cannot_write(postgresql: Server) -> None:
    database = Database(postgresql.url())
    with pytest.raises(ResourceError, match="may not be written"), database.read() as connection:
        connection.execute(sa.text("create table t (n int)"))
    database.close()


@pytest.mark.parametrize("text", ["x" * 200, "a\0b"])
def test_a_text_that_the_server_does_not_take_is_refused(postgresql: Server, text: str) -> None:
    database = Database(postgresql.url())
    with pytest.raises(SpecError, match="does not take this"), database.write() as connection:
        connection.execute(sa.text("create temporary table t (name varchar(120))"))
        connection.execute(sa.text("insert into t values (:name)"), {"name": text})
    database.close()


def test_a_workspace_is_opened_again_by_what_it_remembers(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgresql.execute("drop database if exists kept", "create database kept")
    first = open_database(tmp_path, postgresql.url(database="kept"))
    RunStore(first, tmp_path / "artifacts").submit(Submission("r1", "count", "{}", None))
    first.close()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    again = open_database(tmp_path)
    assert RunStore(again, tmp_path / "artifacts").run("r1")["state"] == "waiting"
    again.close()
    assert not (tmp_path / "catalog.sqlite").exists()
