"""The catalog's SQL: artifacts, and the append-only log of where aliases point."""

from __future__ import annotations

import json
import time
from pathlib import Path

import sqlalchemy as sa

from workbench.catalog.database import METADATA, Database
from workbench.catalog.tombstones import find_tombstone_error
from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError, nearest_name
from workbench.core.json_text import json_text
from workbench.core.spec import parse_reference

ARTIFACTS = sa.Table(
    "artifacts",
    METADATA,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("version", sa.String(12), primary_key=True),  # hash of the files
    sa.Column("path", sa.Text, nullable=False),  # below the artifact root
    sa.Column("summary", sa.Text, nullable=False),  # JSON: small facts to show
    sa.Column("parents", sa.Text, nullable=False),  # JSON: references the run read
    sa.Column("made_by", sa.String(40), nullable=False),  # the first run that committed it
    sa.Column("committed_at", sa.Float, nullable=False),  # seconds since 1970
    sa.Column("num_bytes", sa.BigInteger),  # of its files; None until it is measured
    # Whose quota it counts against: the project of the first run that committed it.
    sa.Column("project", sa.String(120), nullable=False, server_default="default"),
    # Kept whatever else is cleared away.
    sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("artifacts_by_project", "project"),
)

ALIASES = sa.Table(
    "aliases",
    METADATA,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("alias", sa.String(120), nullable=False),
    sa.Column("version", sa.String(12), nullable=False),  # empty: it points at nothing any more
    sa.Column("run_id", sa.String(40), nullable=False),  # which run moved it
    sa.Column("moved_at", sa.Float, nullable=False),
    sa.Index("aliases_by_name", "kind", "name", "alias", "position"),
)

_SHORTEST_START = 6  # characters of a version that name it
_IDENTITY = (ARTIFACTS.c.kind, ARTIFACTS.c.name, ARTIFACTS.c.version)


def insert_artifact(connection: sa.Connection, artifact: Artifact, root: Path) -> None:
    """Record an artifact; the first commit of the same content wins."""
    if not is_known(connection, artifact):
        connection.execute(
            sa.insert(ARTIFACTS).values(
                kind=artifact.kind,
                name=artifact.name,
                version=artifact.version,
                path=artifact.path.relative_to(root).as_posix(),
                summary=json_text(artifact.summary),
                parents=json.dumps(artifact.parents),
                made_by=artifact.made_by,
                committed_at=time.time(),
                num_bytes=artifact.num_bytes or None,
                project=artifact.project,
            )
        )


def is_known(connection: sa.Connection, artifact: Artifact) -> bool:
    """Whether the catalog has this version already."""
    where = is_version(artifact.kind, artifact.name, artifact.version)
    return connection.execute(sa.select(ARTIFACTS.c.version).where(*where)).first() is not None


def has_artifacts(database: Database) -> bool:
    """Whether anything is in the catalog."""
    with database.read() as connection:
        return connection.execute(sa.select(ARTIFACTS.c.name).limit(1)).first() is not None


def move_alias(
    connection: sa.Connection, kind: str, name: str, alias: str, version: str, run_id: str
) -> None:
    """Point an alias at a version; the log keeps where it pointed before."""
    if _alias_target(connection, kind, name, alias) != version:
        connection.execute(
            sa.insert(ALIASES).values(
                kind=kind, name=name, alias=alias, version=version, run_id=run_id,
                moved_at=time.time(),
            )
        )  # fmt: skip


def find_artifact(
    connection: sa.Connection, reference: str, root: Path, kind: str | None = None
) -> Artifact:
    """Return the artifact that a reference names (a version, the start of one, or an alias).

    Raises:
        SpecError: there is none (the nearest name is told), or the start fits several versions.
    """
    name, version = parse_reference(reference)
    kinds = [kind] if kind else list(connection.scalars(sa.select(ARTIFACTS.c.kind).distinct()))
    for candidate in kinds:
        exact = _alias_target(connection, candidate, name, version) or version
        if len(exact) < _SHORTEST_START:
            continue
        rows = connection.execute(
            sa.select(ARTIFACTS)
            .where(ARTIFACTS.c.kind == candidate, ARTIFACTS.c.name == name)
            .where(ARTIFACTS.c.version.startswith(exact, autoescape=True))
            .limit(2)
        ).all()
        if len(rows) > 1:
            raise SpecError(f"{reference!r} is the start of more than one version",
                            where="catalog", next_step="Write more of the version.")  # fmt: skip
        if rows:
            return _artifact(rows[0], root)
    raise find_tombstone_error(connection, name, version) or _no_artifact(
        connection, reference, name, kind
    )


def list_artifacts(
    connection: sa.Connection, root: Path, kind: str | None = None, limit: int = 500
) -> list[Artifact]:
    """Return the newest artifacts, newest first."""
    query = sa.select(ARTIFACTS).order_by(ARTIFACTS.c.committed_at.desc()).limit(limit)
    if kind:
        query = query.where(ARTIFACTS.c.kind == kind)
    return [_artifact(row, root) for row in connection.execute(query)]


def alias_history(connection: sa.Connection, kind: str, name: str) -> list[dict[str, object]]:
    """Return every move of every alias of a name, oldest first."""
    query = (
        sa.select(ALIASES)
        .where(ALIASES.c.kind == kind, ALIASES.c.name == name)
        .order_by(ALIASES.c.position)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def current_aliases(connection: sa.Connection) -> dict[tuple[str, str, str], str]:
    """Return ``{(kind, name, alias): version}`` of every alias that points at something."""
    newest = (
        sa.select(sa.func.max(ALIASES.c.position))
        .group_by(ALIASES.c.kind, ALIASES.c.name, ALIASES.c.alias)
        .scalar_subquery()
    )
    rows = connection.execute(sa.select(ALIASES).where(ALIASES.c.position.in_(newest)))
    return {(row.kind, row.name, row.alias): row.version for row in rows if row.version}


def is_version(kind: str, name: str, version: str) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that only this version meets."""
    return [c == v for c, v in zip(_IDENTITY, (kind, name, version), strict=True)]


def _alias_target(connection: sa.Connection, kind: str, name: str, alias: str) -> str | None:
    query = (
        sa.select(ALIASES.c.version)
        .where(ALIASES.c.kind == kind, ALIASES.c.name == name, ALIASES.c.alias == alias)
        .order_by(ALIASES.c.position.desc())
        .limit(1)
    )
    return connection.scalar(query)


def _artifact(row: sa.Row[tuple[str, ...]], root: Path) -> Artifact:
    return Artifact(
        kind=row.kind,
        name=row.name,
        version=row.version,
        path=root / row.path,
        summary=json.loads(row.summary),
        parents=tuple(json.loads(row.parents)),
        made_by=row.made_by,
        num_bytes=row.num_bytes or 0,
        project=row.project,
    )


def _no_artifact(
    connection: sa.Connection, reference: str, name: str, kind: str | None
) -> SpecError:
    query = sa.select(ARTIFACTS.c.name).distinct()
    names = list(connection.scalars(query.where(ARTIFACTS.c.kind == kind) if kind else query))
    what = "version" if name in names else (kind or "artifact")
    return SpecError(
        f"There is no {what} {reference!r}",
        where="catalog",
        next_step="Look at its versions with: workbench artifacts"
        if name in names
        else nearest_name(name, names) or "The catalog is still empty: integrate a source first.",
    )
