"""Artifacts in a folder: sealed by one rename, taken away by one rename."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from workbench.catalog.artifact_store import Address, Stored
from workbench.catalog.trash import Trash, size_of
from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.errors import DataError


class FolderStore:
    """An ArtifactStore in a folder on a local disk; ``trash`` is on the same disk."""

    def __init__(self, root: Path, trash: Path) -> None:
        self._root = root
        self._trash = Trash(trash)

    def commit(self, draft: Draft) -> Artifact:
        """Seal a draft."""
        return seal(draft, self._root)

    def localise(self, address: Address) -> Path:
        """Return the artifact's own folder."""
        path = self._root / address.path
        if path.is_dir():
            return path
        raise DataError(
            f"The files of {address.name}@{address.version} are gone",
            where=str(path),
            next_step="Submit its Spec again, or restore a backup.",
        )

    def find(self, under: str = "") -> Iterator[Stored]:
        """Return every folder at an address; in a folder store each is whole."""
        depth = len(Path(under).parts)
        pattern = "/".join(["*"] * (3 - depth)) if depth < 3 else ""
        start = self._root / under
        for path in sorted(start.glob(pattern)) if pattern else [start]:
            if path.is_dir():
                address = Address(*path.relative_to(self._root).parts)
                yield Stored(address, size_of(path), path.stat().st_mtime, is_whole=True)

    def remove(self, stored: Stored) -> Callable[[], None]:
        """Move the folder to the trash."""
        return self._trash.throw(self._root / stored.address.path)
