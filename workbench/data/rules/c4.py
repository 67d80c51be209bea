"""C4: lines that are no running text are dropped, then documents with too few sentences.

Rules: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer" (JMLR 21(140)), section 2.2, and the code that was published with it; decided in the
order of datatrove. Beyond both, marks and characters of other scripts count as ends and words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.core.spec import Spec, option
from workbench.data.rules.measure import Scores
from workbench.data.rules.rule import Bound, Columns, Judgement, Pieces, Sense

_GROUP = "C4"
# What ``C4Lines.reasons`` holds; the names stand in the ledger.
LINE_REASONS = {
    1: "c4_long_word",
    2: "c4_no_terminal_mark",
    3: "c4_few_words",
    4: "c4_javascript",
    5: "c4_policy",
    6: "c4_citation",
}
# The field that holds the threshold of a reason, and what it says.
_LINE_BOUNDS = {1: ("c4_max_word_characters", "at most"), 3: ("c4_min_words_per_line", "at least")}


class C4Setting(Spec):
    """Whether C4's rules apply, and their thresholds."""

    c4: bool = option(
        False, title="Apply C4 rules", group=_GROUP,
        help="Drop lines that are no running text and documents with few sentences, as C4 did "
        "(Raffel et al. 2020). For web documents, not for comments.",
    )  # fmt: skip
    c4_terminal_marks: bool = option(
        True, title="Only finished lines", group=_GROUP,
        help="Drop lines that do not end with . ! ? or a quotation mark, or the full stop of "
        "another script.",
    )  # fmt: skip
    c4_min_words_per_line: int | None = option(
        3, title="Fewest words in a line", group=_GROUP, unit="words", ge=0,
        help="Drop shorter lines; empty: no bound.",
    )  # fmt: skip
    c4_max_word_characters: int | None = option(
        1000, title="Longest word in a line", group=_GROUP, unit="characters", ge=0,
        help="Drop lines with a longer word; empty: no bound.",
    )  # fmt: skip
    c4_drop_javascript: bool = option(
        True, title="Drop JavaScript notices", group=_GROUP,
        help="Drop lines that speak of JavaScript.",
    )  # fmt: skip
    c4_drop_policies: bool = option(
        True, title="Drop policy notices", group=_GROUP,
        help="Drop lines that speak of terms of use, a privacy policy or the use of cookies.",
    )  # fmt: skip
    c4_remove_citations: bool = option(
        True, title="Remove citations", group=_GROUP,
        help="Remove [1], [edit] and [citation needed] from lines.",
    )  # fmt: skip
    c4_max_lorem_ipsum_lines: int | None = option(
        0, title="Most lines of lorem ipsum", group=_GROUP, unit="lines", ge=0,
        help="Drop documents with more; empty: no bound.",
    )  # fmt: skip
    c4_max_curly_bracket_lines: int | None = option(
        0, title="Most lines with a curly bracket", group=_GROUP, unit="lines", ge=0,
        help="Drop documents with more, as they hold code; empty: no bound.",
    )  # fmt: skip
    c4_min_sentences: int | None = option(
        5, title="Fewest sentences", group=_GROUP, unit="sentences", ge=0,
        help="Drop documents with fewer in the lines that are left; empty: no bound.",
    )  # fmt: skip


def _bound(rule: str, score: str, field: str, sense: Sense) -> Bound:
    return Bound(f"c4_{rule}", f"c4_{score}", f"c4_{field}", sense, "c4", switch_rewrites=True)


C4_BOUNDS = (
    _bound("lorem_ipsum", "num_lorem_ipsum_lines", "max_lorem_ipsum_lines", "at most"),
    _bound("curly_bracket", "num_curly_bracket_lines", "max_curly_bracket_lines", "at most"),
    _bound("few_sentences", "num_sentences", "min_sentences", "at least"),
)


@dataclass(frozen=True)
class C4Lines:
    """What C4 leaves of n texts, and the m spans that it takes out.

    ``texts`` large_string [n]: kept lines, stripped, one newline apart; ``rows``, ``starts`` and
    ``ends`` int64 [m]: which bytes of which text went, in order; ``reasons`` uint8 [m]: why, see
    ``LINE_REASONS``; ``scores``: int32 [n] each. Blank lines and the spaces around lines go
    without a span.
    """

    texts: pa.Array
    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.uint8]
    scores: Scores


def c4_lines(texts: pa.Array, setting: C4Setting) -> C4Lines:
    """Drop lines from texts (large_string [n]) and measure what is left.

    Lines go whatever the text's fate: its score decides, so that a threshold can be moved later.
    """
    # Numba loads when texts are measured, not when a form is drawn.
    from workbench.data.kernels import c4 as kernels
    from workbench.data.kernels.columns import column_of
    from workbench.data.kernels.words import word_tables

    column = column_of(texts)
    first, last = int(column.offsets[0]), int(column.offsets[-1])
    room = kernels.most_spans(column.data[first:last], column.num_rows)
    cleaned = kernels.room_for_cleaned(last - first, column.num_rows, room)
    rules = kernels.LineRules(
        max_word_characters=_or_off(setting.c4_max_word_characters),
        min_words=_or_off(setting.c4_min_words_per_line),
        needs_terminal=setting.c4_terminal_marks,
        drops_javascript=setting.c4_drop_javascript,
        drops_policy=setting.c4_drop_policies,
        removes_citations=setting.c4_remove_citations,
    )
    num_spans = kernels.clean_rows(column.data, column.offsets, rules, word_tables(), cleaned)
    rows, starts, ends = np.ascontiguousarray(cleaned.spans[:num_spans].T)
    return C4Lines(
        _as_array(cleaned), rows, starts, ends, cleaned.reasons[:num_spans].copy(),
        dict(zip((f"c4_{name}" for name in kernels.SCORES),
                 np.ascontiguousarray(cleaned.scores.T), strict=True)),
    )  # fmt: skip


def drop_c4_lines(columns: Columns, setting: C4Setting) -> Judgement:
    """Leave the lines that C4 keeps, and say which go, and why."""
    if not setting.c4:
        return Judgement()
    lines = c4_lines(columns.text, setting)
    names: list[str | None] = [LINE_REASONS.get(reason) for reason in range(len(LINE_REASONS) + 1)]
    words: list[str | None] = [None] * len(names)
    thresholds = np.full(len(names), np.nan, np.float32)
    for reason, (field, sense) in _LINE_BOUNDS.items():
        bound = getattr(setting, field)
        thresholds[reason], words[reason] = np.nan if bound is None else bound, sense
    reasons = pa.array(lines.reasons)
    pieces = Pieces(
        lines.rows, lines.starts, lines.ends, pa.array(names, pa.string()).take(reasons),
        thresholds[lines.reasons], pa.array(words, pa.string()).take(reasons),
    )  # fmt: skip
    return Judgement(text=lines.texts, pieces=pieces, scores=lines.scores)


def _or_off(bound: int | None) -> int:
    return -1 if bound is None else bound


def _as_array(cleaned: Any) -> pa.Array:
    data = cleaned.data[: cleaned.offsets[-1]]
    return pa.LargeStringArray.from_buffers(
        len(cleaned.offsets) - 1, pa.py_buffer(cleaned.offsets), pa.py_buffer(data)
    )
