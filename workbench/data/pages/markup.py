"""A page's bytes as a tree, however hostile they are."""

from __future__ import annotations

from typing import Any

_BOMS = (b"\xff\xfe", b"\xfe\xff")
_ESCAPE = b"\x1b"  # ISO-2022 encodings are ASCII to the eye
_NO_FLOOD_BYTES = 100_000  # a page so small cannot hold a parser up
_LARGEST_PAGE_BYTES = 32_000_000  # what stands behind is not read


def parse(html: bytes | str) -> tuple[bytes, Any]:
    """Return a page as UTF-8 and its root as an lxml element, None where there is nothing."""
    from lxml import etree

    page = to_utf8(html)[:_LARGEST_PAGE_BYTES]
    if len(page) > _NO_FLOOD_BYTES:
        from workbench.data.pages.floods import without_floods

        page = without_floods(page)
    parser = etree.HTMLParser(
        encoding="utf-8",
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,  # up to 2,048 levels rather than 256
        collect_ids=False,
    )
    try:
        return page, etree.fromstring(page, parser)
    except etree.XMLSyntaxError:  # nothing in it, not even text
        return page, None


def to_utf8(html: bytes | str) -> bytes:
    """Return a page's text as UTF-8 without NULs; what cannot be decoded becomes U+FFFD."""
    if isinstance(html, str):
        return html.encode("utf-8", "replace").replace(b"\0", b"")
    if html[:2] not in _BOMS and _ESCAPE not in html:
        try:
            html.decode()
        except UnicodeDecodeError:
            pass
        else:
            return html.replace(b"\0", b"")
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    encoding = str(detect_encoding(html, from_html_meta=True) or "utf-8")
    text: str = bytes_to_str(html, encoding, errors="replace")
    return text.encode("utf-8", "replace").replace(b"\0", b"")
