"""Where files are: local paths, patterns and fsspec URLs, and the archives among them."""

from __future__ import annotations

import glob
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from workbench.core.errors import DataError
from workbench.data.sources.network import cause_of
from workbench.data.sources.secrets import look_up, masked

_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WILDCARD = re.compile(r"[*?\[]")


class Span(NamedTuple):
    """A stretch of a file: bytes from ``start`` up to ``end``, and the number of its first row."""

    start: int
    end: int
    first_row: int


class MatchedFile(NamedTuple):
    """One file of a source; ``key`` is its path below the folder that all of them share.

    ``location`` is an absolute local path or a URL; ``member`` names a file in a zip archive,
    ``encoding`` what is known of its text, ``span`` the only part of it that is meant, ``damage``
    why it cannot be read, where that is known.
    """

    location: str
    key: str
    member: str = ""
    encoding: str = ""
    span: Span | None = None
    damage: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine as a file of its own."""
        return not self.member and not is_url(self.location)

    @property
    def path(self) -> Path:
        """Its local path.

        Raises:
            DataError: it is in an archive or elsewhere.
        """
        if not self.is_local:
            raise DataError(f"{self.name} is no file of its own on this machine",
                            where=self.key, next_step="Copy it here.")  # fmt: skip
        return Path(self.location)

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.member or self.location).name

    @property
    def uri(self) -> str:
        """The file, or the archive that it is in, as a URI."""
        return self.location if is_url(self.location) else Path(self.location).as_uri()


def is_url(location: str) -> bool:
    """Whether a location is a URL, not a local path."""
    return bool(_PROTOCOL.match(location))


def protocol_of(location: str) -> str:
    """Return ``s3`` of ``s3://bucket/file``; empty for a local path."""
    match = _PROTOCOL.match(location)
    return match[1].lower() if match else ""


def local_path(location: str) -> str:
    """Return the path of a ``file:`` URL, anything else unchanged."""
    from urllib.parse import unquote, urlsplit

    if protocol_of(location) not in ("file", "local"):
        return location
    return unquote(urlsplit(location).path)


def match_local(pattern: str, place: str, *, keep_bad: bool = False) -> list[MatchedFile]:
    """Return the local files that a path or pattern names, sorted.

    A match of a pattern that is a link out of the pattern's folder is not read: it is refused, or
    kept as a damaged file.

    Raises:
        DataError: there is such a link, and it is not kept.
    """
    paths, damages = [Path(pattern)], dict[Path, str]()
    if not paths[0].exists():
        paths = sorted(Path(match) for match in glob.glob(pattern, recursive=True))  # noqa: PTH207
        damages = _links_out(paths, fixed_folder(pattern))
        if damages and not keep_bad:
            raise DataError(
                next(iter(damages.values())),
                where=place,
                next_step="Remove the link, or name the file that it leads to.",
            )
    paths = [path for path in paths if not path.is_dir()]
    if not paths:
        return []
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return [
        MatchedFile(str(path), path.relative_to(root).as_posix(), damage=damages.get(path, ""))
        for path in paths
    ]


def fixed_folder(pattern: str) -> Path:
    """Return the folder of a pattern up to its first wildcard."""
    parts = Path(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if _WILDCARD.search(part)), len(parts) - 1)
    return Path(*parts[:fixed])


def _links_out(paths: list[Path], folder: Path) -> dict[Path, str]:
    """Return what is wrong with each path that leads out of a folder."""
    root = folder.resolve()
    return {
        path: f"{path} is a link that leads out of {folder}"
        for path in paths if not path.resolve().is_relative_to(root)
    }  # fmt: skip


class Storage:
    """Files behind a URL, through fsspec; its options are references to environment variables."""

    def __init__(self, url: str, options: Mapping[str, str], place: str) -> None:
        self._url, self._options, self._place = url, options, place
        self._url_now = look_up(url, place)

    def match(self) -> list[MatchedFile]:
        """Return the files that the URL or pattern names, sorted; local names stay references."""
        try:
            return self._match()
        except Exception as error:  # each protocol's library has its own errors
            raise self._refused(error) from None

    def _match(self) -> list[MatchedFile]:
        system, path = self._open()
        exact = not _WILDCARD.search(path) or system.exists(path)
        found = [path] if exact else sorted(system.glob(path))
        found = [name for name in found if system.isfile(name)]
        if not found:
            return []
        root = os.path.commonpath([PurePosixPath(name).parent for name in found])
        return [
            MatchedFile(
                self._url_of(system, name, path), PurePosixPath(name).relative_to(root).as_posix()
            )
            for name in found
        ]

    def _url_of(self, system: Any, name: str, path: str) -> str:
        return self._url if name == path else str(system.unstrip_protocol(name))

    def open(self) -> io.BufferedReader:
        """Open the one file of this URL, able to seek where its protocol can."""
        try:
            system, path = self._open()
            return io.BufferedReader(system.open(path, "rb"), 1 << 20)
        except Exception as error:
            raise self._refused(error) from None

    def state(self) -> str:
        """Return a token that changes when the file does (ETag, checksum), as its protocol has."""
        try:
            system, path = self._open()
            return str(system.ukey(path))
        except Exception as error:
            raise self._refused(error) from None

    def _open(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        options = {name: _value(look_up(text, self._place)) for name, text in self._options.items()}
        system, path = url_to_fs(self._url_now, **options)
        return system, path

    def _refused(self, error: Exception) -> DataError:
        if isinstance(error, DataError):
            return error
        reason = masked(f"{type(error).__name__}: {error}", self._url, *self._options.values())
        return DataError(
            f"{self._url} cannot be read: {reason}",
            where=self._place,
            next_step="Check the URL and its storage options; each protocol needs its package "
            "(for s3: pip install nlp-workbench[s3]).",
            cause=cause_of(error),
        )


def _value(text: str) -> Any:
    """Return an option's value: JSON where it is some, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
