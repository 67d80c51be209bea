"""Plain tables for terminals, aligned also where Chinese characters are twice as wide."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Sequence


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header, columns aligned, long lines cut at the terminal's width."""
    print(format_table(header, rows, shutil.get_terminal_size((120, 40)).columns))


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Return the table as text; a terminal ``width`` of 0 means that nothing is cut."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(text_width(line[i]) for line in lines) for i in range(len(header))]
    texts = ["  ".join(pad(c, w) for c, w in zip(line, widths, strict=True)) for line in lines]
    rule = "  ".join("─" * w for w in widths)
    return "\n".join(cut(text.rstrip(), width) for text in [texts[0], rule, *texts[1:]])


def text_width(text: str) -> int:
    """Return how many terminal cells a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int) -> str:
    """Fill a text with spaces up to a width in cells."""
    return text + " " * (width - text_width(text))


def cut(text: str, width: int) -> str:
    """Cut a text to a width in cells, with an ellipsis where it was cut."""
    if not width or text_width(text) <= width:
        return text
    while text_width(text) >= width:
        text = text[:-1]
    return text + "…"
