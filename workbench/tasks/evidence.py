"""The evidence of an evaluation: every answer of every system, and the figures made from them.

``predictions.parquet`` holds the answers, ``report.json`` the figures. The figures are a pure
function of the answers and of the question that was asked, so anyone can compute them again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.models.folder import read_json
from workbench.tasks.metrics import (
    Counts,
    accuracy_of,
    bootstrap_interval,
    confusion,
    holm,
    macro_f1_of,
    metric_named,
    paired_bootstrap,
    per_label_f1,
    per_label_precision,
    per_label_recall,
    rows_needed,
)
from workbench.tasks.predictions import PREDICTED_LABEL, SCORE, Scores

REPORT = "report.json"
PREDICTIONS = "predictions.parquet"
_GROUP = "group"
_TOLERANCE = 1e-9  # a figure that differs by more was not made from these answers


@dataclass(frozen=True)
class Question:
    """What is asked of all systems: the figure, the label set, and how uncertainty is told."""

    metric: str
    labels: Sequence[str]
    resamples: int
    seed: int
    reference_system: str
    wished_difference: float = 0.02


@dataclass(frozen=True)
class Answers:
    """One system's answers to the test rows: labels (None: abstained) and scores [n, k]."""

    predicted: Sequence[str | None]
    scores: Scores


def figures(
    question: Question, truth: Sequence[str], predicted: Mapping[str, Sequence[str | None]],
    groups: Sequence[str] | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Compute every system's figures by name, intervals and paired differences included.

    ``groups`` names a group of each row: then each system has its figure in each of them.
    """
    systems = {name: _figures_of(question, truth, given) for name, given in predicted.items()}
    against = question.reference_system
    challengers = [name for name in predicted if name != against]
    pairs = [
        paired_bootstrap(
            truth, predicted[name], predicted[against], question.labels,
            metric=question.metric, resamples=question.resamples, seed=question.seed,
        )
        for name in challengers
    ]  # fmt: skip
    adjusted = holm([pair.p for pair in pairs])
    for name, pair, p_holm in zip(challengers, pairs, adjusted, strict=True):
        needed = rows_needed(pair, len(truth), question.wished_difference)
        systems[name]["paired"] = {
            "against": against, **pair._asdict(), "p_holm": p_holm, "rows_needed": needed,
        }  # fmt: skip
    if groups is not None:
        for name, given in predicted.items():
            systems[name]["groups"] = _by_group(question, truth, given, groups)
    return systems


def _by_group(
    question: Question, truth: Sequence[str], predicted: Sequence[str | None],
    groups: Sequence[str],
) -> dict[str, dict[str, float | int | None]]:  # fmt: skip
    """Return a system's figure in each group, the worst first."""
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    metric = metric_named(question.metric)
    found = {
        group: {
            "rows": len(own),
            "value": _or_none(float(metric(confusion(
                [truth[row] for row in own], [predicted[row] for row in own], question.labels
            )))),
        }
        for group, own in rows.items()
    }  # fmt: skip
    return dict(sorted(found.items(), key=lambda each: (each[1]["value"] or 0.0, each[0])))


def _figures_of(
    question: Question, truth: Sequence[str], predicted: Sequence[str | None]
) -> dict[str, Any]:
    counts = confusion(truth, predicted, question.labels)
    interval = bootstrap_interval(
        counts, question.metric, resamples=question.resamples, seed=question.seed
    )
    return {
        "metric": question.metric,
        **interval._asdict(),
        "accuracy": float(accuracy_of(counts)),
        "macro_f1": float(macro_f1_of(counts)),
        "abstained": int(counts[:, -1].sum()),
        "per_label": _per_label(counts, question.labels),
        "confusion": counts.tolist(),
        "paired": None,
    }


def _per_label(counts: Counts, labels: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    columns = zip(
        labels, per_label_recall(counts), per_label_precision(counts), per_label_f1(counts),
        counts.sum(axis=1), strict=True,
    )  # fmt: skip
    return {
        label: {
            "recall": _or_none(recall), "precision": _or_none(precision), "f1": _or_none(f1),
            "rows": int(rows),
        }
        for label, recall, precision, f1, rows in columns
    }  # fmt: skip


def _or_none(value: float) -> float | None:
    """JSON has no nan: a figure that does not exist is null."""
    return None if math.isnan(value) else float(value)


# --- files ------------------------------------------------------------------------------------


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON in its own order; the same mapping gives the same bytes."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def write_answers(
    path: Path,
    ids: Sequence[str],
    truth: Sequence[str],
    labels: Sequence[str],
    answers: Mapping[str, Answers],
    groups: Sequence[str] | None = None,
) -> None:
    """Write all answers: ``id``, ``label``, ``group`` if there are any, then of each system.

    The columns are ``predicted_label:SYSTEM`` and ``score:SYSTEM:LABEL``.
    """
    columns: dict[str, pa.Array] = {
        "id": pa.array(ids, pa.string()),
        "label": pa.array(truth, pa.string()),
    }
    if groups is not None:
        columns[_GROUP] = pa.array(groups, pa.string())
    for name, given in answers.items():
        columns[f"{PREDICTED_LABEL}:{name}"] = pa.array(given.predicted, pa.string())
        for number, label in enumerate(labels):
            columns[f"{SCORE}{name}:{label}"] = pa.array(given.scores[:, number], pa.float32())
    pq.write_table(pa.table(columns), path, compression="zstd")


def rescore(report: Artifact) -> dict[str, Any]:
    """Compute an evaluation's figures again from its answers alone, and compare.

    Only the question (metric, labels, resamples, seed, reference) is taken from ``report.json``.

    Returns:
        ``{"report", "equal", "differences": [{"system", "figure", "reported", "recomputed"}],
        "systems": {name: figures}}``; a difference is anything beyond 1e-9.

    Raises:
        DataError: the artifact is no evaluation, or its files do not fit together.
    """
    reported = read_evaluation(report)
    answers = pq.read_table(report.path / PREDICTIONS)
    question = Question(
        reported["metric"], reported["labels"], reported["resamples"], reported["seed"],
        reported["reference_system"], reported["wished_difference"],
    )  # fmt: skip
    mark = f"{PREDICTED_LABEL}:"
    predicted = {
        column.removeprefix(mark): answers[column].to_pylist()
        for column in answers.column_names
        if column.startswith(mark)
    }
    if question.reference_system not in predicted:
        raise DataError(f"{report.reference} holds no answers of {question.reference_system!r}",
                        where=str(report.path / PREDICTIONS),
                        next_step="Restore the report, or evaluate again.")  # fmt: skip
    groups = answers[_GROUP].to_pylist() if _GROUP in answers.column_names else None
    again = figures(question, answers["label"].to_pylist(), predicted, groups)
    claimed = {system["name"]: system for system in reported["systems"]}
    differences = _differences("rows", reported["rows"], answers.num_rows, "")
    for name in sorted({*again, *claimed}):
        differences += _compare_system(name, claimed.get(name), again.get(name))
    return {
        "report": report.reference,
        "equal": not differences,
        "differences": differences,
        "systems": again,
    }


def read_evaluation(report: Artifact) -> dict[str, Any]:
    """Return the content of an evaluation's ``report.json``.

    Raises:
        DataError: the artifact is no evaluation, or its file is broken.
    """
    path = report.path / REPORT
    if not path.exists() or not (report.path / PREDICTIONS).exists():
        raise DataError(f"{report.reference} is not the report of an evaluation",
                        where=str(report.path), next_step="Name one made by evaluate.")  # fmt: skip
    return read_json(path)


def _compare_system(
    name: str, claimed: Mapping[str, Any] | None, again: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    if claimed is None or again is None:
        return [_difference(name, "system", claimed is not None, again is not None)]
    found: list[dict[str, Any]] = []
    for figure, value in again.items():
        found += _differences(figure, claimed.get(figure), value, name)
    return found


def _differences(figure: str, reported: Any, again: Any, system: str) -> list[dict[str, Any]]:
    """Walk two values side by side; name each leaf in which they differ."""
    if isinstance(reported, Mapping) and isinstance(again, Mapping):
        keys = [*again, *(key for key in reported if key not in again)]
        pairs = [(f"{figure}.{key}", reported.get(key), again.get(key)) for key in keys]
        return [d for name, a, b in pairs for d in _differences(name, a, b, system)]
    if isinstance(reported, list) and isinstance(again, list):
        same = np.array_equal(np.asarray(reported), np.asarray(again))
    elif isinstance(reported, int | float) and isinstance(again, int | float):
        same = abs(reported - again) <= _TOLERANCE
    else:
        same = reported == again
    return [] if same else [_difference(system, figure, reported, again)]


def _difference(system: str, figure: str, reported: Any, again: Any) -> dict[str, Any]:
    return {"system": system, "figure": figure, "reported": reported, "recomputed": again}
