"""Pairs of texts that may be near-duplicates, and copies: found by equal keys, range by range.

What is found is a function of all texts: it does not depend on how they stand in partitions, nor
on how many ranges of keys are looked at together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from workbench.data.duplicates.columns import Column, load_column, save_column
from workbench.data.duplicates.fingerprints import (
    BAND,
    IDENTITY,
    Fingerprints,
    open_bands,
    open_identities,
)
from workbench.data.duplicates.parts import cut_evenly
from workbench.data.duplicates.shingle_reader import ShingleReader

COPY = np.dtype([("row", "<u4"), ("first", "<u4")])
PAIR = np.dtype("<u8")  # left << 32 | right

_ROWS_AT_ONCE = 1 << 19
_PAIRS_AT_ONCE = 1 << 20
_SMALL_RUN = 48
_NUM_NEIGHBOURS = 32
_CROWD_PERMUTATIONS = 16

Rows = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.uint64]


class CandidatePart(BaseModel):
    """A run of ranges of keys, in the fingerprints of all partitions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprints: Fingerprints
    first_range: int
    end_range: int


def plan_candidates(
    fingerprints: Fingerprints, rows_at_once: int = _ROWS_AT_ONCE
) -> dict[str, CandidatePart]:
    """Cut the search into parts that need the same memory, however many texts there are."""
    counts = sum(
        np.diff(open_bands(folder)[1]) + np.diff(open_identities(folder)[1])
        for folder in fingerprints.folders
    )
    runs = cut_evenly(np.asarray(counts), rows_at_once)
    return {
        f"candidates-{number:05d}": CandidatePart(
            fingerprints=fingerprints, first_range=first, end_range=end
        )
        for number, (first, end) in enumerate(runs)
    }


def write_candidates(folder: Path, part: CandidatePart) -> None:
    """Find the copies and the candidate pairs whose keys are in some ranges."""
    save_column(folder / "copies.npy", _find_copies(part))
    with _PairWriter(folder) as writer:
        for pairs in _find_pairs(part):
            writer.append(pairs)


def open_copies(folder: Path) -> Column:
    """Return rows that have the words of an earlier one (COPY)."""
    return load_column(folder / "copies.npy", COPY)


def open_pairs(folder: Path) -> list[Column]:
    """Return candidate pairs (PAIR), sorted in each column."""
    return [load_column(path, PAIR) for path in sorted(folder.glob("pairs-*.npy"))]


def unpack(pairs: Pairs) -> tuple[Rows, Rows]:
    """Return the left and right rows of pairs; int64 [k] each."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(
        np.int64
    )


def pack(left: Rows, right: Rows) -> Pairs:
    """Return pairs of rows as one number each, the lower row first; uint64 [k]."""
    low, high = np.minimum(left, right), np.maximum(left, right)
    return low.astype(np.uint64) << np.uint64(32) | high.astype(np.uint64)


def distinct(pairs: Pairs) -> Pairs:
    """Return pairs sorted, each once (np.unique of numpy 2.4 hashes them, ten times slower)."""
    pairs = np.sort(pairs)
    is_new = np.ones(len(pairs), dtype=bool)
    is_new[1:] = pairs[1:] != pairs[:-1]
    return pairs[is_new]


class _PairWriter:
    """Writes pairs in sorted columns of bounded length, each pair once in a column."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[Pairs] = []
        self._num_columns = 0

    def append(self, pairs: Pairs) -> None:
        self._waiting.append(pairs)
        if sum(map(len, self._waiting)) >= _PAIRS_AT_ONCE:
            self._waiting = [distinct(np.concatenate(self._waiting))]
            if len(self._waiting[0]) >= _PAIRS_AT_ONCE // 2:
                self._flush()

    def _flush(self) -> None:
        pairs = distinct(np.concatenate([np.empty(0, PAIR), *self._waiting]))
        save_column(self._folder / f"pairs-{self._num_columns:05d}.npy", pairs)
        self._waiting = []
        self._num_columns += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._flush()


def _find_copies(part: CandidatePart) -> Column:
    rows = _gather(part, IDENTITY)
    rows = rows[np.lexsort((rows["row"], rows["high"], rows["low"]))]
    is_copy = np.zeros(len(rows), dtype=bool)
    is_copy[1:] = (rows["low"][1:] == rows["low"][:-1]) & (rows["high"][1:] == rows["high"][:-1])
    first = np.flatnonzero(~is_copy)[np.cumsum(~is_copy) - 1]
    copies = np.empty(int(is_copy.sum()), dtype=COPY)
    copies["row"] = rows["row"][is_copy]
    copies["first"] = rows["row"][first[is_copy]]
    return copies


def _find_pairs(part: CandidatePart) -> Iterator[Pairs]:
    from workbench.data.duplicates.pair_kernels import find_runs, pair_all

    bands = _gather(part, BAND).view(np.uint64).reshape(-1, 2)
    order = np.argsort(bands[:, 0])
    members, starts, keys = find_runs(bands[order, 0], bands[order, 1])
    del bands, order
    sizes = np.diff(starts)
    small = np.flatnonzero(sizes <= _SMALL_RUN)
    num_pairs = sizes[small] * (sizes[small] - 1) // 2
    for first, end in cut_evenly(num_pairs, _PAIRS_AT_ONCE):
        yield pair_all(members, starts, small[first:end])
    reader = ShingleReader(part.fingerprints)
    for number in np.flatnonzero(sizes > _SMALL_RUN):
        crowd = members[starts[number] : starts[number + 1]].astype(np.int64)
        yield from _pairs_of_crowd(crowd, int(keys[number]), reader, part)


def _gather(part: CandidatePart, dtype: np.dtype[np.void]) -> Column:
    """Return the bands or identities of some ranges in all partitions, rows counted through."""
    open_partition = open_bands if dtype is BAND else open_identities
    slices = [np.empty(0, dtype)]
    for folder, start in zip(part.fingerprints.folders, part.fingerprints.starts, strict=False):
        rows, starts = open_partition(folder)
        own = np.array(rows[starts[part.first_range] : starts[part.end_range]])
        own["row"] += np.array(start, dtype["row"])
        slices.append(own)
    return np.concatenate(slices)


def _pairs_of_crowd(
    crowd: Rows, key: int, reader: ShingleReader, part: CandidatePart
) -> Iterator[Pairs]:
    """Pair the rows of a large run: with its first, and with their neighbours.

    All pairs of a crowd are too many (a template that 20,000 texts fill in). Those that truly
    resemble the first are one group already; every other row is compared with the rows that share
    the longest run of further minima, others for each band, so that a near pair meets in some of
    them (an LSH forest: Bawa, Condie & Ganesan 2005).
    """
    threshold = part.fingerprints.likeness.jaccard
    firsts = np.full(len(crowd), crowd[0])
    is_joined = reader.compare(firsts, crowd, threshold) >= threshold
    is_joined[0] = True
    yield pack(firsts[is_joined], crowd[is_joined])[1:]
    if is_joined.all():
        return
    order = _order_by_minima(crowd, key, reader)
    for distance in range(1, min(_NUM_NEIGHBOURS, len(crowd) - 1) + 1):
        left, right = order[:-distance], order[distance:]
        is_open = ~(is_joined[left] & is_joined[right])
        yield pack(crowd[left[is_open]], crowd[right[is_open]])


def _order_by_minima(crowd: Rows, seed: int, reader: ShingleReader) -> Rows:
    from workbench.data.duplicates.signature_kernels import find_signatures, multipliers

    factors = multipliers(_CROWD_PERMUTATIONS, seed)
    signatures = np.empty((len(crowd), _CROWD_PERMUTATIONS), dtype=np.uint32)
    for portion in reader.portions(reader.sizes(crowd)):
        signatures[portion] = find_signatures(*reader.gather(crowd[portion]), factors)
    return np.lexsort(signatures.T[::-1])
