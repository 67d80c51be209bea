"""From UTF-8 to words, the identity of a text's words, and its set of word shingles."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.data.duplicates.characters import IS_ALONE, LOWER
from workbench.data.duplicates.compiled import Integer, compiled, mix

# Odd numbers without structure (digits of pi and e): factors of polynomial hashes.
_CHARACTER_FACTOR = np.uint64(0x243F6A8885A308D3)
_WORD_FACTOR = np.uint64(0x13198A2E03707345)
_LOW_FACTOR = np.uint64(0xA4093822299F31D1)
_HIGH_FACTOR = np.uint64(0xB7E151628AED2A6B)
_RAW_TEXT = np.uint64(0xBF7158809CF4F3C7)
_NOTHING = np.uint64(0)
_HALF_BITS = np.uint64(32)
_SMALL_SORT = 24
_LARGEST_BIN = 64


@compiled
def decode(data: Any, position: Integer, end: Integer) -> tuple[Integer, Integer]:
    """Return the code point at a byte, and where the next one starts.

    A byte that begins nothing whole counts as code point 0, which separates words.
    """
    first = np.int64(data[position])
    if first < 0x80:
        return first, position + 1
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC0 or first >= 0xF8 or position + length > end:
        return np.int64(0), position + 1
    point = first & (0x7F >> length)
    for step in range(1, length):
        following = np.int64(data[position + step])
        if following & 0xC0 != 0x80:
            return np.int64(0), position + 1
        point = point << 6 | (following & 0x3F)
    return point, position + length


@compiled
def hash_words(data: Any, start: Integer, end: Integer, table: Any, words: Any) -> Integer:
    """Write a hash for each word of a text, in lower case; return how many there are.

    ``words`` needs room for one more than there are bytes.
    """
    count = np.int64(0)
    hashed = _NOTHING
    position = start
    while position < end:
        byte = data[position]
        if byte < 0x80:
            # Without a branch: where words end is what a processor cannot foretell. A word's
            # hash is 0 only before its first character, as no character of a word is 0.
            entry = table[byte]
            words[count] = hashed
            is_separator = entry == 0
            count += np.int64(is_separator & (hashed != _NOTHING))
            factor = _NOTHING if is_separator else _CHARACTER_FACTOR
            hashed = hashed * factor + np.uint64(entry)
            position += 1
            continue
        point, position = decode(data, position, end)
        entry = table[point] if point < len(table) else np.uint32(0)
        is_alone = entry & np.uint32(IS_ALONE) != 0
        if (entry == 0 or is_alone) and hashed != _NOTHING:
            words[count] = hashed
            count += 1
            hashed = _NOTHING
        if is_alone:
            words[count] = np.uint64(entry & np.uint32(LOWER))
            count += 1
        elif entry != 0:
            hashed = hashed * _CHARACTER_FACTOR + np.uint64(entry)
    if hashed != _NOTHING:
        words[count] = hashed
        count += 1
    for place in range(count):
        words[place] = mix(words[place])
    return count


@compiled
def identify(words: Any, count: Integer) -> tuple[np.uint64, np.uint64]:
    """Return 128 bits that stand for a sequence of words."""
    low, high = np.uint64(count), _NOTHING
    for place in range(count):
        word = words[place]
        low = (low ^ word) * _LOW_FACTOR
        low ^= low >> _HALF_BITS
        high = (high + word) * _HIGH_FACTOR
    return mix(low), mix(high ^ low)


@compiled
def identify_raw(data: Any, start: Integer, end: Integer) -> tuple[np.uint64, np.uint64]:
    """Return 128 bits that stand for the bytes of a text that has no words."""
    low, high = _RAW_TEXT, np.uint64(end - start)
    for position in range(start, end):
        byte = np.uint64(data[position]) + np.uint64(1)
        low = (low ^ byte) * _LOW_FACTOR
        low ^= low >> _HALF_BITS
        high = (high + byte) * _HIGH_FACTOR
    return mix(low), mix(high ^ low)


@compiled
def write_shingles(words: Any, count: Integer, size: Integer, shingles: Any) -> Integer:
    """Write a hash for each run of ``size`` words; return how many there are.

    Fewer words make one shingle that equals only that of the same words.
    """
    if count == 0:
        return 0
    if count < size:
        gram = np.uint64(size - count)
        for place in range(count):
            gram = gram * _WORD_FACTOR + words[place]
        shingles[0] = mix(gram ^ _RAW_TEXT)
        return 1
    num_shingles = count - size + 1
    for place in range(num_shingles):
        shingles[place] = words[place]
    for step in range(1, size):
        for place in range(num_shingles):
            shingles[place] = shingles[place] * _WORD_FACTOR + words[place + step]
    for place in range(num_shingles):
        shingles[place] = mix(shingles[place])
    return num_shingles


@compiled
def sort_hashes(values: Any, count: Integer, scratch: Any, bins: Any) -> None:
    """Sort evenly spread uint64 in place, in linear time: by leading bits, then within them."""
    if count > _SMALL_SORT:
        bits = 1
        while (1 << bits) < count and (1 << bits) < len(bins) - 1:
            bits += 1
        shift = np.uint64(64 - bits)
        num_bins = 1 << bits
        bins[: num_bins + 1] = 0
        for place in range(count):
            bins[np.int64(values[place] >> shift) + 1] += 1
        for place in range(num_bins):
            bins[place + 1] += bins[place]
        for place in range(count):
            scratch[place] = values[place]
        for place in range(count):
            value = scratch[place]
            target = np.int64(value >> shift)
            values[bins[target]] = value
            bins[target] += 1
        first = 0
        for place in range(num_bins):
            if bins[place] - first > _LARGEST_BIN:
                values[first : bins[place]].sort()
            first = bins[place]
    for place in range(1, count):
        value = values[place]
        before = place - 1
        while before >= 0 and values[before] > value:
            values[before + 1] = values[before]
            before -= 1
        values[before + 1] = value


@compiled
def keep_distinct(values: Any, count: Integer) -> Integer:
    """Move the distinct ones of sorted values to the front; return how many there are."""
    if count == 0:
        return 0
    kept = np.int64(1)
    for place in range(1, count):
        values[kept] = values[place]
        kept += np.int64(values[place] != values[kept - 1])
    return kept


@compiled
def fingerprint_texts(
    data: Any, offsets: Any, table: Any, size: Integer, scratch: Any
) -> tuple[Any, Any, Any, Any]:
    """Return what is kept of each text, for n texts in UTF-8.

    ``scratch`` is (words, sorting, bins, shingles): three uint64 arrays, the first and third with
    room for all bytes and one more for each text, and int64 bins.

    Returns:
        The identity of each text's words, uint64 [n, 2]; its number of words, int64 [n]; the
        shingles of all texts, sorted and distinct in each, uint64; and offsets, int64 [n + 1].
    """
    words, sorting, bins, shingles = scratch
    num_texts = len(offsets) - 1
    identities = np.empty((num_texts, 2), np.uint64)
    num_words = np.empty(num_texts, np.int64)
    shingle_offsets = np.zeros(num_texts + 1, np.int64)
    used = 0
    for row in range(num_texts):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        count = hash_words(data, start, end, table, words)
        num_words[row] = count
        low, high = identify(words, count) if count else identify_raw(data, start, end)
        identities[row, 0], identities[row, 1] = low, high
        own = shingles[used:]
        num_shingles = write_shingles(words, count, size, own)
        sort_hashes(own, num_shingles, sorting, bins)
        used += keep_distinct(own, num_shingles)
        shingle_offsets[row + 1] = used
    return identities, num_words, shingles[:used], shingle_offsets
