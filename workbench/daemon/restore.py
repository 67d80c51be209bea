"""From a backup back to a workspace: every hash is compared, and nothing appears until all is."""

from __future__ import annotations

import json
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.artifact_store import Address
from workbench.catalog.database import Database, open_database
from workbench.catalog.snapshot import check_snapshot
from workbench.core.artifact import Artifact, flush_entry, flush_folder, hash_file
from workbench.core.errors import DataError, SpecError
from workbench.daemon.backup import BACKUP_FILE, CATALOG, FORMAT, Tell
from workbench.queue.store import RunStore
from workbench.queue.tables import CHECKPOINTS


def restore_backup(source: Path, target: Path, tell: Tell) -> dict[str, Any]:
    """Make a workspace of a backup (a folder or a ``*.tar``) at ``target``.

    Runs that were not over wait, and go on when a daemon is started there.

    Returns:
        ``{target, num_artifacts, num_unfinished_runs}``.

    Raises:
        SpecError: the target is not empty, or the source is no backup.
        DataError: a file of the backup is missing or not the one that was saved.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SpecError("The workspace to restore to is not empty", where=str(target),
                        next_step="Name a folder that is empty or not there.")  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.parent / f".{target.name}.restoring-{secrets.token_hex(4)}"
    try:
        with _opened(source, staging) as folder:
            record = _read_record(folder)
            workspace = staging / "workspace"
            workspace.mkdir(parents=True)
            _copy_artifacts(folder, workspace, record, tell)
            _copy_files(folder, workspace, record)
            num_unfinished = _settle_runs(workspace)
        flush_folder(workspace)
        workspace.rename(target)  # an empty folder in its place is replaced
        flush_entry(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {
        "target": str(target),
        "num_artifacts": len(record["artifacts"]),
        "num_unfinished_runs": num_unfinished,
    }


@contextmanager
def _opened(source: Path, staging: Path) -> Iterator[Path]:
    if source.is_dir():
        yield source
        return
    folder = staging / "backup"
    folder.mkdir(parents=True)
    try:
        with tarfile.open(source, "r:") as archive:
            archive.extractall(folder, filter="data")  # refuses what leads out of the folder
    except (OSError, tarfile.TarError) as error:
        raise SpecError(f"This is no backup: {error}", where=str(source),
                        next_step="Name a folder or file that workbench backup has written."
                        ) from error  # fmt: skip
    yield folder


def _read_record(folder: Path) -> dict[str, Any]:
    """Return ``backup.json``, checked: every name in it lies within the backup."""
    path = folder / BACKUP_FILE
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']}, not {FORMAT}")
        hashes = [str(facts["sha256"]) for facts in record["files"].values()]
        names = [*record["artifacts"], *record["files"], *hashes]
        if CATALOG not in record["files"] or not all(map(_is_within, names)):
            raise ValueError("a name in it leads elsewhere")
        if any(name.count("/") != 2 for name in record["artifacts"]):
            raise ValueError("a name in it is no artifact's")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"This is no complete backup: {error}",
            where=str(path),
            next_step="Name a folder or file that workbench backup has written to its end.",
        ) from error
    return record


def _is_within(name: str) -> bool:
    return not {"", ".", ".."}.intersection(name.split("/"))


def _copy_artifacts(folder: Path, workspace: Path, record: dict[str, Any], tell: Tell) -> None:
    names = record["artifacts"]
    for number, name in enumerate(names):
        tell(number, len(names))
        path = workspace / "artifacts" / name
        try:
            shutil.copytree(folder / "artifacts" / name, path, symlinks=True)
        except (OSError, shutil.Error) as error:
            raise _damaged(folder / "artifacts" / name, str(error)) from error
        Artifact(*Address(*name.split("/")), path).verify()
    tell(len(names), len(names))


def _copy_files(folder: Path, workspace: Path, record: dict[str, Any]) -> None:
    for name, facts in record["files"].items():
        source, target = folder / "files" / facts["sha256"], workspace / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target, follow_symlinks=False)
        except OSError as error:
            raise _damaged(source, str(error)) from error
        if target.is_symlink() or hash_file(target) != facts["sha256"]:
            raise _damaged(source, "its bytes are not those that were saved")
    check_snapshot(workspace / CATALOG)


def _damaged(path: Path, how: str) -> DataError:
    return DataError(f"The backup is damaged: {how}", where=str(path),
                     next_step="Use another backup.")  # fmt: skip


def _settle_runs(workspace: Path) -> int:
    """Have what was running wait, forget parts that were not saved; count what is not over."""
    database = open_database(workspace)
    try:
        _forget_lost_parts(database, workspace)
        runs = RunStore(database, workspace / "artifacts")
        for run in runs.active():
            runs.lose(run["run_id"], run["term"], "restored from a backup", blameless=True)
        return runs.num_unfinished()
    finally:
        database.close()


def _forget_lost_parts(database: Database, workspace: Path) -> None:
    with database.write() as connection:
        for row in connection.execute(sa.select(CHECKPOINTS)).all():
            folder = workspace / "runs" / row.run_id / "checkpoints" / row.folder
            if not folder.is_dir():
                gone = CHECKPOINTS.c.position == row.position
                connection.execute(sa.delete(CHECKPOINTS).where(gone))
