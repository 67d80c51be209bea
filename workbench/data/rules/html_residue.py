"""HTML residue: tags and entities that were left in text."""

from __future__ import annotations

import html
import re

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Columns, Judgement, rewrite

_MOST_ROUNDS = 5  # &amp;amp;lt; needs three; a hostile text asks for thousands
_SUSPICIOUS = r"&#?[0-9A-Za-z]+;|</?[A-Za-z][^<>]*>|<!--"
# Known elements only: <3, <user> and the placeholders of redaction are text.
_ELEMENTS = (
    "a|abbr|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|col|dd|del|div"
    "|dl|dt|em|embed|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img"
    "|input|ins|label|li|link|main|mark|meta|nav|noscript|object|ol|option|p|picture|pre|q|s|script"
    "|section|select|small|source|span|strike|strong|style|sub|sup|svg|table|tbody|td|textarea|tfoot"
    "|th|thead|title|tr|tt|u|ul|video|wbr"
)
_OPENING = re.compile(r"<(script|style)\b[^<>]*>|<!--", re.I)
_CLOSING = {
    "script": re.compile(r"</script\s*>", re.I),
    "style": re.compile(r"</style\s*>", re.I),
    "comment": re.compile(r"-->"),
}
_INLINE = re.compile(
    r"</?(?:a|abbr|b|big|cite|code|em|font|i|ins|mark|q|s|small|span|strike|strong|sub|sup|tt|u|wbr)"
    r"(?:\s[^<>]*)?/?>", re.I,
)  # fmt: skip
_TAG = re.compile(rf"</?(?:{_ELEMENTS})(?:\s[^<>]*)?/?>", re.I)


class HtmlSetting(Spec):
    """Whether HTML residue is removed."""

    strip_html: bool = option(
        True, title="Remove HTML residue", group="Repair",
        help="Turn entities (&amp;) into characters and remove tags (<br>) from texts.",
    )  # fmt: skip


def strip_html(columns: Columns, setting: HtmlSetting) -> Judgement:
    """Decode entities, also those encoded several times, then remove the tags of HTML."""
    if not setting.strip_html:
        return Judgement()
    return Judgement(text=rewrite(columns.text, _SUSPICIOUS, _strip))


def _strip(text: str) -> str:
    for _ in range(_MOST_ROUNDS):
        previous = text
        text = _without_invisible(html.unescape(text))
        text = _TAG.sub(" ", _INLINE.sub("", text))
        if text == previous:
            break
    return text


def _without_invisible(text: str) -> str:
    """Remove scripts, styles and comments; linear in time, however many are never closed."""
    pieces, kept_from, search_from = [], 0, 0
    unclosed: set[str] = set()
    while opening := _OPENING.search(text, search_from):
        kind = (opening[1] or "comment").lower()
        closing = None if kind in unclosed else _CLOSING[kind].search(text, opening.end())
        if closing is None:
            unclosed.add(kind)
            search_from = opening.end()
        else:
            pieces += [text[kept_from : opening.start()], " "]
            kept_from = search_from = closing.end()
    return "".join([*pieces, text[kept_from:]])
