"""A study as a view shows it: how the best came about, and the trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from widgets.chart_model import curve_chart
from widgets.wording import figure

MOST_TRIALS = 60
_GLYPHS = {
    "complete": "done", "pruned": "pause", "fail": "fail", "running": "run", "resting": "wait",
    "waiting": "wait",
}  # fmt: skip
_WORDS = {
    "complete": "completed", "pruned": "stopped early", "fail": "failed", "running": "at work",
    "resting": "rests", "waiting": "waits",
}  # fmt: skip

Row = Mapping[str, Any]


def present_study(spec: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Return what a view shows of a study, from a search's Spec and the rows of its trials."""
    objectives = spec["objectives"]
    sign = -1.0 if objectives[0]["direction"] == "minimize" else 1.0
    ranked = sorted(rows, key=lambda row: _rank(row, sign))
    counts = Counter(_WORDS.get(row["state"], row["state"]) for row in rows)
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    names = list(spec["space"])
    best = next((row for row in ranked if row["state"] == "complete"), None)
    return {
        "headline": f"{len(rows)} trials of {spec['stage']}" + (f": {told}" if told else ""),
        "best": _told_best(best, objectives) if best else "",
        "charts": _charts(objectives, rows),
        "names": ["Trial", *(o["metric"] for o in objectives), *names, "State"],
        "num_figures": 1 + len(objectives),
        "trials": [_trial(row, objectives, names) for row in ranked[:MOST_TRIALS]],
        "more": max(len(rows) - MOST_TRIALS, 0),
    }


def _rank(row: Row, sign: float) -> tuple[int, float, int]:
    """Completed trials first, the best of them at the top; then those that are under way."""
    if row["state"] == "complete":
        return 0, -sign * float(row["values"][0]), row["trial"]
    is_over = row["state"] in ("pruned", "fail")
    return 2 if is_over else 1, -sign * _last(row, 0.0), row["trial"]


def _last(row: Row, otherwise: float) -> float:
    return float(list(row["curve"].values())[-1]) if row["curve"] else otherwise


def _told_best(row: Row, objectives: Sequence[Mapping[str, Any]]) -> str:
    figures = zip(objectives, row["values"], strict=True)
    reached = ", ".join(f"{o['metric']} {figure(value)}" for o, value in figures)
    values = ", ".join(f"{name} {_value(value)}" for name, value in row["parameters"].items())
    return f"{reached} by trial {row['trial']}: {values}"


def _charts(objectives: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> list[dict[str, Any]]:
    charts = []
    for number, objective in enumerate(objectives):
        better = min if objective["direction"] == "minimize" else max
        points: list[tuple[float, float]] = []
        for row in rows:
            if row["state"] == "complete":
                value = float(row["values"][number])
                points.append((row["trial"], better(value, points[-1][1]) if points else value))
        if points:
            charts.append(curve_chart(f"best {objective['metric']} by trial", points))
    return charts


def _trial(row: Row, objectives: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    figures = [figure(value) for value in row["values"] or ()]
    if not figures and row["curve"]:
        figures = [f"{figure(_last(row, 0.0))} so far"]
    figures += ["–"] * (len(objectives) - len(figures))
    values = [_value(row["parameters"].get(name, "–")) for name in names]
    return {
        "run_id": row["run_id"], "trial": str(row["trial"]),
        "cells": [str(row["trial"]), *figures, *values],
        "glyph": _GLYPHS.get(row["state"], "warn"), "word": _WORDS.get(row["state"], row["state"]),
    }  # fmt: skip


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
