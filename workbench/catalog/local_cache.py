"""Local copies of artifacts whose store is elsewhere: whole, bounded, never removed while in use.

A process that uses a copy holds a shared lock on the copy's lock file; the system takes the lock
back when the process ends, however it ends. Room is made by removing copies that nobody holds, the
one not asked for longest first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from workbench.catalog.artifact_store import Address
from workbench.catalog.trash import size_of
from workbench.core.artifact import flush_entry, flush_folder


class LocalCache:
    """A folder of copies, shared by the processes of a workspace.

    Copies that are in use may take more than ``limit`` bytes together: they are never removed.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit
        self._held: dict[Address, int] = {}  # file descriptors with a shared lock
        weakref.finalize(self, _close_all, self._held)

    def copy(self, address: Address, fetch: Callable[[Path], None], num_bytes: int) -> Path:
        """Return the copy, which stays as long as this object lives; ``fetch`` fills a new one."""
        target = self._hold(address)
        if not target.is_dir():
            partial = self.folder / ".partial" / secrets.token_hex(8)
            partial.mkdir(parents=True)
            try:
                self.make_room(num_bytes)
                fetch(partial)
                self._put(partial, address)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return target

    def adopt(self, address: Address, folder: Path) -> Path:
        """Make a folder on the same disk the copy of an artifact that was just stored."""
        target = self._hold(address)
        if not target.is_dir():
            self.make_room(size_of(folder))
            self._put(folder, address)
        shutil.rmtree(folder, ignore_errors=True)
        return target

    def discard(self, address: Address) -> None:
        """Remove a copy, unless it is in use."""
        with suppress(BlockingIOError):
            self._remove(address)

    def make_room(self, num_bytes: int) -> None:
        """Remove copies until this many bytes more fit, or all that is left is in use."""
        copies = self._copies()
        total = sum(size for _used_at, _address, size in copies)
        for _used_at, address, size in copies:
            if total + num_bytes <= self._limit:
                return
            with suppress(BlockingIOError):
                self._remove(address)
                total -= size

    def _copies(self) -> list[tuple[float, Address, int]]:
        """Return (last use, address, bytes) of every copy, the least recently used first."""
        found = []
        for lock in (self.folder / ".locks").glob("*/*/*"):
            address = Address(*lock.parts[-3:])
            path = self.folder / address.path
            if path.is_dir():
                found.append((lock.stat().st_mtime, address, size_of(path)))
        return sorted(found)

    def _hold(self, address: Address) -> Path:
        if address not in self._held:
            self._held[address] = self._lock(address, fcntl.LOCK_SH)
        os.utime(self._held[address])
        return self.folder / address.path

    def _lock(self, address: Address, how: int) -> int:
        path = self.folder / ".locks" / address.path
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, how)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _put(self, folder: Path, address: Address) -> None:
        target = self.folder / address.path
        target.parent.mkdir(parents=True, exist_ok=True)
        flush_folder(folder)  # a copy is not hashed again each time it is used
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster with the same bytes
                raise
        flush_entry(target.parent)

    def _remove(self, address: Address) -> None:
        """Remove a copy.

        Raises:
            BlockingIOError: somebody uses it.
        """
        descriptor = self._lock(address, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            leaving = self.folder / ".partial" / secrets.token_hex(8)
            leaving.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                (self.folder / address.path).rename(leaving)  # never half a copy at its place
            shutil.rmtree(leaving, ignore_errors=True)
        finally:
            os.close(descriptor)


def _close_all(held: dict[Address, int]) -> None:
    for descriptor in held.values():
        os.close(descriptor)
    held.clear()
