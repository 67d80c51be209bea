"""Locks that one process holds at a time, and that end with it however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def sole_process(lock: Path) -> Iterator[bool]:
    """Be the one process that holds a lock, as long as the block lasts; False if another does.

    Who it is stands in the file: see ``holder``.
    """
    with lock.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        with suppress(OSError):  # the disk is full: that it is held counts, not by whom
            os.ftruncate(stream.fileno(), 0)
            os.write(stream.fileno(), str(os.getpid()).encode())
        yield True


def is_locked(lock: Path) -> bool:
    """Whether some process holds a lock."""
    try:
        with lock.open("a+") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def holder(lock: Path) -> int | None:
    """Return the process of this host that holds a lock, None if there is none."""
    if not lock.exists() or not is_locked(lock):
        return None
    text = lock.read_text()
    return int(text) if text.isdecimal() else None
