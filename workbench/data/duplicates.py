"""Near-duplicates: MinHash finds candidates, exact Jaccard decides, union-find groups.

MinHash with locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman & Ullman, Mining of
Massive Datasets, chapter 3) misses a pair at the threshold with a probability below one in a
million; no pair is called a duplicate without its exact Jaccard similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.tokens import Shingles, normalise, shingle

NUM_PERMUTATIONS = 128
_SEED = 1
_MISS_PROBABILITY = 1e-6
_SIGNATURE_ROWS = 10_000  # rensa hands signatures over as Python integers
_VERIFY_PAIRS = 200_000
_SMALL_BUCKET = 48
_CROWD = 1_000
_NUM_NEIGHBOURS = 64

Rows = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]
Similarities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NearDuplicates:
    """Which rows resemble each other; all arrays are [n].

    ``keeper`` is the first row of a row's group (its own index when it is that row or alone);
    ``relative`` is a row of the group whose Jaccard similarity to this one, ``jaccard``, is at
    least the threshold: the keeper if that is one, else the nearest (-1 and 0.0 for keepers).
    """

    keeper: Rows
    relative: Rows
    jaccard: Similarities


def same_texts(texts: pa.Array) -> Rows:
    """Return for each row the first row of the same words; int64 [n]."""
    words = normalise(texts)
    # Texts without words (punctuation only) are compared as they are.
    keys = pc.if_else(pc.equal(words, ""), texts, words)
    codes = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    firsts: Rows = first[codes].astype(np.int64)
    return firsts


def near_duplicates(
    texts: pa.Array,
    threshold: float,
    shingle_words: int,
    at_safe_point: Callable[[float], None] = lambda share: None,
) -> NearDuplicates:
    """Group texts by their word shingles.

    ``at_safe_point`` hears which share of the work is done, and may raise to stop it.
    """
    first = same_texts(texts)
    distinct = np.unique(first)
    found = _among_distinct(
        shingle(normalise(texts.take(pa.array(distinct))), shingle_words), threshold, at_safe_point
    )
    place = np.searchsorted(distinct, first)
    keeper = distinct[found.keeper][place]
    relative = np.where(found.relative >= 0, distinct[found.relative], -1)[place]
    jaccard = found.jaccard[place]
    is_copy = first != np.arange(len(first))
    return NearDuplicates(
        keeper=keeper,
        relative=np.where(is_copy, first, relative),
        jaccard=np.where(is_copy, 1.0, jaccard),
    )


def choose_rows_per_band(threshold: float) -> int:
    """Return the longest band for which a pair at the threshold is missed once in a million."""
    for rows in range(16, 1, -1):
        if (1 - threshold**rows) ** (NUM_PERMUTATIONS // rows) <= _MISS_PROBABILITY:
            return rows
    return 1


def _among_distinct(
    shingles: Shingles, threshold: float, at_safe_point: Callable[[float], None]
) -> NearDuplicates:
    graph = _Graph(shingles, threshold)
    rows_per_band = choose_rows_per_band(threshold)
    signatures = _signatures(shingles)
    num_bands = NUM_PERMUTATIONS // rows_per_band
    rows = np.flatnonzero(shingles.sizes > 0)
    for band in range(num_bands):
        at_safe_point(band / num_bands)
        start = band * rows_per_band
        buckets = _Buckets.of(signatures, rows, slice(start, start + rows_per_band))
        graph.connect([buckets.pairs_with_first()])
        graph.connect(buckets.other_pairs(graph.component))
    return graph.nearest()


def _signatures(shingles: Shingles) -> Signatures:
    """Return MinHash signatures; uint32 [n, NUM_PERMUTATIONS]."""
    from rensa import RMinHash

    num_rows = len(shingles.sizes)
    signatures = np.zeros((num_rows, NUM_PERMUTATIONS), dtype=np.uint32)
    for start in range(0, num_rows, _SIGNATURE_ROWS):
        offsets = shingles.offsets[start : start + _SIGNATURE_ROWS + 1]
        hashes = shingles.hashes[offsets[0] : offsets[-1]]
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, (offsets - offsets[0]).astype(np.uint64), NUM_PERMUTATIONS, _SEED
        )
        signatures[start : start + _SIGNATURE_ROWS] = matrix.to_rows()
    return signatures


@dataclass(frozen=True)
class _Buckets:
    """Rows that share one band of their signatures, bucket after bucket, rows ascending."""

    signatures: Signatures
    first_column: int
    rows: Rows
    starts: Rows  # [num_buckets + 1] into rows

    @classmethod
    def of(cls, signatures: Signatures, rows: Rows, columns: slice) -> _Buckets:
        band = np.ascontiguousarray(signatures[:, columns])
        keys = band.view(f"V{band.shape[1] * 4}").ravel()
        _, key = np.unique(keys[rows], return_inverse=True)
        order = np.argsort(key, kind="stable")
        sizes = np.bincount(key)
        is_shared = sizes > 1
        shared = np.repeat(is_shared, sizes)
        starts = np.concatenate([[0], np.cumsum(sizes[is_shared])])
        return cls(signatures, columns.start, rows[order][shared], starts.astype(np.int64))

    def pairs_with_first(self) -> npt.NDArray[np.int64]:
        """Pair the first row of each bucket with all others; int64 [k, 2].

        Enough to join a bucket of true duplicates, where all pairs would be quadratic.
        """
        firsts = np.repeat(self.rows[self.starts[:-1]], np.diff(self.starts))
        is_other = firsts != self.rows
        return np.stack([firsts[is_other], self.rows[is_other]], axis=1)

    def other_pairs(self, component: Rows) -> Iterator[npt.NDArray[np.int64]]:
        """Yield, in parts, the pairs of rows of each bucket that is not one group; int64 [k, 2]."""
        sizes = np.diff(self.starts)
        for size in np.unique(sizes[(sizes > 2) & (sizes <= _SMALL_BUCKET)]):
            members = self.rows[self.starts[:-1][sizes == size][:, None] + np.arange(size)]
            members = members[(component[members] != component[members[:, :1]]).any(axis=1)]
            left, right = np.triu_indices(int(size), 1)
            pairs = np.stack([members[:, left].ravel(), members[:, right].ravel()], axis=1)
            yield pairs
        for bucket in np.flatnonzero(sizes > _SMALL_BUCKET):
            members = self.rows[self.starts[bucket] : self.starts[bucket + 1]]
            if (component[members] == component[members[0]]).all():
                continue
            is_crowd = len(members) > _CROWD
            yield from self._neighbours(members) if is_crowd else _triangle(members)

    def _neighbours(self, members: Rows) -> Iterator[npt.NDArray[np.int64]]:
        """Pair each row of a crowd with the rows that share the longest run of its signature.

        All pairs of a crowd are too many (a template that 20,000 texts fill in), and each band
        starts its run elsewhere, so that a near pair meets in some of them (an LSH forest: Bawa,
        Condie & Ganesan 2005).
        """
        runs = np.ascontiguousarray(np.roll(self.signatures[members], -self.first_column, axis=1))
        ordered = members[np.argsort(runs.view(f"V{runs.shape[1] * 4}").ravel(), kind="stable")]
        for distance in range(1, _NUM_NEIGHBOURS + 1):
            pairs = np.stack([ordered[:-distance], ordered[distance:]], axis=1)
            yield np.sort(pairs, axis=1)


def _triangle(members: Rows) -> Iterator[npt.NDArray[np.int64]]:
    """Yield all pairs of a bucket, in blocks; int64 [k, 2]."""
    for start in range(0, len(members), _SMALL_BUCKET):
        left, right = np.meshgrid(
            members[start : start + _SMALL_BUCKET], members[start + 1 :], indexing="ij"
        )
        is_pair = left < right
        yield np.stack([left[is_pair], right[is_pair]], axis=1)


def _portions(arrays: Iterable[npt.NDArray[np.int64]]) -> Iterator[npt.NDArray[np.int64]]:
    """Join small arrays of pairs and cut large ones, to about ``_VERIFY_PAIRS`` each."""
    waiting: list[npt.NDArray[np.int64]] = []
    for array in arrays:
        waiting.append(array)
        if sum(map(len, waiting)) >= _VERIFY_PAIRS:
            joined = np.concatenate(waiting)
            yield from np.array_split(joined, -(-len(joined) // _VERIFY_PAIRS))
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


@dataclass
class _Graph:
    """Texts as nodes, verified pairs as edges."""

    shingles: Shingles
    threshold: float
    edges: list[npt.NDArray[np.int64]] = field(default_factory=list)
    similarities: list[Similarities] = field(default_factory=list)
    component: Rows = field(init=False)  # for each text the first text of its group

    def __post_init__(self) -> None:
        self.component = np.arange(self._num_texts)

    def connect(self, candidates: Iterable[npt.NDArray[np.int64]]) -> None:
        """Add those pairs as edges whose exact Jaccard similarity reaches the threshold."""
        for pairs in _portions(candidates):
            pairs = self._worth_verifying(pairs)
            if not len(pairs):
                continue
            similarity = self.jaccard(pairs)
            is_edge = similarity >= self.threshold
            if is_edge.any():
                self.edges.append(pairs[is_edge])
                self.similarities.append(similarity[is_edge])
                self.component = self._components()

    def _worth_verifying(self, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Leave out pairs that are in one group already, or whose sizes alone rule them out."""
        sizes = self.shingles.sizes[pairs]
        is_possible = sizes.min(axis=1) >= self.threshold * sizes.max(axis=1)
        is_apart = self.component[pairs[:, 0]] != self.component[pairs[:, 1]]
        worth: npt.NDArray[np.int64] = pairs[is_possible & is_apart]
        return worth

    def _components(self) -> Rows:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = np.concatenate(self.edges)
        shape = (self._num_texts, self._num_texts)
        graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape)
        _, component = connected_components(graph, directed=False)
        _, first = np.unique(component, return_index=True)
        firsts: Rows = first[component].astype(np.int64)
        return firsts

    def jaccard(self, pairs: npt.NDArray[np.int64]) -> Similarities:
        """Return the exact Jaccard similarity of each pair of texts; float64 [k]."""
        sizes = self.shingles.sizes
        both = self._incidence[pairs[:, 0]].multiply(self._incidence[pairs[:, 1]])
        shared = np.asarray(both.sum(axis=1)).ravel()
        similarity: Similarities = shared / (sizes[pairs[:, 0]] + sizes[pairs[:, 1]] - shared)
        return similarity

    def nearest(self) -> NearDuplicates:
        """Return groups, and for each row that is not its group's first a verified relative."""
        keeper = self.component
        others = np.flatnonzero(keeper != np.arange(self._num_texts))
        relative = np.full(self._num_texts, -1, dtype=np.int64)
        jaccard = np.zeros(self._num_texts)
        relative[others] = keeper[others]
        jaccard[others] = self.jaccard(np.stack([others, keeper[others]], axis=1))
        is_chained = np.zeros(self._num_texts, dtype=bool)
        is_chained[others] = jaccard[others] < self.threshold
        for row, neighbour, similarity in self._edges_of(is_chained):
            if similarity > jaccard[row] or relative[row] == keeper[row]:
                relative[row], jaccard[row] = neighbour, similarity
        return NearDuplicates(keeper, relative, jaccard)

    def _edges_of(self, is_wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, float]]:
        """Yield (row, neighbour, similarity) for wanted rows, always in the same order."""
        for pairs, similarities in zip(self.edges, self.similarities, strict=True):
            touched = np.flatnonzero(is_wanted[pairs].any(axis=1))
            for (left, right), similarity in zip(
                pairs[touched].tolist(), similarities[touched].tolist(), strict=True
            ):
                if is_wanted[left]:
                    yield left, right, similarity
                if is_wanted[right]:
                    yield right, left, similarity

    @property
    def _num_texts(self) -> int:
        return len(self.shingles.sizes)

    @cached_property
    def _incidence(self) -> Any:
        """Texts by shingles, 0 or 1, sparse: a product of rows counts what two texts share."""
        from scipy.sparse import csr_array

        vocabulary, columns = np.unique(self.shingles.hashes, return_inverse=True)
        shape = (self._num_texts, len(vocabulary))
        ones = np.ones(len(columns), dtype=np.int32)
        return csr_array((ones, columns, self.shingles.offsets), shape=shape)
