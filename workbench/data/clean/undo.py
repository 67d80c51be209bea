"""Undo: records that cleaning dropped or changed, as they came in, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError, nearest_name
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, Spec, option, parse_reference
from workbench.data.clean.ledger import DROPPED
from workbench.data.records import RecordWriter, num_rows_of, partitions

_READ = ["row", "id", "action", "rule"]


class UndoSpec(Spec):
    """What to take back of a cleaning."""

    original: DatasetRef = option(
        title="Original", help="The data set that was cleaned.", group="Data"
    )
    cleaned: DatasetRef = option(
        title="Cleaned", help="The data set that cleaning made.", group="Data"
    )
    ledger: DatasetRef = option(title="Ledger", help="The ledger of that cleaning.", group="Data")
    rules: list[str] = option(
        [], title="Rules", group="Undo",
        help="Records that one of these rules changed or dropped come back, for example symbols.",
    )  # fmt: skip
    ids: list[str] = option(
        [], title="Records", group="Undo",
        help="Ids of single records that come back. Without rules and records, all do.",
    )  # fmt: skip
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="The name of the result; empty: that of the cleaned data set.",
    )  # fmt: skip


class UndoOutputs(Outputs):
    """The cleaned data set with those records as they came in, in the order of the original."""

    dataset: Draft


@stage(title="Undo", version=1)
def undo(spec: UndoSpec, run: RunContext) -> UndoOutputs:
    """Take back what cleaning did to some records: each is again as it came in, byte for byte.

    What other rules changed in such a record is taken back, too. Undoing everything gives the
    original data set.
    """
    original, cleaned = run.open(spec.original), run.open(spec.cleaned)
    ledger = _read_ledger(run.open(spec.ledger), spec)
    back = np.unique(ledger.filter(_is_wanted(ledger, spec))["row"].to_numpy())
    gone = np.unique(ledger.filter(pc.equal(ledger["action"], DROPPED))["row"].to_numpy())
    draft = run.save("dataset", spec.name or parse_reference(spec.cleaned).name)
    files = partitions(original)
    is_all = not spec.rules and not spec.ids
    kept = _Cursor(cleaned)
    first_row = 0
    with RecordWriter(draft, pq.read_schema(files[0])) as writer:
        for number, (path, count) in enumerate(zip(files, num_rows_of(files), strict=True)):
            run.stop_if_asked()
            run.progress(number, len(files), "partitions", "restoring")
            is_back, is_gone = (_mask(rows, first_row, count) for rows in (back, gone))
            if is_all:  # also the languages that were found out, which no rule stands for
                is_back = np.ones(count, dtype=bool)
            writer.write(_merge(pq.read_table(path), kept.take(count - is_gone.sum()),
                                is_back, is_gone))  # fmt: skip
            first_row += count
    if kept.num_left:
        raise DataError(
            f"{spec.cleaned} is not what became of {spec.original} in {spec.ledger}",
            where=spec.cleaned,
            next_step="Name the three data sets of one cleaning.",
        )
    draft.describe(restored=len(back))
    run.count_rows(read=first_row, written=writer.num_rows)
    return UndoOutputs(dataset=draft)


def _read_ledger(ledger: Artifact, spec: UndoSpec) -> pa.Table:
    table = pa.concat_tables(pq.read_table(path, columns=_READ) for path in partitions(ledger))
    known = table["rule"].unique().to_pylist()
    for rule in spec.rules:
        if rule not in known:
            raise DataError(f"The ledger names no rule {rule!r}", where="rules",
                            next_step=nearest_name(rule, known))  # fmt: skip
    absent = set(spec.ids) - set(table["id"].to_pylist() if spec.ids else [])
    if absent:
        raise DataError(f"The ledger names no record {sorted(absent)[0]!r}", where="ids",
                        next_step="Such a record was neither changed nor dropped.")  # fmt: skip
    return table


def _is_wanted(ledger: pa.Table, spec: UndoSpec) -> pa.ChunkedArray:
    if not spec.rules and not spec.ids:
        return pc.is_valid(ledger["id"])
    return pc.or_(
        pc.is_in(ledger["rule"], pa.array(spec.rules, pa.string())),
        pc.is_in(ledger["id"], pa.array(spec.ids, pa.string())),
    )


def _mask(rows: npt.NDArray[np.int64], first_row: int, count: int) -> npt.NDArray[np.bool_]:
    """Return which of ``count`` records from ``first_row`` on are among sorted rows."""
    low, high = np.searchsorted(rows, [first_row, first_row + count])
    mask = np.zeros(count, dtype=bool)
    mask[rows[low:high] - first_row] = True
    return mask


def _merge(
    original: pa.Table,
    kept: pa.Table,
    is_back: npt.NDArray[np.bool_],
    is_gone: npt.NDArray[np.bool_],
) -> pa.Table:
    """Return the records of a partition: from ``kept``, and those that come back."""
    place_in_kept = np.cumsum(~is_gone) - 1
    rows = np.flatnonzero(is_back | ~is_gone)
    both = pa.concat_tables([original, kept.cast(original.schema)])
    source = np.where(is_back, np.arange(len(is_gone)), len(is_gone) + place_in_kept)
    return both.take(pa.array(source[rows]))


class _Cursor:
    """Reads a data set in portions of any size, a partition in memory at a time."""

    def __init__(self, dataset: Artifact) -> None:
        self._files = partitions(dataset)
        self.num_left = sum(num_rows_of(self._files))
        self._tables: Iterator[pa.Table] = map(pq.read_table, self._files)
        self._rest = pq.read_schema(self._files[0]).empty_table()

    def take(self, count: int) -> pa.Table:
        """Return the next records."""
        parts = [self._rest.slice(0, count)]
        self._rest = self._rest.slice(count)
        while (missing := count - sum(part.num_rows for part in parts)) > 0:
            table = next(self._tables, None)
            if table is None:
                raise DataError("The cleaned data set holds too few records", where="cleaned",
                                next_step="Name the data sets of one cleaning.")  # fmt: skip
            parts.append(table.slice(0, missing))
            self._rest = table.slice(missing)
        self.num_left -= count
        return pa.concat_tables(parts)
