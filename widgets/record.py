"""The static record of a view: escaped HTML with literal inline styles, no script, no network.

JupyterLab's sanitiser drops ``<style>``, ``<svg>`` and ``var()`` from untrusted output, GitHub's
and nbconvert's drop more, so tables are plain and charts are images with their data in them.
Colours are left to the page, except where they mean something.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree as ET

_LINE = "1px solid rgba(128,128,128,0.35)"
_CELL = f"text-align:left;vertical-align:top;padding:4px 12px 4px 0;border-bottom:{_LINE}"
_TITLE = "font-weight:600;font-size:13px;line-height:24px"
_MARK = {
    "done": "✓",
    "cached": "=",
    "fail": "✕",
    "kill": "✕",
    "run": "▸",
    "pause": "‖",
    "wait": "…",
}
_ACCENT, _BASELINE = "#1976d2", "#808080"


def run_record(run: Mapping[str, Any]) -> str:
    """Return a run's snapshot as HTML."""
    mark = _MARK.get(run["glyph"], "!")
    taken = " ".join(filter(None, [run["figure"]["value"], run["figure"]["of"]]))
    facts = " · ".join(filter(None, [run["who"], run["times"], taken]))
    parts = [
        heading(f"{mark} {run['word']}: {run['stage']}", facts),
        _error(run["error"]),
        _progress_line(run),
        *(_chart(chart) for chart in run["charts"]),
        section("Figures", ["Figure", "Value"], [[f["name"], f["value"]] for f in run["figures"]]),
        section(
            "Made",
            ["Output", "Artifact", "Kind", "Facts"],
            [[o["output"], o["reference"], o["kind"], o["facts"]] for o in run["outputs"]],
        ),
        *_profile(run["profile"]),
        section(
            "Log", ["Time", "Message"], [[li["time"], li["message"]] for li in run["log"][-12:]]
        ),
        small(f'Live again: Workspace().run("{run["run_id"]}").watch()'),
    ]
    return frame(parts)


def _profile(profile: Mapping[str, Any] | None) -> list[str]:
    if profile is None:
        return []
    bars = [[bar["name"], bar["percent"], bar["told"]] for bar in profile["time"]]
    memory = [[bar["name"], bar["percent"], bar["told"]] for bar in profile["memory"]]
    return [
        section("Where the time went", ["", "", ""], bars),
        section("Memory", ["", "", profile["peak"]], memory),
        section("Advice", [profile["speed"]], [[text] for text in profile["advice"]]),
    ]


def form_record(form: Mapping[str, Any], run: Mapping[str, Any] | None = None) -> str:
    """Return a form's snapshot (and that of the run it started) as HTML."""
    rows = [[f["title"], _told(f), f["unit"], f["default"]] for f in form["differing"]]
    wrong = [[w["title"], "waits for a right value"] for w in form["waits_for"]]
    parts = [
        heading(form["title"], form["help"]),
        section("Differs from the defaults", ["Field", "Value", "Unit", "Default"], rows),
        section("Not valid yet", ["Field", ""], wrong),
        _code(form["copy"]["python"]),
        _code(form["copy"]["command"]),
    ]
    return frame(parts) + (run_record(run) if run else "")


def rows_record(rows: Mapping[str, Any]) -> str:
    """Return drawn rows, before and after, as HTML."""
    shown = f"{rows['shown']} rows, {rows['mode']}"
    cells = [(row["source"], row["before"], row["after"] or row["note"]) for row in rows["rows"]]
    drawn = rows_table(["Source", "Before", "After"], cells)
    return frame([heading(rows["title"], shown), drawn])


def rows_table(
    names: Sequence[str], rows: Iterable[tuple[str, Iterable[Sequence[str]], Any]]
) -> str:
    """Return texts before and after, as pieces; after them may stand a plain word instead."""
    body = "".join(
        f'<tr><td style="{_CELL}">{escape(name)}</td><td style="{_CELL}">{_pieces(before)}</td>'
        f'<td style="{_CELL}">{escape(after) if isinstance(after, str) else _pieces(after)}</td>'
        "</tr>"
        for name, before, after in rows
    )
    return _table(_table_head(names), body) if body else ""


def studio_record(studio: Mapping[str, Any]) -> str:
    """Return the studio's snapshot as HTML: recent runs, the form, the watched run."""
    runs = [[r["word"], r["stage"], r["run_id"], r["when"]] for r in studio["runs"]]
    head = frame(
        [
            heading("Workbench", studio["workspace"]["path"]),
            section("Recent runs", ["State", "Stage", "Run", "When"], runs),
        ]
    )
    return head + (form_record(studio["form"], studio["run"]) if studio["form"] else "")


def _told(field: Mapping[str, Any]) -> str:
    raw = field["raw"]
    return ("on" if raw else "off") if isinstance(raw, bool) else str(raw)


def frame(parts: Iterable[str]) -> str:
    """Return parts in a frame."""
    style = f"border:{_LINE};border-radius:3px;padding:4px 16px 10px 16px;margin:0 0 8px 0"
    return f'<div style="{style}">{"".join(parts)}</div>'


def heading(title: str, facts: str) -> str:
    """Return a title and small facts beside it, over a line."""
    style = f"border-bottom:{_LINE};padding:6px 0;margin:0 0 8px 0;font-size:15px"
    small = f'<span style="font-size:12px;opacity:0.75">{escape(facts)}</span>'
    return f'<div style="{style}"><b>{escape(title)}</b> {small}</div>'


def section(title: str, names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a titled table of plain values; nothing where it has no row."""
    if not rows:
        return ""
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(str(c))}</td>' for c in row) + "</tr>"
        for row in rows
    )
    heading = f'<div style="{_TITLE}">{escape(title)}</div>'
    return heading + _table(_table_head(names), body)


def _table_head(names: Sequence[str]) -> str:
    cells = "".join(f'<th style="{_CELL};font-size:11px">{escape(name)}</th>' for name in names)
    return f"<tr>{cells}</tr>"


def _table(head: str, body: str) -> str:
    style = "border-collapse:collapse;font-size:12px;margin:0 0 12px 0"
    return f'<table style="{style}"><thead>{head}</thead><tbody>{body}</tbody></table>'


def _progress_line(run: Mapping[str, Any]) -> str:
    rows, progress = run["rows"], run["progress"] or {}
    told = [f"{rows['read']} rows → {rows['written']} rows"] if rows else []
    told += [text for text in (progress.get("text"), progress.get("note")) if text]
    return small(" · ".join(told)) if told else ""


def _error(error: Mapping[str, str] | None) -> str:
    if not error:
        return ""
    lines = [
        f'<b style="color:#bf2f1f">✕ {escape(error["owner"])}:</b> {escape(error["what"])}',
        *(f"{word}: {escape(error[n])}" for n, word in _ERROR_WORDS.items() if error[n]),
    ]
    style = "border-left:3px solid #bf2f1f;padding:4px 12px;margin:0 0 12px 0;font-size:13px"
    return f'<div style="{style}">{"<br>".join(lines)}</div>'


_ERROR_WORDS = {"where": "Where", "next_step": "Next step"}


def small(text: str) -> str:
    """Return a small line."""
    return f'<div style="font-size:12px;opacity:0.75;margin:4px 0">{escape(text)}</div>'


def _code(text: str) -> str:
    style = "font-size:12px;margin:4px 0;white-space:pre-wrap"
    return f'<pre style="{style}">{escape(text)}</pre>'


_PIECE_STYLE = {
    "removed": "text-decoration:line-through;opacity:0.7",
    "added": "text-decoration:underline;font-weight:600",
}


def _pieces(pieces: Iterable[Sequence[str]]) -> str:
    return "".join(
        f'<span style="{_PIECE_STYLE[kind]}">{escape(text)}</span>'
        if kind in _PIECE_STYLE
        else escape(text)
        for kind, text in pieces
    )


def _chart(chart: Mapping[str, Any]) -> str:
    source = base64.b64encode(chart_image(chart).encode()).decode()
    last = (
        f'<span style="font-weight:400;opacity:0.75">last {escape(chart["last"])}, by step</span>'
    )
    heading = f'<div style="{_TITLE}">{escape(chart["name"])} {last}</div>'
    words = escape(chart["words"], quote=True)
    return f'{heading}<img width="560" alt="{words}" src="data:image/svg+xml;base64,{source}">'


def chart_image(chart: Mapping[str, Any], width: int = 560, height: int = 180) -> str:
    """Return one curve as an SVG document, in colours that hold on light and on dark pages."""
    left, right, top, bottom = 48, 8, 10, 22
    inner_width, inner_height = width - left - right, height - top - bottom

    def x_of(share: float) -> str:
        return f"{left + share * inner_width:.1f}"

    def y_of(share: float) -> str:
        return f"{top + (1 - share) * inner_height:.1f}"

    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}")
    svg.set("font-family", "sans-serif")
    svg.set("font-size", "11")
    grid = {"stroke": _BASELINE, "stroke-opacity": "0.35"}
    for tick in chart["y_ticks"]:
        y = y_of(tick["at"])
        ends = {"x1": str(left), "x2": str(width - right), "y1": y, "y2": y}
        ET.SubElement(svg, "line", {**ends, **grid})
        place = {"x": str(left - 6), "y": y, "dy": "4", "text-anchor": "end", "fill": _BASELINE}
        ET.SubElement(svg, "text", place).text = tick["text"]
    for tick in chart["x_ticks"]:
        place = {"x": x_of(tick["at"]), "y": str(height - 6), "text-anchor": "middle"}
        ET.SubElement(svg, "text", {**place, "fill": _BASELINE}).text = tick["text"]
    points = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in chart["points"])
    line = {"points": points, "fill": "none", "stroke": _ACCENT, "stroke-width": "2"}
    ET.SubElement(svg, "polyline", line)
    return ET.tostring(svg, encoding="unicode")
