"""The durable log of predictions: one SQLite file per deployment, written by its server alone.

A batch of requests is one transaction, flushed to disk (WAL, ``synchronous=FULL``) before any of
them is answered. The file is an ordinary ``sql`` source of the integrate stage: table
``predictions``, which anyone may read while the server runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from workbench.core.errors import DataError

LOG_FILE = "predictions.sqlite"
SCHEMA_VERSION = 1

_CREATE = """
CREATE TABLE IF NOT EXISTS predictions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- grows in the order of commits, never reused
    request_id TEXT    NOT NULL,  -- what the answer carried
    position   INTEGER NOT NULL,  -- place of the text in its request, from 0
    time       REAL    NOT NULL,  -- seconds since 1970, UTC
    model      TEXT    NOT NULL,  -- name@version
    text       TEXT    NOT NULL,
    label      TEXT    NOT NULL,  -- the predicted one
    score      REAL    NOT NULL,  -- its probability
    scores     TEXT    NOT NULL,  -- JSON: probability of every label
    UNIQUE (request_id, position)
)
"""
_INSERT = """
INSERT INTO predictions (request_id, position, time, model, text, label, score, scores)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT = """
SELECT request_id, position, time, model, text, label, score, scores FROM predictions ORDER BY id
"""


class LoggedPrediction(NamedTuple):
    """One row of the log; see the table's columns."""

    request_id: str
    position: int
    time: float
    model: str
    text: str
    label: str
    score: float
    scores: str


class PredictionLog:
    """The open log of one server. ``append`` may be called from any one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the log.

        Raises:
            DataError: the file is no prediction log, or one of another version.
        """
        self.path = path
        self._connection = sqlite3.connect(
            path, timeout=30, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise _not_a_log(path, str(error)) from error
        except DataError:
            self._connection.close()
            raise

    def append(self, requests: Sequence[Sequence[LoggedPrediction]]) -> list[int]:
        """Commit the rows of several requests at once; return how many rows each had.

        On return the rows are on disk. On an error nothing of this call is.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for rows in requests:
                self._connection.executemany(_INSERT, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has already rolled it back
                self._connection.execute("ROLLBACK")
            raise
        return [len(rows) for rows in requests]

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise _not_a_log(self.path, f"its version is {version}, not {SCHEMA_VERSION}")
        self._connection.execute(_CREATE)
        self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def read_log(path: Path) -> list[LoggedPrediction]:
    """Return all committed rows in the order of their commits; the server may be running."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        return [LoggedPrediction(*row) for row in connection.execute(_SELECT)]
    except sqlite3.DatabaseError as error:
        raise _not_a_log(path, str(error)) from error
    finally:
        connection.close()


def _not_a_log(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path.name} is no prediction log: {reason}",
        where=str(path),
        next_step="Move the file away; the server starts a new log. Read it with sqlite3.",
    )
