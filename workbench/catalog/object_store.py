"""Artifacts in an object store (S3 and what speaks like it, or any other fsspec file system).

An artifact's files are under ``KIND/NAME/VERSION/UPLOAD/``, where UPLOAD is new for each attempt to
write them; last comes ``KIND/NAME/VERSION/manifest.json``, which names the upload that counts.
Readers begin at the manifest: without it there is nothing to see. Two writers of the same bytes do
not touch each other's files, and whoever removes an artifact removes only the upload it saw.
"""

from __future__ import annotations

import errno
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.catalog.artifact_store import Address, Stored
from workbench.catalog.local_cache import LocalCache
from workbench.core.artifact import (
    MANIFEST,
    Artifact,
    Draft,
    Manifest,
    hash_file,
    make_manifest,
    parse_manifest,
    sealed,
)
from workbench.core.errors import DataError, ResourceError, WorkbenchError, resource_error

# An object store has no disk: these are of the local copies'.
_LOCAL_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_MAKE_ROOM = (
    "Make room there, or set a smaller WORKBENCH_CACHE, then resume the run "
    "(workbench runs resume ID): finished parts are kept."
)
_EMPTY_SECONDS = 2.0  # for a manifest that is being written


class ObjectStore:
    """An ArtifactStore at an fsspec URL; it belongs to one workspace.

    Credentials come from the environment alone, as the libraries of the store read them.
    """

    def __init__(self, url: str, cache: LocalCache) -> None:
        self._url = url
        self._cache = cache
        self._file_system, self._root = _connect(url)

    def commit(self, draft: Draft) -> Artifact:
        """Upload a draft's files, then its manifest; keep the draft as the local copy."""
        manifest = make_manifest(draft)
        address = Address(draft.kind, draft.name, manifest.version)
        with self._named_errors():
            if self._read_manifest(address) is None:
                self._publish(address, manifest, self._upload(address, manifest, draft.path))
        return sealed(draft, manifest, self._cache.adopt(address, draft.path))

    def localise(self, address: Address) -> Path:
        """Return a local copy whose every hash was compared with the manifest's."""
        with self._named_errors():
            found = self._read_manifest(address)
            if found is None:
                raise self._damaged(address, "it is not there", "")
            manifest, upload = found
            if manifest.version != address.version:
                raise self._damaged(address, "its manifest is that of another version", MANIFEST)
            return self._cache.copy(
                address,
                lambda folder: self._fetch(address, manifest, upload, folder),
                manifest.num_bytes,
            )

    def find(self, under: str = "") -> Iterator[Stored]:
        """Return artifacts and uploads that no manifest names."""
        with self._named_errors():
            yield from list(self._stored(under))

    def remove(self, stored: Stored) -> Callable[[], None]:
        """Delete the manifest first: from then on nobody sees the artifact."""
        with self._named_errors():
            if stored.is_whole:
                with suppress(FileNotFoundError):
                    self._file_system.rm_file(self._key(stored.address, MANIFEST))
                self._cache.discard(stored.address)
        return lambda: self._delete_upload(stored.address, stored.upload)

    # -- writing ----------------------------------------------------------------------------------

    def _upload(self, address: Address, manifest: Manifest, folder: Path) -> str:
        upload = secrets.token_hex(8)
        names = list(manifest.files)
        self._file_system.put(
            [str(folder / name) for name in names],
            [self._key(address, upload, name) for name in names],
        )
        arrived = self._sizes(self._key(address, upload))
        short = [n for n in names if arrived.get(n) != manifest.files[n]["bytes"]]
        if short:
            raise ResourceError(
                f"The artifact store took only a part of {len(short)} files",
                where=f"{self._url}/{address.path}: {', '.join(short[:5])}",
                next_step="See that the store has room, then resume the run.",
            )
        return upload

    def _publish(self, address: Address, manifest: Manifest, upload: str) -> None:
        """Write the manifest, unless another writer of the same bytes has been faster."""
        record = {"kind": manifest.kind, "files": manifest.files, "upload": upload}
        text = json.dumps(record, sort_keys=True).encode()
        try:
            self._file_system.pipe_file(self._key(address, MANIFEST), text, mode="create")
        except FileExistsError:
            self._delete_upload(address, upload)

    def _delete_upload(self, address: Address, upload: str) -> None:
        with self._named_errors(), suppress(FileNotFoundError):
            self._file_system.rm(self._key(address, upload), recursive=True)

    # -- reading ----------------------------------------------------------------------------------

    def _read_manifest(self, address: Address) -> tuple[Manifest, str] | None:
        """Return the manifest and the upload that it names; None if there is none."""
        deadline = time.monotonic() + _EMPTY_SECONDS
        try:
            text = self._file_system.cat_file(self._key(address, MANIFEST))
            while not text and time.monotonic() < deadline:
                # A store that is a folder shows a file before what is in it.
                time.sleep(0.02)
                text = self._file_system.cat_file(self._key(address, MANIFEST))
        except FileNotFoundError:
            return None
        manifest = parse_manifest(text, where=f"{self._url}/{address.path}")
        upload = json.loads(text).get("upload")
        if not isinstance(upload, str) or not upload.isalnum():
            raise self._damaged(address, "its manifest names no upload", MANIFEST)
        return manifest, upload

    def _fetch(self, address: Address, manifest: Manifest, upload: str, folder: Path) -> None:
        names = list(manifest.files)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file_system.get(
                [self._key(address, upload, name) for name in names],
                [str(folder / name) for name in names],
            )
        except FileNotFoundError as error:
            there = self._sizes(self._key(address, upload))
            missing = next((name for name in names if name not in there), "")
            raise self._damaged(address, "a file of it is missing", missing) from error
        for name in names:
            facts = manifest.files[name]
            path = folder / name
            if path.stat().st_size != facts["bytes"] or hash_file(path) != facts["sha256"]:
                raise self._damaged(address, "a file is truncated or changed", name)
        manifest.write(folder / MANIFEST)

    def _stored(self, under: str) -> Iterator[Stored]:
        uploads: dict[tuple[Address, str], list[tuple[int, float]]] = {}
        whole: dict[Address, float] = {}
        for key, facts in self._details("/".join(filter(None, [self._root, under]))).items():
            parts = key[len(self._root) :].strip("/").split("/")
            if len(parts) < 4:
                continue  # nothing of ours
            address, changed_at = Address(*parts[:3]), _changed_at(facts)
            if parts[3:] == [MANIFEST]:
                whole[address] = changed_at
            else:
                sizes = uploads.setdefault((address, parts[3]), [])
                sizes.append((int(facts["size"]), changed_at))
        counting = {a: found[1] for a in whole if (found := self._read_manifest(a)) is not None}
        for (address, upload), sizes in sorted(uploads.items()):
            is_whole = counting.get(address) == upload
            newest = max(changed_at for _size, changed_at in sizes)
            yield Stored(address, sum(size for size, _ in sizes), newest, is_whole, upload)

    def _details(self, prefix: str) -> dict[str, Any]:
        self._file_system.invalidate_cache()  # other processes write too
        try:
            found: dict[str, Any] = self._file_system.find(prefix, detail=True)
        except FileNotFoundError:
            return {}
        return found

    def _sizes(self, prefix: str) -> dict[str, int]:
        found = self._details(prefix)
        return {key[len(prefix) :].strip("/"): int(facts["size"]) for key, facts in found.items()}

    def _key(self, address: Address, *parts: str) -> str:
        return "/".join([self._root, address.path, *parts])

    # -- errors -----------------------------------------------------------------------------------

    def _damaged(self, address: Address, how: str, what: str) -> DataError:
        return DataError(
            f"{address.name}@{address.version} cannot be read from the artifact store: {how}",
            where=f"{self._url}/{address.path}/{what}".rstrip("/"),
            next_step="Submit its Spec again, or restore a backup.",
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Tell what the store's library raises as the error of the machine that it is."""
        try:
            yield
        except WorkbenchError:
            raise
        except Exception as error:  # each library has a family of its own
            if isinstance(error, OSError) and error.errno in _LOCAL_FAULTS:
                where = str(self._cache.folder)
                raise resource_error(error, where=where, next_step=_MAKE_ROOM) from error
            raise ResourceError(
                f"The artifact store does not do its part: {type(error).__name__}: {error}",
                where=self._url,
                next_step="See that it runs, can be reached and admits you; then resume the run.",
            ) from error


def _connect(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        # Where folders are real (a mounted share), they must be made first.
        options = {"auto_mkdir": True} if url.startswith(("file://", "local://")) else {}
        file_system, root = url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ResourceError(
            f"No installed library opens this artifact store: {error}",
            where="WORKBENCH_ARTIFACTS",
            next_step="Install what it needs; for s3:// the extra: nlp-workbench[s3]",
        ) from error
    return file_system, str(root).rstrip("/")


def _changed_at(facts: dict[str, Any]) -> float:
    for name in ("LastModified", "mtime", "created"):
        value = facts.get(name)
        if value is not None:
            return float(value.timestamp() if hasattr(value, "timestamp") else value)
    return 0.0
