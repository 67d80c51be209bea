"""What the daemon does to keep a workspace tidy, put together for the API."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog import tombstones
from workbench.catalog.artifact_store import Address, ArtifactStore
from workbench.catalog.artifacts import ARTIFACTS, find_artifact, is_version, move_alias
from workbench.catalog.artifacts import current_aliases as read_aliases
from workbench.catalog.quotas import (
    Use,
    check_project,
    every_use,
    has_quota,
    over_quota,
    set_quota,
    use_of,
)
from workbench.catalog.snapshot import write_snapshot
from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError, SpecError
from workbench.daemon.clearing import Clearing
from workbench.daemon.deletion import Deleter, free
from workbench.queue.store import RunStore

_VERSION_LENGTH = 12


class Keeping:
    """Deletes, clears away, pins, limits and copies, on behalf of who asks the daemon."""

    def __init__(self, root: Path, store: RunStore, artifacts: ArtifactStore) -> None:
        self._store = store
        self._snapshots = root / "snapshots"
        self.deleter = Deleter(store, artifacts)
        self._clearing = Clearing(root, store, artifacts, self.deleter)
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Finish the deletions that a daemon before this one began."""
        self.deleter.finish()
        self._clearing.measure()

    # -- artifacts --------------------------------------------------------------------------------

    def preview(self, reference: str, kind: str | None, with_descendants: bool) -> dict[str, Any]:
        """Return what deleting a version would do."""
        return self.deleter.preview(self.address(reference, kind), with_descendants)

    def delete(
        self,
        reference: str,
        kind: str,
        with_descendants: bool,
        by: str,
        reason: str,
        for_run: str = "",
    ) -> dict[str, Any]:
        """Delete one exact version; see ``Deleter.delete``."""
        name, _, version = reference.partition("@")
        if len(version) != _VERSION_LENGTH:
            # An alias would name the next version when the request is repeated.
            raise SpecError(
                f"{reference!r:.200} is no exact version",
                where="reference",
                next_step="Name it as name@version with all 12 characters.",
            )
        with self._one_at_a_time:
            address = Address(kind, name, version)
            return self.deleter.delete(address, with_descendants, by, reason, for_run)

    def clear(self, keep_days: float, dry_run: bool, by: str) -> list[dict[str, Any]]:
        """Clear away what nobody needs."""
        with self._one_at_a_time:
            return self._clearing.clear(keep_days, dry_run, by)

    def pin(self, reference: str, kind: str | None, pinned: bool) -> Artifact:
        """Keep a version whatever else is cleared away, or no longer."""
        address = self.address(reference, kind)
        with self._store.database.write() as connection:
            change = sa.update(ARTIFACTS).where(*is_version(*address)).values(pinned=pinned)
            connection.execute(change)
        return self._find(reference, kind)

    def set_alias(self, reference: str, kind: str | None, alias: str, there: bool) -> Artifact:
        """Point an alias of one's own at a version, or take it away from there.

        Raises:
            SpecError: the workbench itself moves this alias.
        """
        if alias == "latest" or alias.startswith("deployed."):
            raise SpecError(
                f"The alias {alias!r} is moved by the workbench itself",
                where="alias",
                next_step="Choose another name.",
            )
        with self._store.database.write() as connection:
            found = find_artifact(connection, reference, self._store.artifact_root, kind)
            points_at = read_aliases(connection).get((found.kind, found.name, alias))
            if there or points_at == found.version:
                version = found.version if there else ""
                move_alias(connection, found.kind, found.name, alias, version, "")
        return found

    def tombstones(self, name: str | None) -> list[dict[str, Any]]:
        """Return what was deleted, newest first."""
        with self._store.database.read() as connection:
            return tombstones.find_tombstones(connection, name)

    def address(self, reference: str, kind: str | None) -> Address:
        """Return the address of the version that a reference names now."""
        found = self._find(reference, kind)
        return Address(found.kind, found.name, found.version)

    def _find(self, reference: str, kind: str | None) -> Artifact:
        with self._store.database.read() as connection:
            return find_artifact(connection, reference, self._store.artifact_root, kind)

    # -- quotas -----------------------------------------------------------------------------------

    def quotas(self) -> list[dict[str, Any]]:
        """Return the use and the limit of every project."""
        with self._store.database.read() as connection:
            return [_use_record(use) for use in every_use(connection)]

    def set_quota(self, project: str, num_bytes: int | None) -> dict[str, Any]:
        """Set the limit of a project; None takes it away."""
        with self._store.database.write() as connection:
            set_quota(connection, check_project(project), num_bytes)
            return _use_record(use_of(connection, project))

    def refuse_when_full(self, project: str) -> None:
        """Say before a run starts that its project has no room for what it will make.

        Raises:
            ResourceError: the quota is used up.
        """
        with self._store.database.read() as connection:
            if has_quota(connection, project):
                use = use_of(connection, project)
                if use.is_full():
                    raise over_quota(connection, use, 0)

    def drop_refused(self, outputs: list[Artifact]) -> None:
        """Remove the files of outputs that were not committed, unless another run made them too."""
        frees = []
        for artifact in outputs:
            address = Address(artifact.kind, artifact.name, artifact.version)
            with self._store.database.write() as connection:
                where = is_version(*address)
                if connection.execute(sa.select(ARTIFACTS.c.name).where(*where)).first() is None:
                    frees += self.deleter.take_away(address)
        free(frees)

    # -- backup -----------------------------------------------------------------------------------

    def snapshot(self, name: str) -> dict[str, Any]:
        """Write a consistent copy of the database for a backup; the same name again replaces it.

        Raises:
            SpecError: the name is none.
            ResourceError: the database is on a server, which has its own means for this.
        """
        if not name.isalnum() or len(name) > 40:
            raise SpecError(f"{name!r:.80} is no name for a snapshot", where="name")
        database = self._store.database
        if database.is_on_server:
            # The order matters: artifacts never change, so those that a dump names can be copied
            # after it. pg_dump takes postgresql://, without the name of our driver.
            url = database.place.replace("+psycopg", "", 1)
            raise ResourceError(
                "The catalog is on a database server, which has its own means for a backup",
                where=database.place,
                next_step=f"First: pg_dump --format=custom --file=catalog.dump '{url}'. Then copy "
                f"the folder of the workspace, {self._snapshots.parent}, with artifacts and runs.",
            )
        self._snapshots.mkdir(mode=0o700, exist_ok=True)
        path = self._snapshots / f"{name}.sqlite"
        write_snapshot(self._store.database, path)
        return {"path": str(path)}


def _use_record(use: Use) -> dict[str, Any]:
    return {
        "project": use.project,
        "num_bytes": use.num_bytes,
        "num_artifacts": use.num_artifacts,
        "limit": use.limit,
    }
