"""A consistent copy of the catalog's SQLite file, while it is being written to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from workbench.catalog.database import Database
from workbench.catalog.database_faults import MACHINE_FAULTS, primary_code
from workbench.core.artifact import flush_entry
from workbench.core.disk import naming_disk_faults
from workbench.core.errors import DataError, ResourceError, WorkbenchError

_MAKE_ROOM = (
    "Make room on the disk of the workspace (workbench gc --dry-run says what nobody needs), then "
    "make the backup again."
)


def write_snapshot(database: Database, target: Path) -> None:
    """Copy the whole database as of one moment by SQLite's own backup, then put it in place."""
    source = database.engine.url.database
    assert source is not None
    copy_database(Path(source), target)


def copy_database(source: Path, target: Path) -> None:
    """Copy one SQLite file as of one moment; readers and writers of it go on.

    Raises:
        DataError: it is no SQLite file, or a damaged one.
        ResourceError: there is no room for the copy, or a file may not be read or written.
    """
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    uri = f"{source.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True)) as live,
            closing(sqlite3.connect(partial)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        with naming_disk_faults(target, _MAKE_ROOM):
            flush_entry(partial)
            partial.replace(target)
            flush_entry(target.parent)
    except sqlite3.DatabaseError as error:
        raise _named(error, source, target) from error
    finally:
        partial.unlink(missing_ok=True)


def _named(error: sqlite3.DatabaseError, source: Path, target: Path) -> WorkbenchError:
    """Return whose fault it is that a database cannot be copied: the disk's or the file's."""
    fault = MACHINE_FAULTS.get(primary_code(error))
    if fault is not None:
        return ResourceError(f"{fault}: {error}", where=f"{source}, copied to {target}",
                             next_step=_MAKE_ROOM)  # fmt: skip
    return DataError(f"The database cannot be copied: {error}", where=str(source),
                     next_step="Restore it from a backup.")  # fmt: skip


def check_snapshot(path: Path) -> None:
    """Have SQLite look through a whole file.

    Raises:
        DataError: it is damaged.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            found = [row[0] for row in copy.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        raise DataError(f"The catalog of the backup is damaged: {found[0]}", where=str(path),
                        next_step="Use another backup.")  # fmt: skip
