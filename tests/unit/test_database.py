"""The database: the migrated schema is the declared one, and all SQL is both databases' SQL."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from databases import Databases
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from workbench.catalog.artifacts import find_artifact, list_artifacts
from workbench.catalog.database import (
    METADATA,
    Database,
    open_database,
    refuse_network_file_system,
)
from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, ResourceError, SpecError
from workbench.daemon.deployments import DEPLOYMENTS
from workbench.queue.entitlements import Entitlement
from workbench.queue.leadership import Leadership
from workbench.queue.states import RunEvent
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission

POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
nas:/home /home nfs4 rw 0 0
tmpfs /home/me/fast tmpfs rw 0 0
nas:/with\\040space /mnt/with\\040space cifs rw 0 0
host /mnt/remote fuse.sshfs rw 0 0
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def test_the_migrated_schema_is_the_declared_one(databases: Databases, tmp_path: Path) -> None:
    database = databases.empty(tmp_path / "workspace")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    database.close()


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_every_table_and_index_can_be_made_in_postgresql(table: sa.Table) -> None:
    text = str(CreateTable(table).compile(dialect=POSTGRESQL))
    assert text.strip().startswith(f"CREATE TABLE {table.name}")
    for index in table.indexes:
        assert str(CreateIndex(index).compile(dialect=POSTGRESQL)).startswith("CREATE INDEX")


def test_every_statement_that_is_sent_is_postgresqls_too(
    database: Database, tmp_path: Path
) -> None:
    sent: list[sa.ClauseElement] = []
    sa.event.listen(
        database.engine, "before_execute", lambda _c, clause, *_rest: sent.append(clause)
    )
    _use_every_method(RunStore(database, tmp_path / "artifacts"))
    texts = {str(clause.compile(dialect=POSTGRESQL)) for clause in sent}
    tables = {table.name for table in METADATA.sorted_tables} - {DEPLOYMENTS.name}
    assert {name for name in tables if any(name in text for text in texts)} == tables
    assert len(texts) > 30


def _use_every_method(store: RunStore) -> None:
    artifact = Artifact("dataset", "a", "0" * 12, store.artifact_root / "dataset" / "a" / "0")
    artifact.path.mkdir(parents=True)
    store.submit(Submission("r1", "count", "{}", "key"))
    store.start("r1", ["0"])
    store.report("r1", 1, [{"kind": "rows", "time": 0.0, "payload": {"read": 1, "written": 1}}])
    store.add_checkpoint("r1", 1, "part", "part.1")
    store.drop_checkpoint("r1", 1, "part")
    store.commit("r1", 1, {"a": artifact})
    store.submit(Submission("r2", "count", "{}", "key"))
    store.submit(Submission("r3", "nest", "{}", None, coordinator=True))
    store.submit(Submission("r4", "count", "{}", "other", parent_run_id="r3"))
    store.submit(Submission("r5", "count", "{}", "other", parent_run_id="r3"))
    store.prioritise("r3", 5)
    for event in (RunEvent.PAUSE, RunEvent.RESUME):
        store.ask("r3", event)
    store.start("r4", ["0"])
    store.preempt("r4", "gives way")
    store.stop("r4", 1)
    store.start("r4", ["0"])
    store.fail("r4", 2, DataError("no table"))
    store.start("r3", [])
    store.lose("r3", 1, "died")
    store.waiting(), store.active(), store.num_unfinished(), store.runs(5, "r3"), store.events("r1")
    store.entitle(Entitlement("nlp", 2.0, 4))
    store.drop_entitlement("nlp")
    assert store.entitlements() == []
    assert Leadership(store.database, "dispatcher", "me").try_acquire()
    with store.database.read() as connection:
        list_artifacts(connection, store.artifact_root, "dataset")
        find_artifact(connection, "a@latest", store.artifact_root)
        with pytest.raises(SpecError):
            find_artifact(connection, "b", store.artifact_root)


def test_what_is_acknowledged_is_flushed_to_the_disk(database: Database) -> None:
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    open_database(tmp_path).close()
    before = _schema(tmp_path)
    open_database(tmp_path).close()
    assert _schema(tmp_path) == before


def _schema(root: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(root / "catalog.sqlite") as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/home/me/work", "nfs4"), ("/home", "nfs4"), ("/mnt/with space/ws", "cifs"),
     ("/mnt/remote/ws", "fuse.sshfs")],
)  # fmt: skip
def test_a_network_file_system_is_refused(folder: str, kind: str) -> None:
    with pytest.raises(ResourceError, match=kind.replace(".", r"\.")) as caught:
        refuse_network_file_system(Path(folder), MOUNTS)
    assert caught.value.where == folder
    assert "WORKBENCH_DATABASE" in caught.value.next_step


@pytest.mark.parametrize("folder", ["/", "/homes/me", "/home/me/fast/ws", "/mnt/remotely"])
def test_a_local_file_system_is_taken(folder: str) -> None:
    refuse_network_file_system(Path(folder), MOUNTS)


def test_a_link_does_not_hide_a_network_file_system(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    mounts = f"/dev/sda1 / ext4 rw 0 0\nnas:/ {tmp_path / 'real'} nfs rw 0 0\n"
    with pytest.raises(ResourceError, match="nfs"):
        refuse_network_file_system(tmp_path / "link" / "workspace", mounts)


def test_a_file_that_is_no_database_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"something else entirely" * 100)
    with pytest.raises(DataError, match="not a database") as caught:
        open_database(tmp_path)
    assert "catalog.sqlite" in caught.value.where


_WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from workbench.catalog.database import open_database
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission
database = open_database(Path(sys.argv[1]))
store = RunStore(database, Path(sys.argv[1]) / "artifacts")
for number in range(100_000):
    store.submit(Submission(f"r{number}", "count", "{}", None))
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_has_acknowledged(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_UNTIL_KILLED, str(tmp_path)],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        for _ in range(50):
            writer.stdout.readline()
        writer.kill()
        acknowledged = 50 + len(writer.stdout.read().split())
    database = open_database(tmp_path)
    try:
        runs = RunStore(database, tmp_path / "artifacts").runs(limit=100_000)
    finally:
        database.close()
    assert len(runs) in (acknowledged, acknowledged + 1)  # the last may not have been told of
