"""The ledger as a table to look into: found by rule and record, read a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.data.clean.ledger import CHANGED, DROPPED, LEDGER_SCHEMA
from workbench.data.records import partitions, take_records
from workbench.data.rules.duplicate import REPETITION_RULES
from workbench.data.rules.rule import as_mask

PAGE_ROWS = 8
_JACCARD_BINS = 20

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LedgerPage:
    """Some rows of those that were found; ``entries`` has the ledger's columns."""

    entries: list[dict[str, Any]]
    first: int  # of all that were found, from 0
    num_found: int


class LedgerTable:
    """A ledger of any length: only the columns to find rows by are held, a page is read on demand.

    Raises:
        DataError: the artifact holds no ledger's files.
    """

    def __init__(self, ledger: Artifact) -> None:
        self._files = partitions(ledger)
        columns = ["row", "id", "action", "rule"]
        tables = [
            pq.read_table(path, columns=columns, read_dictionary=["action", "rule"])
            for path in self._files
        ]
        self._found = pa.concat_tables(tables).unify_dictionaries()
        self._find = lru_cache(maxsize=8)(self._look_up)

    @property
    def num_rows(self) -> int:
        """How many rows the ledger has."""
        return int(self._found.num_rows)

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """How often each rule stands in the ledger: action -> rule -> rows."""
        grouped = self._found.group_by(["action", "rule"]).aggregate([([], "count_all")])
        counts: dict[str, dict[str, int]] = {DROPPED: {}, CHANGED: {}}
        for entry in grouped.to_pylist():
            counts.setdefault(entry["action"], {})[entry["rule"]] = entry["count_all"]
        return counts

    @cached_property
    def changed_records(self) -> dict[str, int]:
        """How many records each rule changed, in however many places."""
        is_change = pc.equal(self._found["action"].cast(pa.string()), CHANGED)
        changes = self._found.filter(is_change).group_by("rule")
        counted = changes.aggregate([("row", "count_distinct")]).to_pylist()
        return {entry["rule"]: entry["row_count_distinct"] for entry in counted}

    @cached_property
    def dropped_rows(self) -> Rows:
        """The rows of the input that were dropped, rising."""
        mask = pc.equal(self._found["action"].cast(pa.string()), DROPPED)
        return np.sort(self._found["row"].filter(mask).to_numpy())

    def page(self, number: int, rule: str = "", search: str = "") -> LedgerPage:
        """Return a page of the rows of a rule (empty: all) whose record or rule holds a text."""
        found = self._find(rule, search.strip())
        last = max(0, (len(found) - 1) // PAGE_ROWS)
        first = PAGE_ROWS * min(max(number, 0), last)
        return LedgerPage(self.entries(found[first : first + PAGE_ROWS]), first, len(found))

    def entries(self, places: Rows) -> list[dict[str, Any]]:
        """Return whole rows of the ledger by their place in it."""
        table = take_records(self._files, places, LEDGER_SCHEMA.names)
        return list(table.to_pylist())

    def drops_of(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return why records were dropped, by their row in the input."""
        is_asked = as_mask(pc.is_in(self._found["row"], pa.array(rows, pa.int64())))
        places = np.flatnonzero(is_asked)
        found = self.entries(places)
        return {entry["row"]: entry for entry in found if entry["action"] == DROPPED}

    def jaccards(self) -> tuple[Rows, npt.NDArray[np.float64]]:
        """Return how many near-duplicates were how similar to their relative, and the edges."""
        files = [pq.read_table(path, columns=["rule", "jaccard"]) for path in self._files]
        table = pa.concat_tables(files)
        near = table["jaccard"].filter(pc.equal(table["rule"], REPETITION_RULES[1]))
        counts, edges = np.histogram(near.drop_null().to_numpy(), _JACCARD_BINS, (0.5, 1.0))
        return counts, edges

    def _look_up(self, rule: str, search: str) -> Rows:
        mask = np.ones(self.num_rows, dtype=bool)
        if rule:
            mask &= self._is_rule(lambda known: known == rule)
        if search:
            has_id = pc.match_substring(self._found["id"], search)
            mask &= as_mask(has_id) | self._is_rule(lambda known: search in known)
        return np.flatnonzero(mask)

    def _is_rule(self, claim: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
        names, codes = self._rules
        wanted = np.array([claim(known) for known in names], dtype=bool)
        return wanted[codes] if len(wanted) else np.zeros(len(codes), dtype=bool)

    @cached_property
    def _rules(self) -> tuple[list[str], npt.NDArray[Any]]:
        """Return the names of all rules, and the place of each row's among them."""
        column = self._found["rule"].combine_chunks()
        return column.dictionary.to_pylist(), column.indices.to_numpy(zero_copy_only=False)
