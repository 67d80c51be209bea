"""Artifacts: immutable results, addressed by the hash of their files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from workbench.core.errors import BugError, DataError
from workbench.core.json_text import plain

ArtifactKind = Literal["dataset", "prompt", "model", "report", "study"]
ARTIFACT_KINDS: tuple[str, ...] = get_args(ArtifactKind)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A committed result: files under ``path`` that never change.

    ``summary`` holds small facts worth showing (rows, parameters, macro_recall ...).
    """

    kind: str
    name: str
    version: str
    path: Path
    summary: dict[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    made_by: str = ""
    num_bytes: int = 0  # of its files; 0 where that is not known yet
    project: str = "default"  # whose quota it counts against: the project that made it first

    @property
    def reference(self) -> str:
        """The exact reference, ``name@version``."""
        return f"{self.name}@{self.version}"

    def __str__(self) -> str:
        return self.reference

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Artifact:
        """Rebuild an artifact from ``to_json``."""
        return cls(**{**record, "path": Path(record["path"]), "parents": tuple(record["parents"])})

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the wire and the catalog."""
        return {
            "kind": self.kind, "name": self.name, "version": self.version,
            "path": str(self.path), "summary": self.summary,
            "parents": list(self.parents), "made_by": self.made_by,
            "num_bytes": self.num_bytes, "project": self.project,
        }  # fmt: skip

    def verify(self) -> None:
        """Hash every file again: the files must be the manifest's, and it the version's.

        Raises:
            DataError: a file or the manifest is missing, changed or not of this version.
        """
        try:
            recorded = json.loads((self.path / MANIFEST).read_text())["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"its {MANIFEST} cannot be read ({error})") from error
        actual = hash_files(self.path)
        wrong = sorted(k for k in {*recorded, *actual} if recorded.get(k) != actual.get(k))
        if wrong:
            raise self._damaged(", ".join(wrong))
        if _version(self.kind, actual) != self.version:
            raise self._damaged("these are the files of another version")

    def _damaged(self, how: str) -> DataError:
        return DataError(
            f"{self.reference} is damaged: {how}",
            where=str(self.path),
            next_step="Delete the folder and submit its Spec again, or restore a backup of it.",
        )


@dataclass
class Draft:
    """A result that a stage is still writing; it becomes an Artifact when the run commits."""

    kind: str
    name: str
    path: Path
    summary: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ARTIFACT_KINDS:
            raise BugError(f"{self.kind!r} is no kind of artifact", where=self.name,
                           next_step=f"Use one of {', '.join(ARTIFACT_KINDS)}.")  # fmt: skip
        self.path.mkdir(parents=True, exist_ok=True)

    def describe(self, **facts: Any) -> None:
        """Add small facts (numbers, short texts, small lists) to the summary."""
        self.summary.update(plain(facts, where=self.name))


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return ``{relative path: {sha256, bytes}}`` for every file but the manifest, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": hash_file(path),
            "bytes": path.stat().st_size,
        }
        for path in files
    }


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(kind: str, files: dict[str, dict[str, Any]]) -> str:
    identity = json.dumps([kind, files], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Manifest:
    """What an artifact consists of: its files with their hashes, and the version these give."""

    kind: str
    files: dict[str, dict[str, Any]]  # {relative path: {sha256, bytes}}

    @property
    def version(self) -> str:
        """The content address."""
        return _version(self.kind, self.files)

    @property
    def num_bytes(self) -> int:
        """The room that the files take."""
        return sum(facts["bytes"] for facts in self.files.values())

    def write(self, path: Path) -> None:
        """Write it as every artifact folder has it."""
        _write_manifest(path, {"kind": self.kind, "files": self.files})


def make_manifest(draft: Draft) -> Manifest:
    """Hash a draft's files and write their manifest beside them.

    Raises:
        BugError: there is no file, or one of the stage's has the manifest's name.
    """
    manifest = Manifest(draft.kind, hash_files(draft.path))
    if not manifest.files:
        raise BugError(f"The stage wrote nothing into {draft.name!r}", where=str(draft.path),
                       next_step="Write at least one file into the draft's path.")  # fmt: skip
    manifest.write(draft.path / MANIFEST)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an artifact's folder.

    Raises:
        DataError: it is missing or no manifest.
    """
    path = folder / MANIFEST
    try:
        return parse_manifest(path.read_bytes(), where=str(path))
    except OSError as error:
        raise DataError(f"The {MANIFEST} cannot be read: {error.strerror}", where=str(path),
                        next_step="Restore the artifact from a backup.") from error  # fmt: skip


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Return a manifest from its JSON, checked: what it names lies within the artifact.

    Raises:
        DataError: it is no manifest, or a name in it leads out of the folder.
    """
    try:
        record = json.loads(text)
        manifest = Manifest(str(record["kind"]), dict(record["files"]))
        for name, facts in manifest.files.items():
            if not _is_within(name) or set(facts) != {"sha256", "bytes"}:
                raise ValueError(f"{name!r:.200} is no file of an artifact")
            facts["bytes"] = int(facts["bytes"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"This is no {MANIFEST}: {error}", where=where,
                        next_step="Restore the artifact from a backup.") from error  # fmt: skip
    return manifest


def _is_within(name: str) -> bool:
    parts = name.split("/")
    return "\0" not in name and not {"", ".", ".."}.intersection(parts)


def seal(draft: Draft, root: Path) -> Artifact:
    """Move a draft's folder to its content address under ``root``; all of it or nothing.

    The files are hashed and flushed to disk before one rename puts them in place. Sealing the same
    bytes again finds the first copy and throws the second away.
    """
    manifest = make_manifest(draft)
    target = root / draft.kind / draft.name / manifest.version
    if target.exists():
        os.utime(target)  # whoever looks for folders that nobody needs: this one is needed now
    else:
        flush_folder(draft.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.path.rename(target)
        except OSError:
            if not target.exists():
                raise
        flush_entry(target.parent)
    shutil.rmtree(draft.path, ignore_errors=True)
    return sealed(draft, manifest, target)


def sealed(draft: Draft, manifest: Manifest, path: Path) -> Artifact:
    """Return the artifact that a draft has become, its files at ``path``."""
    return Artifact(
        draft.kind, draft.name, manifest.version, path, draft.summary,
        num_bytes=manifest.num_bytes,
    )  # fmt: skip


def _write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=1, sort_keys=True)
    if path.exists() and path.read_text(errors="replace") != text:
        raise BugError(
            f"The stage wrote a {MANIFEST}, which the workbench writes itself",
            where=str(path),
            next_step="Give the stage's file another name.",
        )
    path.write_text(text)


def flush_folder(folder: Path) -> None:
    """Ask the disk to keep every file and entry under ``folder``."""
    for path in folder.rglob("*"):
        flush_entry(path)
    flush_entry(folder)


def flush_entry(path: Path) -> None:
    """Ask the disk to keep one file or one folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
