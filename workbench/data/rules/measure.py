"""One pass over texts for the scores of all families of quality rules that are asked for."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.data.rules.stop_words import STOP_WORDS
from workbench.data.tokens import as_texts

Family = Literal["gopher_repetition", "gopher_quality", "fineweb"]
Scores = dict[str, npt.NDArray[Any]]


def measure(
    texts: pa.Array,
    families: frozenset[Family],
    language: str | pa.Array | None = None,
    short_line_characters: int = 30,
) -> Scores:
    """Return the scores of every text, each [n]: shares float32, counts int32.

    Each has the name of its family before it: what is one word, or one line, differs.
    Shares are rounded once, from float64: a comparison with a threshold of at most two decimals
    decides as the exact share does for texts of up to 300,000 characters.

    Args:
        texts: large_string [n]; an absent text counts as empty.
        families: which rules the scores are for.
        language: ISO 639-1, of all texts or of each [n]; decides which stop words are counted.
            Where there is no list of them, ``gopher_num_stop_words`` is NaN.
        short_line_characters: up to which length a line is short, for FineWeb.
    """
    # Numba loads when texts are measured, not when a form is drawn.
    from workbench.data.kernels import rows
    from workbench.data.kernels.columns import column_of
    from workbench.data.kernels.words import word_tables

    column = column_of(texts)
    bits = {"gopher_repetition": rows.REPETITION, "gopher_quality": rows.QUALITY,
            "fineweb": rows.FINEWEB}  # fmt: skip
    languages, stop_words = _stop_words(language, column.num_rows)
    wanted = rows.Wanted(
        sum(bits[family] for family in families), short_line_characters, languages, stop_words
    )
    shares = np.empty((column.num_rows, len(rows.SHARES)), np.float32)
    counts = np.empty((column.num_rows, len(rows.COUNTS)), np.int32)
    rows.measure_rows(column.data, column.offsets, word_tables(), wanted, shares, counts)
    return _named(families, shares, counts)


def _named(
    families: frozenset[Family], shares: npt.NDArray[Any], counts: npt.NDArray[Any]
) -> Scores:
    from workbench.data.kernels import fineweb, quality, repetition, rows

    own = {
        "gopher_repetition": ("num_characters", *repetition.SCORES),
        "gopher_quality": ("num_words", *quality.SCORES),
        "fineweb": ("num_lines", *fineweb.SCORES),
    }
    columns = {**dict(zip(rows.COUNTS, counts.T, strict=True)),
               **dict(zip(rows.SHARES, shares.T, strict=True))}  # fmt: skip
    return {
        f"{family.partition('_')[0]}_{name}": np.ascontiguousarray(columns[name])
        for family, names in own.items()
        if family in families
        for name in names
    }


def _stop_words(
    language: str | pa.Array | None, num_rows: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Return which list each text has (-1: none), int64 [n], and the lists as hash sets."""
    from workbench.data.kernels.hash_sets import hash_set
    from workbench.data.kernels.quality import STOP_WORD_PLACES

    is_one = language is None or isinstance(language, str)
    column = pa.array([language] * num_rows, pa.string()) if is_one else language
    coded = as_texts(column).dictionary_encode()
    known = coded.dictionary.to_pylist()
    lists = [STOP_WORDS.get(code, ()) for code in known]
    sets = [hash_set([word.encode() for word in words], STOP_WORD_PLACES) for words in lists]
    numbers = np.array([number if words else -1 for number, words in enumerate(lists)], np.int64)
    codes = coded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    places = np.array(sets, np.uint64).reshape(len(sets), STOP_WORD_PLACES)
    return np.append(numbers, -1)[codes], places
