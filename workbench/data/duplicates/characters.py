"""What each Unicode character is to the words of a text, as one table that kernels look up."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.tokens import ALONE, BETWEEN_WORDS

LOWER = 0x1FFFFF  # these bits: the character in lower case; 0: it separates words
IS_ALONE = 1 << 24  # this bit: the character is a word by itself

_NUM_CODE_POINTS = 0x110000
# Beyond these planes nothing is assigned but private use, which separates words.
_ASSIGNED = ((0, 0xD800), (0xE000, 0x34000), (0xE0000, 0xE1000))


@lru_cache(maxsize=1)
def character_table() -> npt.NDArray[np.uint32]:
    """Return what ``normalise`` does to each code point; uint32 [0x110000], read-only.

    The table is made with the same expressions that ``normalise`` uses, so that the two agree
    whatever version of Unicode Arrow knows.
    """
    table = np.zeros(_NUM_CODE_POINTS, dtype=np.uint32)
    for first, end in _ASSIGNED:
        points = np.arange(first, end, dtype=np.uint32)
        characters = pa.array(list(points.tobytes().decode("utf-32-le")), pa.string())
        lower = pc.utf8_lower(characters)
        lowered = np.frombuffer("".join(lower.to_pylist()).encode("utf-32-le"), dtype=np.uint32)
        is_word = ~_matches(lower, BETWEEN_WORDS)
        is_alone = _matches(lower, ALONE)
        table[first:end] = np.where(is_word, lowered | (is_alone * np.uint32(IS_ALONE)), 0)
    table.flags.writeable = False
    return table


def _matches(characters: pa.Array, expression: str) -> npt.NDArray[np.bool_]:
    matches: npt.NDArray[np.bool_] = pc.match_substring_regex(characters, expression).to_numpy(
        zero_copy_only=False
    )
    return matches
