"""Every shipped store of artifacts keeps the laws: a folder, and object stores behind fsspec."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from workbench.catalog.artifact_store import ArtifactStore
from workbench.catalog.folder_store import FolderStore
from workbench.catalog.laws import ArtifactStoreLaws
from workbench.catalog.local_cache import LocalCache
from workbench.catalog.object_store import ObjectStore

_CACHE_BYTES = 10**9


def object_store(folder: Path, url: str) -> ArtifactStore:
    """Return a handle with a cache of its own, as another machine would have."""
    return ObjectStore(url, LocalCache(folder / "caches" / secrets.token_hex(4), _CACHE_BYTES))


class TestFolderStore(ArtifactStoreLaws):
    def open(self, folder: Path) -> ArtifactStore:
        return FolderStore(folder / "artifacts", folder / "trash")


class TestObjectStoreOnAnyFileSystem(ArtifactStoreLaws):
    def open(self, folder: Path) -> ArtifactStore:
        return object_store(folder, f"file://{folder}/objects")


class TestObjectStoreOnS3(ArtifactStoreLaws):
    @pytest.fixture(autouse=True)
    def _one_bucket_for_each_test(self, bucket: str) -> None:
        self.url = f"{bucket}/artifacts"

    def open(self, folder: Path) -> ArtifactStore:
        return object_store(folder, self.url)
