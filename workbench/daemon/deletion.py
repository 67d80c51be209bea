"""Deleting artifacts: facts first, files second, and what was begun is finished after a kill.

1. One transaction: the catalog's row becomes a tombstone, aliases that pointed there move on, cache
   entries that would have answered with it are dropped. From here on the artifact is gone.
2. The files leave their place by one step (a rename, or the removal of the manifest) while the
   database is held, so that no run can commit the same version in between.
3. The room is freed, file by file.

A kill after 1 leaves files that nobody names, and a tombstone that says so: ``finish`` goes on from
there when the next daemon starts. A kill after 2 leaves trash.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from workbench.catalog import tombstones
from workbench.catalog.artifact_store import Address, ArtifactStore
from workbench.catalog.artifacts import ARTIFACTS, current_aliases, is_version, move_alias
from workbench.catalog.lineage import Deletion, Needs, Node, plan_deletion, refusal
from workbench.core.errors import SpecError
from workbench.daemon.deployments import DEPLOYMENTS
from workbench.queue.needs import forget_cached, references_of_unfinished_runs
from workbench.queue.store import RunStore

_FREE_SECONDS = 30.0  # how long who asks waits for the room itself to be freed


class Deleter:
    """Deletes artifacts of the catalog and their files."""

    def __init__(self, store: RunStore, artifacts: ArtifactStore) -> None:
        self._store = store
        self._artifacts = artifacts

    def preview(self, address: Address, with_descendants: bool) -> dict[str, Any]:
        """Return what deleting a version would do: what goes, how many bytes, what is in the way.

        Raises:
            SpecError: there is no such version.
        """
        with self._store.database.read() as connection:
            plan = self._plan(connection, address, with_descendants)
            rows = _rows_of(connection, plan.goes)
        return {
            "goes": [_told(row) for row in rows],
            "num_bytes": plan.num_bytes,
            "blockers": list(plan.blockers),
            "descendants": list(plan.descendants),
        }

    def delete(
        self,
        address: Address,
        with_descendants: bool,
        deleted_by: str,
        reason: str,
        for_run: str = "",
    ) -> dict[str, Any]:
        """Delete a version, and on request all that was made from it; twice is as good as once.

        A run that is not over can have deleted (``for_run``) what nobody but itself needs.

        Raises:
            SpecError: there is no such version, or something depends on it.
        """
        with self._store.database.write() as connection:
            where = is_version(*address)
            if connection.execute(sa.select(ARTIFACTS.c.name).where(*where)).first() is None:
                return _answer_again(connection, address)
            plan = self._plan(connection, address, with_descendants, for_run)
            error = refusal(plan)
            if error is not None:
                raise error
            rows = _rows_of(connection, plan.goes)
            self.bury(connection, rows, deleted_by, reason or f"asked for {address.name}")
        self.finish()
        return {"goes": [_told(row) for row in rows], "num_bytes": plan.num_bytes}

    def bury(
        self, connection: sa.Connection, rows: Sequence[Any], deleted_by: str, reason: str
    ) -> None:
        """Take versions out of the catalog within a transaction; ``finish`` then takes the files.

        The log of aliases is only appended to.
        """
        aliases = current_aliases(connection)
        tombstones.bury(connection, rows, deleted_by, reason)
        for row in rows:
            where = is_version(row.kind, row.name, row.version)
            connection.execute(sa.delete(ARTIFACTS).where(*where))
        gone = {(row.kind, row.name, row.version) for row in rows}
        for (kind, name, alias), version in aliases.items():
            if (kind, name, version) in gone:
                target = _newest(connection, kind, name) if alias == "latest" else ""
                move_alias(connection, kind, name, alias, target, "")
        forget_cached(connection, [f"{row.name}@{row.version}" for row in rows])

    def finish(self) -> None:
        """Remove the files of every tombstone that is not finished."""
        frees: list[Callable[[], None]] = []
        with self._store.database.read() as connection:
            graves = tombstones.unfinished(connection)
        for grave in graves:
            address = Address(grave.kind, grave.name, grave.version)
            with self._store.database.write() as connection:
                where = is_version(*address)
                # Made again since: then these are its files.
                if connection.execute(sa.select(ARTIFACTS.c.name).where(*where)).first() is None:
                    frees += self.take_away(address)
                tombstones.finish(connection, grave.position)
        free(frees)

    def take_away(self, address: Address) -> list[Callable[[], None]]:
        """Make the files at an address invisible; the database must be held for writing."""
        held = [stored for stored in self._artifacts.find(address.path) if stored.is_whole]
        return [self._artifacts.remove(stored) for stored in held]

    def needs(self, connection: sa.Connection, with_latest: bool) -> Needs:
        """Return who needs what, other than artifacts made from it."""
        return needs_of(connection, with_latest)

    def _plan(
        self, connection: sa.Connection, address: Address, with_descendants: bool, for_run: str = ""
    ) -> Deletion:
        where = is_version(*address)
        if connection.execute(sa.select(ARTIFACTS.c.name).where(*where)).first() is None:
            error = tombstones.find_tombstone_error(connection, address.name, address.version)
            raise error or SpecError(
                f"There is no {address.kind} {address.name}@{address.version}",
                where="catalog",
                next_step="Look at its versions with: workbench artifacts",
            )
        reference = f"{address.name}@{address.version}"
        needs = needs_of(connection, with_latest=False).but_for(for_run)
        return plan_deletion(nodes(connection), reference, needs, with_descendants)


def needs_of(connection: sa.Connection, with_latest: bool) -> Needs:
    """Return which versions are aliased, deployed, pinned or read by runs that are not over.

    An alias ``deployed.NAME`` counts as long as there is that deployment.
    """
    aliases: dict[str, list[str]] = {}
    for (_kind, name, alias), version in current_aliases(connection).items():
        if not alias.startswith("deployed.") and (with_latest or alias != "latest"):
            aliases.setdefault(f"{name}@{version}", []).append(f"{name}@{alias}")
    deployments: dict[str, list[str]] = {}
    for row in connection.execute(sa.select(DEPLOYMENTS)):
        deployments.setdefault(row.model, []).append(row.name)
    pinned = connection.execute(
        sa.select(ARTIFACTS.c.name, ARTIFACTS.c.version).where(ARTIFACTS.c.pinned.is_(True))
    )
    return Needs(
        aliases,
        deployments,
        references_of_unfinished_runs(connection),
        frozenset(f"{row.name}@{row.version}" for row in pinned),
    )


def nodes(connection: sa.Connection) -> list[Node]:
    """Return the lineage of the whole catalog."""
    columns = (ARTIFACTS.c.name, ARTIFACTS.c.version, ARTIFACTS.c.parents, ARTIFACTS.c.num_bytes)
    return [
        Node(f"{row.name}@{row.version}", tuple(json.loads(row.parents)), row.num_bytes or 0)
        for row in connection.execute(sa.select(*columns))
    ]


def free(frees: Iterable[Callable[[], None]]) -> None:
    """Free room in a thread; large folders take longer than anybody should wait."""
    work = list(frees)
    if work:
        thread = threading.Thread(target=lambda: [f() for f in work], name="free", daemon=True)
        thread.start()
        thread.join(_FREE_SECONDS)


def _rows_of(connection: sa.Connection, goes: Iterable[Node]) -> list[Any]:
    rows: list[Any] = []
    for node in goes:
        name, _, version = node.reference.partition("@")
        query = sa.select(ARTIFACTS).where(ARTIFACTS.c.name == name, ARTIFACTS.c.version == version)
        rows += connection.execute(query).all()
    return rows


def _newest(connection: sa.Connection, kind: str, name: str) -> str:
    """Return the newest version that is left of a name, empty if none is."""
    query = (
        sa.select(ARTIFACTS.c.version)
        .where(ARTIFACTS.c.kind == kind, ARTIFACTS.c.name == name)
        .order_by(ARTIFACTS.c.committed_at.desc())
        .limit(1)
    )
    return connection.scalar(query) or ""


def _answer_again(connection: sa.Connection, address: Address) -> dict[str, Any]:
    """Answer a repeated request as the first one; a version that never was is refused."""
    found = tombstones.find_tombstones(connection, address.name, address.version, limit=1)
    if not found:
        raise SpecError(
            f"There is no {address.kind} {address.name}@{address.version}",
            where="catalog",
            next_step="Look at its versions with: workbench artifacts",
        )
    return {"goes": found, "num_bytes": found[0]["num_bytes"]}


def _told(row: Any) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "reference": f"{row.name}@{row.version}",
        "num_bytes": row.num_bytes or 0,
        "committed_at": row.committed_at,
    }
