"""FineWeb: rules on the lines of documents.

Thresholds: Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest Text Data at
Scale" (arXiv:2406.17557), section 3.5; the last two as in datatrove.
"""

from __future__ import annotations

import pyarrow as pa

from workbench.core.spec import Spec, option
from workbench.data.rules.measure import Scores, measure
from workbench.data.rules.rule import Bound, Sense

_GROUP = "FineWeb"


class FineWebSetting(Spec):
    """Whether FineWeb's rules apply, and their thresholds."""

    fineweb: bool = option(
        False, title="Apply FineWeb rules", group=_GROUP,
        help="Drop documents that are lists, fragments or copies of lines, as FineWeb did (Penedo "
        "et al. 2024). For web documents, not for comments.",
    )  # fmt: skip
    fineweb_min_lines: int | None = option(
        1, title="Fewest lines", group=_GROUP, unit="lines that are not blank", ge=0,
        help="Drop documents with fewer; empty: no bound.",
    )  # fmt: skip
    fineweb_min_terminal_lines: float | None = option(
        0.12, title="Fewest finished lines", group=_GROUP, unit="share of lines", ge=0, le=1,
        help="Drop documents with a smaller share of lines that end with a full stop, question "
        "mark or the like, of any script; empty: no bound.",
    )  # fmt: skip
    fineweb_short_line_characters: int = option(
        30, title="Short line", group=_GROUP, unit="characters", ge=0, le=1_000_000,
        help="Lines of at most so many characters are short.",
    )  # fmt: skip
    fineweb_max_short_lines: float | None = option(
        0.67, title="Most short lines", group=_GROUP, unit="share of lines", ge=0, le=1,
        help="Drop documents with a larger share; empty: no bound.",
    )  # fmt: skip
    fineweb_max_copied_lines: float | None = option(
        0.01, title="Most in copied lines", group=_GROUP, unit="share of characters", ge=0, le=1,
        help="Drop documents with a larger share of characters in lines that came before; empty: "
        "no bound.",
    )  # fmt: skip
    fineweb_max_newlines: float | None = option(
        0.3, title="Most newlines", group=_GROUP, unit="for each word", ge=0,
        help="Drop documents with more newlines for each word, as lists have; empty: no bound.",
    )  # fmt: skip


def _bound(rule: str, score: str, field: str, sense: Sense) -> Bound:
    return Bound(f"fineweb_{rule}", f"fineweb_{score}", f"fineweb_{field}", sense, "fineweb")


FINEWEB_BOUNDS = (
    _bound("no_lines", "num_lines", "min_lines", "at least"),
    _bound("few_terminal_lines", "terminal_line_share", "min_terminal_lines", "at least"),
    _bound("short_lines", "short_line_share", "max_short_lines", "at most"),
    _bound("copied_lines", "copied_line_characters", "max_copied_lines", "at most"),
    _bound("newlines", "newlines_per_word", "max_newlines", "at most"),
)


def measure_fineweb(texts: pa.Array, setting: FineWebSetting) -> Scores:
    """Return the scores of every text, each [n]; see ``measure``."""
    length = setting.fineweb_short_line_characters
    return measure(texts, frozenset({"fineweb"}), short_line_characters=length)
