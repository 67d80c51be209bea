"""Lines as FineWeb looks at them: ends, lengths and copies.

After FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.5), counted as datatrove counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.data.kernels.characters import (
    TERMINAL,
    Bytes,
    Classes,
    class_at,
    count_characters,
    hash_bytes,
    skip_spaces,
    step_back,
)
from workbench.data.kernels.compiled import kernel
from workbench.data.kernels.hash_sets import clear_table, number_key
from workbench.data.kernels.repetition import Room
from workbench.data.kernels.words import Counts, Words

SCORES = (
    "terminal_line_share",
    "short_line_share",
    "copied_line_characters",
    "newlines_per_word",
)
_NEWLINE = 0x0A
_WIDEST = 4  # bytes in a character


@kernel
def measure_fineweb(
    text: Bytes, words: Words, counts: Counts, short_length: int, classes: Classes, room: Room,
    scores: Any,
) -> int:  # fmt: skip
    """Write the ``SCORES`` of a text; return how many of its lines are not blank."""
    mask = clear_table(room.table, counts.breaks + 1)
    num_lines, num_terminal, num_short, num_copied, num_keys, num_newlines = 0, 0, 0, 0, 0, 0
    start = 0
    for place in range(counts.breaks + 1):
        end = words.breaks[place] if place < counts.breaks else len(text)
        if end < len(text):
            if text[end] != _NEWLINE:
                continue
            num_newlines += 1
        if skip_spaces(text, start, end, classes) < end:
            num_lines += 1
            kind, _ = class_at(text, step_back(text, end, start), classes)
            num_terminal += (kind & TERMINAL) != 0
            num_short += _is_short(text, start, end, short_length)
            number = number_key(hash_bytes(text, start, end), room.table, mask, room.keys, num_keys)
            if number == num_keys:
                num_keys += 1
            else:
                num_copied += count_characters(text, start, end)
        start = end + 1
    scores[0] = num_terminal / num_lines
    scores[1] = num_short / num_lines
    scores[2] = num_copied / (counts.characters - num_newlines)
    scores[3] = num_newlines / counts.words if counts.words else np.nan
    return num_lines


@kernel
def _is_short(text: Bytes, start: int, end: int, length: int) -> bool:
    if end - start > _WIDEST * length:
        return False
    return count_characters(text, start, end) <= length
