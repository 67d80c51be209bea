"""Files as sources see them: found by pattern, unpacked, decoded, and hashed."""

from __future__ import annotations

import codecs
import glob
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, NamedTuple, cast

from pydantic import AfterValidator, Field

from workbench.core.artifact import hash_file
from workbench.core.errors import DataError, nearest_name
from workbench.core.spec import LocalPath, option
from workbench.data.sources.source import SourceSpec

_CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name if name else ""
    except LookupError as error:
        raise ValueError(f"{name!r} is no text encoding; for example utf-8 or cp1252") from error


Encoding = Annotated[str, AfterValidator(_known_encoding)]


class MatchedFile(NamedTuple):
    """One file of a source; ``key`` is its path below the folder that all of them share."""

    path: Path
    key: str

    @property
    def uri(self) -> str:
        """The file as a ``file:`` URI."""
        return self.path.as_uri()


class FileSource(SourceSpec):
    """The settings of every source that reads files; packed files (gzip) are unpacked."""

    path: Annotated[LocalPath, Field(min_length=1)] = option(
        title="File", group="Source",
        help="A file, or a pattern that matches several (reviews/*.csv); gzip is unpacked.",
    )  # fmt: skip

    def files(self) -> list[MatchedFile]:
        """Return the files that ``path`` names, sorted.

        Raises:
            DataError: none is there; the nearest name in that folder is told.
        """
        paths = [Path(self.path)]
        if not paths[0].exists():
            paths = sorted(Path(match) for match in glob.glob(self.path, recursive=True))  # noqa: PTH207
        paths = [path for path in paths if not path.is_dir()]
        if not paths:
            raise self._no_file()
        root = Path(os.path.commonpath([path.parent for path in paths]))
        return [MatchedFile(path, path.relative_to(root).as_posix()) for path in paths]

    def _no_file(self) -> DataError:
        path = Path(self.path)
        if path.is_dir():
            return DataError(f"{path} is a folder, not a file", where=self.place(path),
                             next_step=f"Name its files: {path}/*")  # fmt: skip
        folder = next(parent for parent in path.parents if parent.is_dir())
        near = nearest_name(path.name, [entry.name for entry in sorted(folder.iterdir())][:200])
        return DataError(f"No file is called {path}", where=self.place(path),
                         next_step=f"In {folder}: {near or 'no files'}")  # fmt: skip

    def fingerprint(self) -> str | None:
        """Return the SHA-256 over the names and bytes of all matched files."""
        return hash_files([(file.key, file.path) for file in self.files()])

    @contextmanager
    def open_bytes(self, path: Path) -> Iterator[IO[bytes]]:
        """Open a file, unpacked; what goes wrong while reading becomes a DataError."""
        try:
            with path.open("rb") as raw:
                is_packed = raw.peek(2)[:2] == _GZIP_MAGIC
                unpacked = gzip.GzipFile(fileobj=raw) if is_packed else raw
                yield cast("IO[bytes]", unpacked)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path.name} is a damaged gzip file: {error}", where=self.place(path),
                            next_step="Copy the file again.") from error  # fmt: skip
        except OSError as error:
            raise DataError(
                f"{path.name} cannot be read: {error.strerror or error}",
                where=self.place(path),
                next_step="Check that the file is there and may be read.",
            ) from error


class TextFileSource(FileSource):
    """The settings of every source that reads text files."""

    encoding: Encoding = option(
        "", title="Encoding", group="Source",
        help="The text encoding, for example utf-8 or cp1252; empty: found out for each file.",
    )  # fmt: skip

    @contextmanager
    def open_text(self, path: Path, newline: str = "\n") -> Iterator[tuple[IO[str], str]]:
        """Open a file as text and say in which encoding.

        Raises:
            DataError: the bytes are not in the encoding; the first wrong line is told.
        """
        encoding = self.encoding or self._detect_encoding(path)
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding
        try:
            with self.open_bytes(path) as raw:
                yield io.TextIOWrapper(raw, encoding=encoding, newline=newline), encoding
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path.name} is not {encoding}: {error.reason}",
                where=self.place(path, self._first_wrong_line(path, encoding)),
                next_step="Leave the encoding empty to have it found out, or name the right one.",
            ) from error

    def locate(self, file: MatchedFile, encoding: str, **position: object) -> dict[str, object]:
        """Return the provenance of a record: file, position, and the encoding if not UTF-8."""
        unusual = {} if encoding in ("utf-8", "utf-8-sig", "ascii") else {"encoding": encoding}
        return {"uri": file.uri, **position, **unusual}

    def _detect_encoding(self, path: Path) -> str:
        with self.open_bytes(path) as stream:
            head = stream.read(_CHUNK_BYTES)
            for mark, encoding in _BYTE_ORDER_MARKS:
                if head.startswith(mark):
                    return encoding
            if _is_utf8(head, stream):
                return "utf-8"
        return self._guess_encoding(path, head)

    def _guess_encoding(self, path: Path, head: bytes) -> str:
        from resiliparse.parse.encoding import detect_encoding

        guess = detect_encoding(head, max_len=0)
        if b"\0" in head or guess in (None, "utf-8"):
            raise DataError(
                f"{path.name} is in no text encoding that can be told from its bytes",
                where=self.place(path, self._first_wrong_line(path, "utf-8")),
                next_step="Name the encoding; if the file is not text, choose another kind.",
            )
        return str(guess)

    def _first_wrong_line(self, path: Path, encoding: str) -> str:
        if encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
            return ""  # their lines cannot be told from bytes
        with self.open_bytes(path) as stream:
            for number, line in enumerate(stream, 1):
                try:
                    line.decode(encoding)
                except UnicodeDecodeError as error:
                    return f"line {number}, byte {error.start + 1}"
        return "end of file"


def _is_utf8(head: bytes, stream: IO[bytes]) -> bool:
    """Whether ``head`` and the rest of the stream are valid UTF-8 text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        chunk = head
        while chunk:
            decoder.decode(chunk)
            chunk = stream.read(_CHUNK_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def hash_files(files: Sequence[tuple[str, Path]]) -> str:
    """Return one SHA-256 over names and contents."""
    total = hashlib.sha256()
    for name, path in files:
        total.update(f"{name}\0{hash_file(path)}\n".encode())
    return total.hexdigest()
