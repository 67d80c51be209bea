"""A report as one HTML file: no script, no network, and every text in it escaped.

Pages are built as element trees and only then written, so that no text can become markup however
hostile it is. Colours, sizes and spacing follow the studio's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Child = Element | str | None

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1f1f1f; --ink2: #474747; --ink3: #616161;
  --edge: #858585; --line: #dedede; --stripe: #f5f5f5; --accent: #1976d2; --base: #808080;
  --tint: 25, 118, 210; --ok: #0a7a66; --warn: #a34f00; --fail: #bf2f1f; }
@media (prefers-color-scheme: dark) { :root { --back: #111; --ink: #e2e2e2; --ink2: #bcbcbc;
  --ink3: #a5a5a5; --edge: #838383; --line: #393939; --stripe: #1b1b1b; --accent: #2196f3;
  --base: #888; --tint: 33, 150, 243; --ok: #4cc3ab; --warn: #f2a35e; --fail: #ff8b78; } }
body { font: 13px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink);
  background: var(--back); max-width: 960px; margin: 24px auto; padding: 0 16px;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 15px; font-weight: 600; margin: 0; padding-bottom: 12px;
  border-bottom: 1px solid var(--line); }
h2 { font-size: 13px; font-weight: 600; margin: 24px 0 4px; }
h1 small, h2 small { font-size: 12px; font-weight: 400; color: var(--ink3); margin-left: 4px; }
p { margin: 4px 0; max-width: 72ch; }
p.note, li.note { font-size: 12px; color: var(--ink3); }
p.verdict { font-size: 15px; font-weight: 600; margin: 12px 0 4px; }
.ok { color: var(--ok); } .warn { color: var(--warn); } .fail { color: var(--fail); }
ul { margin: 4px 0; padding-left: 16px; max-width: 72ch; }
div.wide { overflow-x: auto; }
div.pair { display: flex; flex-wrap: wrap; gap: 0 24px; }
table { border-collapse: collapse; font-size: 12px; margin: 4px 0; }
th, td { text-align: left; font-weight: 400; padding: 4px 8px; vertical-align: top; }
thead th { font-weight: 600; border-bottom: 1px solid var(--line); }
tbody tr:nth-child(odd) { background: var(--stripe); }
th.number, td.number { text-align: right; white-space: nowrap; }
td.text { overflow-wrap: anywhere; min-width: 24ch; }
.strong { font-weight: 600; }
svg { display: block; width: 100%; height: auto; max-width: 720px; }
svg text { font-size: 11px; fill: var(--ink2); }
svg text.strong { fill: var(--ink); }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--edge); }
svg .now { stroke: var(--accent); fill: var(--accent); }
svg .before { stroke: var(--base); fill: var(--base); }
svg text.now, svg text.before { stroke: none; }
footer { margin-top: 24px; padding-top: 8px; border-top: 1px solid var(--line);
  font-size: 11px; color: var(--ink3); }
"""
# Even if a browser were fooled, it may fetch and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_MOST_CHARACTERS = 1000
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


def element(tag: str, *children: Child, **attributes: str | float) -> Element:
    """Make an element; a ``str`` child is text and never markup. ``class_`` gives ``class``."""
    made = Element(tag, {k.rstrip("_").replace("_", "-"): str(v) for k, v in attributes.items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child is not None and last is None:
            made.text = (made.text or "") + _visible(child)
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + _visible(child)
    return made


def write_page(path: Path, title: str, body: Sequence[Child]) -> None:
    """Write a whole page as UTF-8; the same elements give the same bytes."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", _STYLE),
    )
    root = element("html", head, element("body", *body), lang="en")
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    path.write_text(f"<!doctype html>\n{text}\n", encoding="utf-8", newline="\n")


def heading(title: str, of_what: str = "", level: int = 2) -> Element:
    """Make a heading with what its figures are of in small print."""
    return element(f"h{level}", title + " ", element("small", of_what) if of_what else None)


def foreign_text(text: str) -> Element:
    """Show a text from the data: escaped, its direction kept from the text around it.

    Of a very long one the beginning is shown, and how long it is.
    """
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}… ({len(text):,} characters)"
    return element("bdi", text, dir="auto")


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    numeric: Callable[[int], bool] = lambda column: column > 0,
    strong: int | None = None,
) -> Element:
    """Make a table; ``numeric`` says which columns align right, ``strong`` which row stands out."""

    def cell(tag: str, column: int, content: Child) -> Element:
        is_text = isinstance(content, Element) and content.tag == "bdi"
        kind = "number" if numeric(column) else "text" if is_text else ""
        return element(tag, content, **({"class_": kind} if kind else {}))

    body = element("tbody")
    for number, row in enumerate(rows):
        cells = [cell("td", column, content) for column, content in enumerate(row)]
        body.append(element("tr", *cells, **({"class_": "strong"} if number == strong else {})))
    top = element("thead", element("tr", *(cell("th", c, name) for c, name in enumerate(head))))
    return element("div", element("table", top, body), class_="wide")


def figure(value: float | None, signed: bool = False) -> str:
    """Write a share as ``.708`` or ``+.011``; an en dash where there is none."""
    if value is None:
        return "–"
    digits = f"{abs(value):.3f}".removeprefix("0")
    sign = "−" if value < 0 and float(digits) else "+" if signed else ""
    return sign + digits


def interval(low: float, high: float, signed: bool = False) -> str:
    """Write an interval as ``[.703, .713]``."""
    return f"[{figure(low, signed)}, {figure(high, signed)}]"


def probability(p: float) -> str:
    """Write a p-value; below one in ten thousand only its size matters."""
    if p >= 0.0001:
        return f"{p:.4f}".removeprefix("0")
    return f"{p:.0e}" if p > 0 else "< 1e-300"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers from within an axis, near ``about`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** _floor_log10(raw)
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = int(low / step) - 1
    marks = (round((first + n) * step, 12) for n in range(about * 3 + 4))
    return [mark for mark in marks if low - 1e-12 <= mark <= high + 1e-12]


def _floor_log10(value: float) -> int:
    return int(f"{value:e}".rpartition("e")[2])


def _visible(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)
