"""Text files as sources see them: decoded, read line by line, and cut between lines."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple

from pydantic import AfterValidator

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.data.sources.encoding import detect_encoding, known_encoding, reason_of
from workbench.data.sources.files import PART_BYTES, FileSource, location_of
from workbench.data.sources.locations import (
    MatchedFile,
    Span,
)
from workbench.data.sources.packed import UnpackBounds, unpacked
from workbench.data.sources.raw_lines import (
    RawLine,
    as_utf8,
    is_wide,
    line_spans,
    raw_lines,
    skip_to,
)
from workbench.data.sources.source import (
    RAW_CHARACTERS,
    Rejected,
)

_LONGEST_MEGABYTES = 1_000  # of a record

Encoding = Annotated[str, AfterValidator(known_encoding)]


class TextLine(NamedTuple):
    """One line of a text file: its number, where its bytes are, and what they say."""

    number: int
    offset: int
    raw: bytes
    text: str


class TextFileSource(FileSource):
    """The settings of every source that reads text files."""

    encoding: Encoding = option(
        "", title="Encoding", group="Source",
        help="The text encoding, for example utf-8 or cp1252; empty: found out for each file.",
    )  # fmt: skip
    max_record_megabytes: float = option(
        16.0, title="Longest record", group="Limits", unit="MB", gt=0, le=_LONGEST_MEGABYTES,
        help="A record of more bytes than this is rejected, never held.",
    )  # fmt: skip

    @contextmanager
    def open_text(
        self, file: MatchedFile | Path, newline: str = "\n"
    ) -> Iterator[tuple[IO[str], str]]:
        """Open a file as text and say in which encoding.

        Raises:
            DataError: the bytes are not in the encoding; the first wrong line is told.
        """
        encoding = self.encoding_of(file)
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding
        try:
            with self.open_bytes(file) as raw:
                yield io.TextIOWrapper(raw, encoding=encoding, newline=newline), encoding
        except UnicodeError as error:
            raise self._wrong_encoding(file, encoding, error) from error

    def text_lines(self, file: MatchedFile, ending: bytes = b"\n") -> Iterator[TextLine | Rejected]:
        """Yield the lines of a file (of its span, if it has one) with numbers and offsets.

        A line that is too long, not in the file's encoding, or with a NUL byte is rejected. Text is
        without line end; offsets in a wide encoding (UTF-16) count bytes of UTF-8.
        """
        encoding = self.encoding_of(file)
        code = "utf-8" if is_wide(encoding) or encoding == "utf-8-sig" else encoding
        span = file.span or Span(0, 0, 1)
        with self.open_bytes(file) as raw:
            stream: IO[bytes] = as_utf8(raw, encoding) if is_wide(encoding) else raw
            if span.start:
                raw.seek(span.start)
            lines = raw_lines(stream, self.max_record_bytes, span.start, span.end or None, ending)
            try:
                for number, line in enumerate(lines, span.first_row):
                    text = _decoded(line.raw, code)
                    if isinstance(text, str):
                        text = text.removeprefix("\ufeff") if not line.offset else text
                        yield TextLine(number, line.offset, line.raw or b"", text)
                    else:
                        yield self._rejected_line(file, encoding, number, line, text)
            except UnicodeError as error:  # of a wide encoding, where lines cannot be told
                raise self._wrong_encoding(file, encoding, error) from error

    def _rejected_line(
        self, file: MatchedFile, encoding: str, number: int, line: RawLine, wrong: _Wrong
    ) -> Rejected:
        place = self.slice_place(file, encoding, number, line.offset, line.length)
        raw = (line.raw or b"")[:RAW_CHARACTERS].decode(errors="replace")
        reason = f"Line {number} {wrong.reason}"
        return Rejected(f"{file.key}:{number}", place, reason, wrong.rule, raw, wrong.next_step)

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Return the bytes that a record was read from: a slice of its file, or all of it."""
        source, file = cls.again(provenance)
        with source.open_bytes(file) as raw:
            encoding = provenance.get("encoding", "")
            stream: IO[bytes] = as_utf8(raw, encoding) if is_wide(encoding) else raw
            if "offset" not in provenance:
                return raw.read(source.max_record_bytes)
            skip_to(stream, provenance["offset"])
            return stream.read(min(max(provenance["length"], 0), source.max_record_bytes))

    def slice_place(
        self, file: MatchedFile, encoding: str, number: int, offset: int, length: int
    ) -> dict[str, object]:
        """Return the provenance of a row that is a slice of a file's bytes."""
        return self.locate(file, encoding, row=number, offset=offset, length=length)

    @property
    def max_record_bytes(self) -> int:
        """The most bytes of one record."""
        return int(self.max_record_megabytes * 1e6)

    def encoding_of(self, file: MatchedFile | Path) -> str:
        """Return the encoding of a file: as the settings say, or found out.

        Raises:
            DataError: it cannot be told from the bytes.
        """
        known = self.encoding or (file.encoding if isinstance(file, MatchedFile) else "")
        if known:
            return known
        with self.open_bytes(file) as stream:
            found = detect_encoding(stream)
        if found is None:
            raise DataError(
                f"{file.name} is in no text encoding that can be told from its bytes",
                where=self.place(location_of(file), self._first_wrong_line(file, "utf-8")),
                next_step="Name the encoding; if the file is not text, choose another kind.",
            )
        return found

    def cut_lines(self, file: MatchedFile) -> list[tuple[MatchedFile, int]]:
        """Return stretches of whole lines of a big local file that is not packed."""
        size = Path(file.location).stat().st_size if file.is_local else 0
        encoding = self.encoding_of(file) if size > PART_BYTES else ""
        if size <= PART_BYTES or is_wide(encoding) or is_packed(file):
            return TextFileSource.cut(self, file)
        pieces = []
        with Path(file.location).open("rb") as stream:
            for span in map(Span._make, line_spans(stream, size, PART_BYTES)):
                piece = file._replace(encoding=encoding, span=span)
                pieces.append((piece, span.end - span.start))
        return pieces

    def _wrong_encoding(
        self, file: MatchedFile | Path, encoding: str, error: UnicodeError
    ) -> DataError:
        return DataError(
            f"{file.name} is not {encoding}, {reason_of(error)}",
            where=self.place(location_of(file), self._first_wrong_line(file, encoding)),
            next_step="Leave the encoding empty to have it found out, or name the right one.",
        )

    def _first_wrong_line(self, file: MatchedFile | Path, encoding: str) -> str:
        if is_wide(encoding):
            return ""  # their lines cannot be told from bytes
        with self.open_bytes(file) as stream:
            for number, line in enumerate(raw_lines(stream, self.max_record_bytes), 1):
                try:
                    (line.raw or b"").decode(encoding)
                except UnicodeError as error:
                    return f"line {number}, byte {getattr(error, 'start', 0) + 1}"
        return "end of file"


class _Wrong(NamedTuple):
    rule: str
    reason: str
    next_step: str


def _decoded(raw: bytes | None, code: str) -> str | _Wrong:
    """Return what the bytes of a line say, or why they say nothing."""
    if raw is None:
        return _Wrong("too_long", "is longer than a record may be",
                      "Raise the longest record, or break the line.")  # fmt: skip
    if b"\0" in raw:
        return _Wrong("nul_byte", "holds a NUL byte, which no text has",
                      "Remove it; if the file is not text, choose another kind.")  # fmt: skip
    try:
        return raw.decode(code)
    except UnicodeError as error:
        return _Wrong("wrong_encoding", f"is not {code}, {reason_of(error)}",
                      "Leave the encoding empty to have it found out, or name the right "
                      "one.")  # fmt: skip


def is_packed(file: MatchedFile) -> bool:
    """Whether a local file has to be unpacked to be read."""
    with Path(file.location).open("rb") as raw:
        return unpacked(raw, UnpackBounds(1, 1), file.name, "") is not raw
