"""Rows: all scores of each text, its words found once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from workbench.data.kernels.characters import Bytes
from workbench.data.kernels.compiled import entry
from workbench.data.kernels.fineweb import SCORES as FINEWEB_SCORES
from workbench.data.kernels.fineweb import measure_fineweb
from workbench.data.kernels.quality import SCORES as QUALITY_SCORES
from workbench.data.kernels.quality import measure_quality
from workbench.data.kernels.repetition import SCORES as REPETITION_SCORES
from workbench.data.kernels.repetition import measure_repetition, room_for_repetition
from workbench.data.kernels.words import Tables, room_for_words, split_words

REPETITION, QUALITY, FINEWEB = 1, 2, 4  # bits of the families that are asked for
SHARES = (*REPETITION_SCORES, *QUALITY_SCORES, *FINEWEB_SCORES)
COUNTS = ("num_characters", "num_words", "num_lines")
_QUALITY_START = len(REPETITION_SCORES)
_FINEWEB_START = _QUALITY_START + len(QUALITY_SCORES)


class Wanted(NamedTuple):
    """What is measured, and against what."""

    families: int
    short_line_characters: int
    languages: Any  # int64 [rows]: which of the stop words; -1: none
    stop_words: Any  # uint64 [languages, 64]: hash sets


@entry
def measure_rows(
    data: Bytes, offsets: Any, tables: Tables, wanted: Wanted, shares: Any, counts: Any
) -> None:
    """Write a row of ``SHARES`` float32 and one of ``COUNTS`` int32 for each text."""
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    words, room = room_for_words(longest + 1), room_for_repetition(longest + 1)
    no_stop_words = np.empty(0, np.uint64)
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        found = split_words(text, tables, words)
        counts[row, 0] = found.characters
        if wanted.families & REPETITION:
            measure_repetition(
                text, words, found, tables.classes, room, shares[row, :_QUALITY_START]
            )
        if wanted.families & QUALITY:
            language = wanted.languages[row]
            stop_words = wanted.stop_words[language] if language >= 0 else no_stop_words
            counts[row, 1] = measure_quality(
                text, words, found, stop_words, tables.classes,
                shares[row, _QUALITY_START:_FINEWEB_START],
            )  # fmt: skip
        if wanted.families & FINEWEB:
            counts[row, 2] = measure_fineweb(
                text, words, found, wanted.short_line_characters, tables.classes, room,
                shares[row, _FINEWEB_START:],
            )  # fmt: skip
