"""The few texts that are looked at: read by their row, and shown without what is redacted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from widgets.cleaning_outputs import CleaningOutputs
from workbench.core.artifact import Artifact
from workbench.data.clean.checks import checks_of
from workbench.data.clean.decide import GROUP_BACK, first_failing
from workbench.data.clean.partition import shown
from workbench.data.clean.spec import CleanSpec
from workbench.data.clean.what_if import Decision
from workbench.data.records import num_rows_of, partitions, take_records
from workbench.data.rules.rule import Mask

_HELD_PARTITIONS = 3
NUM_CHANGED = 4  # records shown that other thresholds would keep, and as many that they would drop

Rows = npt.NDArray[np.int64]


class TextReader:
    """Reads columns of single records; the newest partitions stay in memory."""

    def __init__(self, dataset: Artifact, columns: Sequence[str]) -> None:
        self._files = partitions(dataset)
        self._starts = np.concatenate([[0], np.cumsum(num_rows_of(self._files))])
        self._columns = list(columns)
        self._held: OrderedDict[int, pa.Table] = OrderedDict()

    def take(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return records by their row, in that order."""
        return [self._record(int(row)) for row in rows]

    def _record(self, row: int) -> dict[str, Any]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        if number not in self._held:
            while len(self._held) >= _HELD_PARTITIONS:
                self._held.popitem(last=False)
            self._held[number] = pq.read_table(self._files[number], columns=self._columns)
        self._held.move_to_end(number)
        at = row - int(self._starts[number])
        return {name: self._held[number][name][at].as_py() for name in self._columns}


class CleaningTexts:
    """Texts before and after a cleaning, by the row of the record in the input."""

    def __init__(self, outputs: CleaningOutputs) -> None:
        self._outputs = outputs
        self._before = _reader(outputs.original, ["id", "source", "text"])
        self._after = _reader(outputs.dataset, ["text"])

    def before(self, rows: Sequence[int]) -> dict[int, dict[str, str]]:
        """Return ``{row: {id, source, text}}`` as the records came in; nothing if that is gone."""
        if self._before is None:
            return {}
        found = dict(zip(rows, self._before.take(rows), strict=True))
        return {
            row: {**record, "text": self._shown(record["text"])} for row, record in found.items()
        }

    def after(self, rows: Sequence[int]) -> dict[int, str]:
        """Return the repaired texts of those of the records that were kept."""
        ledger = self._outputs.ledger
        if self._after is None or ledger is None:
            return {}
        gone = ledger.dropped_rows
        kept = [row for row in rows if not _holds(gone, row)]
        places = [row - int(np.searchsorted(gone, row)) for row in kept]
        texts = self._after.take(places)
        return {row: self._shown(found["text"]) for row, found in zip(kept, texts, strict=True)}

    def keepers(self, entries: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        """Return, for duplicates of the ledger, the text of the record that stays instead."""
        what_if = self._outputs.what_if
        if what_if is None or self._before is None:
            return {}
        back = what_if.scores(GROUP_BACK)
        kept = self._kept
        texts = {}
        for entry in entries:
            if entry["keeper"] is None:
                continue
            first = entry["row"] - int(back[entry["row"]])
            # A group lies behind its first record; of each, very few stay.
            members = first + np.flatnonzero(
                (np.arange(first, len(back)) - back[first:] == first) & kept[first:]
            )
            for record in self._before.take(members.tolist()):
                if record["id"] == entry["keeper"]:
                    texts[int(entry["row"])] = self._shown(record["text"])
        return texts

    @cached_property
    def _kept(self) -> Mask:
        assert self._outputs.what_if is not None
        return self._outputs.what_if.decide().kept

    def explain(self, decision: Decision) -> dict[str, list[dict[str, Any]]]:
        """Return a few of the records that would be kept or dropped, with why."""
        gained, lost = (some_rows(decision, side) for side in ("gained", "lost"))
        before = self.before([*gained, *lost])
        ledger = self._outputs.ledger
        drops = ledger.drops_of(gained) if ledger and gained else {}
        reasons = self._reasons(lost, decision.spec)
        return {
            "gained": [
                _told(row, before, str(drops.get(row, {}).get("rule", ""))) for row in gained
            ],
            "lost": [_told(row, before, reasons.get(row, "")) for row in lost],
        }

    def _reasons(self, rows: Sequence[int], spec: CleanSpec) -> dict[int, str]:
        """Return the rule that would drop each record; duplicates fail no rule of their own."""
        if not rows or self._outputs.scores is None:
            return {}
        files = partitions(self._outputs.scores)
        checks = [c for c in checks_of(spec) if c.score in pq.read_schema(files[0]).names]
        names = list(dict.fromkeys(check.score for check in checks))
        table = take_records(files, np.asarray(rows), names)
        scores = {name: _column(table[name]) for name in names}
        failing = first_failing(scores, checks, spec)
        return {
            row: checks[number - 1].rule if number else "duplicate"
            for row, number in zip(rows, failing.tolist(), strict=True)
        }

    def _shown(self, text: str) -> str:
        return shown(text, self._outputs.spec)


def _reader(dataset: Artifact | None, columns: Sequence[str]) -> TextReader | None:
    return None if dataset is None else TextReader(dataset, columns)


def some_rows(decision: Decision, side: str) -> list[int]:
    """Return the first few rows that a decision changes; they stand close together on the disk."""
    rows: Rows = decision.gained if side == "gained" else decision.lost
    return [int(row) for row in rows[:NUM_CHANGED]]


def _told(row: int, before: Mapping[int, Mapping[str, str]], rule: str) -> dict[str, Any]:
    record = before.get(row)
    if record is None:
        return {"row": row, "id": f"row {row:,}", "text": None, "rule": rule}
    return {"row": row, "id": record["id"], "text": record["text"], "rule": rule}


def _holds(rising: Rows, row: int) -> bool:
    at = int(np.searchsorted(rising, row))
    return at < len(rising) and int(rising[at]) == row


def _column(column: pa.ChunkedArray) -> Any:
    joined = column.combine_chunks()
    return joined if pa.types.is_string(joined.type) else joined.to_numpy(zero_copy_only=False)
