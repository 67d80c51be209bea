"""The trash: folders that have left their place at once, and are deleted file by file after it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from workbench.core.artifact import flush_entry


class Trash:
    """A folder on the disk of what is thrown into it.

    A kill while it is emptied leaves the rest for the next time: nobody reads from it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def throw(self, path: Path) -> Callable[[], None]:
        """Take a folder or file out of its place by one rename; return what deletes it.

        What is not there any more is no mistake.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / secrets.token_hex(8)
        try:
            path.rename(target)
        except FileNotFoundError:
            return lambda: None
        flush_entry(path.parent)
        return lambda: _delete(target)

    def empty(self) -> None:
        """Delete all that is in it."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder (links are not followed)."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    total = 0
    for below in path.rglob("*"):
        try:
            facts = below.lstat()
        except FileNotFoundError:  # deleted while we look
            continue
        total += 0 if below.is_dir() and not below.is_symlink() else facts.st_size
    return total
