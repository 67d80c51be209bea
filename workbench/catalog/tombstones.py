"""Tombstones: what is kept of a deleted artifact, so that lineage stays readable."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from workbench.catalog.database import METADATA
from workbench.core.errors import SpecError

TOMBSTONES = sa.Table(
    "tombstones",
    METADATA,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("version", sa.String(12), nullable=False),
    sa.Column("path", sa.Text, nullable=False),  # where its files were
    sa.Column("summary", sa.Text, nullable=False),  # JSON, as the artifact had it
    sa.Column("parents", sa.Text, nullable=False),  # JSON: references the run read
    sa.Column("made_by", sa.String(40), nullable=False),
    sa.Column("project", sa.String(120), nullable=False),
    sa.Column("num_bytes", sa.BigInteger),
    sa.Column("committed_at", sa.Float, nullable=False),
    sa.Column("deleted_at", sa.Float, nullable=False),
    sa.Column("deleted_by", sa.String(120), nullable=False),  # a person, or what cleared it away
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("files_gone_at", sa.Float),  # None: a deletion that is not finished
    sa.Index("tombstones_by_name", "name", "version"),
)

_KEPT = ("kind", "name", "version", "path", "summary", "parents", "made_by", "project",
         "num_bytes", "committed_at")  # fmt: skip


def bury(connection: sa.Connection, rows: Iterable[Any], deleted_by: str, reason: str) -> None:
    """Write the tombstones of artifact rows whose files are still to be removed."""
    now = time.time()
    for row in rows:
        kept = {name: getattr(row, name) for name in _KEPT}
        connection.execute(
            sa.insert(TOMBSTONES).values(
                **kept, deleted_at=now, deleted_by=deleted_by[:120], reason=reason
            )
        )


def unfinished(connection: sa.Connection) -> list[Any]:
    """Return the tombstones of artifacts whose files may still be there, oldest first."""
    query = sa.select(TOMBSTONES).where(TOMBSTONES.c.files_gone_at.is_(None))
    return list(connection.execute(query.order_by(TOMBSTONES.c.position)))


def finish(connection: sa.Connection, position: int) -> None:
    """Note that the files of a tombstone are gone."""
    connection.execute(
        sa.update(TOMBSTONES)
        .where(TOMBSTONES.c.position == position)
        .values(files_gone_at=time.time())
    )


def find_tombstones(
    connection: sa.Connection, name: str | None = None, version: str | None = None, limit: int = 500
) -> list[dict[str, Any]]:
    """Return what was deleted, newest first."""
    query = sa.select(TOMBSTONES).order_by(TOMBSTONES.c.position.desc()).limit(limit)
    if name is not None:
        query = query.where(TOMBSTONES.c.name == name)
    if version is not None:
        query = query.where(TOMBSTONES.c.version == version)
    return [_record(row) for row in connection.execute(query)]


def find_tombstone_error(connection: sa.Connection, name: str, version: str) -> SpecError | None:
    """Return the error that tells who deleted this version, when and why; None if nobody did."""
    found = find_tombstones(connection, name, version, limit=1)
    if not found:
        return None
    (grave,) = found
    day = f"{datetime.fromtimestamp(grave['deleted_at']):%Y-%m-%d %H:%M}"
    return SpecError(
        f"{name}@{version} was deleted on {day} by {grave['deleted_by']}: {grave['reason']}",
        where="catalog",
        next_step=f"Submit the Spec of run {grave['made_by']} again to make it anew "
        f"(workbench runs show {grave['made_by']}), or restore a backup.",
    )


def _record(row: Any) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in _KEPT},
        "reference": f"{row.name}@{row.version}",
        "summary": json.loads(row.summary),
        "parents": json.loads(row.parents),
        "num_bytes": row.num_bytes or 0,
        "deleted_at": row.deleted_at,
        "deleted_by": row.deleted_by,
        "reason": row.reason,
    }
