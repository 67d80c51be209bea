"""Rows of any number go through in batches: data sets are written without being held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Draft
from workbench.data.records import PARTITION_ROWS, write_partition

PARTITION_BYTES = 1 << 28  # of text: a partition is held while it is written, rows may be long
_BATCH_ROWS = 4_096


def read_batches(files: Iterable[Path]) -> Iterator[pa.Table]:
    """Yield the rows of Parquet files in order, in tables of a few thousand rows at most."""
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                yield pa.Table.from_batches([batch])


class PartitionWriter:
    """Writes rows as the partitions of a draft; the same rows give the same bytes.

    A partition ends after ``PARTITION_ROWS`` rows, or with the row whose text makes it pass
    ``PARTITION_BYTES``: this depends on the rows alone, not on the tables they come in.
    """

    def __init__(self, draft: Draft, schema: pa.Schema) -> None:
        self._draft, self._schema = draft, schema
        self._held: list[pa.Table] = []
        self._num_held = self._num_bytes = self._num_partitions = self._num_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._end(is_last=True)

    def write(self, rows: pa.Table) -> None:
        """Add rows, and write what partitions are full."""
        rows = rows.cast(self._schema)
        while rows.num_rows:
            room = self._room(rows)
            taken = rows.slice(0, room)
            self._held.append(taken)
            self._num_held += taken.num_rows
            self._num_bytes += int(_text_bytes(taken).sum())
            if self._num_held == PARTITION_ROWS or self._num_bytes >= PARTITION_BYTES:
                self._end()
            rows = rows.slice(room)

    def _room(self, rows: pa.Table) -> int:
        """Return how many of the rows still belong to the partition that is being filled."""
        sizes = np.cumsum(_text_bytes(rows))
        until_full = int(np.searchsorted(sizes, PARTITION_BYTES - self._num_bytes)) + 1
        return min(PARTITION_ROWS - self._num_held, until_full, rows.num_rows)

    def _end(self, is_last: bool = False) -> None:
        if self._num_held or (is_last and not self._num_partitions):
            table = pa.concat_tables([self._schema.empty_table(), *self._held])
            write_partition(self._draft.path / f"part-{self._num_partitions:05d}.parquet", table)
            self._num_partitions += 1
            self._num_rows += table.num_rows
            self._held, self._num_held, self._num_bytes = [], 0, 0
        if is_last:
            self._draft.describe(rows=self._num_rows)


def _text_bytes(rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    sizes = pc.binary_length(rows["text"]).fill_null(0)
    return sizes.to_numpy().astype(np.int64)  # type: ignore[no-any-return]
