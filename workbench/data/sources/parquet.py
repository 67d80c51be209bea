"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.spec import option
from workbench.data.sources.columnar import BATCH_ROWS, ColumnarSource
from workbench.data.sources.files import PART_BYTES
from workbench.data.sources.locations import MatchedFile, Span
from workbench.data.sources.source import Rejected, SourceRow


class ParquetSource(ColumnarSource):
    """Parquet files, one record a row."""

    kind: Literal["parquet"] = option(
        "parquet", title="Kind", help="Parquet files.", group="Source"
    )  # fmt: skip

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield one record per row."""
        with self.reading(file, "Parquet"):
            yield from self.rows(file, self.batches(file))

    def cut(self, file: MatchedFile) -> list[tuple[MatchedFile, int]]:
        """Return groups of row groups; a span counts row groups, not bytes."""
        with self.reading(file, "Parquet"), self.open_seekable(file) as raw:
            meta = pq.read_metadata(raw)
            groups = [meta.row_group(n) for n in range(meta.num_row_groups)]
        pieces: list[tuple[MatchedFile, int]] = []
        start, row, size = 0, 1, 0
        for number, group in enumerate(groups):
            size += group.total_byte_size
            if size >= PART_BYTES or number == len(groups) - 1:
                pieces.append((file._replace(span=Span(start, number + 1, row)), size))
                row += sum(part.num_rows for part in groups[start : number + 1])
                start, size = number + 1, 0
        return pieces or [(file, 0)]

    def batches(self, file: MatchedFile) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file, or of the row groups of its span."""
        with self.open_seekable(file) as raw, pq.ParquetFile(raw) as table:
            columns = self.wanted(table.schema_arrow.names, file)
            span = file.span or Span(0, table.num_row_groups, 1)
            groups = list(range(span.start, span.end))
            yield from table.iter_batches(BATCH_ROWS, groups, columns)
