"""What SQLite and PostgreSQL complain of, told as the error of who can mend it."""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa

from workbench.core.errors import DataError, ResourceError, SpecError, WorkbenchError

# What SQLite complains of that is no mistake of ours, by its primary error code.
MACHINE_FAULTS = {
    sqlite3.SQLITE_FULL: "The disk is full",
    sqlite3.SQLITE_IOERR: "The disk cannot be read or written",
    sqlite3.SQLITE_READONLY: "The database may not be written",
    sqlite3.SQLITE_CANTOPEN: "The database cannot be opened",
    sqlite3.SQLITE_BUSY: "Another process holds the database",
}
_FILE_FAULTS = {
    sqlite3.SQLITE_NOTADB: "The file is not a database",
    sqlite3.SQLITE_CORRUPT: "The database is damaged",
}
# The same of PostgreSQL, by SQLSTATE: those that stay until somebody does something about them.
_SERVER_FAULTS = {
    "53100": "The disk of the database server is full",
    "53200": "The database server has no memory left",
    "25006": "The database may not be written",
    "42501": "The database user may not do this",
}
_LOCK_TIMEOUT = "55P03"
_TRANSACTION_TIMEOUT = "25P03"


class DatabaseAwayError(ResourceError):
    """The database server does not answer now; the same may be asked again.

    What was asked was not done, or done whole where only the answer to a commit was lost. The class
    does not survive JSON: the daemon's API tells it by a header.
    """


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's code of an error without its finer distinctions."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def named_fault(error: sa.exc.DBAPIError, place: str) -> WorkbenchError | None:
    """Return the error for the owner of the machine or of the file; None if it is our own."""
    if isinstance(error.orig, sqlite3.Error):
        return _named_file_fault(error.orig, place)
    if isinstance(error, sa.exc.DataError):
        # SQLite takes texts of any length and with any character in them; a server is stricter.
        return SpecError(f"The database does not take this: {error.orig}", where=place,
                         next_step="Use shorter texts, without control characters.")  # fmt: skip
    return _named_server_fault(error, place)


def _named_file_fault(error: sqlite3.Error, place: str) -> WorkbenchError | None:
    code = primary_code(error)
    if code in MACHINE_FAULTS:
        return ResourceError(
            f"{MACHINE_FAULTS[code]}: {error}",
            where=place,
            next_step="Mend that; what was recorded before is kept, and runs can be resumed.",
        )
    if code in _FILE_FAULTS:
        return DataError(
            f"{_FILE_FAULTS[code]}: {error}",
            where=place,
            next_step="Restore it from a backup, or use another workspace folder.",
        )
    return None


def _named_server_fault(error: sa.exc.DBAPIError, place: str) -> WorkbenchError | None:
    state = getattr(error.orig, "sqlstate", None)
    if state in _SERVER_FAULTS:
        return ResourceError(
            f"{_SERVER_FAULTS[state]}: {error.orig}",
            where=place,
            next_step="Have that mended on the server; what was recorded before is kept.",
        )
    if state == _LOCK_TIMEOUT:
        return DatabaseAwayError(
            "Another process holds the database",
            where=place,
            next_step="Try again; if it stays so, look for a second daemon on this database.",
        )
    if state == _TRANSACTION_TIMEOUT or isinstance(
        error, sa.exc.OperationalError | sa.exc.InterfaceError
    ):
        return DatabaseAwayError(
            f"The database does not answer: {error.orig}",
            where=place,
            next_step="See that its server runs and can be reached; what was recorded is kept, "
            "and unfinished runs go on when it is back.",
        )
    return None
