"""Reading the shingles of chosen rows out of many partitions, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from workbench.data.duplicates.columns import Column, release
from workbench.data.duplicates.fingerprints import Fingerprints, open_shingles

_OPEN_PARTITIONS = 64
_SHINGLES_AT_ONCE = 1 << 20

Rows = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]


class ShingleReader:
    """The shingles of all rows, read where they are asked for."""

    def __init__(self, fingerprints: Fingerprints) -> None:
        self._folders = fingerprints.folders
        self._starts = np.array(fingerprints.starts, dtype=np.int64)
        self._open = lru_cache(_OPEN_PARTITIONS)(open_shingles)

    def sizes(self, rows: Rows) -> Rows:
        """Return how many shingles each row has; int64 [n]."""
        distinct, place = np.unique(rows, return_inverse=True)
        sizes = np.zeros(len(distinct), dtype=np.int64)
        for span, local, partition in self._by_partition(distinct):
            _, offsets = self._open(self._folders[partition])
            sizes[span] = offsets[local + 1] - offsets[local]
            release(offsets)
        found: Rows = sizes[place]
        return found

    def gather(self, rows: Rows) -> tuple[npt.NDArray[np.uint64], Rows]:
        """Return the shingles of ascending rows one after the other, and their offsets."""
        from workbench.data.duplicates.compiled import read_only
        from workbench.data.duplicates.pair_kernels import copy_sets

        offsets = np.concatenate([[0], np.cumsum(self.sizes(rows))]).astype(np.int64)
        gathered = np.empty(offsets[-1], dtype=np.uint64)
        for span, local, partition in self._by_partition(rows):
            shingles, starts = self._open(self._folders[partition])
            out = gathered[offsets[span.start] : offsets[span.stop]]
            copy_sets(read_only(shingles), starts[local], starts[local + 1], out)
            release(shingles)
        return gathered, offsets

    def portions(self, weights: Rows) -> Iterator[slice]:
        """Yield runs of entries whose weights (numbers of shingles) are worth holding at once."""
        ends = np.cumsum(weights)
        first = 0
        while first < len(ends):
            before = ends[first - 1] if first else 0
            end = int(np.searchsorted(ends, before + _SHINGLES_AT_ONCE, side="right"))
            end = max(end, first + 1)
            yield slice(first, end)
            first = end

    def compare(self, left: Rows, right: Rows, threshold: float = 0.0) -> Similarities:
        """Return the exact Jaccard similarity of pairs of rows; float64 [k].

        Those below the threshold may be given as 0, which costs less.
        """
        own, other = self.sizes(left), self.sizes(right)
        similarities = np.zeros(len(left))
        worth = np.flatnonzero(np.minimum(own, other) >= threshold * np.maximum(own, other))
        for portion in self.portions((own + other)[worth]):
            pairs = worth[portion]
            similarities[pairs] = self._compare_at_once(left[pairs], right[pairs], threshold)
        return similarities

    def _compare_at_once(self, left: Rows, right: Rows, threshold: float) -> Similarities:
        from workbench.data.duplicates.pair_kernels import compare_sets

        rows, place = np.unique(np.concatenate([left, right]), return_inverse=True)
        shingles, offsets = self.gather(rows)
        similarities: Similarities = compare_sets(
            shingles, offsets, place[: len(left)], place[len(left) :], float(threshold)
        )
        return similarities

    def _by_partition(self, rows: Rows) -> Iterator[tuple[slice, Column, int]]:
        """Yield, for ascending rows, those of each partition, counted within it."""
        partitions = np.searchsorted(self._starts, rows, side="right") - 1
        changes = np.flatnonzero(np.diff(partitions)) + 1
        bounds = [0, *changes.tolist(), len(rows)] if len(rows) else [0]
        for first, end in pairwise(bounds):
            partition = int(partitions[first])
            yield slice(first, end), rows[first:end] - self._starts[partition], partition


def exact_jaccard(fingerprints: Fingerprints, left: Rows, right: Rows) -> Similarities:
    """Return the exact Jaccard similarity of the word shingles of pairs of rows; float64 [k].

    Rows are those of ``fingerprints``. Two texts without words share nothing: 0.
    """
    return ShingleReader(fingerprints).compare(left, right)
