"""Gopher: rules on repetition and on the make-up of documents.

Thresholds: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training
Gopher" (arXiv:2112.11446), table A1 and appendix A.1.1; decided in the order of datatrove. They are
made for web documents: short texts fail them.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from workbench.core.spec import Spec, option
from workbench.data.rules.measure import Scores, measure
from workbench.data.rules.rule import Bound, Sense

_REPETITION, _QUALITY = "Gopher repetition", "Gopher quality"
_PARTS, _CHARACTERS, _WORDS = "share of all", "share of characters", "words"


def _most(default: float, title: str, what: str, unit: str, group: str = _REPETITION) -> Any:
    return option(
        default, title=title, group=group, unit=unit, ge=0, le=1,
        help=f"Drop texts with a larger share of {what}; empty: no bound.",
    )  # fmt: skip


def _most_top(default: float, size: int) -> Any:
    what = f"characters in the commonest sequence of {size} words"
    return _most(default, f"Most in one {size}-gram", what, _CHARACTERS)


def _most_duplicate(default: float, size: int) -> Any:
    what = f"characters in sequences of {size} words that came before"
    return _most(default, f"Most in repeated {size}-grams", what, _CHARACTERS)


class GopherSetting(Spec):
    """Which of Gopher's rules apply, and their thresholds."""

    gopher_repetition: bool = option(
        False, title="Apply repetition rules", group=_REPETITION,
        help="Drop documents that repeat their lines, paragraphs or word sequences, as Gopher did "
        "(Rae et al. 2021, table A1). For web documents, not for comments.",
    )  # fmt: skip
    gopher_min_characters: int | None = option(
        1, title="Fewest characters", group=_REPETITION, unit="characters", ge=0,
        help="Drop shorter texts; empty: no bound.",
    )  # fmt: skip
    gopher_max_duplicate_paragraphs: float | None = _most(
        0.3, "Most repeated paragraphs", "paragraphs that came before", _PARTS
    )
    gopher_max_duplicate_paragraph_characters: float | None = _most(
        0.2, "Most in repeated paragraphs", "characters in paragraphs that came before", _CHARACTERS
    )
    gopher_max_duplicate_lines: float | None = _most(
        0.3, "Most repeated lines", "lines that came before", _PARTS
    )
    gopher_max_duplicate_line_characters: float | None = _most(
        0.2, "Most in repeated lines", "characters in lines that came before", _CHARACTERS
    )
    gopher_max_top_2_gram: float | None = _most_top(0.20, 2)
    gopher_max_top_3_gram: float | None = _most_top(0.18, 3)
    gopher_max_top_4_gram: float | None = _most_top(0.16, 4)
    gopher_max_duplicate_5_grams: float | None = _most_duplicate(0.15, 5)
    gopher_max_duplicate_6_grams: float | None = _most_duplicate(0.14, 6)
    gopher_max_duplicate_7_grams: float | None = _most_duplicate(0.13, 7)
    gopher_max_duplicate_8_grams: float | None = _most_duplicate(0.12, 8)
    gopher_max_duplicate_9_grams: float | None = _most_duplicate(0.11, 9)
    gopher_max_duplicate_10_grams: float | None = _most_duplicate(0.10, 10)

    gopher_quality: bool = option(
        False, title="Apply quality rules", group=_QUALITY,
        help="Drop documents that are too short, or made of unusual words, signs or lines, as "
        "Gopher did (Rae et al. 2021, appendix A.1.1). For web documents, not for comments.",
    )  # fmt: skip
    gopher_min_words: int | None = option(
        50, title="Fewest words", group=_QUALITY, unit=_WORDS, ge=0,
        help="Drop shorter documents. Signs are no words; each character of Chinese, Japanese, "
        "Korean and Thai is one. Empty: no bound.",
    )  # fmt: skip
    gopher_max_words: int | None = option(
        100_000, title="Most words", group=_QUALITY, unit=_WORDS, ge=0,
        help="Drop longer documents; empty: no bound.",
    )  # fmt: skip
    gopher_min_mean_word_length: float | None = option(
        3, title="Least mean word length", group=_QUALITY, unit="characters", ge=0,
        help="Drop documents of shorter words; empty: no bound. Does not apply where most words "
        "are single characters of a script without spaces.",
    )  # fmt: skip
    gopher_max_mean_word_length: float | None = option(
        10, title="Greatest mean word length", group=_QUALITY, unit="characters", ge=0,
        help="Drop documents of longer words; empty: no bound.",
    )  # fmt: skip
    gopher_max_hashes: float | None = option(
        0.1, title="Most hash signs", group=_QUALITY, unit="for each word", ge=0,
        help="Drop documents with more of them; empty: no bound.",
    )  # fmt: skip
    gopher_max_ellipses: float | None = option(
        0.1, title="Most ellipses", group=_QUALITY, unit="for each word", ge=0,
        help="Drop documents with more of them; empty: no bound.",
    )  # fmt: skip
    gopher_max_bullet_lines: float | None = _most(
        0.9, "Most bulleted lines", "lines that start with - or •", "share of lines", _QUALITY
    )
    gopher_max_ellipsis_lines: float | None = _most(
        0.3, "Most unfinished lines", "lines that end with ...", "share of lines", _QUALITY
    )
    gopher_min_alphabetic_words: float | None = option(
        0.8, title="Fewest words with letters", group=_QUALITY, unit="share of words", ge=0, le=1,
        help="Drop documents with a smaller share; numbers and signs count as words here. Empty: "
        "no bound.",
    )  # fmt: skip
    gopher_min_stop_words: int | None = option(
        2, title="Fewest stop words", group=_QUALITY, unit="different words", ge=0,
        help="Drop documents with fewer function words of their language (the, of, and ...); does "
        "not apply to languages of which there is no list. Empty: no bound.",
    )  # fmt: skip


def _repetition(rule: str, score: str, field: str) -> Bound:
    return Bound(
        f"gopher_{rule}", f"gopher_{score}", f"gopher_{field}", "at most", "gopher_repetition"
    )


GOPHER_REPETITION_BOUNDS = (
    Bound("gopher_empty", "gopher_num_characters", "gopher_min_characters", "at least",
          "gopher_repetition"),
    _repetition("duplicate_paragraphs", "duplicate_paragraph_share", "max_duplicate_paragraphs"),
    _repetition("duplicate_paragraph_characters", "duplicate_paragraph_characters",
                "max_duplicate_paragraph_characters"),
    _repetition("duplicate_lines", "duplicate_line_share", "max_duplicate_lines"),
    _repetition("duplicate_line_characters", "duplicate_line_characters",
                "max_duplicate_line_characters"),
    *(_repetition(f"top_{size}_gram", f"top_{size}_gram", f"max_top_{size}_gram")
      for size in (2, 3, 4)),
    *(_repetition(f"duplicate_{size}_grams", f"duplicate_{size}_grams",
                  f"max_duplicate_{size}_grams") for size in (5, 6, 7, 8, 9, 10)),
)  # fmt: skip


def _quality(rule: str, score: str, field: str, sense: Sense) -> Bound:
    return Bound(f"gopher_{rule}", f"gopher_{score}", f"gopher_{field}", sense, "gopher_quality")


GOPHER_QUALITY_BOUNDS = (
    _quality("few_words", "num_words", "min_words", "at least"),
    _quality("many_words", "num_words", "max_words", "at most"),
    _quality("short_words", "mean_word_length", "min_mean_word_length", "at least"),
    _quality("long_words", "mean_word_length", "max_mean_word_length", "at most"),
    _quality("hashes", "hash_share", "max_hashes", "at most"),
    _quality("ellipses", "ellipsis_share", "max_ellipses", "at most"),
    _quality("bullet_lines", "bullet_line_share", "max_bullet_lines", "at most"),
    _quality("ellipsis_lines", "ellipsis_line_share", "max_ellipsis_lines", "at most"),
    _quality("few_alphabetic_words", "alphabetic_word_share", "min_alphabetic_words", "at least"),
    _quality("few_stop_words", "num_stop_words", "min_stop_words", "at least"),
)


def measure_gopher(texts: pa.Array, language: str | pa.Array | None = None) -> Scores:
    """Return the scores of both families of every text, each [n]; see ``measure``."""
    return measure(texts, frozenset({"gopher_repetition", "gopher_quality"}), language)
