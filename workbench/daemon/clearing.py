"""Clearing away what nobody needs: superseded versions, files of dead attempts, scratch, trash.

What may go is decided by pure functions (``catalog/retention.py``, ``daemon/scratch.py``); each
thing goes in a transaction of its own that looks again, so that a kill or a run that starts
meanwhile can hurt nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.artifact_store import Address, ArtifactStore, Stored
from workbench.catalog.artifacts import ARTIFACTS, is_version
from workbench.catalog.lineage import Node
from workbench.catalog.retention import Version, superseded
from workbench.catalog.trash import Trash, size_of
from workbench.daemon.deletion import Deleter, free, needs_of, nodes
from workbench.daemon.scratch import is_abandoned, is_over, leftovers
from workbench.queue.needs import forget_checkpoints, oldest_live_attempt, scratch_of
from workbench.queue.store import RunStore

_SNAPSHOT_SECONDS = 86_400.0


@dataclass(frozen=True)
class Cleared:
    """One thing that goes, or would go."""

    what: str
    name: str
    why: str
    num_bytes: int


class Clearing:
    """Clears a workspace away; ``dry_run`` everywhere means: say what would go, touch nothing."""

    def __init__(
        self, root: Path, store: RunStore, artifacts: ArtifactStore, deleter: Deleter
    ) -> None:
        self._runs = root / "runs"
        self._snapshots = root / "snapshots"
        self._trash = Trash(root / "trash")
        self._trash_folder = root / "trash"
        self._store = store
        self._artifacts = artifacts
        self._deleter = deleter

    def clear(self, keep_days: float, dry_run: bool, asked_by: str) -> list[dict[str, Any]]:
        """Clear all of it away; return what went, superseded versions first."""
        if not dry_run:
            self._deleter.finish()
        frees: list[Callable[[], None]] = []
        leavings = list(self._leavings(dry_run))  # before there is more of it, from what follows
        cleared = [
            *self._versions(keep_days, dry_run, asked_by),
            *self._orphans(dry_run, frees),
            *self._scratch(keep_days, dry_run, frees),
            *leavings,
        ]
        free(frees)
        return [asdict(item) for item in cleared]

    def measure(self) -> None:
        """Record the size of versions that an older workbench made without it."""
        with self._store.database.read() as connection:
            query = sa.select(ARTIFACTS).where(ARTIFACTS.c.num_bytes.is_(None))
            rows = connection.execute(query).all()
        for row in rows:
            address = Address(row.kind, row.name, row.version)
            num_bytes = sum(s.num_bytes for s in self._artifacts.find(address.path) if s.is_whole)
            with self._store.database.write() as connection:
                where = is_version(*address)
                change = sa.update(ARTIFACTS).where(*where).values(num_bytes=num_bytes)
                connection.execute(change)

    # -- each kind of thing -----------------------------------------------------------------------

    def _versions(self, keep_days: float, dry_run: bool, asked_by: str) -> Iterator[Cleared]:
        with self._store.database.write() as connection:
            lineage = {node.reference: node for node in nodes(connection)}
            rows = {f"{r.name}@{r.version}": r for r in connection.execute(sa.select(ARTIFACTS))}
            versions = [_version(row, lineage[reference]) for reference, row in rows.items()]
            needs = needs_of(connection, with_latest=True)
            gone = superseded(versions, needs, time.time(), keep_days)
            why = f"older than {keep_days:g} days, a newer one is there, and nothing needs it"
            if not dry_run:
                going = [rows[v.node.reference] for v in gone]
                self._deleter.bury(connection, going, asked_by, f"cleared away: {why}")
        if not dry_run:
            self._deleter.finish()
        for v in gone:
            yield Cleared("superseded version", v.node.reference, why, v.node.num_bytes)

    def _orphans(self, dry_run: bool, frees: list[Callable[[], None]]) -> Iterator[Cleared]:
        for stored in list(self._artifacts.find()):
            with self._store.database.write() as connection:
                if not self._is_orphan(connection, stored):
                    continue
                if not dry_run:
                    frees.append(self._artifacts.remove(stored))
            why = "files of an attempt that ended before they counted"
            yield Cleared("orphan", stored.address.path, why, stored.num_bytes)

    def _is_orphan(self, connection: sa.Connection, stored: Stored) -> bool:
        where = is_version(*stored.address)
        known = connection.execute(sa.select(ARTIFACTS.c.name).where(*where)).first() is not None
        if known and stored.is_whole:
            return False
        return is_abandoned(stored.changed_at, oldest_live_attempt(connection), time.time())

    def _scratch(
        self, keep_days: float, dry_run: bool, frees: list[Callable[[], None]]
    ) -> Iterator[Cleared]:
        for folder in sorted(self._runs.glob("*")):
            with self._store.database.read() as connection:
                scratch = scratch_of(connection, folder.name)
            if scratch is None:
                continue  # not a run of this workspace, so not ours to delete
            if is_over(scratch, time.time(), keep_days):
                size = size_of(folder)
                if dry_run or self._remove_scratch(folder, keep_days, frees):
                    why = f"the run is over: {scratch.state}"
                    yield Cleared("scratch of a run", folder.name, why, size)
            else:
                yield from self._remove_leftovers(folder, dry_run, frees)

    def _remove_scratch(
        self, folder: Path, keep_days: float, frees: list[Callable[[], None]]
    ) -> bool:
        """Remove a run's folder: first the record of its parts, then the folder itself."""
        for step in ("forget", "remove"):
            with self._store.database.write() as connection:
                scratch = scratch_of(connection, folder.name)
                if scratch is None or not is_over(scratch, time.time(), keep_days):
                    return False  # resumed meanwhile
                if step == "forget":
                    forget_checkpoints(connection, folder.name)
                else:
                    frees.append(self._trash.throw(folder))
        return True

    def _remove_leftovers(
        self, folder: Path, dry_run: bool, frees: list[Callable[[], None]]
    ) -> Iterator[Cleared]:
        with self._store.database.write() as connection:
            scratch = scratch_of(connection, folder.name)
            assert scratch is not None  # runs are never forgotten
            names = [path.name for path in folder.iterdir()]
            checkpoints = [path.name for path in (folder / "checkpoints").glob("*")]
            dead = [folder / name for name in leftovers(scratch, names, checkpoints)]
            sizes = [size_of(path) for path in dead]
            if not dry_run:
                frees += [self._trash.throw(path) for path in dead]
        for path, size in zip(dead, sizes, strict=True):
            name = path.relative_to(self._runs).as_posix()
            yield Cleared("part of a dead attempt", name, "no longer counts", size)

    def _leavings(self, dry_run: bool) -> Iterator[Cleared]:
        """Empty the trash, and drop snapshots that a killed backup has left."""
        for path in self._trash_folder.glob("*"):
            yield Cleared("trash", path.name, "a deletion was cut short", size_of(path))
        for path in self._snapshots.glob("*"):
            if time.time() - path.stat().st_mtime > _SNAPSHOT_SECONDS:
                yield Cleared("snapshot", path.name, "a backup was cut short", size_of(path))
                if not dry_run:
                    path.unlink(missing_ok=True)
        if not dry_run:
            free([self._trash.empty])


def _version(row: Any, node: Node) -> Version:
    return Version(node, row.kind, row.name, row.committed_at)
