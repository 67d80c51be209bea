"""Bars in a report: shares of a whole, drawn as SVG elements."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from workbench.core.page import Child, element

_LEFT, _RIGHT, _STEP = 170.0, 560.0, 20.0
_MOST_CHARACTERS = 26


def draw_bars(rows: Sequence[tuple[str, float, float, str]]) -> Element:
    """Draw a bar a row: its name, share in blue, share in grey behind it, and words."""
    drawn: list[Child] = []
    for number, (name, share, behind, words) in enumerate(rows):
        top = 4 + _STEP * number
        width = (_RIGHT - _LEFT) * share
        label = element("text", name[:_MOST_CHARACTERS], x=_LEFT - 10, y=top + 12,
                        text_anchor="end")  # fmt: skip
        drawn += [label, _bar(_LEFT, top, width, "now")]
        if behind:
            drawn.append(_bar(_LEFT + width, top, (_RIGHT - _LEFT) * behind, "before"))
        drawn.append(element("text", words, x=_RIGHT + 10, y=top + 12))
    return element("svg", *drawn, role="img", viewBox=f"0 0 720 {_STEP * len(rows) + 8:g}")


def as_percent(count: int, whole: int) -> str:
    """Write a share as ``12.3 %``."""
    return f"{100 * count / max(whole, 1):.1f} %"


def _bar(left: float, top: float, width: float, kind: str) -> Element:
    return element("rect", x=round(left, 1), y=top, width=round(max(width, 0.5), 1), height=14,
                   stroke="none", class_=kind)  # fmt: skip
