"""Arrow files: the IPC file format (Feather), and the stream format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Literal

import pyarrow as pa

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.data.sources.columnar import BATCH_ROWS, ColumnarSource
from workbench.data.sources.locations import MatchedFile
from workbench.data.sources.source import Rejected, SourceRow

_FILE_MAGIC = b"ARROW1"
_OLD_FEATHER_MAGIC = b"FEA1"


class ArrowSource(ColumnarSource):
    """Arrow files or streams, one record a row."""

    kind: Literal["arrow"] = option(
        "arrow", title="Kind", help="Arrow and Feather files.", group="Source"
    )  # fmt: skip

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield one record per row."""
        with self.reading(file, "Arrow"):
            yield from self.rows(file, self.batches(file))

    def batches(self, file: MatchedFile) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file in batches."""
        with self.open_bytes(file) as raw:
            head = raw.peek(8)[:8]
        if head.startswith(_OLD_FEATHER_MAGIC):
            raise DataError(f"{file.name} is in the first Feather format, of before 2020",
                            where=self.place(file.location),
                            next_step="Write it again as Feather 2 or Parquet.")  # fmt: skip
        is_file = head.startswith(_FILE_MAGIC)
        with self.open_seekable(file) if is_file else self.open_bytes(file) as stream:
            for batch in _in_file(stream) if is_file else _in_stream(stream):
                batch.validate(full=True)  # bytes of a stranger: offsets may point anywhere
                chosen = batch.select(self.wanted(batch.schema.names, file))
                for start in range(0, chosen.num_rows, BATCH_ROWS):
                    yield chosen.slice(start, BATCH_ROWS)


def _in_file(raw: IO[bytes]) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_file(raw) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def _in_stream(raw: IO[bytes]) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(raw) as reader:
        yield from reader
