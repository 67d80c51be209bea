"""What the prompt lab shows: labels with their sentences, the figure, and what has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from widgets.visible_text import visible_text
from widgets.wording import count, share
from workbench.prompts.lab import Difference, View

FIELD = "sentences:"  # before a label, the name of its field
NEW_LABEL, NAME = "new-label", "prompt-name"
_METRICS = {"macro_recall": "macro-recall", "accuracy": "accuracy", "macro_f1": "macro-F1"}


def present_lab(
    title: str, view: View, begun: View, words: Mapping[str, Sequence[str]], metric: str,
    differing: Sequence[Difference], milliseconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Return all that a view shows of a lab, as plain JSON values."""
    total = sum(view.counts.values())
    return {
        "title": title,
        "records": count(total),
        "took": f"{milliseconds:,.0f} ms",
        "metric": _METRICS[metric],
        "figure": _told_figure(view),
        "begun": _told_figure(begun),
        "moved": count(view.moved),
        "labels": [
            {
                "label": label,
                "field": f"{FIELD}{label}",
                "raw": "\n".join(words[label]),
                "count": count(view.counts[label]),
                "share": view.counts[label] / max(total, 1),
                "percent": share(view.counts[label] / max(total, 1)),
                "can_drop": len(view.labels) > 2,
            }
            for label in view.labels
        ],
        "differing": [
            {
                "key": str(each.row),
                "text": "".join(text for _, text in visible_text(each.text)),
                "before": each.before,
                "now": each.now,
                "truth": each.truth or "",
                "tone": "" if each.truth is None else "ok" if each.truth == each.now else "fail",
            }
            for each in differing
        ],
    }


def _told_figure(view: View) -> dict[str, Any] | None:
    if view.figure is None:
        return None
    value, low, high = view.figure
    return {
        "value": f"{value:.3f}", "interval": f"{low:.3f} to {high:.3f}", "low": low, "high": high,
        "at": value, "rows": count(view.judged),
    }  # fmt: skip
