"""Repetition: how much of a text are lines, paragraphs and word sequences that it said before.

After Gopher (Rae et al. 2021, arXiv:2112.11446, table A1), counted as datatrove counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from workbench.data.kernels.characters import (
    Bytes,
    Classes,
    count_characters,
    hash_bytes,
    skip_spaces,
    trim_spaces,
)
from workbench.data.kernels.compiled import allocator, kernel
from workbench.data.kernels.hash_sets import clear_table, number_key
from workbench.data.kernels.words import Counts, Words

TOP_SIZES = (2, 3, 4)  # words
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)
SCORES = (
    "duplicate_paragraph_share",
    "duplicate_paragraph_characters",
    "duplicate_line_share",
    "duplicate_line_characters",
    *(f"top_{size}_gram" for size in TOP_SIZES),
    *(f"duplicate_{size}_grams" for size in DUPLICATE_SIZES),
)
_FIRST_DUPLICATE_SIZE, _LAST_SIZE = DUPLICATE_SIZES[0], DUPLICATE_SIZES[-1]
_NEWLINE = 10


class Room(NamedTuple):
    """Room for telling the keys of the longest text apart."""

    table: Any  # int32 [power of two]
    keys: Any  # uint64 [keys]
    counts: Any  # int64 [keys]: how often a key came; negative: that, and seen by the reader
    positions: Any  # int64 [words]: where the sequences start that may come again
    names: Any  # uint64 [words]: the number of each such sequence


@allocator
def room_for_repetition(num_bytes: int) -> Room:
    """Return room for the words and lines of texts of at most so many bytes."""
    num_keys = num_bytes + 2
    size = 4
    while size < 2 * num_keys:
        size *= 2
    return Room(
        np.empty(size, np.int32),
        np.empty(num_keys, np.uint64),
        np.empty(num_keys, np.int64),
        np.empty(num_keys, np.int64),
        np.empty(num_keys, np.uint64),
    )


@kernel
def measure_repetition(
    text: Bytes, words: Words, counts: Counts, classes: Classes, room: Room, scores: Any
) -> None:
    """Write the ``SCORES`` of a text: shares of its paragraphs, lines and characters."""
    start = skip_spaces(text, 0, len(text), classes)
    end = trim_spaces(text, start, len(text), classes)
    _measure_parts(text, start, end, 2, words, counts, room, scores[0:2])
    _measure_parts(text, 0, len(text), 1, words, counts, room, scores[2:4])
    _measure_sequences(
        words.hashes[: counts.words], words.lengths, counts.characters, room, scores[4:]
    )


@kernel
def _measure_parts(
    text: Bytes, start: int, end: int, fewest_newlines: int, words: Words, counts: Counts,
    room: Room, scores: Any,
) -> None:  # fmt: skip
    """Write which share of parts repeat an earlier one, and of the text's characters.

    Parts are what stands between at least so many newlines; also nothing at all, at an end.
    """
    mask = clear_table(room.table, counts.breaks + 1)
    num_parts, num_keys, num_characters = 0, 0, 0
    at, first = start, 0
    while at <= end:
        stop, after, first = _find_newlines(
            text, at, end, fewest_newlines, words.breaks[: counts.breaks], first
        )
        number = number_key(hash_bytes(text, at, stop), room.table, mask, room.keys, num_keys)
        if number == num_keys:
            num_keys += 1
        else:
            num_characters += count_characters(text, at, stop)
        num_parts += 1
        at = after
    scores[0] = (num_parts - num_keys) / num_parts
    scores[1] = num_characters / counts.characters


@kernel
def _find_newlines(
    text: Bytes, at: int, end: int, fewest: int, breaks: Any, first: int
) -> tuple[int, int, int]:
    """Return start and end of the next run of at least so many newlines, and the break after it.

    Where no run is left these are ``end`` and one byte more.
    """
    while first < len(breaks):
        start = breaks[first]
        first += 1
        if start < at or text[start] != _NEWLINE:
            continue
        if start >= end:
            break
        stop = start + 1
        while stop < end and text[stop] == _NEWLINE:
            stop += 1
        if stop - start >= fewest:
            return start, stop, first
    return end, end + 1, first


@kernel
def _measure_sequences(
    hashes: Any, lengths: Any, num_characters: int, room: Room, scores: Any
) -> None:
    """Write how much of a text its commonest and its repeated word sequences are.

    A sequence can come twice only if the two that it holds, one word shorter, come twice. So each
    size looks only at what the size before has left: in most texts that is soon nothing.
    """
    num_left = _name_words(hashes, room)
    for size in range(2, _LAST_SIZE + 1):
        num_left = _drop_single(num_left, room)
        num_left, num_names = _lengthen(num_left, room)
        if size < _FIRST_DUPLICATE_SIZE:
            num_top = _top_characters(size, hashes, lengths, num_left, num_names, room)
            scores[size - 2] = num_top / num_characters
        else:
            num_repeated = _repeated_characters(size, lengths, num_left, room)
            scores[size - 2] = num_repeated / num_characters


@kernel
def _name_words(hashes: Any, room: Room) -> int:
    """Number the words; return how many positions there are."""
    mask = clear_table(room.table, len(hashes))
    num_names = 0
    for at in range(len(hashes)):
        name = number_key(hashes[at], room.table, mask, room.keys, num_names)
        if name == num_names:
            room.counts[name] = 0
            num_names += 1
        room.counts[name] += 1
        room.names[at] = name
        room.positions[at] = at
    return len(hashes)


@kernel
def _drop_single(num_left: int, room: Room) -> int:
    """Keep the positions whose sequence comes more than once; return their number."""
    num_kept = 0
    for place in range(num_left):
        if abs(room.counts[room.names[place]]) > 1:
            room.positions[num_kept] = room.positions[place]
            room.names[num_kept] = room.names[place]
            num_kept += 1
    return num_kept


@kernel
def _lengthen(num_left: int, room: Room) -> tuple[int, int]:
    """Make the sequences one word longer; return the numbers of positions and of names.

    The names of two neighbours make the key of the longer sequence, exactly.
    """
    mask = clear_table(room.table, num_left)
    num_kept, num_names = 0, 0
    for place in range(num_left - 1):
        if room.positions[place + 1] != room.positions[place] + 1:
            continue
        key = np.uint64(room.names[place]) << np.uint64(32) | np.uint64(room.names[place + 1])
        name = number_key(key, room.table, mask, room.keys, num_names)
        if name == num_names:
            room.counts[name] = 0
            num_names += 1
        room.counts[name] += 1
        room.positions[num_kept] = room.positions[place]
        room.names[num_kept] = name
        num_kept += 1
    return num_kept, num_names


@kernel
def _top_characters(
    size: int, hashes: Any, lengths: Any, num_left: int, num_names: int, room: Room
) -> int:
    """Return the characters in all copies of the commonest sequence, spaces between its words too.

    Of equally common ones the first counts; so a text that repeats nothing still has one.
    """
    if len(hashes) < size:
        return 0
    top, most = 0, 1
    for name in range(num_names):  # in the order of their first arrival
        if room.counts[name] > most:
            top, most = name, room.counts[name]
    first = 0
    if most > 1:
        place = 0
        while room.names[place] != top:
            place += 1
        first = room.positions[place]
    return int(lengths[first + size] - lengths[first] + size - 1) * most


@kernel
def _repeated_characters(size: int, lengths: Any, num_left: int, room: Room) -> int:
    """Return the characters in sequences that came before, read without overlap."""
    num_characters, free_from = 0, 0
    for place in range(num_left):
        name, start = room.names[place], room.positions[place]
        if start < free_from:
            continue
        if room.counts[name] < 0:
            num_characters += lengths[start + size] - lengths[start]
            free_from = start + size
        else:
            room.counts[name] = -room.counts[name]
    return num_characters
