"""Records before and after a stage, side by side, with what changed in each text."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from widgets.assets import linked_module
from widgets.record import rows_record
from widgets.rows_model import MODES, Mode, Row, present_rows
from widgets.view import View
from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError
from workbench.data.clean.ledger import REASON_COLUMNS, reason_words
from workbench.data.records import read_records

if TYPE_CHECKING:
    from workbench.runs import Run

NUM_ROWS = 8


class RowsTable:
    """Two data sets joined by record id; only the rows that are shown become Python objects.

    ``ledger`` (of cleaning) says why records are missing after.
    """

    def __init__(self, before: pa.Table, after: pa.Table, ledger: pa.Table | None = None) -> None:
        self._before = before.select(["id", "source", "text"])
        place = pc.index_in(before["id"], value_set=after["id"].combine_chunks())
        texts = pc.take(after["text"].combine_chunks(), place)
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        self._after = texts
        self._reasons = _reasons(ledger) if ledger is not None else {}
        is_dropped = pc.is_null(texts)
        is_changed = pc.fill_null(pc.not_equal(before["text"].combine_chunks(), texts), False)
        self._index: dict[Mode, pa.Array] = {
            "changed": pc.indices_nonzero(is_changed),
            "random": pa.array(range(before.num_rows), pa.int64()),
            "dropped": pc.indices_nonzero(is_dropped),
        }

    def counts(self) -> dict[str, int]:
        """Return how many rows each mode has."""
        return {mode: len(self._index[mode]) for mode in MODES}

    def draw(self, mode: Mode, num_rows: int, seed: int) -> list[Row]:
        """Return rows of a mode, drawn at random; the same seed draws the same rows."""
        index = self._index[mode]
        drawn = sorted(random.Random(seed).sample(range(len(index)), min(num_rows, len(index))))
        return [self._row(index[at].as_py()) for at in drawn]

    def _row(self, at: int) -> Row:
        record = {name: self._before[name][at].as_py() for name in ("id", "source", "text")}
        return Row(
            id=record["id"],
            source=record["source"],
            before=record["text"],
            after=self._after[at].as_py(),
            reason=self._reasons.get(record["id"], ""),
        )


def _reasons(ledger: pa.Table) -> dict[str, str]:
    """Return why each record was dropped: rule, what it measured, what it was held against."""
    dropped = ledger.filter(pc.equal(ledger["action"], "dropped"))
    return {row["id"]: _reason(row) for row in dropped.to_pylist()}


def _reason(row: Mapping[str, Any]) -> str:
    words = reason_words(row)
    return f"{row['rule']}: {words}" if words else str(row["rule"])


class RowsSession:
    """Rows being looked at: which sort, and which draw of them.

    Raises:
        DataError: an artifact is no data set.
        SpecError: the two share no record.
    """

    def __init__(
        self, before: Artifact, after: Artifact, ledger: Artifact | None = None, seed: int = 0
    ) -> None:
        self._title = f"{before.reference} → {after.reference}"
        self._table = RowsTable(
            read_records(before, ["id", "source", "text"]),
            read_records(after, ["id", "text"]),
            read_records(ledger, ["id", "action", "rule", *REASON_COLUMNS]) if ledger else None,
        )
        counts = self._table.counts()
        if counts["dropped"] == counts["random"] and counts["random"]:
            raise SpecError(f"{self._title}: the two share no record", where=after.reference,
                            next_step="Give a data set and one that was made from it.")  # fmt: skip
        self._mode: Mode = next((mode for mode in MODES if counts[mode]), "random")
        self._seed = seed

    @classmethod
    def of_run(cls, run: Run) -> RowsSession | None:
        """Return the rows that a finished cleaning changed; None for any other run."""
        record = run.record()
        if record["state"] != "succeeded" or not {"dataset", "ledger"} <= record["outputs"].keys():
            return None
        outputs = run.outputs()
        before = run.workspace.artifact(record["spec"]["dataset"], "dataset")
        return cls(before, outputs["dataset"], outputs["ledger"])

    def content(self) -> dict[str, Any]:
        """Return the drawn rows with their differences."""
        rows = self._table.draw(self._mode, NUM_ROWS, self._seed)
        return present_rows(rows, self._table.counts(), self._mode, self._title)

    def draw(self, message: Mapping[str, Any]) -> None:
        """Show another sort of rows."""
        if message.get("mode") in MODES:
            self._mode = message["mode"]

    def redraw(self, _message: Mapping[str, Any]) -> None:
        """Draw other rows of the same sort."""
        self._seed += 1


class RowsView(View):
    """Shows records of ``before`` beside what became of them in ``after``.

    ``ledger`` is cleaning's account of what it dropped. Raises as ``RowsSession`` does.
    """

    _esm = linked_module("rows_view.js")

    def __init__(
        self, before: Artifact, after: Artifact, ledger: Artifact | None = None, seed: int = 0
    ) -> None:
        self._session = RowsSession(before, after, ledger, seed)
        super().__init__({"draw": self._session.draw, "redraw": self._session.redraw})
        self.refresh()

    def content(self) -> dict[str, Any]:
        """Return the drawn rows with their differences."""
        return {"rows": self._session.content()}

    def record(self) -> str:
        """Return the drawn rows as static HTML."""
        return rows_record(self._session.content())
