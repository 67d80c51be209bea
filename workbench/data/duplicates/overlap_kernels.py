"""How much of each test text's word sequences occurs in a record."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.data.duplicates.compiled import Integer, compiled
from workbench.data.duplicates.word_kernels import (
    hash_words,
    keep_distinct,
    sort_hashes,
    write_shingles,
)

_FILTER_SHIFT = np.uint64(64 - 20)
FILTER_BITS = 20


@compiled
def mark_present(grams: Any) -> Any:
    """Return which leading bits occur among hashes, so that most look-ups end at once."""
    present = np.zeros(1 << FILTER_BITS, np.bool_)
    for place in range(len(grams)):
        present[np.int64(grams[place] >> _FILTER_SHIFT)] = True
    return present


@compiled
def gram_texts(data: Any, offsets: Any, table: Any, size: Integer) -> tuple[Any, Any, Any]:
    """Return the distinct word sequences of texts: hashes, offsets, and words in each sequence.

    Sequences have ``size`` words, or all words of a text that has fewer.
    """
    num_bytes = np.int64(offsets[-1] - offsets[0]) + len(offsets)
    words, sorting = np.empty(num_bytes, np.uint64), np.empty(num_bytes, np.uint64)
    grams = np.empty(num_bytes, np.uint64)
    bins = np.empty((1 << 16) + 1, np.int64)
    gram_offsets = np.zeros(len(offsets), np.int64)
    num_words = np.zeros(len(offsets) - 1, np.int64)
    used = 0
    for row in range(len(offsets) - 1):
        count = hash_words(data, np.int64(offsets[row]), np.int64(offsets[row + 1]), table, words)
        own = grams[used:]
        num_grams = write_shingles(words, count, min(size, count), own)
        sort_hashes(own, num_grams, sorting, bins)
        used += keep_distinct(own, num_grams)
        gram_offsets[row + 1] = used
        num_words[row] = min(size, count)
    return grams[:used], gram_offsets, num_words


@compiled
def find_overlaps(data: Any, offsets: Any, table: Any, lengths: Any, index: Any) -> tuple[Any, Any]:
    """Return the largest share of a test text found in each record, and which test text it is.

    ``lengths`` are the numbers of words that sequences may have; ``index`` is (sorted distinct
    sequences, where the owners of each start, owners, number of sequences of each test text,
    what ``mark_present`` returned).

    Returns:
        Shares, float32 [n], and test rows, int64 [n]; 0 and -1 where nothing is found.
    """
    grams, owner_starts, owners, sizes, present = index
    num_texts = len(offsets) - 1
    num_bytes = np.int64(offsets[-1] - offsets[0]) + len(offsets)
    words, own = np.empty(num_bytes, np.uint64), np.empty(num_bytes, np.uint64)
    shares, test_rows = np.zeros(num_texts, np.float32), np.full(num_texts, -1, np.int64)
    counts = np.zeros(len(sizes), np.int64)
    seen_in = np.full(len(grams), -1, np.int64)
    touched = np.empty(len(sizes), np.int64)
    for row in range(num_texts):
        count = hash_words(data, np.int64(offsets[row]), np.int64(offsets[row + 1]), table, words)
        num_touched = 0
        for size in lengths:
            num_grams = write_shingles(words, count, size, own) if count >= size else 0
            for place in range(num_grams):
                gram = own[place]
                if not present[np.int64(gram >> _FILTER_SHIFT)]:
                    continue
                found = np.searchsorted(grams, gram)
                if found == len(grams) or grams[found] != gram or seen_in[found] == row:
                    continue
                seen_in[found] = row
                for owner in range(owner_starts[found], owner_starts[found + 1]):
                    test = owners[owner]
                    if counts[test] == 0:
                        touched[num_touched] = test
                        num_touched += 1
                    counts[test] += 1
        for place in range(num_touched):
            test = touched[place]
            share = np.float32(counts[test] / sizes[test])
            counts[test] = 0
            is_lower = share == shares[row] and test < test_rows[row]
            if share > shares[row] or is_lower:
                shares[row], test_rows[row] = share, test
    return shares, test_rows
