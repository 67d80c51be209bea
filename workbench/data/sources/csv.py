"""Tables in text files: comma, tab or otherwise separated."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.data.sources.files import MatchedFile, TextFileSource
from workbench.data.sources.source import ColumnSource, SourceRow

_LONGEST_CELL = 1 << 26  # csv's own bound of 128 kB cuts long articles off


def _named_delimiter(text: object) -> object:
    """Let people write what cannot be typed in a form."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text) if isinstance(text, str) else text


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

    def read(self) -> Iterator[SourceRow]:
        """Yield one record per row, file by file."""
        for file in self.files():
            with self.open_text(file.path, newline="") as (stream, encoding):
                rows = self._quoted_rows(file, stream) if self.quoted else self._plain_rows(stream)
                header = self.columns or next(rows, [])
                self._check_header(file, header)
                for number, cells in enumerate(rows, 1):
                    self._check_width(file, number, header, cells)
                    yield self.row(
                        dict(zip(header, cells, strict=True)),
                        position=f"{file.key}:{number}",
                        provenance=self.locate(file, encoding, row=number),
                    )

    def _plain_rows(self, stream: Iterator[str]) -> Iterator[list[str]]:
        # Not csv.reader: it ends a row at a lone carriage return too.
        for line in _lines(stream):
            if line:
                yield line.split(self.delimiter)

    def _quoted_rows(self, file: MatchedFile, stream: Iterator[str]) -> Iterator[list[str]]:
        csv.field_size_limit(_LONGEST_CELL)
        reader = csv.reader(stream, delimiter=self.delimiter, strict=True)
        try:
            for row in reader:
                if row:
                    yield row
        except csv.Error as error:
            raise DataError(
                f"{file.path.name} is not a well-formed table: {error}",
                where=self.place(file.path, f"line {reader.line_num}"),
                next_step="If quotes are plain characters in this file, turn quoted cells off.",
            ) from error

    def _check_header(self, file: MatchedFile, header: list[str]) -> None:
        self.check_columns(header, file.path)
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"Two columns are called {twice!r}",
                where=self.place(file.path, "header"),
                next_step="Rename one of them.",
            )

    def _check_width(
        self, file: MatchedFile, number: int, header: list[str], cells: list[str]
    ) -> None:
        if len(cells) != len(header):
            raise DataError(
                f"Row {number} has {len(cells)} cells where {len(header)} columns are named",
                where=self.place(file.path, f"row {number}"),
                next_step="Check delimiter and quoted cells, or mend the row.",
            )


def _lines(stream: Iterator[str]) -> Iterator[str]:
    """Yield lines that end with LF or CR LF only (a lone CR is part of the text)."""
    rest = ""
    for piece in stream:  # newline="" also ends a piece at a lone CR
        rest += piece
        if rest.endswith("\n"):
            yield rest.rstrip("\n").removesuffix("\r")
            rest = ""
    if rest:
        yield rest
