"""The ledger of cleaning: one row for each change and each drop, and why.

Texts are not in it: the input, which never changes, holds each record as it came in, and ``row``
says where. So the ledger stays small, and what was dropped can be restored byte for byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

DROPPED = "dropped"
CHANGED = "changed"

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # of the record, in the input
        pa.field("id", pa.string(), nullable=False),  # of the record
        pa.field("action", pa.string(), nullable=False),  # dropped | changed
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.float32()),  # what the rule measured
        pa.field("threshold", pa.float32()),  # what it was held against
        pa.field("detail", pa.string()),  # the same in words, where numbers do not say it
        pa.field("start", pa.int32()),  # first byte of the change, in the text before the rule
        pa.field("end", pa.int32()),  # the byte after its last
        pa.field("provenance", pa.string(), nullable=False),
        pa.field("keeper", pa.string()),  # duplicates: the record that stays for the group
        pa.field("relative", pa.string()),  # the record, or test text, that this one resembles
        pa.field("jaccard", pa.float32()),  # duplicates: exact similarity to the relative
    ]
)
_OF_THE_RECORD = ("id", "provenance")


def ledger_rows(
    rows: npt.NDArray[np.int64], action: str, rule: str | pa.Array, **columns: Any
) -> pa.Table:
    """Return ledger rows whose ``id`` and ``provenance`` are still to be filled in."""
    count = len(rows)
    known = {"row": rows, "action": action, "rule": rule, **columns}
    fields = [field for field in LEDGER_SCHEMA if field.name not in _OF_THE_RECORD]
    arrays = [_column(known.get(field.name), field.type, count) for field in fields]
    return pa.table(arrays, schema=pa.schema(fields))


def _column(values: Any, kind: pa.DataType, count: int) -> Any:
    """Return values, or one value for all rows, as a column; None and NaN are null."""
    if values is None:
        return pa.nulls(count, kind)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(kind)
    if isinstance(values, float | str):
        return pa.repeat(pa.scalar(values, kind), count)
    return pa.array(values, kind, from_pandas=True)


def join_entries(entries: list[pa.Table], records: pa.Table, first_row: int) -> pa.Table:
    """Return the ledger of a partition, by row and then in the order of the rules.

    Args:
        entries: from ``ledger_rows``, with rows of this partition, rule after rule.
        records: the partition's ``id`` and ``provenance``.
        first_row: where the partition stands in the input.
    """
    joined = pa.concat_tables(entries)
    joined = joined.take(pa.array(np.argsort(joined["row"].to_numpy(), kind="stable")))
    taken = records.select(list(_OF_THE_RECORD)).take(joined["row"])
    rows = pa.array(joined["row"].to_numpy() + first_row)
    columns = {name: joined[name] for name in joined.column_names}
    columns |= {name: taken[name] for name in _OF_THE_RECORD} | {"row": rows}
    arrays = [columns[name].cast(LEDGER_SCHEMA.field(name).type) for name in LEDGER_SCHEMA.names]
    return pa.table(arrays, schema=LEDGER_SCHEMA)


def count_rules(ledger: pa.Table, action: str) -> Counter[str]:
    """Return how many records each rule dropped or changed, in however many places."""
    found = ledger.filter(pc.equal(ledger["action"], action)).select(["row", "rule"])
    return Counter(found.group_by(["row", "rule"]).aggregate([])["rule"].to_pylist())


def by_falling_count(counts: Counter[str]) -> dict[str, int]:
    """Return counts, the largest first; equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


# What ``reason_words`` reads of a row.
REASON_COLUMNS = ["value", "threshold", "detail", "keeper", "relative", "jaccard"]


def reason_words(row: Mapping[str, Any]) -> str:
    """Return what a rule measured and held it against, for people; empty where it says nothing."""
    if row["jaccard"] is not None:
        return f"{row['jaccard']:.3g} like {row['relative']}; {row['keeper']} stays"
    like = "" if row["relative"] is None else f": {row['relative']}"
    if row["value"] is None:
        return f"{row['detail'] or ''}{like}"
    bound = "" if row["threshold"] is None else f" {row['threshold']:g}"
    return f"{row['value']:.4g}, {row['detail'] or ''}{bound}{like}"
