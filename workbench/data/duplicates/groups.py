"""Groups of near-duplicates: rows that verified pairs connect, and each row's relative."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from workbench.data.duplicates.candidates import open_copies
from workbench.data.duplicates.columns import Column, create_column, load_column
from workbench.data.duplicates.edges import open_edges
from workbench.data.duplicates.fingerprints import Fingerprints
from workbench.data.duplicates.shingle_reader import ShingleReader

GROUP = np.dtype([
    ("first", "<u4"),  # the first row of the same words
    ("group", "<u4"),  # the first row of the group
    ("relative", "<i8"),  # a row of the group that this one resembles; -1: it is the first
    ("jaccard", "<f8"),  # exact similarity to the relative; 0 where there is none
])  # fmt: skip

_ROWS_AT_ONCE = 1 << 18


class GroupPart(BaseModel):
    """All that was found: copies and candidates by range of keys, and verified pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprints: Fingerprints
    candidates: tuple[Path, ...]
    edges: tuple[Path, ...]


def find_groups(folder: Path, part: GroupPart) -> None:
    """Write the group of each row (GROUP), in the pages of a file rather than in memory.

    A copy's relative is the first row of its words. Another row's is the first of its group if the
    two reach the threshold, else the nearest that was compared with it, the lower one of equals.
    """
    from workbench.data.duplicates.group_kernels import choose_relatives, flatten, join

    table = create_column(folder / "groups.npy", GROUP, part.fingerprints.num_rows)
    for span in _spans(len(table)):
        table["first"][span] = np.arange(span.start, span.stop)
        table["group"][span] = table["first"][span]
        table["relative"][span], table["jaccard"][span] = -1, 0.0
    for copies in map(open_copies, part.candidates):
        table["first"][copies["row"]] = copies["first"]
        table["group"][copies["row"]] = copies["first"]
    groups = table["group"].view(np.ndarray)
    for edges in map(open_edges, part.edges):
        join(groups, edges["left"], edges["right"])
    flatten(groups)
    relatives, similarities = (table[name].view(np.ndarray) for name in ("relative", "jaccard"))
    for edges in map(open_edges, part.edges):
        choose_relatives(
            groups, relatives, similarities, edges["left"], edges["right"], edges["jaccard"]
        )
    _compare_with_first(table, part.fingerprints)
    for copies in map(open_copies, part.candidates):
        table["relative"][copies["row"]], table["jaccard"][copies["row"]] = copies["first"], 1.0


def open_groups(folder: Path) -> Column:
    """Return the group of each row (GROUP), mapped into memory; [num_rows]."""
    return load_column(folder / "groups.npy", GROUP)


def _compare_with_first(table: Column, fingerprints: Fingerprints) -> None:
    """Name the group's first row as relative wherever the two reach the threshold."""
    reader = ShingleReader(fingerprints)
    threshold = fingerprints.likeness.jaccard
    for span in _spans(len(table)):
        own = table[span]
        rows = np.arange(span.start, span.stop)
        is_chained = (own["first"] == rows) & (own["group"] != rows)
        is_chained &= own["relative"] != own["group"]
        chained, firsts = rows[is_chained], own["group"][is_chained].astype(np.int64)
        similarities = reader.compare(firsts, chained, threshold)
        is_near = similarities >= threshold
        table["relative"][chained[is_near]] = firsts[is_near]
        table["jaccard"][chained[is_near]] = similarities[is_near]


def _spans(num_rows: int) -> Iterator[slice]:
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        yield slice(start, min(start + _ROWS_AT_ONCE, num_rows))
