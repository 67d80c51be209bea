"""Unicode repair: mojibake, escapes, control characters, one normal form (NFC)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Columns, Judgement, rewrite

# ASCII but for controls, carriage returns and escapes is what every repair leaves as it is.
_SUSPICIOUS = r"[^\x20-\x7e\t\n]|\\u[0-9a-fA-F]{4}"
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_MOST_ROUNDS = 5  # an escaped escape needs three; a hostile text asks for thousands


class UnicodeSetting(Spec):
    """Whether text is repaired."""

    repair_unicode: bool = option(
        True, title="Repair characters", group="Repair",
        help="Mend wrongly decoded text (schÃ¶n), literal escapes (\\u2019) and control "
        "characters, and bring equal characters into one form (NFC).",
    )  # fmt: skip


def repair_unicode(columns: Columns, setting: UnicodeSetting) -> Judgement:
    """Mend characters with ftfy (Speer 2019); quotes, widths and entities stay as written."""
    if not setting.repair_unicode:
        return Judgement()
    return Judgement(text=rewrite(columns.text, _SUSPICIOUS, mend_characters))


def mend_characters(text: str) -> str:
    """Mend one text until nothing changes any more, however little looks wrong with it.

    One round can bring forth what the next one mends: an escape of an escape, or two lines that
    are mended apart where one was before.
    """
    import ftfy

    for _ in range(_MOST_ROUNDS):
        previous = text
        text = str(ftfy.fix_text(_ESCAPES.sub(_decode_escapes, text), _how_to_mend()))
        if text == previous:
            break
    return text


@cache
def _how_to_mend() -> Any:
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,  # the next rule's work
        uncurl_quotes=False,  # typography is no damage
        fix_character_width=False,  # full-width punctuation is right in Chinese
        explain=False,
    )


def _decode_escapes(match: re.Match[str]) -> str:
    """Decode a run of escapes as UTF-16, so that pairs become one character."""
    units = [int(unit, 16) for unit in match[0].split("\\u")[1:]]
    return b"".join(unit.to_bytes(2, "big") for unit in units).decode("utf-16-be", "replace")
