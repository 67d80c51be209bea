"""Hashed word n-grams of texts, with repetitions: features that need no vocabulary."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.order import hash_strings
from workbench.data.tokens import normalise

_SEED = 0
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


class WordRows(NamedTuple):
    """The words of each text, end to end: row i has ``words[offsets[i]:offsets[i + 1]]``.

    ``words`` are places in ``vocabulary`` (distinct words in the order they were met).
    """

    words: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    vocabulary: pa.Array


class Grams(NamedTuple):
    """The n-grams of each text: row i has ``hashes[offsets[i]:offsets[i + 1]]`` (uint64)."""

    hashes: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]


def split_words(texts: pa.Array) -> WordRows:
    """Return the words of each text in lower case (see ``workbench.data.tokens``)."""
    normalised = normalise(texts)
    lists = pc.split_pattern(normalised, " ")
    words = pc.list_flatten(lists).dictionary_encode()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    is_empty = pc.equal(normalised, "").to_numpy(zero_copy_only=False)  # splits to one empty word
    kept = ~np.repeat(is_empty, lengths)
    offsets = np.concatenate([[0], np.cumsum(np.where(is_empty, 0, lengths))]).astype(np.int64)
    places = words.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return WordRows(places[kept], offsets, words.dictionary)


def hash_grams(texts: pa.Array, longest: int) -> Grams:
    """Return the hashes of all word n-grams of 1 to ``longest`` words, the shortest first.

    A text of m words has m + (m - 1) + ... of them; the same words give the same hashes on every
    machine.
    """
    rows = split_words(texts)
    hashes = hash_strings(rows.vocabulary, _SEED)[rows.words]
    lengths = np.diff(rows.offsets)
    row_of_word = np.repeat(np.arange(len(lengths)), lengths)
    found, owners, grams = [hashes], [row_of_word], hashes
    for size in range(2, min(longest, len(hashes)) + 1):
        ends = hashes[size - 1 :]
        grams = _join(grams[: len(ends)], ends)
        is_within = row_of_word[size - 1 :] == row_of_word[: len(ends)]
        found.append(grams[is_within])
        owners.append(row_of_word[: len(ends)][is_within])
    owner = np.concatenate(owners)
    by_row = np.argsort(owner, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(lengths)))])
    return Grams(np.concatenate(found)[by_row], offsets.astype(np.int64))


class Terms(NamedTuple):
    """The word n-grams of each text, as strings: ``terms`` are distinct, ``places`` are in them.

    The n-grams of row i are all those whose ``rows`` is i, in no order.
    """

    terms: pa.Array
    places: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


def split_terms(texts: pa.Array, longest: int) -> Terms:
    """Return all n-grams of 1 to ``longest`` words, words one space apart."""
    found = split_words(texts)
    row_of_word = np.repeat(np.arange(len(texts)), np.diff(found.offsets))
    num_words = max(len(found.vocabulary), 1)
    terms, places, rows = [found.vocabulary], [found.words], [row_of_word]
    shorter = found.words  # the n-gram of one word less that begins at each word
    for size in range(2, min(longest, len(found.words)) + 1):
        ends = found.words[size - 1 :]
        distinct, shorter = np.unique(shorter[: len(ends)] * num_words + ends, return_inverse=True)
        heads = terms[-1].take(pa.array(distinct // num_words))
        tails = found.vocabulary.take(pa.array(distinct % num_words))
        terms.append(pc.binary_join_element_wise(heads, tails, pa.scalar(" ", heads.type)))
        is_within = row_of_word[size - 1 :] == row_of_word[: len(ends)]
        places.append(shorter[is_within] + sum(map(len, terms[:-1])))
        rows.append(row_of_word[: len(ends)][is_within])
    return Terms(pa.concat_arrays(terms), np.concatenate(places), np.concatenate(rows))


def _join(grams: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hash of each n-gram made longer by one word."""
    joined = (grams ^ (grams >> _SHIFT)) * _MULTIPLIER + words
    return (joined ^ (joined >> _SHIFT)) * _MULTIPLIER
