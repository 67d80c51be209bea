"""Where the files of artifacts are kept: what every store promises, and which one is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from workbench.core.artifact import Artifact, Draft
from workbench.core.errors import ResourceError
from workbench.core.sizes import parse_bytes

_DEFAULT_CACHE = "20GB"


class Address(NamedTuple):
    """Where an artifact is, in every store: its kind, name and the hash of its files."""

    kind: str
    name: str
    version: str

    @property
    def path(self) -> str:
        """The address as a relative path."""
        return "/".join(self)


@dataclass(frozen=True)
class Stored:
    """Something that a store holds: an artifact, or what a killed writer has left of one."""

    address: Address
    num_bytes: int
    changed_at: float  # seconds since 1970
    is_whole: bool  # readers see it
    upload: str = ""  # which attempt to write it, where a store keeps several apart


class ArtifactStore(Protocol):
    """Keeps artifacts under their content address; readers see all of one or nothing of it.

    Errors of all methods: ResourceError when the disk or server does not do its part.
    """

    def commit(self, draft: Draft) -> Artifact:
        """Store a draft's files under their address; the same bytes are stored once."""

    def localise(self, address: Address) -> Path:
        """Return a local folder with the files, which stays as long as this object lives.

        Raises:
            DataError: there is no such artifact, or its files are not those of its manifest.
        """

    def find(self, under: str = "") -> Iterator[Stored]:
        """Return what is held, also what is not whole; ``under`` is the start of an address."""

    def remove(self, stored: Stored) -> Callable[[], None]:
        """Make it invisible at once; return what then frees its room, which may take long."""


def holds(store: ArtifactStore, address: Address) -> bool:
    """Whether readers see an artifact."""
    return any(stored.is_whole for stored in store.find(address.path))


URL_FILE = "artifacts.url"


def recorded_url(root: Path) -> str:
    """Return where the workspace at ``root`` keeps its artifacts; empty for its own folder."""
    path = root / URL_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def settle_url(root: Path, wanted: str, has_artifacts: bool) -> str:
    """Record, once for all, where the workspace keeps its artifacts, and return it.

    Raises:
        ResourceError: it already keeps them elsewhere.
    """
    recorded = recorded_url(root)
    if not wanted or wanted == recorded:
        return recorded
    if recorded or has_artifacts:
        raise ResourceError(
            f"This workspace keeps its artifacts in {recorded or root / 'artifacts'}",
            where=f"WORKBENCH_ARTIFACTS={wanted}",
            next_step="Leave WORKBENCH_ARTIFACTS out, or use another workspace folder.",
        )
    partial = root / f"{URL_FILE}.partial"
    partial.write_text(f"{check_url(wanted)}\n", encoding="utf-8")
    partial.replace(root / URL_FILE)
    return wanted


def artifact_root(root: Path, url: str) -> Path:
    """Return the folder below which a workspace's processes see artifacts by their address."""
    return root / ("cache" if url else "artifacts")


def open_artifact_store(root: Path) -> ArtifactStore:
    """Open the store of the workspace at ``root``.

    Raises:
        ResourceError: no installed library knows the scheme of its URL.
        SpecError: WORKBENCH_CACHE is no size.
    """
    url = recorded_url(root)
    if not url:
        from workbench.catalog.folder_store import FolderStore

        return FolderStore(artifact_root(root, url), root / "trash")
    from workbench.catalog.local_cache import LocalCache
    from workbench.catalog.object_store import ObjectStore

    limit = parse_bytes(os.environ.get("WORKBENCH_CACHE") or _DEFAULT_CACHE)
    return ObjectStore(check_url(url), LocalCache(artifact_root(root, url), limit))


def localised(store: ArtifactStore, artifact: Artifact) -> Artifact:
    """Return the artifact with its files at hand under ``path``.

    Raises:
        DataError: they are gone, or damaged.
    """
    address = Address(artifact.kind, artifact.name, artifact.version)
    return replace(artifact, path=store.localise(address))


def wanted_url() -> str:
    """Return where the environment says that artifacts are to be kept; empty for the folder.

    Raises:
        ResourceError: that is no URL, or it holds credentials.
    """
    url = os.environ.get("WORKBENCH_ARTIFACTS", "")
    return check_url(url) if url else ""


def check_url(url: str) -> str:
    """Return the URL of a store if it may be shown and recorded.

    Raises:
        ResourceError: it is no URL, or it holds credentials.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ResourceError(
            "The URL of the artifact store holds more than a place",
            where="WORKBENCH_ARTIFACTS",
            next_step="Write scheme://bucket/prefix; give credentials by the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL ...).",
        )
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise ResourceError(f"{url!r:.200} is no URL of an artifact store",
                            where="WORKBENCH_ARTIFACTS",
                            next_step="Write scheme://bucket/prefix, or leave it out.")  # fmt: skip
    return url.rstrip("/")
