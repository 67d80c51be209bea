"""Quotas: how much room the artifacts of a project may take, and what is told when it is used up.

An artifact counts once, against the project that made it first: whoever makes the same version
again shares it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workbench.catalog.artifacts import ARTIFACTS
from workbench.catalog.database import METADATA
from workbench.core.errors import ResourceError, SpecError
from workbench.core.sizes import format_bytes

QUOTAS = sa.Table(
    "quotas",
    METADATA,
    sa.Column("project", sa.String(120), primary_key=True),
    sa.Column("num_bytes", sa.BigInteger, nullable=False),  # the most its artifacts may take
    sa.Column("changed_at", sa.Float, nullable=False),
)

_NUM_BIGGEST_TOLD = 5
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def check_project(name: str) -> str:
    """Return the name of a project.

    Raises:
        SpecError: it is none.
    """
    if _PROJECT.fullmatch(name):
        return name
    raise SpecError(f"{name!r:.80} is no name for a project", where="project",
                    next_step="Use up to 120 letters, digits, dots and dashes.")  # fmt: skip


@dataclass(frozen=True)
class Use:
    """How much room a project's artifacts take, and how much they may (None: any)."""

    project: str
    num_bytes: int
    num_artifacts: int
    limit: int | None

    def is_full(self) -> bool:
        """Whether not one byte more may be committed."""
        return self.limit is not None and self.num_bytes >= self.limit

    def has_room_for(self, more: int) -> bool:
        """Whether artifacts of this size may be committed; what needs no room always may."""
        return self.limit is None or more == 0 or self.num_bytes + more <= self.limit


def set_quota(connection: sa.Connection, project: str, num_bytes: int | None) -> None:
    """Set how much a project's artifacts may take; None takes the limit away."""
    connection.execute(sa.delete(QUOTAS).where(QUOTAS.c.project == project))
    if num_bytes is not None:
        connection.execute(
            sa.insert(QUOTAS).values(project=project, num_bytes=num_bytes, changed_at=time.time())
        )


def use_of(connection: sa.Connection, project: str) -> Use:
    """Return how much room a project takes now."""
    limit = connection.scalar(sa.select(QUOTAS.c.num_bytes).where(QUOTAS.c.project == project))
    row = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(ARTIFACTS.c.num_bytes), 0), sa.func.count()).where(
            ARTIFACTS.c.project == project
        )
    ).one()
    return Use(project, int(row[0]), int(row[1]), limit)


def every_use(connection: sa.Connection) -> list[Use]:
    """Return every project that has an artifact or a quota, by name."""
    names = {
        *connection.scalars(sa.select(ARTIFACTS.c.project).distinct()),
        *connection.scalars(sa.select(QUOTAS.c.project)),
    }
    return [use_of(connection, name) for name in sorted(names)]


def has_quota(connection: sa.Connection, project: str) -> bool:
    """Whether a project has a limit at all: what a commit asks first."""
    query = sa.select(QUOTAS.c.project).where(QUOTAS.c.project == project)
    return connection.execute(query).first() is not None


def over_quota(connection: sa.Connection, use: Use, more: int) -> ResourceError:
    """Return the error that says what is used, what is allowed and what takes most of it."""
    assert use.limit is not None
    rows = connection.execute(
        sa.select(ARTIFACTS)
        .where(ARTIFACTS.c.project == use.project)
        .order_by(sa.func.coalesce(ARTIFACTS.c.num_bytes, 0).desc(), ARTIFACTS.c.name)
        .limit(_NUM_BIGGEST_TOLD)
    )
    wish = f" and {format_bytes(more)} more are asked for" if more else ""
    return ResourceError(
        f"The quota of project {use.project!r} is used up: {format_bytes(use.num_bytes)} of "
        f"{format_bytes(use.limit)} are taken{wish}",
        where=f"project {use.project}; its biggest: {_list_sizes(list(rows))}",
        next_step="Make room (workbench gc, workbench artifacts delete REF) or raise the limit "
        f"(workbench quota set {use.project} SIZE), then resume the run: finished parts are kept.",
    )


def _list_sizes(rows: Sequence[Any]) -> str:
    sizes = [f"{r.name}@{r.version} ({format_bytes(r.num_bytes or 0)})" for r in rows]
    return ", ".join(sizes) or "nothing yet"
