"""Work on files that stops at the first fault of a disk and tells which disk lacks what."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.core.errors import resource_error


@contextmanager
def naming_disk_faults(place: Path, next_step: str) -> Iterator[None]:
    """Tell what the disk at ``place`` lacks, and what to do about it.

    Raises:
        ResourceError: the system refused to read or write a file within the block.
    """
    try:
        yield
    except OSError as error:
        raise resource_error(error, where=str(place), next_step=next_step) from error


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    partial.replace(path)


def copy_folder(source: Path, target: Path, keep_links: bool = False) -> None:
    """Copy a folder and all below it to a place where nothing is.

    Unlike ``shutil.copytree`` it does not go on after a fault, and the fault keeps its ``errno``.

    Raises:
        OSError: a file cannot be read or written; what was copied stays.
    """
    target.mkdir(parents=True)
    for entry in sorted(source.iterdir()):
        copy = target / entry.name
        if keep_links and entry.is_symlink():
            copy.symlink_to(entry.readlink())
        elif entry.is_dir():
            copy_folder(entry, copy, keep_links)
        else:
            shutil.copy2(entry, copy)
