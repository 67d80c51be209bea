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
from workbench.data.rules.rule import Bound

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


C4_BOUNDS = (
    Bound("c4_lorem_ipsum", "num_lorem_ipsum_lines", "c4_max_lorem_ipsum_lines", "at most", "c4"),
    Bound("c4_curly_bracket", "num_curly_bracket_lines", "c4_max_curly_bracket_lines", "at most",
          "c4"),
    Bound("c4_few_sentences", "num_sentences", "c4_min_sentences", "at least", "c4"),
)  # fmt: skip


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
        dict(zip(kernels.SCORES, np.ascontiguousarray(cleaned.scores.T), strict=True)),
    )  # fmt: skip


def _or_off(bound: int | None) -> int:
    return -1 if bound is None else bound


def _as_array(cleaned: Any) -> pa.Array:
    data = cleaned.data[: cleaned.offsets[-1]]
    return pa.LargeStringArray.from_buffers(
        len(cleaned.offsets) - 1, pa.py_buffer(cleaned.offsets), pa.py_buffer(data)
    )
