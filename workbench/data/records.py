"""The one schema of text records, and how data set artifacts are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
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
PARTITION_ROWS = 100_000


def read_records(dataset: Artifact, columns: list[str] | None = None) -> pa.Table:
    """Read all records of a data set as one Arrow table (columns of ``SCHEMA`` and any others).

    Raises:
        DataError: the artifact is no data set, or holds no partition.
    """
    if dataset.kind != "dataset":
        raise DataError(f"{dataset.reference} is a {dataset.kind}, not a data set",
                        where=dataset.reference, next_step="Name a data set.")  # fmt: skip
    return pa.concat_tables(pq.read_table(path, columns=columns) for path in partitions(dataset))


def partitions(dataset: Artifact) -> list[Path]:
    """Return the Parquet files of a data set in order."""
    files = sorted(dataset.path.glob("part-*.parquet"))
    if not files:
        raise DataError(f"{dataset.reference} holds no records file", where=str(dataset.path),
                        next_step="Make the data set again.")  # fmt: skip
    return files


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
    for number, part in enumerate(_slices(table)):
        write_partition(draft.path / f"part-{number:05d}.parquet", part)
    draft.describe(rows=table.num_rows)


def write_partition(path: Path, table: pa.Table) -> None:
    """Write one Parquet file (zstd, no wall-clock time in it).

    The same rows give the same bytes, in however many chunks the table holds them.
    """
    pq.write_table(table.combine_chunks(), path, compression="zstd", store_schema=True)


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    yield table.slice(0, PARTITION_ROWS)
    for start in range(PARTITION_ROWS, table.num_rows, PARTITION_ROWS):
        yield table.slice(start, PARTITION_ROWS)
