"""The page of a study: how the best came about, and what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from workbench.core.page import Child, element, foreign_text, heading, table, write_page
from workbench.tune.options import TuneSpec

_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 700.0, 12.0, 180.0
_MOST_ROWS = 50

Row = Mapping[str, Any]


def write_study_page(path: Path, spec: TuneSpec, rows: Sequence[Row]) -> None:
    """Write ``report.html`` from the rows of ``trials.json``."""
    done = [row for row in rows if row["state"] == "complete"]
    states = f"{len(rows)} trials of {spec.stage}, {len(done)} completed"
    body: list[Child] = [heading("Study", states, level=1)]
    for number, objective in enumerate(spec.objectives):
        body += [heading(objective.metric, f"{objective.direction}d, by trial; the line is the "
                         "best so far")]  # fmt: skip
        points = [(row["trial"], float(row["values"][number])) for row in done]
        body += [_chart(points, objective.sign) if points else element("p", "No result.")]
    sign = spec.objectives[0].sign
    ranked = sorted(done, key=lambda row: (-sign * row["values"][0], row["trial"]))
    body += [heading("Trials", "the best first"), _table(spec, ranked[:_MOST_ROWS])]
    early = [row for row in rows if row["state"] != "complete"]
    if early:
        body += [heading("Stopped early or failed"), _table(spec, early[:_MOST_ROWS])]
    write_page(path, "Study", body)


def _table(spec: TuneSpec, rows: Sequence[Row]) -> Element:
    names = list(spec.space)
    head = ["Trial", *(o.metric for o in spec.objectives), *names, "State"]
    body: list[list[Child]] = []
    for row in rows:
        values = row["values"] or list(row["curve"].values())[-1:]
        figures = [f"{value:.4f}" for value in values] or ["–"]
        figures += ["–"] * (len(spec.objectives) - len(figures))
        given = [foreign_text(_told(row["parameters"].get(name, "–"))) for name in names]
        body.append([str(row["trial"]), *figures, *given, row["state"]])
    num_figures = 1 + len(spec.objectives)
    return table(head, body, numeric=lambda column: column < num_figures)


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _chart(points: Sequence[tuple[int, float]], sign: int) -> Element:
    values = [value for _, value in points]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    last = max(number for number, _ in points) or 1

    def place(number: float, value: float) -> tuple[float, float]:
        across = _LEFT + (_RIGHT - _LEFT) * number / last
        down = _BOTTOM - (_BOTTOM - _TOP) * (value - low) / spread
        return round(across, 1), round(down, 1)

    drawn: list[Child] = []
    for value in (low, high):
        _, y = place(0, value)
        drawn.append(element("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid"))
        drawn.append(element("text", f"{value:.4f}", x=_LEFT - 8, y=y + 4, text_anchor="end"))
    best = -float("inf")
    steps: list[tuple[float, float]] = []
    for number, value in points:
        if sign * value > best:
            if steps:
                steps.append(place(number, sign * best))
            best = sign * value
        steps.append(place(number, sign * best))
    told = " ".join(f"{x},{y}" for x, y in steps)
    drawn.append(element("polyline", points=told, class_="axis", fill="none"))
    for number, value in points:
        x, y = place(number, value)
        drawn.append(element("circle", cx=x, cy=y, r=3, class_="now"))
    drawn.append(element("text", "0", x=_LEFT, y=_BOTTOM + 16))
    drawn.append(element("text", f"trial {last}", x=_RIGHT, y=_BOTTOM + 16, text_anchor="end"))
    return element("svg", *drawn, role="img", viewBox=f"0 0 720 {_BOTTOM + 24:g}")
