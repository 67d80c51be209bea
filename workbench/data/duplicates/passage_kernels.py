"""Finding the lines or paragraphs of texts, and the identity of each one's words."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.data.duplicates.compiled import Integer, compiled
from workbench.data.duplicates.word_kernels import hash_words, identify, identify_raw

_LINE_FEED = 10
_SPACE = 32


@compiled
def find_end(
    data: Any, start: Integer, end: Integer, is_paragraph: bool
) -> tuple[Integer, Integer]:
    """Return where the passage that starts here ends, and where the next one starts.

    A line ends at a line feed, a paragraph at the first of two or more with only blanks between.
    """
    position = start
    while position < end:
        if data[position] != _LINE_FEED:
            position += 1
            continue
        following = position + 1
        if not is_paragraph:
            return position, following
        num_feeds, after = 1, following
        while following < end and data[following] <= _SPACE:
            if data[following] == _LINE_FEED:
                num_feeds += 1
                after = following + 1
            following += 1
        if num_feeds > 1:
            return position, after
        position = after
    return end, end


@compiled
def trim(data: Any, start: Integer, end: Integer) -> tuple[Integer, Integer]:
    """Return a passage without the blanks around it."""
    while start < end and data[start] <= _SPACE:
        start += 1
    while end > start and data[end - 1] <= _SPACE:
        end -= 1
    return start, end


@compiled
def count_characters(data: Any, start: Integer, end: Integer) -> Integer:
    """Return how many characters begin among these bytes."""
    count = np.int64(0)
    for position in range(start, end):
        count += np.int64(data[position] & 0xC0 != 0x80)
    return count


@compiled
def find_passages(
    data: Any, offsets: Any, table: Any, is_paragraph: bool, fewest_characters: int
) -> tuple[Any, Any]:
    """Return the passages of texts that are long enough, blanks around them left out.

    Returns:
        The identity of each passage's words, uint64 [k, 2]; and its text, first byte and end in
        that text, int64 [k, 3].
    """
    num_bytes = np.int64(offsets[-1] - offsets[0])
    words = np.empty(num_bytes + 1, np.uint64)
    most = num_bytes // max(fewest_characters, 1) + len(offsets)
    identities, places = np.empty((most, 2), np.uint64), np.empty((most, 3), np.int64)
    used = 0
    for row in range(len(offsets) - 1):
        text, text_end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        position = text
        while position < text_end:
            end, following = find_end(data, position, text_end, is_paragraph)
            start, end = trim(data, position, end)
            if end > start and count_characters(data, start, end) >= fewest_characters:
                count = hash_words(data, start, end, table, words)
                low, high = identify(words, count) if count else identify_raw(data, start, end)
                identities[used, 0], identities[used, 1] = low, high
                places[used, 0], places[used, 1] = row, start - text
                places[used, 2] = end - text
                used += 1
            position = following
    return identities[:used], places[:used]


@compiled
def skip_break(data: Any, position: Integer, end: Integer, is_paragraph: bool) -> Integer:
    """Return where the text goes on after a passage: past its blanks and its line break.

    After a paragraph, past all blank lines.
    """
    while position < end and data[position] <= _SPACE:
        position += 1
        if data[position - 1] == _LINE_FEED and not is_paragraph:
            break
    return position


@compiled
def cut_spans(
    data: Any, offsets: Any, rows: Any, starts: Any, ends: Any, is_paragraph: bool
) -> tuple[Any, Any]:
    """Return texts without the passages at these spans, which are sorted by row and start.

    A passage goes with the blanks around it and its line break; where it was the last of its text,
    so do the blanks before it.

    Returns:
        UTF-8 bytes, uint8, and the offsets of texts in them, int64 [n + 1].
    """
    out = np.empty(np.int64(offsets[-1] - offsets[0]), np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    used = place = np.int64(0)
    for row in range(len(offsets) - 1):
        text_end = np.int64(offsets[row + 1])
        position, first = np.int64(offsets[row]), used
        while place < len(rows) and rows[place] == row:
            start = np.int64(offsets[row]) + starts[place]
            while start > position and data[start - 1] <= _SPACE and data[start - 1] != _LINE_FEED:
                start -= 1
            out[used : used + start - position] = data[position:start]
            used += start - position
            end = np.int64(offsets[row]) + ends[place]
            position = skip_break(data, end, text_end, is_paragraph)
            place += 1
            if position == text_end:
                while used > first and out[used - 1] <= _SPACE:
                    used -= 1
        out[used : used + text_end - position] = data[position:text_end]
        used += text_end - position
        out_offsets[row + 1] = used
    return out[:used], out_offsets
