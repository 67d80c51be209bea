"""One durable part of a source: its records in the one schema, its rejected rows, its counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.errors import DataError, nearest_name
from workbench.data.records import SCHEMA
from workbench.data.sources.source import RAW_CHARACTERS, Rejected, Source, SourceRow

# As far as they go, the columns of the ledger of cleaning.
REJECTED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # as a record at this position would have
        pa.field("action", pa.string(), nullable=False),  # rejected
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),  # what is wrong, for people
        pa.field("text", pa.string(), nullable=False),  # how the row begins
        pa.field("source", pa.string(), nullable=False),
        pa.field("provenance", pa.string(), nullable=False),
    ]
)
_BATCH_ROWS = 20_000
_BATCH_CHARACTERS = 1 << 25
_READ_ROWS = 4_096


def write_part(
    folder: Path, source: Source, rows: Iterable[SourceRow | Rejected], on_bad_row: str
) -> None:
    """Write rows as ``records.parquet``, ``rejected.parquet`` and ``counts.json``.

    Raises:
        DataError: a row is rejected where the run shall stop at it, or has a label without a name.
    """
    labels, rules = Counter[str](), Counter[str]()
    first: dict[str, str] = {}
    num_rows = 0
    with (
        pq.ParquetWriter(folder / "records.parquet", SCHEMA, compression="zstd") as records,
        pq.ParquetWriter(folder / "rejected.parquet", REJECTED_SCHEMA) as refused,
    ):
        for batch in _batches(rows):
            bad = [row for row in batch if isinstance(row, Rejected)]
            if bad:
                if on_bad_row == "stop":
                    raise _stopped(source, bad[0])
                first = first or _told(bad[0])
                rules.update(row.rule for row in bad)
                refused.write_table(_rejected_table(source, bad))
            good = [row for row in batch if isinstance(row, SourceRow)]
            if good:
                table = _to_table(source, good)
                labels.update(table["label"].drop_null().to_pylist())
                num_rows += table.num_rows
                records.write_table(table)
    counts = {
        "source": source.name, "rows": num_rows, "rejected": sum(rules.values()),
        "labels": labels, "rules": rules, "first": first,
    }  # fmt: skip
    (folder / "counts.json").write_text(json.dumps(counts))


def read_counts(folder: Path) -> dict[str, Any]:
    """Return the counts of a part: source, rows, rejected, labels, rules, first rejected row."""
    counts: dict[str, Any] = json.loads((folder / "counts.json").read_text())
    return counts


def read_batches(files: Iterable[Path]) -> Iterator[pa.Table]:
    """Yield the rows of Parquet files in order, in tables of a few thousand rows at most."""
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_READ_ROWS):
                yield pa.Table.from_batches([batch])


def _stopped(source: Source, row: Rejected) -> DataError:
    return DataError(row.reason, where=f"source {source.name}, {row.position}",
                     next_step=row.next_step or "Mend the row, or have it rejected.")  # fmt: skip


def _told(row: Rejected) -> dict[str, str]:
    return {"reason": row.reason, "position": row.position, "next_step": row.next_step}


def _batches(rows: Iterable[SourceRow | Rejected]) -> Iterator[list[SourceRow | Rejected]]:
    """Yield rows in lists of bounded length and size."""
    batch: list[SourceRow | Rejected] = []
    num_characters = 0
    for row in rows:
        batch.append(row)
        num_characters += len(row.text) if isinstance(row, SourceRow) else RAW_CHARACTERS
        if len(batch) == _BATCH_ROWS or num_characters >= _BATCH_CHARACTERS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch


def _to_table(source: Source, rows: list[SourceRow]) -> pa.Table:
    texts = [valid_unicode(row.text) for row in rows]
    columns = {
        "id": [
            _identity(source.name, row.position, text)
            for row, text in zip(rows, texts, strict=True)
        ],
        "text": texts,
        "label": [_label(source, row) for row in rows],
        "label_scheme": [None] * len(rows),
        "source": [source.name] * len(rows),
        "language": [source.language or None] * len(rows),
        "provenance": [_provenance(source, row) for row in rows],
        "extra": [_to_json(row.extra) if row.extra else None for row in rows],
    }
    return pa.table(columns, schema=SCHEMA)


def _rejected_table(source: Source, rows: list[Rejected]) -> pa.Table:
    columns = {
        "id": [_identity(source.name, row.position, "") for row in rows],
        "action": ["rejected"] * len(rows),
        "rule": [row.rule for row in rows],
        "value": [valid_unicode(row.reason) for row in rows],
        "text": [valid_unicode(row.raw[:RAW_CHARACTERS]) for row in rows],
        "source": [source.name] * len(rows),
        "provenance": [_provenance(source, row) for row in rows],
    }
    return pa.table(columns, schema=REJECTED_SCHEMA)


def _provenance(source: Source, row: SourceRow | Rejected) -> str:
    return _to_json({"kind": getattr(source, "kind", ""), **row.provenance})


def _identity(source: str, position: str, text: str) -> str:
    """Return the record's id: 128 bits, the same wherever the source's files lie."""
    import xxhash

    identity = valid_unicode("\0".join((source, position, text)))
    return str(xxhash.xxh3_128_hexdigest(identity.encode()))


def _label(source: Source, row: SourceRow) -> str | None:
    """Return the label in this data set's words.

    Raises:
        DataError: the source names labels, but not this one.
    """
    if row.label is None or not source.labels:
        return None if row.label is None else valid_unicode(row.label)
    if row.label not in source.labels:
        raise DataError(
            f"Source {source.name} has the label {row.label!r}, which its labels do not name",
            where=f"source {source.name}, {row.position}",
            next_step=f"{nearest_name(row.label, source.labels)} Name it, or map it to null to "
            "leave such records unlabelled.",
        )
    return source.labels[row.label]


def valid_unicode(text: str) -> str:
    """Return the text with half characters (lone surrogates, as broken JSON has) as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _to_json(values: dict[str, object]) -> str:
    return valid_unicode(json.dumps(values, ensure_ascii=False))
