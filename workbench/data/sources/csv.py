"""Tables in text files: comma, tab or otherwise separated."""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.data.sources.files import PART_BYTES
from workbench.data.sources.locations import MatchedFile, Span
from workbench.data.sources.source import (
    RAW_CHARACTERS,
    ColumnSource,
    Rejected,
    SourceRow,
    raw_hash,
)
from workbench.data.sources.text_files import TextFileSource, TextLine, is_packed

_HEAD_BYTES = 1 << 16
_MOST_READ_AGAIN = 8  # times what was read
_SCAN_BYTES = 1 << 24
# In which no part of another sign looks like a delimiter, quote or line end.
_PLAIN_ENCODINGS = {
    "utf-8", "utf-8-sig", "ascii", "latin-1", "iso-8859-1", "iso8859-1", "cp1252", "windows-1252",
}  # fmt: skip


def _named_delimiter(text: object) -> object:
    """Let people write what cannot be typed in a form."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text) if isinstance(text, str) else text


class _Row(NamedTuple):
    """The cells of one row, and the bytes it was read from."""

    cells: list[str]
    offset: int
    raw: bytes


class _BadRow(NamedTuple):
    """A row that is no row of a table: why, and its first line."""

    reason: str
    line: TextLine


class CsvSource(ColumnSource, TextFileSource):
    """A table in text files, one record a row."""

    kind: Literal["csv"] = option(
        "csv", title="Kind", help="A table in text files.", group="Source"
    )
    delimiter: Annotated[str, BeforeValidator(_named_delimiter), Field(max_length=1)] = option(
        ",", title="Delimiter", group="Source", min_length=1,
        help="The character between cells; write tab for a tab.",
    )  # fmt: skip
    quoted: bool = option(
        True, title="Quoted cells", group="Source",
        help='Cells may stand in "quotes" and then hold delimiters and line ends. Off: quotes are '
        "plain characters and each line is one row.",
    )  # fmt: skip
    columns: list[str] = option(
        [], title="Column names", group="Columns",
        help="Names of the columns where the file has no header; empty: the first row names them.",
    )  # fmt: skip

    def cut(self, file: MatchedFile) -> list[tuple[MatchedFile, int]]:
        """Return stretches of whole rows of a big local file all of whose rows are well-formed.

        Any other file is one piece: where a quote is left open, what is a row depends on all that
        follows.
        """
        whole = super().cut(file)
        if not file.is_local or is_packed(file) or whole[0][1] <= PART_BYTES:
            return whole
        encoding = self.encoding_of(file)
        is_plain = encoding in _PLAIN_ENCODINGS and self.delimiter.isascii()
        if not is_plain or self._line_end(file) != b"\n":
            return whole
        spans = self._spans(file, encoding)
        if spans is None:
            return whole
        return [
            (file._replace(encoding=encoding, span=span), span.end - span.start) for span in spans
        ]

    def _spans(self, file: MatchedFile, encoding: str) -> list[Span] | None:
        """Return the stretches of a file; None if one of its rows is not well-formed."""
        from workbench.data.kernels.csv_rows import (
            NO_QUOTE,
            NOT_FOUND,
            NUM_ROWS,
            ODD,
            begin,
            find_row_end,
            is_quote_open,
        )  # fmt: skip

        quote = ord('"') if self.quoted else NO_QUOTE
        decoder = codecs.getincrementaldecoder(encoding)()
        known, spans = begin(), list[Span]()
        start = at = num_before = 0
        with Path(file.location).open("rb") as stream:
            if stream.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
                at = stream.tell()
            stream.seek(at)
            while chunk := stream.read(_SCAN_BYTES):
                if b"\0" in chunk or not _decodes(decoder, chunk):
                    return None
                done = 0
                while done < len(chunk):
                    content = np.frombuffer(chunk, np.uint8)[done:]
                    wished = max(start + PART_BYTES - at - done, 0)
                    end = find_row_end(
                        content, wished, ord(self.delimiter), quote, self.max_record_bytes, known
                    )
                    if end == ODD:
                        return None
                    if end == NOT_FOUND:
                        break
                    done += end
                    spans.append(Span(start, at + done, num_before))
                    start, num_before = at + done, int(known[NUM_ROWS])
                at += len(chunk)
        if not _decodes(decoder, b"", final=True) or is_quote_open(known):
            return None
        if start < at:
            spans.append(Span(start, at, num_before))
        num_named = 0 if self.columns else 1  # the first row is the header
        return [
            span._replace(first_row=max(span.first_row - num_named, 0) + 1) for span in spans
        ]  # fmt: skip

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield one record per row."""
        encoding = self.encoding_of(file)
        file = file._replace(encoding=encoding)
        rows = self._rows(file)
        is_begun = file.span is not None and file.span.start > 0
        above = self._rows(file._replace(span=None)) if is_begun else rows
        header = self.columns or self._read_header(file, above)
        self.check_columns(header, file.location, "header")
        for number, row in enumerate(rows, file.span.first_row if file.span else 1):
            position = f"{file.key}:{number}"
            if isinstance(row, Rejected):
                yield row._replace(position=position)
            elif isinstance(row, _BadRow):
                line = row.line
                place = self.slice_place(file, encoding, number, line.offset, len(line.raw))
                yield Rejected(
                    position, place, f"Row {number} is not well-formed, line {line.number}: "
                    f"{row.reason}", "not_a_row", line.text[:RAW_CHARACTERS],
                    "If quotes are plain characters in this file, turn quoted cells off.",
                )  # fmt: skip
            else:
                place = self.slice_place(file, encoding, number, row.offset, len(row.raw))
                yield self._record(header, row, position, place)

    def _record(
        self, header: list[str], row: _Row, position: str, place: dict[str, object]
    ) -> SourceRow | Rejected:
        if len(row.cells) != len(header):
            return Rejected(
                position, place, f"Row {place['row']} has {len(row.cells)} cells where "
                f"{len(header)} columns are named", "wrong_width",
                row.raw[:RAW_CHARACTERS].decode(errors="replace"),
                "Check delimiter and quoted cells, or mend the row.",
            )  # fmt: skip
        place["hash"] = raw_hash(row.raw)
        return self.row(dict(zip(header, row.cells, strict=True)), position, place)

    def _read_header(
        self, file: MatchedFile, rows: Iterator[_Row | _BadRow | Rejected]
    ) -> list[str]:
        first = next(rows, None)
        if isinstance(first, Rejected | _BadRow):
            raise DataError(f"The header cannot be read: {first.reason}",
                            where=self.place(file.location, "header"),
                            next_step="Mend the first row, or name the columns.")  # fmt: skip
        return first.cells if first else []

    def _rows(self, file: MatchedFile) -> Iterator[_Row | _BadRow | Rejected]:
        ending = self._line_end(file)
        lines = self.text_lines(file, ending)
        return self._quoted_rows(lines, ending) if self.quoted else self._plain_rows(lines)

    def _line_end(self, file: MatchedFile) -> bytes:
        """Return a lone carriage return for files of old systems, which know no other line end."""
        with self.open_bytes(file) as stream:
            head = stream.read(_HEAD_BYTES)
        return b"\r" if self.quoted and b"\r" in head and b"\n" not in head else b"\n"

    def _plain_rows(
        self, lines: Iterator[TextLine | Rejected]
    ) -> Iterator[_Row | _BadRow | Rejected]:
        # Not csv.reader: it ends a row at a lone carriage return too.
        for line in lines:
            if isinstance(line, Rejected):
                yield line
            elif text := line.text.removesuffix("\r"):
                yield _Row(text.split(self.delimiter), line.offset, line.raw)

    def _quoted_rows(
        self, lines: Iterator[TextLine | Rejected], ending: bytes
    ) -> Iterator[_Row | _BadRow | Rejected]:
        csv.field_size_limit(self.max_record_bytes)
        supply = _Supply(lines, self.max_record_bytes)
        reader = csv.reader(supply, delimiter=self.delimiter, strict=True)
        while True:
            supply.begin_row()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                # What an open quote has swallowed is read again, but for the line it stands in.
                if supply.used:
                    yield _BadRow(str(error), supply.used[0])
                    self._check_read_again(supply)
                supply.give_back()
                continue
            yield from supply.take_rejected()
            if cells is None:
                return
            if cells:
                yield _Row(
                    cells, supply.used[0].offset, ending.join(line.raw for line in supply.used)
                )

    def _check_read_again(self, supply: _Supply) -> None:
        """Refuse a table whose open quotes make it be read over and over, up to for ever."""
        line = supply.used[0]
        if supply.num_read_again > _MOST_READ_AGAIN * max(line.offset, self.max_record_bytes):
            raise DataError(
                f"Too many quotes are left open up to line {line.number}",
                where=self.place(self.path, f"line {line.number}"),
                next_step="If quotes are plain characters in this file, turn quoted cells off.",
            )


def _decodes(decoder: codecs.IncrementalDecoder, content: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(content, final)
    except UnicodeError:
        return False
    return True


class _Supply:
    """Lines for csv.reader, which asks for as many as a row has; they can be given back."""

    def __init__(self, lines: Iterator[TextLine | Rejected], most_bytes: int) -> None:
        self._lines, self._most_bytes = lines, most_bytes
        self._waiting: deque[TextLine] = deque()
        self._rejected: list[Rejected] = []
        self.used: list[TextLine] = []
        self._num_bytes = 0
        self.num_read_again = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not self._waiting:
            line = next(self._lines)
            if isinstance(line, Rejected):
                if self.used:
                    self._rejected.append(line)
                    raise csv.Error("a line of it is no text")
                self._rejected.append(line)
                continue
            self._waiting.append(line)
        line = self._waiting.popleft()
        self.used.append(line)
        self._num_bytes += len(line.raw) + 1
        if self._num_bytes > self._most_bytes + 1:
            raise csv.Error("it is longer than a record may be")
        return line.text + "\n"

    def begin_row(self) -> None:
        self.used = []
        self._num_bytes = 0

    def give_back(self) -> None:
        self._waiting.extendleft(reversed(self.used[1:]))
        self.num_read_again += self._num_bytes

    def take_rejected(self) -> list[Rejected]:
        taken, self._rejected = self._rejected, []
        return taken
