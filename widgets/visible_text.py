"""Text made visible: signs without a shape, or that turn text around, are shown by name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

# Kinds are "same", "removed" and "added", each also with this ending: a sign's name, not the sign.
SIGN = " sign"
Pieces = list[tuple[str, str]]

_NAMED = {"\n": "↵", "\t": "⇥", "\r": "CR", "\x00": "NUL", "\x1b": "ESC", "\x7f": "DEL",
          "\u00a0": "NBSP", "\u200b": "ZWSP", "\ufeff": "BOM", "\u00ad": "SHY"}  # fmt: skip
# Joiners hold emoji and some scripts together; they are part of what is seen.
_JOINERS = "\u200c\u200d"


def _is_unseen(character: str) -> bool:
    if character in _JOINERS:
        return False
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or character in _NAMED


def name_of(character: str) -> str:
    """Return what stands for a sign that cannot be seen: ``NUL``, ``U+202E``."""
    return _NAMED.get(character) or f"U+{ord(character):04X}"


def visible(pieces: Iterable[Sequence[str]]) -> Pieces:
    """Cut pieces ``(kind, text)`` further, so that each unseen sign is a piece with its name.

    What is between the signs keeps its text; no sign that turns the reading direction is left.
    """
    shown: Pieces = []
    for kind, text in pieces:
        for part in re.split(r"([^\x20-\x7e]+)", text):
            if part.isascii() and part.isprintable():
                _add(shown, kind, part)
                continue
            for character in part:
                if _is_unseen(character):
                    shown.append((kind + SIGN, name_of(character)))
                else:
                    _add(shown, kind, character)
    return shown


def _add(shown: Pieces, kind: str, text: str) -> None:
    if not text:
        return
    if shown and shown[-1][0] == kind:
        shown[-1] = (kind, shown[-1][1] + text)
    else:
        shown.append((kind, text))


def visible_text(text: str, most: int = 240) -> Pieces:
    """Return a text as visible pieces, cut to a readable length."""
    cut = text if len(text) <= most else f"{text[:most]} …"
    return visible([("same", cut)])
