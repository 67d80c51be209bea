"""A page's bytes as a tree, however hostile they are."""

from __future__ import annotations

import re
from typing import Any

_BOMS = (b"\xff\xfe", b"\xfe\xff")
_ESCAPE = b"\x1b"
_DECLARES_UTF8 = re.compile(rb"<meta[^<>]{0,200}charset=[\"' ]{0,2}utf-?8", re.I)
_DECLARED_WITHIN = 1024  # bytes, as the standard says
_NO_FLOOD_BYTES = 100_000  # a page so small cannot hold a parser up
_LARGEST_BODY_BYTES = 32_000_000  # what stands behind is not read


def parse(html: bytes | str) -> tuple[bytes, Any]:
    """Return a page as UTF-8 and its body as an lxml element, None where there is nothing."""
    from lxml import etree  # type: ignore[import-untyped]

    page = to_utf8(html)
    shown: Any = memoryview(page)[_start_of_body(page) :][:_LARGEST_BODY_BYTES]
    if not shown:
        return page, None
    if len(shown) > _NO_FLOOD_BYTES:
        from workbench.data.pages.floods import without_floods

        shown = without_floods(shown)
    parser = etree.HTMLParser(
        encoding="utf-8",  # bytes that are not become U+FFFD, as in browsers
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,  # up to 2,048 levels rather than 256
        collect_ids=False,
    )
    try:
        root = etree.fromstring(shown, parser)
    except etree.XMLSyntaxError:  # nothing in it, not even text
        return page, None
    if root is None:
        return page, None
    body = root.find("body")
    return page, root if body is None else body


def to_utf8(html: bytes | str) -> bytes:
    """Return a page as UTF-8 without NULs: by the encoding it declares, else that it looks like."""
    if isinstance(html, str):
        page = html.encode("utf-8", "replace")
    elif _is_utf8(html):
        page = html
    else:
        from resiliparse.parse.encoding import bytes_to_str, detect_encoding

        encoding = str(detect_encoding(html, from_html_meta=True) or "utf-8")
        page = bytes_to_str(html, encoding, errors="replace").encode("utf-8", "replace")
    return page.replace(b"\0", b"")


def _is_utf8(html: bytes) -> bool:
    if html[:2] in _BOMS:
        return False
    if _DECLARES_UTF8.search(html, 0, _DECLARED_WITHIN):
        return True
    if _ESCAPE in html:  # ISO-2022 encodings are ASCII to the eye
        return False
    try:
        html.decode()
    except UnicodeDecodeError:
        return False
    return True


def _start_of_body(page: bytes) -> int:
    """Return where the body begins, 0 if that is not plain to see: a third less to parse."""
    head_ends = page.find(b"</head>")
    return max(0, page.find(b"<body", head_ends, head_ends + 1000)) if head_ends >= 0 else 0
