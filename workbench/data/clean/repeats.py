"""What records share with others: passages, and groups, whatever the rules think of the records.

Texts stay in their partitions; only columns of fixed width leave them. Each step is a number of
durable parts, made by all workers of the run, and none needs more memory for more records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from workbench.core.context import RunContext
from workbench.data.clean.partition import is_protected, repair
from workbench.data.clean.passages import passage_setting
from workbench.data.clean.spec import CleanSpec
from workbench.data.duplicates.fingerprints import FingerprintPart, Likeness, write_fingerprints
from workbench.data.duplicates.passages import (
    Passages,
    find_passages,
    plan_repeats,
    write_repeats,
)
from workbench.data.duplicates.search import search
from workbench.data.tokens import as_texts

Rows = npt.NDArray[np.int64]

_HALF_BITS = 32


@dataclass(frozen=True)
class Repeats:
    """For each record of the whole input the group of records that say the same.

    A group is what pairs of similar records connect. As it does not depend on which records the
    rules drop, thresholds of rules can be moved without looking for duplicates again.
    """

    table: npt.NDArray[Any]  # of ``duplicates.groups.GROUP``, in the pages of a file; [n]
    threshold: float
    are_grouped: bool  # off: each record is a group of its own

    def group(self, rows: slice) -> Rows:
        """Return the first record of each record's group."""
        if not self.are_grouped:
            return np.arange(rows.start, rows.stop)
        group: Rows = self.table["group"][rows].astype(np.int64)
        return group

    def same_words(self, rows: slice | Rows) -> Rows:
        """Return the first record of the same words as each record."""
        first: Rows = self.table["first"][rows].astype(np.int64)
        return first

    def nearest(self, rows: Rows, keepers: Rows) -> tuple[Rows, npt.NDArray[np.float64]]:
        """Return a similar record of the same group for each record, and the exact similarity.

        The first record of a group, which goes only for a protected one, is told its keeper if the
        two are similar, else the first record that is.
        """
        near, jaccard = self.table["relative"][rows], self.table["jaccard"][rows]
        is_first = np.flatnonzero(near < 0)
        if len(is_first):
            relative = self.table["relative"]
            others = np.flatnonzero(np.isin(relative, rows[is_first]))
            pairs = np.sort(relative[others] << _HALF_BITS | others)
            own = rows[is_first] << _HALF_BITS
            wanted = own | keepers[is_first]
            first = pairs[np.searchsorted(pairs, own)]
            found = np.where(np.isin(wanted, pairs), wanted, first) & ((1 << _HALF_BITS) - 1)
            near[is_first], jaccard[is_first] = found, self.table["jaccard"][found]
        return near, jaccard


def find_repeats(folders: Sequence[Path], spec: CleanSpec, run: RunContext) -> Repeats:
    """Group the repaired records of all partitions."""
    threshold = spec.near_duplicate_jaccard or 1.0
    likeness = Likeness(jaccard=threshold, shingle_words=spec.shingle_words)
    parts = {
        f"fingerprints-{number:05d}": FingerprintPart(
            path=folder / "records.parquet", likeness=likeness
        )
        for number, folder in enumerate(folders)
    }
    taken = run.checkpoint_each(parts, write_fingerprints, "partitions", "fingerprints")
    table = search(
        taken,
        lambda parts, write, step: run.checkpoint_each(parts, write, "parts", step),
        only_copies=not spec.near_duplicate_jaccard,
    )
    are_grouped = bool(spec.near_duplicate_jaccard) or spec.drop_exact_duplicates
    return Repeats(table, threshold, are_grouped)


def find_repeated_passages(
    files: Sequence[Path], spec: CleanSpec, run: RunContext
) -> tuple[Path, ...]:
    """Return the folders of the spans that go; none where passages are kept.

    Passages are those of repaired texts, before any record is dropped: which of them go does not
    depend on thresholds. Nothing but their hashes and positions is kept of the texts, which are
    repaired again when the rules are applied.
    """
    if spec.repeated_passages == "keep":
        return ()
    values = spec.model_dump(mode="json")
    parts = {f"passages-{n:05d}": [str(path), values] for n, path in enumerate(files)}
    found = Passages.of(run.checkpoint_each(parts, write_passages_of, "partitions", "passages"))
    plan = plan_repeats(found)
    return tuple(run.checkpoint_each(plan, write_repeats, "parts", "repeated passages"))


def write_passages_of(folder: Path, part: list[Any]) -> None:
    """Write the passages of one partition's repaired texts: ``part`` is its path, and the spec."""
    path, values = part
    spec = CleanSpec.parse(values)
    records = pq.read_table(path)
    protected = is_protected(records, spec)
    repaired = repair(as_texts(records["text"]), records, protected, spec)
    find_passages(folder, [repaired.texts], passage_setting(spec))
