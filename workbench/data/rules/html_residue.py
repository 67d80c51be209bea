"""HTML residue: tags and entities that were left in text."""

from __future__ import annotations

import html
import re
from html.entities import html5

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Columns, Judgement, rewrite

_MOST_ROUNDS = 5  # &amp;amp;lt; needs three; a hostile text asks for thousands
_SUSPICIOUS = r"&#?[0-9A-Za-z]+;|</?[A-Za-z][^<>]*>|<!--|<[!?][A-Za-z\[]"
# Named or of few digits, and closed: AT&T, ?a=1&copy=2 and numbers without end are text.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][0-9A-Za-z]{1,31});")
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
_TAG = re.compile(rf"<(/?)({_ELEMENTS})(\s[^<>]*)?/?>", re.I)
_CLOSED = re.compile(r"</([A-Za-z][0-9A-Za-z]*)")
_DECLARATION = re.compile(
    r"<!doctype\b[^<>]*>|<\?xml\b[^<>]*\?>|<!\[(?:if\b[^<>\]]*|endif)\]>", re.I
)
_INLINE = frozenset({
    "a", "abbr", "b", "big", "cite", "code", "em", "font", "i", "ins", "mark", "q", "s",
    "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "wbr",
})  # fmt: skip
_VALUE = re.compile(r"[\w-]\s?=(?!=)")
_WITHOUT_VALUE = frozenset({
    "/", "allowfullscreen", "async", "autofocus", "autoplay", "checked", "compact", "controls",
    "defer", "disabled", "hidden", "itemscope", "loop", "multiple", "muted", "noshade",
    "novalidate", "nowrap", "open", "readonly", "required", "reversed", "selected",
})  # fmt: skip
# These stand alone, or their end may be left out.
_NEVER_CLOSED = frozenset({
    "body", "br", "dd", "dt", "embed", "head", "hr", "html", "img", "input", "li", "link",
    "meta", "option", "p", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "wbr",
})  # fmt: skip


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
    return Judgement(text=rewrite(columns.text, _SUSPICIOUS, remove_html))


def remove_html(text: str) -> str:
    """Return a text without the tags, entities, scripts, styles and comments of HTML."""
    for _ in range(_MOST_ROUNDS):
        previous = text
        text = _without_invisible(_ENTITY.sub(_decode_entity, text))
        text = _without_tags(text)
        if text == previous:
            break
    return text


def _decode_entity(match: re.Match[str]) -> str:
    is_known = match[0][1] == "#" or match[0][1:] in html5
    return html.unescape(match[0]) if is_known else match[0]


def _without_tags(text: str) -> str:
    """Remove tags; a space stands for those that start or end a line, a cell or the like."""
    closed = {name.lower() for name in _CLOSED.findall(text)}

    def instead_of(tag: re.Match[str]) -> str:
        if _is_text(tag, closed):
            return tag[0]
        return "" if tag[2].lower() in _INLINE else " "

    return _DECLARATION.sub(" ", _TAG.sub(instead_of, text))


def _is_text(tag: re.Match[str], closed: set[str]) -> bool:
    """Say whether what looks like a tag is a comparison, or a type: if a <b and c> d, List<Object>.

    A type is glued to a name but not to a word behind it, and nothing in the text closes it.
    """
    is_end, name, rest = tag[1], tag[2].lower(), tag[3] or ""
    if is_end:
        return False
    if rest.strip():
        is_attributes = all(word.lower() in _WITHOUT_VALUE for word in rest.split())
        return not (is_attributes or _VALUE.search(rest))
    before, after = (
        tag.string[max(0, tag.start() - 1) : tag.start()],
        tag.string[tag.end() : tag.end() + 1],
    )
    is_glued = (before.isalnum() or before == "_") and not after.isalnum()
    return is_glued and name not in closed and name not in _NEVER_CLOSED


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
