"""What a person asks first of some records: how many, of which labels, whence, and how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from workbench.core.artifact import Artifact
from workbench.data.records import partitions

LENGTHS = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16_384, 65_536)  # first of each bar
COUNTED = {"labels": "label", "languages": "language", "sources": "source"}


class Profile(BaseModel):
    """Counts of records by label, language and source (empty: none), and by length.

    ``lengths`` has a count for each of ``LENGTHS``: texts of at least so many characters and fewer
    than the next; all are 0 where texts were not read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = 0
    labels: dict[str, int] = {}
    languages: dict[str, int] = {}
    sources: dict[str, int] = {}
    lengths: tuple[int, ...] = (0,) * len(LENGTHS)


def profile(table: pa.Table) -> Profile:
    """Count some records; columns that are not there are not counted."""
    counts = {
        counted: _count(table[column])
        for counted, column in COUNTED.items()
        if column in table.column_names
    }
    lengths = _lengths(table["text"]) if "text" in table.column_names else Profile().lengths
    return Profile(rows=table.num_rows, lengths=lengths, **counts)


def merge(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of all records together."""
    rows = 0
    counts: dict[str, Counter[str]] = {counted: Counter() for counted in COUNTED}
    lengths = np.zeros(len(LENGTHS), np.int64)
    for one in profiles:
        rows += one.rows
        lengths += one.lengths
        for counted, total in counts.items():
            total.update(getattr(one, counted))
    return Profile(
        rows=rows,
        lengths=tuple(lengths.tolist()),
        **{counted: _sorted(total) for counted, total in counts.items()},
    )


def profile_without_texts(dataset: Artifact) -> Profile:
    """Count all records of a data set, of which the texts, and so the lengths, are not read."""
    found = []
    for path in partitions(dataset):
        with pq.ParquetFile(path, read_dictionary=list(COUNTED.values())) as file:
            names = [name for name in COUNTED.values() if name in file.schema_arrow.names]
            found.append(profile(file.read(names, use_threads=False)))
    return merge(found)


def _count(column: pa.ChunkedArray) -> dict[str, int]:
    total: Counter[str] = Counter()
    for found in pc.value_counts(column).to_pylist():
        total[found["values"] or ""] += found["counts"]
    return _sorted(total)


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _lengths(texts: pa.ChunkedArray) -> tuple[int, ...]:
    lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy()
    bars = np.searchsorted(LENGTHS, lengths, side="right") - 1
    return tuple(np.bincount(bars, minlength=len(LENGTHS)).tolist())
