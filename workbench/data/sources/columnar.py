"""Tables that Arrow reads: batches of columns become records with row numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from workbench.core.errors import DataError
from workbench.data.sources.files import FileSource
from workbench.data.sources.locations import MatchedFile, Span
from workbench.data.sources.source import ColumnSource, Rejected, SourceRow, raw_hash

BATCH_ROWS = 4_096


class ColumnarSource(ColumnSource, FileSource):
    """The settings of sources whose files hold typed columns."""

    def wanted(self, names: list[str], file: MatchedFile) -> list[str]:
        """Return the columns to read of those that are there.

        Raises:
            DataError: a named column is not there, or there twice.
        """
        self.check_columns(names, file.location)
        needed = {self.text_column, self.label_column}
        return [name for name in names if name in needed or name not in self.omit_columns]

    def rows(
        self, file: MatchedFile, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[SourceRow | Rejected]:
        """Yield one record per row of the batches; the first has the number of the span's."""
        number = (file.span or Span(0, 0, 1)).first_row - 1
        for batch in batches:
            for cells in _to_rows(batch):
                number += 1
                yield self._from_cells(file, cells, number)

    def _from_cells(
        self, file: MatchedFile, cells: dict[str, Any], number: int
    ) -> SourceRow | Rejected:
        place = self.locate(file, row=number)
        row = self.row(cells, f"{file.key}:{number}", place)
        if isinstance(row, SourceRow):
            place |= {"column": self.text_column, "hash": raw_hash(row.text)}
        return row

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Return the text cell of the row that a record was read from."""
        source, file = cls.again(provenance)
        column = provenance["column"]
        source = source.model_copy(update={"text_column": column})
        number, seen = provenance["row"], 0
        for batch in source.batches(file):
            if number <= seen + batch.num_rows:
                cell = _to_rows(batch.slice(number - seen - 1, 1))[0][column]
                return b"" if cell is None else str(cell).encode("utf-8", "surrogatepass")
            seen += batch.num_rows
        return b""

    def batches(self, file: MatchedFile) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file, of its span if it has one, in batches."""
        raise NotImplementedError

    @contextmanager
    def reading(self, file: MatchedFile, what: str) -> Iterator[None]:
        """Turn what the library says of a damaged file into a DataError."""
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError, RecursionError) as error:
            reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise DataError(
                f"{file.name} is not a readable {what} file: {reason}",
                where=self.place(file.location),
                next_step="Check that the file is whole, or choose another kind.",
            ) from error


def _to_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows as plain values; text that is not UTF-8 becomes what can be told of it."""
    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except (UnicodeDecodeError, OverflowError, ValueError):
        columns = [[_value(cell) for cell in column] for column in batch.columns]
        return [dict(zip(batch.schema.names, cells, strict=True)) for cells in zip(*columns)]  # noqa: B905


def _value(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except (UnicodeDecodeError, OverflowError, ValueError):
        try:
            return bytes(cell.as_buffer())
        except (AttributeError, TypeError):
            return None
