"""Rows before and after a stage: which to show, and where their texts differ."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["changed", "random", "dropped"]
MODES: tuple[Mode, ...] = ("changed", "random", "dropped")

# Longer texts are shown around their first difference; difflib is quadratic.
MOST_CHARACTERS = 600
_LEAD = 60
_PIECE = re.compile(r"[^\W\d_]+|\d+|\s+|.", re.DOTALL)
_CJK = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")

Piece = tuple[Literal["same", "removed", "added"], str]


@dataclass(frozen=True)
class Row:
    """One record before and after; ``after`` is None where the record was dropped."""

    id: str
    source: str
    before: str
    after: str | None
    reason: str = ""


def difference(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts cut into same, removed and added pieces.

    The pieces of the first list join to ``before``, those of the second to ``after``.
    """
    old, new = _pieces(before), _pieces(after)
    left: list[Piece] = []
    right: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        removed, added = "".join(old[i1:i2]), "".join(new[j1:j2])
        if tag == "equal":
            left.append(("same", removed))
            right.append(("same", added))
            continue
        if removed:
            left.append(("removed", removed))
        if added:
            right.append(("added", added))
    return left, right


def _pieces(text: str) -> list[str]:
    """Cut a text into words, runs of digits, spaces and signs; Chinese into characters."""
    found: list[str] = []
    for piece in _PIECE.findall(text):
        found.extend(piece if _CJK.search(piece) else [piece])
    return found


def window(before: str, after: str) -> tuple[str, str]:
    """Cut two long texts to a readable length, so that their first difference is in view."""
    if max(len(before), len(after)) <= MOST_CHARACTERS:
        return before, after
    pairs = enumerate(zip(before, after, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
    start = 0 if at + _LEAD <= MOST_CHARACTERS else at - _LEAD
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int) -> str:
    end = start + MOST_CHARACTERS
    return f"{'… ' if start else ''}{text[start:end]}{' …' if end < len(text) else ''}"


def present_rows(
    rows: Sequence[Row], counts: Mapping[str, int], mode: Mode, title: str
) -> dict[str, Any]:
    """Return what a view shows of drawn rows; ``counts`` are of all rows, by mode."""
    return {
        "title": title,
        "mode": mode,
        "modes": [{"name": name, "count": counts.get(name, 0)} for name in MODES],
        "shown": len(rows),
        "rows": [_present_row(row) for row in rows],
    }


def _present_row(row: Row) -> dict[str, Any]:
    if row.after is None:
        text, _ = window(row.before, row.before)
        told = f"dropped: {row.reason}" if row.reason else "dropped"
        return {
            **_names(row),
            "before": [("same", text)],
            "after": [],
            "note": told,
            "tone": "dropped",
        }
    old, new = window(row.before, row.after)
    left, right = difference(old, new)
    if row.before == row.after:
        return {**_names(row), "before": left, "after": [], "note": "unchanged", "tone": "same"}
    return {**_names(row), "before": left, "after": right, "note": "", "tone": ""}


def _names(row: Row) -> dict[str, str]:
    return {"id": row.id, "source": row.source}
