"""The main text of a page: the one place that says who extracts it."""

from __future__ import annotations


def page_text(html: str, url: str | None = None) -> str:
    """Return the main text of a page, empty where it has none."""
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=True, alt_texts=False)).strip()
