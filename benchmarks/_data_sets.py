"""Data sets for benchmarks, made in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from workbench.core.artifact import Artifact, Draft, seal
from workbench.data.records import SCHEMA, RecordWriter


def write_data_set(folder: Path, portions: Iterable[dict[str, list[Any]]]) -> Artifact:
    """Seal records; a portion gives some columns of the schema, the others are empty."""
    draft = Draft("dataset", "records", folder / "draft")
    with RecordWriter(draft, SCHEMA) as writer:
        for columns in portions:
            absent = [None] * len(columns["id"])
            filled = {name: columns.get(name, absent) for name in SCHEMA.names}
            writer.write(pa.table(filled, schema=SCHEMA))
    return seal(draft, folder / "inputs")


def pattern_of(dataset: Artifact) -> str:
    """Return the pattern by which a peer finds the records' files."""
    return str(dataset.path / "part-*.parquet")
