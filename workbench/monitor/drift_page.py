"""The page of a drift report: the verdict, the tests behind it, and what has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from workbench.core.page import (
    Child,
    element,
    figure,
    foreign_text,
    heading,
    probability,
    table,
    write_page,
)


def write_drift_page(path: Path, report: Mapping[str, Any], examples: Sequence[str]) -> None:
    """Write ``report.html`` from the report's content and the least familiar live texts."""
    verdict = report["verdict"]
    sizes = f"{report['live_texts']:,} live texts against {report['reference_texts']:,}"
    body: list[Child] = [
        heading("Drift", sizes + " reference texts", level=1),
        _verdict(verdict),
        heading("Tests", f"false alarms held at {report['alpha']:.0%} over all tests"),
        _tests(report["tests"]),
        *_not_tested(report["not_tested"]),
    ]
    if report["words"]:
        body += [heading("What shifted", "share of texts with the word; the classifier's words")]
        body += [_words(report["words"])]
    for test in report["tests"]:
        if "live_shares" in test["facts"]:
            body += [heading(test["test"].capitalize(), "share of texts"), _mix(test["facts"])]
    if verdict["drift"]:
        rows: list[list[Child]] = [[foreign_text(text)] for text in examples]
        body += [heading("Live texts least like the reference", f"{len(rows)} texts")]
        body += [table(["Text"], rows, numeric=lambda _: False)]
    write_page(path, "Drift", [*body, _notes()])


def _verdict(verdict: Mapping[str, Any]) -> Element:
    # A glyph and a word: colour alone says nothing to some readers.
    words = "⚠ Drift found" if verdict["drift"] else "✓ No drift found"
    kind = "warn" if verdict["drift"] else "ok"
    why = element("ul", *(element("li", foreign_text(reason)) for reason in verdict["why"]))
    return element(
        "div",
        element("p", f"{words}. Do: {verdict['action']}", class_=f"verdict {kind}"),
        why if verdict["why"] else None,
        element("p", verdict["advice"]),
    )


def _tests(tests: Sequence[Mapping[str, Any]]) -> Element:
    rows: list[list[Child]] = [
        [
            "⚠ drift" if test["drift"] else "✓ none", test["test"], test["method"],
            probability(test["p"]), probability(test["p_holm"]), figure(test["effect"]),
            test["effect_name"],
        ]
        for test in tests
    ]  # fmt: skip
    head = ["Found", "Test", "Method", "p", "p (Holm)", "size", "of what"]
    return table(head, rows, numeric=lambda column: column in (3, 4, 5))


def _not_tested(reasons: Mapping[str, str]) -> list[Child]:
    if not reasons:
        return []
    words = "; ".join(f"{test}: {reason}" for test, reason in reasons.items())
    return [element("p", f"Not tested. {words}.", class_="note")]


def _words(words: Sequence[Mapping[str, Any]]) -> Element:
    """Draw one row per word: grey before, blue now, on one scale of shares."""
    left, right, step = 150.0, 600.0, 26.0
    most = max(max(word["reference_share"], word["live_share"]) for word in words)
    drawn: list[Child] = []
    for number, word in enumerate(words):
        top = 4 + step * number
        drawn.append(element("text", word["word"][:24], x=left - 10, y=top + 13,
                             text_anchor="end", class_="strong"))  # fmt: skip
        for offset, kind, share in ((0, "before", "reference_share"), (9, "now", "live_share")):
            width = round((right - left) * word[share] / most, 1)
            drawn.append(element("rect", x=left, y=top + offset, width=max(width, 0.5), height=8,
                                 stroke="none", class_=kind))  # fmt: skip
        change = f"{_percent(word['reference_share'])} → {_percent(word['live_share'])}"
        drawn.append(element("text", change, x=right + 10, y=top + 13))
    title = "Share of texts with each word, reference (grey) and live (blue)"
    picture = element("svg", element("title", title), *drawn, role="img",
                      viewBox=f"0 0 720 {step * len(words) + 8:g}")  # fmt: skip
    legend = element("p", "grey: reference; blue: live", class_="note")
    return element("div", picture, legend)


def _mix(facts: Mapping[str, Any]) -> Element:
    before, now = facts["reference_shares"], facts["live_shares"]
    rows: list[list[Child]] = [
        [foreign_text(name), _percent(before[name]), _percent(now[name]),
         figure(now[name] - before[name], signed=True)]
        for name in before
    ]  # fmt: skip
    return table(["", "reference", "live", "change"], rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _notes() -> Element:
    lines = (
        "Words: hashed TF-IDF and logistic regression learnt on one half and ranked on the other, "
        "both ways (Lopez-Paz and Oquab 2017). All p-values adjusted by Holm (1979).",
        "With many texts even a small change is found: read the size beside the p-value.",
    )
    return element("footer", *(element("p", line) for line in lines))
