"""The error family, drawn by who acts on it.

    WorkbenchError
    ├── SpecError       the person who asked: a parameter is missing, unknown or out of bounds
    ├── DataError       the owner of the data: a file, table, page or label is not as promised
    ├── ResourceError   the owner of the machine: disk, memory, port, network, permission
    ├── StageError      the author of the stage, rule or model that ran
    └── BugError        the workbench's own authors

    Interruption        not an error: a run stops because somebody asked it to
    ├── RunPaused
    └── RunCancelled

Each error says *what* happened, *where*, and the *next step*; each survives pickling and JSON. An
error with a ``cause`` is one that a run may heal from by itself (``workbench/queue/healing.py``).
"""

from __future__ import annotations

import difflib
import errno
import traceback
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar


class Cause(StrEnum):
    """What a run may heal from by itself, as it may be gone with the next attempt."""

    WORKER_LOST = "worker lost"
    RANK_KILLED = "rank killed"
    STALLED = "stalled"  # a process stands still, and others wait for it
    NOT_A_NUMBER = "not a number"  # the loss, of one batch; healed by the training itself
    UNREACHABLE = "unreachable"  # a server, a database or a network that may come back
    OUT_OF_MEMORY = "out of memory"  # a stage that can work in smaller pieces does so then
    DISK_FULL = "disk full"  # the run rests until somebody has made room


class WorkbenchError(Exception):
    """An error that a user can act on: what happened, where, and what to do next."""

    family: ClassVar[str] = "error"

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        next_step: str = "",
        detail: str = "",
        cause: Cause | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step
        self.detail = detail
        self.cause = cause

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.next_step:
            parts.append(f"  next:  {self.next_step}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return error_from_json, (self.to_json(),)

    def to_json(self) -> dict[str, str]:
        """Return the error as plain strings, readable by ``error_from_json``."""
        return {
            "family": self.family,
            "what": self.what,
            "where": self.where,
            "next_step": self.next_step,
            "detail": self.detail,
            "cause": self.cause or "",
        }


class SpecError(WorkbenchError):
    """A parameter is missing, unknown, of the wrong type or out of bounds."""

    family = "spec"


class DataError(WorkbenchError):
    """A file, table, page or label is not what the Spec promised."""

    family = "data"


class ResourceError(WorkbenchError):
    """The machine lacks something: disk, memory, a port, a permission, a worker."""

    family = "resource"


class StageError(WorkbenchError):
    """The code of a stage, rule or model failed; ``detail`` holds its traceback."""

    family = "stage"


class BugError(WorkbenchError):
    """The workbench itself is wrong; ``detail`` holds what its authors need."""

    family = "bug"


class Interruption(BaseException):
    """A run stops because somebody asked; no ``except Exception`` may swallow it."""


class RunPaused(Interruption):
    """The run was asked to pause and stands at a checkpoint."""


class RunCancelled(Interruption):
    """The run was asked to stop for good."""


_CAUSES = {cause.value: cause for cause in Cause}

_FAMILIES: dict[str, type[WorkbenchError]] = {
    kind.family: kind
    for kind in (WorkbenchError, SpecError, DataError, ResourceError, StageError, BugError)
}


def error_from_json(record: dict[str, str]) -> WorkbenchError:
    """Rebuild an error from ``to_json``; an unknown family becomes a plain WorkbenchError."""
    kind = _FAMILIES.get(record.get("family", ""), WorkbenchError)
    return kind(
        record.get("what", "unknown error"),
        where=record.get("where", ""),
        next_step=record.get("next_step", ""),
        detail=record.get("detail", ""),
        cause=_CAUSES.get(record.get("cause", "")),
    )


def error_from_exception(error: BaseException, *, where: str) -> WorkbenchError:
    """Give any exception that left a stage its family; a WorkbenchError passes unchanged."""
    if isinstance(error, WorkbenchError):
        return error
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, OSError) and is_resource_fault(error):
        next_step = "Free what is missing, then resume the run: finished parts are kept."
        return resource_error(error, where=where, next_step=next_step, detail=detail)
    if isinstance(error, MemoryError):
        return ResourceError(
            "The worker ran out of memory",
            where=where,
            next_step="Use a smaller batch size or give the pool more memory, then resume.",
            detail=detail,
        )
    return StageError(
        f"{type(error).__name__}: {error}",
        where=where,
        next_step="Read the traceback (workbench runs logs RUN); mend the stage and submit again.",
        detail=detail,
    )


def is_resource_fault(error: OSError) -> bool:
    """Whether the machine lacks something, and the file itself is not to blame."""
    return error.errno in _RESOURCE_ERRNOS


def resource_error(
    error: OSError, *, where: str, next_step: str, detail: str = ""
) -> ResourceError:
    """Name what the system refused; ``where`` counts if the system does not say it."""
    named = _RESOURCE_ERRNOS.get(error.errno or 0, "A file cannot be written or read")
    return ResourceError(
        f"{named}: {error.strerror or error}",
        where=str(error.filename2 or error.filename or where),
        next_step=next_step,
        detail=detail,
        cause=Cause.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else None,
    )


_RESOURCE_ERRNOS = {
    errno.ENOSPC: "The disk is full",
    errno.EFBIG: "The file is larger than the disk or a limit allows",
    errno.EDQUOT: "The disk quota is used up",
    errno.EMFILE: "Too many files are open",
    errno.EADDRINUSE: "The port is taken",
    errno.EROFS: "The file system is read-only",
    errno.EACCES: "Access is not permitted",
    errno.EPERM: "Access is not permitted",
}


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``Did you mean 'x'?`` for the nearest known name, else the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return "Known: " + ", ".join(names) if names else ""
