"""Test sets that records are compared with: read once, kept as hashes of word sequences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.context import RunContext
from workbench.core.errors import DataError
from workbench.data.clean.spec import CleanSpec
from workbench.data.duplicates.contamination import (
    Overlaps,
    SequenceSetting,
    TestTexts,
    write_test_texts,
)
from workbench.data.records import partitions
from workbench.data.sources.csv import CsvSource
from workbench.data.sources.jsonl import JsonlSource
from workbench.data.sources.lines import LinesSource
from workbench.data.sources.parquet import ParquetSource
from workbench.data.sources.source import Rejected, Source, SourceRow

_FEWEST_WORDS = 5
_NAMES = "names.parquet"
_NAME_SCHEMA = pa.schema([pa.field("set", pa.string()), pa.field("id", pa.string())])
_KINDS: dict[str, type[Any]] = {
    ".csv": CsvSource, ".tsv": CsvSource, ".json": JsonlSource, ".jsonl": JsonlSource,
    ".parquet": ParquetSource,
}  # fmt: skip


def fingerprint(spec: CleanSpec) -> str | None:
    """Return a hash of the files of test texts, which are outside of the catalog."""
    parts = [source_of(path).fingerprint() for path in spec.test_files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest() if parts else ""


def source_of(path: str) -> Source:
    """Return the source that reads a file of test texts, told by its suffix."""
    suffixes = [suffix for suffix in Path(path).suffixes if suffix.lower() != ".gz"]
    kind = _KINDS.get(suffixes[-1].lower() if suffixes else "", LinesSource)
    source: Source = kind.model_validate({"name": "test-file", "path": path})
    return source


def read_test_sets(spec: CleanSpec, run: RunContext) -> Path | None:
    """Make the test texts a durable part of the run; None where there are none.

    Raises:
        DataError: a test set or file is not there, or cannot be read.
    """
    if not spec.has_test_texts:
        return None
    setting = SequenceSetting(
        sequence_words=spec.test_sequence_words,
        fewest_words=min(_FEWEST_WORDS, spec.test_sequence_words),
    )

    def write(folder: Path) -> None:
        with pq.ParquetWriter(folder / _NAMES, _NAME_SCHEMA) as names:
            write_test_texts(folder, _texts(spec, run, names), setting)

    return run.checkpoint("test-texts", write)


def measure_overlaps(texts: pa.Array, folder: Path) -> Overlaps:
    """Return how much of some test text each of these texts holds."""
    return TestTexts(folder).overlaps([texts])


def name_test_texts(entries: pa.Table, test_rows: npt.NDArray[np.int64], folder: Path) -> pa.Table:
    """Return rows of the ledger that say which test text a record shares most with; [n] both."""
    named = pq.read_table(folder / _NAMES).take(pa.array(test_rows))
    detail = [f"of a text of {name}, at most" for name in named["set"].to_pylist()]
    for name, values in (("detail", pa.array(detail)), ("relative", named["id"])):
        place = entries.schema.get_field_index(name)
        entries = entries.set_column(place, entries.schema.field(name), values)
    return entries


def _texts(spec: CleanSpec, run: RunContext, names: pq.ParquetWriter) -> Iterator[pa.Array]:
    """Yield the texts of all test sets, then of all files, and write down what each is called."""
    for name, texts in _tables(spec, run):
        called = pa.repeat(pa.scalar(name), texts.num_rows)
        names.write_table(pa.table([called, texts["id"]], schema=_NAME_SCHEMA))
        yield from texts["text"].chunks


def _records(path_text: str) -> Iterator[SourceRow]:
    """Yield the records of a file of tests; one that cannot be read would leave a test unguarded.

    Raises:
        DataError: a row of the file is no record.
    """
    for row in source_of(path_text).read():
        if isinstance(row, Rejected):
            raise DataError(row.reason, where=f"{path_text}, {row.position}",
                            next_step=row.next_step or "Mend the row.")  # fmt: skip
        yield row


def _tables(spec: CleanSpec, run: RunContext) -> Iterator[tuple[str, pa.Table]]:
    for reference in spec.test_sets:
        for path in partitions(run.open(reference)):
            yield reference, pq.read_table(path, columns=["id", "text"])
    for path_text in spec.test_files:
        rows = list(_records(path_text))
        ids, texts = [row.position for row in rows], [row.text for row in rows]
        yield (
            path_text,
            pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())}),
        )
