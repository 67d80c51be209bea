"""Databases of earlier versions: brought up to date, their rows mean what they meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from postgresql_server import Server

from workbench.catalog import database as module
from workbench.catalog.database import Database, open_database
from workbench.queue.store import RunStore

MIGRATIONS = Path(module.__file__).parent / "migrations"
RUN_WITH_THREE_WORKERS = sa.text(
    "INSERT INTO runs (run_id, stage, spec, coordinator, priority, workers, state, preempted, "
    "cached, term, losses, submitted_by, submitted_at, outputs) "
    "VALUES ('r1', 'count', '{}', false, 0, 3, 'waiting', false, false, 0, 0, 'ana', 1.0, '{}')"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """Offer where a workspace's database is, on each kind; None is in its folder."""
    if request.param == "sqlite":
        yield None
        return
    server: Server = request.getfixturevalue("postgresql")
    server.execute("drop database if exists earlier", "create database earlier")
    yield server.url(database="earlier")


def migrate_to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_a_run_from_before_there_were_ranges_asks_for_exactly_its_workers(
    url: str | None, tmp_path: Path
) -> None:
    earlier = Database(url or f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    migrate_to(earlier, "0003")
    with earlier.write() as connection:
        connection.execute(RUN_WITH_THREE_WORKERS)
    earlier.close()
    database = open_database(tmp_path, url)
    (waiting,) = RunStore(database, tmp_path / "artifacts").waiting()
    database.close()
    assert (waiting.least, waiting.most) == (3, 3)
