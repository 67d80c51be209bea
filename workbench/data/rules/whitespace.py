"""White space: runs become one space, paragraphs stay, invisible characters go."""

from __future__ import annotations

import pyarrow.compute as pc

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Columns, Judgement

# Joiners (U+200C, U+200D) stay: Persian words and emoji are written with them.
_INVISIBLE = r"[\x{200B}\x{2060}\x{FEFF}\x{00AD}]"
_SPACES = r"[\t\v\f \x{00A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}]+"
_LINE_END = r" ?(?:\r\n?|\n|\x{0085}|\x{2028}|\x{2029}) ?"


class WhitespaceSetting(Spec):
    """Whether white space is tidied."""

    tidy_whitespace: bool = option(
        True, title="Tidy white space", group="Repair",
        help="Make runs of spaces one space and more than one empty line one; remove invisible "
        "characters and space at both ends.",
    )  # fmt: skip


def tidy_whitespace(columns: Columns, setting: WhitespaceSetting) -> Judgement:
    """Bring white space into one form."""
    if not setting.tidy_whitespace:
        return Judgement()
    text = pc.replace_substring_regex(columns.text, _INVISIBLE, "")
    text = pc.replace_substring_regex(text, _SPACES, " ")
    text = pc.replace_substring_regex(text, _LINE_END, "\n")
    text = pc.replace_substring_regex(text, r"\n{3,}", "\n\n")
    return Judgement(text=pc.utf8_trim_whitespace(text))
