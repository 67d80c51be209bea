"""A backup of a workspace: a consistent catalog, every artifact it names, and unfinished parts.

    backup.json                    what this backup is: written last, so a cut-short one is none
    artifacts/KIND/NAME/VERSION/   as in the workspace, each verified when it was copied
    files/SHA256                   all else, by its hash; backup.json says what it was called:
        catalog.sqlite                     the database as of one moment
        runs/ID/checkpoints/KEY/...        finished parts of runs
        deployments/NAME/predictions.sqlite

Nothing in it changes once it is there, so a second backup into the same folder copies only what is
new, and one that is cut short leaves the one before as it was.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from workbench import __version__
from workbench.catalog.artifact_store import Address, ArtifactStore, open_artifact_store
from workbench.catalog.snapshot import copy_database
from workbench.catalog.trash import size_of
from workbench.core.artifact import (
    Artifact,
    flush_entry,
    flush_folder,
    hash_file,
    hash_files,
)
from workbench.core.disk import copy_folder, naming_disk_faults
from workbench.core.errors import DataError, SpecError

BACKUP_FILE = "backup.json"
CATALOG = "catalog.sqlite"
FORMAT = 1
_MAKE_ROOM = (
    "Make room there, or name another place, and make the backup again: what is copied stays, and "
    "a backup that was there is as it was."
)
Tell = Callable[[int, int], None]  # artifacts looked at, of how many


class VanishedError(DataError):
    """An artifact was deleted after the catalog was copied: a newer copy does not name it."""


class Container(Protocol):
    """What a backup is written into."""

    def has(self, name: str) -> bool:
        """Whether this folder is there already, whole."""

    def add_folder(self, name: str, folder: Path) -> None:
        """Copy a folder, whole or not at all."""

    def add_file(self, name: str, file: Path) -> None:
        """Copy one file, in place of one that was there."""

    def drop_files(self, counting: set[str]) -> None:
        """Delete what is in ``files`` and does not count any more."""


@dataclass
class Contents:
    """What ``backup.json`` says."""

    artifacts: list[Address] = field(default_factory=list)
    num_copied: int = 0
    num_bytes_copied: int = 0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # all else: {sha256, bytes}

    def to_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        return {
            "format": FORMAT,
            "version": __version__,
            "taken_at": time.time(),
            "artifacts": [address.path for address in self.artifacts],
            "files": self.files,
        }


def write_backup(root: Path, snapshot: Path, target: Path, tell: Tell) -> dict[str, Any]:
    """Write or bring up to date the backup at ``target``: a folder, or a file ``*.tar``.

    ``snapshot`` is a copy of the catalog of the workspace at ``root``.

    Returns:
        ``{target, num_artifacts, num_copied, num_bytes_copied}``.

    Raises:
        SpecError: the target is something else than a backup, or inside of the workspace.
        VanishedError: an artifact was deleted meanwhile; take a new snapshot.
        DataError: an artifact is damaged.
        ResourceError: there is no room for it; the backup that was there is as it was.
    """
    target = target.absolute()
    if target.resolve() == root.resolve() or root.resolve() in target.resolve().parents:
        raise SpecError("A backup inside of its workspace would be lost with it",
                        where=str(target), next_step="Name a place outside.")  # fmt: skip
    with naming_disk_faults(target, _MAKE_ROOM), _open_container(target) as container:
        contents = Contents()
        store = open_artifact_store(root)
        addresses = list(_read_rows(snapshot, "SELECT kind, name, version FROM artifacts"))
        for number, row in enumerate(sorted(addresses)):
            tell(number, len(addresses))
            _add_artifact(container, contents, store, Address(*row))
        _add_checkpoints(container, contents, root, snapshot)
        _add_predictions(container, contents, root)
        _add_file(container, contents, CATALOG, snapshot)
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / BACKUP_FILE
            with naming_disk_faults(record, _MAKE_ROOM):
                record.write_text(json.dumps(contents.to_json(), indent=1))
            container.add_file(BACKUP_FILE, record)
        container.drop_files({facts["sha256"] for facts in contents.files.values()})
    tell(len(addresses), len(addresses))
    return {
        "target": str(target),
        "num_artifacts": len(addresses),
        "num_copied": contents.num_copied,
        "num_bytes_copied": contents.num_bytes_copied,
    }


def _add_artifact(
    container: Container, contents: Contents, store: ArtifactStore, address: Address
) -> None:
    name = f"artifacts/{address.path}"
    if not container.has(name):
        try:
            path = store.localise(address)
            Artifact(*address, path).verify()
            container.add_folder(name, path)
        except (DataError, FileNotFoundError) as error:
            if any(stored.is_whole for stored in store.find(address.path)):
                raise
            raise VanishedError(
                f"{address.name}@{address.version} has gone while the backup was made",
                where=address.path,
                next_step="Make the backup again: what is copied stays.",
            ) from error
        contents.num_copied += 1
        contents.num_bytes_copied += size_of(path)
    contents.artifacts.append(address)


def _add_checkpoints(container: Container, contents: Contents, root: Path, snapshot: Path) -> None:
    """Copy finished parts; one that is forgotten meanwhile is left out, and made again."""
    for run_id, folder in _read_rows(snapshot, "SELECT run_id, folder FROM checkpoints"):
        source = root / "runs" / run_id / "checkpoints" / folder
        name = f"runs/{run_id}/checkpoints/{folder}"
        part = Contents()
        with suppress(FileNotFoundError):
            files = hash_files(source) if source.is_dir() else {}
            for file in files:
                _add_file(container, part, f"{name}/{file}", source / file)
            contents.files |= part.files  # all of them, or the part is not there


def _add_predictions(container: Container, contents: Contents, root: Path) -> None:
    for log in sorted(root.glob("deployments/*/predictions.sqlite")):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / log.name
            copy_database(log, copy)  # a server may be writing to it
            _add_file(container, contents, f"deployments/{log.parent.name}/{log.name}", copy)


def _add_file(container: Container, contents: Contents, name: str, file: Path) -> None:
    facts = {"sha256": hash_file(file), "bytes": file.stat().st_size}
    container.add_file(f"files/{facts['sha256']}", file)
    contents.files[name] = facts


def _read_rows(snapshot: Path, query: str) -> Iterator[tuple[Any, ...]]:
    uri = f"{snapshot.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        yield from connection.execute(query)


# -- what it is written into ----------------------------------------------------------------------


@contextmanager
def _open_container(target: Path) -> Iterator[Container]:
    if target.suffix == ".tar":
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            with tarfile.open(partial, "w") as archive:
                yield _TarContainer(archive)
            flush_entry(partial)
            partial.replace(target)
            flush_entry(target.parent)
        finally:
            partial.unlink(missing_ok=True)
        return
    if target.exists() and not (target / BACKUP_FILE).is_file() and not _may_begin(target):
        raise SpecError(
            "There is something else in the place of the backup",
            where=str(target),
            next_step="Name an earlier backup, an empty folder, or a file that ends with .tar.",
        )
    target.mkdir(parents=True, exist_ok=True)
    partial = target / ".partial"
    partial.mkdir(exist_ok=True)
    try:
        yield _FolderContainer(target)
    finally:
        for left in partial.iterdir():  # what is not whole must not take the room that lacks
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    partial.rmdir()  # where it stays, a first backup was cut short


def _may_begin(target: Path) -> bool:
    """Whether a folder is empty, or a first backup that was cut short."""
    return target.is_dir() and (not any(target.iterdir()) or (target / ".partial").is_dir())


class _FolderContainer:
    """A folder: whatever is at its final name is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        return (self._folder / name).is_dir()

    def add_folder(self, name: str, folder: Path) -> None:
        partial = self._folder / ".partial" / "folder"
        shutil.rmtree(partial, ignore_errors=True)
        copy_folder(folder, partial)
        if hash_files(partial) != hash_files(folder):
            raise DataError("A copy differs from what was copied", where=str(partial),
                            next_step="Look at the disk of the backup.")  # fmt: skip
        flush_folder(partial)
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
        flush_entry(target.parent)

    def add_file(self, name: str, file: Path) -> None:
        partial = self._folder / ".partial" / "file"
        shutil.copyfile(file, partial)
        flush_entry(partial)
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        flush_entry(target.parent)

    def drop_files(self, counting: set[str]) -> None:
        for path in (self._folder / "files").iterdir():
            if path.name not in counting:
                path.unlink()


class _TarContainer:
    """A tar file, which appears when it is complete."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def has(self, name: str) -> bool:
        return False

    def add_folder(self, name: str, folder: Path) -> None:
        self._archive.add(folder, name)

    def add_file(self, name: str, file: Path) -> None:
        self._archive.add(file, name)

    def drop_files(self, counting: set[str]) -> None:
        """Nothing is left from before in a new archive."""
