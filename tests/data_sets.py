"""Small data sets for tests, in as many partitions as a test asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from workbench.core.artifact import Artifact, Draft, seal
from workbench.data.records import SCHEMA, write_partition


def data_set(
    folder: Path, texts: Sequence[str], *, partition_rows: int = 1000, **columns: Sequence[Any]
) -> Artifact:
    """Seal records with these texts; ``columns`` fills other columns of the schema."""
    count = len(texts)
    filled: dict[str, Sequence[Any]] = {
        "id": [f"{row}-{hash_of(text)}" for row, text in enumerate(texts)],
        "text": texts,
        "source": ["test"] * count,
        "provenance": [f'{{"uri": "test:", "row": {row}}}' for row in range(count)],
        **columns,
    }
    absent = [None] * count
    table = pa.table({name: filled.get(name, absent) for name in SCHEMA.names}, schema=SCHEMA)
    draft = Draft("dataset", "comments", folder / "draft")
    for number, start in enumerate(range(0, max(count, 1), partition_rows)):
        part = table.slice(start, partition_rows)
        write_partition(draft.path / f"part-{number:05d}.parquet", part)
    return seal(draft, folder / "inputs")


def hash_of(text: str) -> str:
    """Return a short hash, the same in every process."""
    import xxhash

    return str(xxhash.xxh32_hexdigest(text.encode()))
