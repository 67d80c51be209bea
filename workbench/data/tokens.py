"""Words of any script, for counting and comparing texts; all of it vectorised over Arrow.

A word is a run of letters, digits and marks; each character of a script that writes without
spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese; Korean syllables too) is one word, and so is
each emoji.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Bopomofo}"
)
ALONE = rf"[{UNSPACED}\p{{So}}]"
BETWEEN_WORDS = r"[^\pL\pM\pN\p{So}]+"


def as_texts(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of strings whose offsets cannot overflow."""
    column = column.cast(pa.large_string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def normalise(texts: pa.Array) -> pa.Array:
    """Return each text's words in lower case, one space apart; equal where the words are."""
    lower = pc.utf8_lower(texts)
    spaced = pc.replace_substring_regex(lower, BETWEEN_WORDS, " ")
    has_alone = pc.match_substring_regex(spaced, ALONE)
    if pc.any(has_alone).as_py():  # gated: most partitions of Western text have none
        alone = pc.replace_substring_regex(spaced.filter(has_alone), f"({ALONE})", r" \1 ")
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
