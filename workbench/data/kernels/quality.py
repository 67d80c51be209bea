"""Quality: what words, signs and lines a text is made of.

After Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1), counted as datatrove counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.data.kernels.characters import (
    ALONE,
    ALPHABETIC,
    COUNTED,
    Bytes,
    Classes,
    skip_spaces,
    trim_spaces,
)
from workbench.data.kernels.compiled import kernel
from workbench.data.kernels.hash_sets import HashSet, place_of
from workbench.data.kernels.words import Counts, Words

SCORES = (
    "mean_word_length",
    "hash_share",
    "ellipsis_share",
    "bullet_line_share",
    "ellipsis_line_share",
    "alphabetic_word_share",
    "num_stop_words",
)
_HASH, _DOT, _HYPHEN, _RETURN, _NEWLINE = 0x23, 0x2E, 0x2D, 0x0D, 0x0A
_SHARE_WITHOUT_LENGTH = 0.5
STOP_WORD_PLACES = 64  # of each hash set of stop words: one bit each


@kernel
def measure_quality(
    text: Bytes, words: Words, counts: Counts, stop_words: HashSet, classes: Classes, scores: Any
) -> int:
    """Write the ``SCORES`` of a text; return how many words are more than signs.

    ``stop_words`` of length 0: the language has no list, and the score is NaN.
    """
    num_counted, num_alphabetic = _measure_words(words, counts.words, scores)
    num_hashes, num_ellipses = _count_signs(text)
    scores[1] = num_hashes / counts.words
    scores[2] = num_ellipses / counts.words
    num_lines, num_bullets, num_trailing = _count_lines(
        text, words.breaks[: counts.breaks], classes
    )
    scores[3] = num_bullets / num_lines
    scores[4] = num_trailing / num_lines
    scores[5] = num_alphabetic / counts.words
    scores[6] = _count_stop_words(words.hashes[: counts.words], stop_words)
    return num_counted


@kernel
def _measure_words(words: Words, num_words: int, scores: Any) -> tuple[int, int]:
    """Write the mean length of counted words; return how many count and how many have a letter.

    Where most words are single characters of a script without spaces their length says nothing:
    the mean is NaN.
    """
    num_counted, num_alphabetic, num_alone, length = 0, 0, 0, 0
    for word in range(num_words):
        kinds = words.kinds[word]
        num_alphabetic += (kinds & ALPHABETIC) != 0
        if kinds & COUNTED:
            num_counted += 1
            num_alone += (kinds & ALONE) != 0 and (kinds & ALPHABETIC) != 0
            length += words.lengths[word + 1] - words.lengths[word]
    has_lengths = num_alone <= _SHARE_WITHOUT_LENGTH * num_counted
    scores[0] = length / num_counted if has_lengths else np.nan
    return num_counted, num_alphabetic


@kernel
def _count_signs(text: Bytes) -> tuple[int, int]:
    """Return how many # and how many ellipses (... and …) there are."""
    num_hashes, num_ellipses, dots = 0, 0, 0
    for at in range(len(text)):
        byte = text[at]
        num_hashes += byte == _HASH
        if byte == _DOT:
            dots += 1
            if dots == 3:
                num_ellipses += 1
                dots = 0
        else:
            dots = 0
            num_ellipses += byte == 0xA6 and _is_ellipsis(text, at)
    return num_hashes, num_ellipses


@kernel
def _is_ellipsis(text: Bytes, last: int) -> bool:
    """Whether the character that ends with a byte is … (E2 80 A6)."""
    return last >= 2 and text[last - 2] == 0xE2 and text[last - 1] == 0x80 and text[last] == 0xA6


@kernel
def _count_lines(text: Bytes, breaks: Any, classes: Classes) -> tuple[int, int, int]:
    """Return how many lines there are, begin with a bullet, and end with an ellipsis."""
    num_lines, num_bullets, num_trailing, start = 0, 0, 0, 0
    for place in range(len(breaks) + 1):
        end = breaks[place] if place < len(breaks) else len(text)
        if place == len(breaks) and start >= end:
            break  # a break at the end of a text starts no line
        if end < len(text) and text[end] == _NEWLINE and end > 0 and text[end - 1] == _RETURN:
            start = end + 1  # the second half of \r\n
            continue
        num_lines += 1
        first = skip_spaces(text, start, end, classes)
        num_bullets += first < end and _is_bullet(text, first)
        stop = trim_spaces(text, first, end, classes)
        num_trailing += stop > first and _is_trailing(text, first, stop)
        start = end + _width(text, end)
    return num_lines, num_bullets, num_trailing


@kernel
def _width(text: Bytes, at: int) -> int:
    """Return the width of the line break at a byte."""
    if at == len(text) or text[at] < 0x80:
        return 1
    return 2 if text[at] < 0xE0 else 3


@kernel
def _is_bullet(text: Bytes, at: int) -> bool:
    """Whether - or • (E2 80 A2) stands at a byte."""
    if text[at] == _HYPHEN:
        return True
    is_whole = at + 2 < len(text) and text[at] == 0xE2
    return is_whole and text[at + 1] == 0x80 and text[at + 2] == 0xA2


@kernel
def _is_trailing(text: Bytes, start: int, end: int) -> bool:
    """Whether a line ends with an ellipsis."""
    if end - start < 3:
        return False
    if text[end - 1] == _DOT:
        return bool(text[end - 2] == _DOT and text[end - 3] == _DOT)
    return _is_ellipsis(text, end - 1)


@kernel
def _count_stop_words(hashes: Any, stop_words: HashSet) -> float:
    """Return how many different stop words there are; NaN without a list."""
    if len(stop_words) == 0:
        return np.nan
    found = np.uint64(0)  # a bit for each place of the set, which has 64
    for word in range(len(hashes)):
        place = place_of(stop_words, hashes[word])
        if place >= 0:
            found |= np.uint64(1) << np.uint64(place)
    count = 0
    while found:
        found &= found - np.uint64(1)
        count += 1
    return count
