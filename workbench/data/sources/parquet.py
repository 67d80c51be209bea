"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.data.sources.files import FileSource, MatchedFile
from workbench.data.sources.source import ColumnSource, SourceRow

_BATCH_ROWS = 10_000


class ParquetSource(ColumnSource, FileSource):
    """Parquet files, one record a row."""

    kind: Literal["parquet"] = option(
        "parquet", title="Kind", help="Parquet files.", group="Source"
    )  # fmt: skip

    def read(self) -> Iterator[SourceRow]:
        """Yield one record per row, file by file."""
        for file in self.files():
            number = 0
            for batch in self._batches(file):
                for cells in batch.to_pylist():
                    number += 1
                    yield self.row(
                        cells,
                        position=f"{file.key}:{number}",
                        provenance={"uri": file.uri, "row": number},
                    )

    def _batches(self, file: MatchedFile) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(file.path) as table:
                names = table.schema_arrow.names
                self.check_columns(names, file.path)
                needed = {self.text_column, self.label_column}
                wanted = [name for name in names if name in needed or name not in self.omit_columns]
                yield from table.iter_batches(_BATCH_ROWS, columns=wanted)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{file.path.name} is not a readable Parquet file: {error}",
                where=self.place(file.path),
                next_step="Check that the file is whole, or choose another kind.",
            ) from error
