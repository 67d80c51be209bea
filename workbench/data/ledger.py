"""The ledger of cleaning: one row for each record that was changed or dropped, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DROPPED = "dropped"
CHANGED = "changed"
ORIGINAL_COLUMNS = ["id", "text", "label", "source", "provenance"]

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # of the record
        pa.field("action", pa.string(), nullable=False),  # dropped | changed
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.string()),  # what the rule measured
        pa.field("threshold", pa.string()),  # what it was held against
        pa.field("text", pa.string(), nullable=False),  # as it came in, before any rule
        pa.field("result", pa.string()),  # as the rule left it; None: dropped
        pa.field("label", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("provenance", pa.string(), nullable=False),
        pa.field("keeper", pa.string()),  # duplicates: the record that stays for the group
        pa.field("relative", pa.string()),  # duplicates: the record that this one resembles
        pa.field("jaccard", pa.float64()),  # duplicates: exact similarity to the relative
    ]
)


def ledger_rows(
    originals: pa.Table, rows: npt.NDArray[np.int64], action: str, rule: str, **columns: Any
) -> pa.Table:
    """Return the ledger rows of the given rows of ``originals`` (``ORIGINAL_COLUMNS``)."""
    taken = originals.select(ORIGINAL_COLUMNS).take(pa.array(rows, pa.int64()))
    known: dict[str, Any] = {name: taken[name] for name in ORIGINAL_COLUMNS}
    known |= {"action": [action] * len(rows), "rule": [rule] * len(rows)} | columns
    absent = pa.nulls(len(rows))
    arrays = [_as_type(known.get(field.name, absent), field.type) for field in LEDGER_SCHEMA]
    return pa.table(arrays, schema=LEDGER_SCHEMA)


def _as_type(values: Any, kind: pa.DataType) -> Any:
    is_arrow = isinstance(values, pa.Array | pa.ChunkedArray)
    return values.cast(kind) if is_arrow else pa.array(values, kind)


def count_rules(ledger: pa.Table, action: str) -> dict[str, int]:
    """Return how many records each rule dropped or changed, by falling count."""
    rows = zip(ledger["action"].to_pylist(), ledger["rule"].to_pylist(), strict=True)
    counts = Counter(rule for found, rule in rows if found == action)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
