"""Repeated passages: lines or paragraphs that many records share, such as menus and notices."""

from __future__ import annotations

from typing import Literal

from workbench.core.spec import Spec, option

# What is taken out -> the rule's name in the ledger.
PASSAGE_RULES = {"lines": "repeated_lines", "paragraphs": "repeated_paragraphs"}

_GROUP = "Repeated passages"


class RepeatedPassageSetting(Spec):
    """Which passages are taken out of records because other records hold them, too."""

    repeated_passages: Literal["keep", "lines", "paragraphs"] = option(
        "keep", title="Repeated passages", group=_GROUP,
        help="Take lines, or paragraphs, out of records where other records hold the same words: "
        "menus, footers, notices. A record of nothing else is then dropped as empty.",
    )  # fmt: skip
    passage_min_records: int = option(
        2, title="Fewest records", group=_GROUP, unit="records", ge=2,
        help="A passage that fewer records hold stays.",
    )  # fmt: skip
    passage_min_characters: int = option(
        20, title="Shortest passage", group=_GROUP, unit="characters", ge=1,
        help="Shorter passages stay, however often they occur.",
    )  # fmt: skip
    passage_keep_first: bool = option(
        True, title="Keep the first", group=_GROUP,
        help="Leave a passage where it occurs first; off: take it out of every record.",
    )  # fmt: skip
