"""The main text of a web page: without menus, advertisements, comments and related stories.

A cascade from cheap to dear. Nearly all pages are done after one walk over their tree; a second
walk trusts no names, then what the page itself declares as its article is asked, and at the end
trafilatura (Barbaresi 2021).
"""

from __future__ import annotations

import re
from typing import Any

from workbench.data.pages.blocks import Outline, outline
from workbench.data.pages.markup import parse
from workbench.data.pages.selection import select
from workbench.data.pages.structured import article_body, is_other_text

_FEW_CHARACTERS = 400  # a shorter text may be one of those that stand around the article
_TOO_FEW_CHARACTERS = 250
# trafilatura's time grows faster than the page: what costs minutes there is no article.
_LARGEST_FALLBACK_BYTES = 2_000_000
_MOST_FALLBACK_BLOCKS = 5_000
_NO_TEXT = re.compile(r"[|\- ]*")  # how trafilatura writes empty items and cells


def main_text(html: bytes | str, url: str | None = None) -> str:
    """Return a page's main text, a block a line without stray white space; empty if none.

    Any bytes are a page. Bytes are read in the encoding that they declare, as in browsers. The
    time is linear in the page's size; what stands deeper than 2,048 levels is not seen.

    Args:
        html: the page as it came, or decoded already.
        url: where it came from, which helps the last resort only.
    """
    page, body = parse(html)
    if body is None:
        return ""
    text = _text(outline(body))
    declared = article_body(page)
    if declared and is_other_text(declared, text):
        text = declared
    if len(text) >= _FEW_CHARACTERS:
        return text
    everything = outline(body, is_strict=False)
    relaxed = _text(everything)
    if len(relaxed) > 2 * len(text):
        text = relaxed
    if len(text) < _TOO_FEW_CHARACTERS and _is_worth_a_fallback(page, everything):
        text = max(text, _last_resort(page, url), key=len)
    return text


def _text(page: Outline) -> str:
    return "\n".join(block.text for block in select(page))


def _is_worth_a_fallback(page: bytes, everything: Outline) -> bool:
    num_characters = sum(len(block.text) for block in everything.blocks)
    return (
        num_characters >= _TOO_FEW_CHARACTERS
        and len(page) <= _LARGEST_FALLBACK_BYTES
        and len(everything.parents) <= _MOST_FALLBACK_BLOCKS
    )


def _last_resort(page: bytes, url: str | None) -> str:
    import trafilatura

    text: Any = trafilatura.extract(
        page.decode("utf-8", "replace"), url=url, include_comments=False
    )
    lines = (" ".join(line.split()) for line in str(text or "").splitlines())
    return "\n".join(line for line in lines if not _NO_TEXT.fullmatch(line))
