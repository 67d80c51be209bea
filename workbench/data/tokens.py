"""Words of any script, for counting and comparing texts; all of it vectorised over Arrow.

A word is a run of letters, digits and marks; each character of a script that writes without
spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese; Korean syllables too) is one word, and so is
each emoji.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Bopomofo}"
)
_ALONE = rf"[{UNSPACED}\p{{So}}]"
_BETWEEN_WORDS = r"[^\pL\pM\pN\p{So}]+"


def as_texts(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of strings whose offsets cannot overflow."""
    column = column.cast(pa.large_string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def normalise(texts: pa.Array) -> pa.Array:
    """Return each text's words in lower case, one space apart; equal where the words are."""
    lower = pc.utf8_lower(texts)
    spaced = pc.replace_substring_regex(lower, _BETWEEN_WORDS, " ")
    has_alone = pc.match_substring_regex(spaced, _ALONE)
    if pc.any(has_alone).as_py():  # gated: most partitions of Western text have none
        alone = pc.replace_substring_regex(spaced.filter(has_alone), f"({_ALONE})", r" \1 ")
        alone = pc.replace_substring_regex(alone, " +", " ")
        spaced = pc.replace_with_mask(spaced, has_alone, alone)
    return pc.utf8_trim(spaced, " ")


def count_words(texts: pa.Array) -> npt.NDArray[np.int64]:
    """Return the number of words of each text; int64 [n]."""
    words = normalise(texts)
    spaces = pc.count_substring(words, " ").to_numpy(zero_copy_only=False)
    is_empty = pc.equal(words, "").to_numpy(zero_copy_only=False)
    counts: npt.NDArray[np.int64] = np.where(is_empty, 0, spaces + 1).astype(np.int64)
    return counts


class Shingles(NamedTuple):
    """The set of word n-grams of each text: row i has ``hashes[offsets[i]:offsets[i + 1]]``.

    Hashes (uint64) are sorted and unique in their row; offsets are int64 [n + 1].
    """

    hashes: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of shingles of each text; int64 [n]."""
        return np.diff(self.offsets)


_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def shingle(normalised: pa.Array, size: int) -> Shingles:
    """Return the sets of ``size``-word shingles of texts that ``normalise`` returned.

    A text with fewer words is one shingle, so that it resembles only its equals; a text without
    words has none.
    """
    hashes, starts = _hash_words(normalised)
    lengths = np.diff(starts)
    counts = np.where(lengths >= size, lengths - size + 1, (lengths > 0).astype(np.int64))
    rows = np.repeat(np.arange(len(lengths)), counts)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    first_words = starts[rows] + (np.arange(len(rows)) - offsets[rows])
    last_words = starts[rows + 1] - 1
    grams = np.zeros(len(rows), dtype=np.uint64)
    for step in range(size):
        position = np.minimum(first_words + step, np.maximum(last_words, 0))
        word = np.where(first_words + step <= last_words, hashes[position], np.uint64(step))
        grams = _mix(grams * _MULTIPLIER + word)
    return _as_sets(rows, grams, len(lengths))


def _hash_words(normalised: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return a hash per word, and where each text's words start; equal words are hashed once."""
    import xxhash

    lists = pc.split_pattern(normalised, " ")
    words = lists.flatten().dictionary_encode()
    vocabulary = np.fromiter(
        (xxhash.xxh3_64_intdigest(word.encode()) for word in words.dictionary.to_pylist()),
        dtype=np.uint64, count=len(words.dictionary),
    )  # fmt: skip
    hashes = vocabulary[words.indices.to_numpy(zero_copy_only=False)]
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    is_empty = pc.equal(normalised, "").to_numpy(zero_copy_only=False)  # splits to one empty word
    kept = ~np.repeat(is_empty, lengths)
    starts = np.concatenate([[0], np.cumsum(np.where(is_empty, 0, lengths))])
    return hashes[kept], starts


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread bits (the finaliser of MurmurHash3), so that sums do not cancel."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(33))
    return mixed


def _as_sets(
    rows: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64], num_rows: int
) -> Shingles:
    order = np.lexsort((hashes, rows))
    rows, hashes = rows[order], hashes[order]
    is_new = np.ones(len(rows), dtype=bool)
    is_new[1:] = (rows[1:] != rows[:-1]) | (hashes[1:] != hashes[:-1])
    sizes = np.bincount(rows[is_new], minlength=num_rows)
    return Shingles(hashes[is_new], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
