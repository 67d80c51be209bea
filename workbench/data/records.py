"""The one schema of text records, and how data set artifacts are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, nearest_name

if TYPE_CHECKING:
    from workbench.core.artifact import Draft

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of source, position and text
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string()),  # None: not labelled
        pa.field("label_scheme", pa.string()),  # the set of labels that `label` comes from
        pa.field("source", pa.string(), nullable=False),  # the source's name in the Spec
        pa.field("language", pa.string()),  # ISO 639-1, None: not known
        pa.field("provenance", pa.string(), nullable=False),  # URI and position, to fetch again
        pa.field("extra", pa.string()),  # other columns of the source, as JSON
    ]
)
# Columns of few different values: kept as places in a dictionary. For texts, ids and token ids a
# dictionary only costs time, when they are written and when they are read.
REPETITIVE = ["label", "label_scheme", "source", "language"]
PARTITION_ROWS = 100_000
PARTITION_BYTES = 64 << 20  # of text: long texts make partitions of fewer records


def read_records(dataset: Artifact, columns: list[str] | None = None) -> pa.Table:
    """Read all records of a data set as one Arrow table (columns of ``SCHEMA`` and any others).

    Raises:
        DataError: the artifact is no data set, holds no partition, or one is damaged.
    """
    if dataset.kind != "dataset":
        raise DataError(f"{dataset.reference} is a {dataset.kind}, not a data set",
                        where=dataset.reference, next_step="Name a data set.")  # fmt: skip
    return pa.concat_tables(_read_partition(path, columns) for path in partitions(dataset))


def _read_partition(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path.name} is damaged: {error}",
            where=str(path),
            next_step="Make the data set again: workbench gc, then the run that made it.",
        ) from error


def partitions(dataset: Artifact) -> list[Path]:
    """Return the Parquet files of a data set in order."""
    files = sorted(dataset.path.glob("part-*.parquet"))
    if not files:
        raise DataError(f"{dataset.reference} holds no records file", where=str(dataset.path),
                        next_step="Make the data set again.")  # fmt: skip
    return files


def find_record(dataset: Artifact, record_id: str) -> dict[str, Any]:
    """Return one record of a data set, by its id.

    Raises:
        DataError: the artifact is no data set, or has no record of this id.
    """
    for path in partitions(dataset) if dataset.kind == "dataset" else []:
        if "id" in pq.read_schema(path).names:
            found = pq.read_table(path, filters=[("id", "==", record_id)]).to_pylist()
            if found:
                record: dict[str, Any] = found[0]
                return record
    raise DataError(f"{dataset.reference} has no record {record_id!r}", where=dataset.reference,
                    next_step="Take an id from its rows: wb.open(REF) shows them.")  # fmt: skip


def check_sources(records: pa.Table, named: Iterable[str], where: str) -> None:
    """Refuse names of sources that no record comes from.

    Raises:
        DataError: a name is unknown; the nearest source is told.
    """
    known = set(records["source"].unique().to_pylist())
    for source in named:
        if source not in known:
            raise DataError(f"No record comes from a source called {source!r}", where=where,
                            next_step=nearest_name(source, known))  # fmt: skip


def write_records(draft: Draft, table: pa.Table) -> None:
    """Write a table as the draft's partitions; the same table gives the same bytes."""
    with RecordWriter(draft, table.schema) as writer:
        writer.write(table)


class RecordWriter:
    """Writes records, as they come, into the partitions of a draft.

    Where a partition ends depends on the records alone: at most ``PARTITION_ROWS`` of them, and
    about ``PARTITION_BYTES`` of text. The same records give the same bytes, in whatever portions
    they arrive, and no more than one partition is held in memory.
    """

    def __init__(self, draft: Draft, schema: pa.Schema) -> None:
        self._draft = draft
        self.schema = schema
        self._waiting: list[pa.Table] = []
        self._num_waiting = self._bytes_waiting = 0
        self._num_partitions = self.num_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def write(self, table: pa.Table) -> None:
        """Add records."""
        table = table.select(self.schema.names).cast(self.schema)
        self.num_rows += table.num_rows
        while table.num_rows:
            sizes = self._bytes_waiting + np.cumsum(text_bytes(table))
            most = min(
                PARTITION_ROWS - self._num_waiting,
                # The record that passes the bound is the last of its partition.
                int(np.searchsorted(sizes, PARTITION_BYTES)) + 1,
                table.num_rows,
            )
            self._waiting.append(table.slice(0, most))
            self._num_waiting += most
            self._bytes_waiting = int(sizes[most - 1])
            if self._num_waiting >= PARTITION_ROWS or self._bytes_waiting >= PARTITION_BYTES:
                self._end_partition()
            table = table.slice(most)

    def close(self) -> None:
        """Write what is left and say how many records there are; an empty set has a file, too."""
        if self._num_waiting or not self._num_partitions:
            self._end_partition()
        self._draft.describe(rows=self.num_rows)

    def _end_partition(self) -> None:
        name = f"part-{self._num_partitions:05d}.parquet"
        waiting = self._waiting or [self.schema.empty_table()]
        write_partition(self._draft.path / name, pa.concat_tables(waiting))
        self._waiting, self._num_waiting, self._bytes_waiting = [], 0, 0
        self._num_partitions += 1


def text_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return how many bytes of text each record holds; int64 [n], zeros without a text column."""
    if "text" not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int64)
    lengths = pc.fill_null(pc.binary_length(table["text"]), 0)
    sizes: npt.NDArray[np.int64] = lengths.to_numpy().astype(np.int64)
    return sizes


def partition_ends(sizes: npt.NDArray[np.int64]) -> list[int]:
    """Return before which rows the partitions of records end, as ``RecordWriter`` ends them.

    ``sizes`` are the bytes of text of each record; no records make one empty partition.
    """
    bytes_until = np.cumsum(sizes)
    ends = [0]
    while ends[-1] < len(sizes):
        start = ends[-1]
        bytes_before = int(bytes_until[start - 1]) if start else 0
        last = int(np.searchsorted(bytes_until, bytes_before + PARTITION_BYTES))
        ends.append(min(last + 1, start + PARTITION_ROWS, len(sizes)))
    return ends[1:] or [0]


def write_partition(path: Path, table: pa.Table) -> None:
    """Write one Parquet file (zstd, no wall-clock time in it).

    The same rows give the same bytes, in however many chunks the table holds them.
    """
    pq.write_table(table.combine_chunks(), path, compression="zstd", use_dictionary=REPETITIVE)


def num_rows_of(files: Sequence[Path]) -> list[int]:
    """Return the number of records in each partition, read from the files' ends only."""
    return [pq.read_metadata(path).num_rows for path in files]


def take_records(
    files: Sequence[Path], rows: npt.NDArray[np.int64], columns: list[str]
) -> pa.Table:
    """Return some columns of some records, by their row in the whole data set, in that order.

    One partition is in memory at a time, and only those are read that hold such a record.
    """
    starts = np.concatenate([[0], np.cumsum(num_rows_of(files))])
    place = np.searchsorted(starts, rows, side="right") - 1
    order = np.argsort(place, kind="stable")
    schema = pq.read_schema(files[0])
    parts = [pa.schema([schema.field(name) for name in columns]).empty_table()]
    for number in np.unique(place):
        table = pq.read_table(files[number], columns=columns)
        wanted = rows[order[place[order] == number]] - starts[number]
        parts.append(table.take(pa.array(wanted)))
    back = np.empty(len(rows), dtype=np.int64)
    back[order] = np.arange(len(rows))
    return pa.concat_tables(parts).take(pa.array(back))
