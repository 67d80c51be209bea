"""The page of an evaluation: intervals, differences, confusions, speed, and rows to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from workbench.core.page import (
    Child,
    element,
    figure,
    foreign_text,
    heading,
    interval,
    probability,
    table,
    ticks,
    write_page,
)
from workbench.tasks.evidence import Answers
from workbench.tasks.labelled_rows import LabelledRows

_METRIC_WORDS = {"macro_recall": "macro-recall", "accuracy": "accuracy", "macro_f1": "macro-F1"}
_NUM_EXAMPLES = 12


def write_evaluation_page(
    path: Path,
    report: Mapping[str, Any],
    timing: Mapping[str, Any] | None,
    test: LabelledRows,
    answers: Mapping[str, Answers],
) -> None:
    """Write ``report.html`` from the report's content, its timings, and the test rows."""
    systems: list[dict[str, Any]] = report["systems"]
    best = max(systems, key=lambda system: system["value"])
    metric = _METRIC_WORDS[report["metric"]]
    body: list[Child] = [
        heading("Evaluation", f"{report['rows']:,} test rows, {metric}, 95 % intervals", level=1),
        element("p", _headline(best, report, metric), class_="verdict"),
        heading(metric.capitalize(), "of each system; line: 95 % interval"),
        interval_plot(systems, best["name"], metric),
        heading("Result", f"paired with {report['reference_system']} on the same rows"),
        _result_table(systems, best["name"], metric),
    ]
    if timing is not None:
        body += [heading("Speed", _timing_words(timing)), _speed_table(systems, timing)]
    body += [heading("Each label", "recall, precision"), _label_table(systems, report["labels"])]
    if "groups" in best:
        body += [heading("Each group", f"{metric}, the worst of the best system first"),
                 _group_table(systems, best)]  # fmt: skip
    body += [heading("Confusion", "rows: truth; columns: answer; share of the row's truth")]
    body.append(element("div", *(_confusion(s, report["labels"]) for s in systems), class_="pair"))
    body += _examples(best, test, answers[best["name"]], report["seed"])
    write_page(path, f"Evaluation: {metric}", [*body, _notes(report)])


def _headline(best: Mapping[str, Any], report: Mapping[str, Any], metric: str) -> str:
    start = f"{best['name']} is best: {metric} {figure(best['value'])}"
    paired = best["paired"]
    if paired is None:
        return start + f" {interval(best['low'], best['high'])}; no other system beats it."
    verb = "ahead of" if paired["p_holm"] < 0.05 else "not clearly ahead of"
    return (
        f"{start}, {verb} {paired['against']} by {figure(paired['difference'], signed=True)} "
        f"{interval(paired['low'], paired['high'], signed=True)}"
    )


def _result_table(systems: Sequence[dict[str, Any]], best: str, metric: str) -> Element:
    head = ["System", "Kind", metric, "interval", "accuracy", "macro-F1", "difference", "interval",
            "p (Holm)", "rows needed", "MB"]  # fmt: skip
    rows: list[list[Child]] = []
    for system in systems:
        paired = system["paired"]
        rows.append([
            system["name"], system["kind"], figure(system["value"]),
            interval(system["low"], system["high"]), figure(system["accuracy"]),
            figure(system["macro_f1"]),
            figure(paired["difference"], signed=True) if paired else "–",
            interval(paired["low"], paired["high"], signed=True) if paired else "–",
            probability(paired["p_holm"]) if paired else "–",
            f"{paired['rows_needed']:,}" if paired else "–",
            "–" if system["megabytes"] is None else f"{system['megabytes']:.1f}",
        ])  # fmt: skip
    names = [system["name"] for system in systems]
    return table(head, rows, numeric=lambda c: c > 1, strong=names.index(best))


def interval_plot(systems: Sequence[dict[str, Any]], best: str, metric: str) -> Element:
    """Draw one line per system from low to high with a dot at the value."""
    left, right, step = 150.0, 640.0, 26.0
    low = min(float(s["low"]) for s in systems)
    high = max(float(s["high"]) for s in systems)
    margin = max((high - low) * 0.08, 0.005)
    low, high = max(low - margin, 0.0), min(high + margin, 1.0)
    bottom = 12 + step * len(systems)

    def across(value: float) -> float:
        return left + round((value - low) / (high - low) * (right - left), 1)

    drawn: list[Child] = []
    for mark in ticks(low, high):
        x = across(mark)
        drawn.append(element("line", x1=x, x2=x, y1=4, y2=bottom, class_="grid"))
        drawn.append(element("text", figure(mark), x=x, y=bottom + 14, text_anchor="middle"))
    drawn.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    for number, system in enumerate(systems):
        y = 4 + step * (number + 0.5)
        kind = "before" if system["kind"] == "baseline" else "now"
        weight = " strong" if system["name"] == best else ""
        ends = {"x1": across(system["low"]), "x2": across(system["high"]), "y1": y, "y2": y}
        drawn.append(element("text", _short(system["name"]), x=left - 10, y=y + 4,
                             text_anchor="end", class_=f"{kind}{weight}"))  # fmt: skip
        drawn.append(element("line", **ends, stroke_width=2, class_=kind))
        drawn.append(element("circle", cx=across(system["value"]), cy=y, r=4, class_=kind))
        drawn.append(element("text", figure(system["value"]), x=right + 10, y=y + 4,
                             class_=f"{kind}{weight}"))  # fmt: skip
    words = ", ".join(
        f"{s['name']} {figure(s['value'])} {interval(s['low'], s['high'])}" for s in systems
    )
    return element("svg", element("title", f"{metric}: {words}"), *drawn,
                   viewBox=f"0 0 700 {bottom + 20:g}", role="img")  # fmt: skip


def _label_table(systems: Sequence[dict[str, Any]], labels: Sequence[str]) -> Element:
    head = ["Label", "rows", *(f"{s['name']}" for s in systems)]
    rows: list[list[Child]] = []
    for label in labels:
        cells = [system["per_label"][label] for system in systems]
        pairs = [f"{figure(cell['recall'])}, {figure(cell['precision'])}" for cell in cells]
        rows.append([foreign_text(label), f"{cells[0]['rows']:,}", *pairs])
    return table(head, rows)


def _group_table(systems: Sequence[dict[str, Any]], best: Mapping[str, Any]) -> Element:
    rows: list[list[Child]] = []
    for group, facts in best["groups"].items():
        values = [system["groups"][group]["value"] for system in systems]
        shown = ["–" if value is None else figure(value) for value in values]
        rows.append([foreign_text(group), f"{facts['rows']:,}", *shown])
    return table(["Group", "rows", *(system["name"] for system in systems)], rows)


def _confusion(system: Mapping[str, Any], labels: Sequence[str]) -> Element:
    """One table per system; a cell's tint is its share of the row."""
    counts = np.asarray(system["confusion"])
    names = [*labels, "no answer"] if counts[:, -1].any() else list(labels)
    body = element("tbody")
    for row, label in enumerate(labels):
        total = max(int(counts[row].sum()), 1)
        cells = [
            _tinted(int(counts[row, column]), counts[row, column] / total)
            for column in range(len(names))
        ]
        body.append(element("tr", element("th", foreign_text(label)), *cells))
    columns = (element("th", foreign_text(name), class_="number") for name in names)
    head = element("tr", element("th", system["name"]), *columns)
    return element("div", element("table", element("thead", head), body), class_="wide")


def _tinted(count: int, share: float) -> Element:
    # At most half opaque, so that the ink on it keeps its contrast in both colour schemes.
    tint = f"background: rgba(var(--tint), {share / 2:.2f})"
    return element("td", f"{count:,} · {figure(share)}", class_="number", style=tint)


def _timing_words(timing: Mapping[str, Any]) -> str:
    machine = timing["machine"]
    return (
        f"one text at a time, {timing['threads']} thread, {timing['texts']} texts, median of "
        f"{timing['repetitions']} rounds in turns; {machine['processor']}, {machine['cores']} cores"
    )


def _speed_table(systems: Sequence[dict[str, Any]], timing: Mapping[str, Any]) -> Element:
    rows: list[list[Child]] = []
    for system in systems:
        facts = timing["systems"].get(system["name"])
        if facts is not None:
            speedup = timing["speedup_vs_best_fp32"].get(system["name"])
            rows.append([
                system["name"], f"{facts['milliseconds_per_text']:.2f}",
                f"{facts['low']:.2f} to {facts['high']:.2f}",
                f"{facts['cpu_milliseconds_per_text']:.2f}",
                f"{speedup:.2f} ×" if speedup else "–",
            ])  # fmt: skip
    runtime = timing["best_fp32_runtime"]
    against = (
        f"Speed-up against {timing['best_fp32_model']} on its fastest full-precision runtime, "
        f"{runtime}: {timing['best_fp32_milliseconds']:.2f} ms."
        if runtime
        else "No full-precision model is in the table, so no speed-up can be told."
    )
    head = ["System", "ms a text", "quartiles", "CPU-ms a text", "speed-up"]
    return element("div", table(head, rows), element("p", against, class_="note"))


def _examples(
    best: Mapping[str, Any], test: LabelledRows, given: Answers, seed: int
) -> list[Child]:
    """Show some rows that the best system got wrong, drawn at random."""
    truths = enumerate(zip(test.truth, given.predicted, strict=True))
    wrong = [row for row, (truth, answer) in truths if truth != answer]
    drawn = np.random.default_rng(seed).permutation(len(wrong))[:_NUM_EXAMPLES]
    rows: list[list[Child]] = []
    for row in sorted(wrong[number] for number in drawn):
        answer = given.predicted[row] or "no answer"
        said = f"{answer} {figure(float(given.scores[row].max()))}"
        rows.append([foreign_text(test.texts[row]), foreign_text(test.truth[row]),
                     foreign_text(said)])  # fmt: skip
    if not rows:
        return []
    title = heading(f"Rows {best['name']} got wrong", f"{len(rows)} of {len(wrong):,}, at random")
    return [title, table(["Text", "Truth", "Answer"], rows, numeric=lambda _: False)]


def _notes(report: Mapping[str, Any]) -> Element:
    left_out = ", ".join(f"{n:,} with {why}" for why, n in report["left_out"].items() if n)
    lines = [
        f"Rows left out: {left_out or 'none'}. "
        f"Test texts that also stand in the training set: {report['seen_in_training']:,}.",
        f"Intervals: BCa bootstrap over rows, {report['resamples']:,} resamples, seed "
        f"{report['seed']} (Efron and Tibshirani 1993). Differences: the same on paired rows; p by "
        "approximate randomisation (Noreen 1989), adjusted by Holm (1979).",
        f"Rows needed: so many like these show a difference of {report['wished_difference']:g} in "
        "four of five cases, at 5 % (Lehr 1992).",
        f"Baseline: TF-IDF of word and character n-grams with logistic regression, trained on "
        f"{report['training_rows']:,} rows.",
        "Every figure can be computed again from predictions.parquet: workbench rescore.",
    ]
    return element("footer", *(element("p", line) for line in lines))


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
