"""Predictions as columns: how a classifier's answers stand beside the records they belong to.

A set of records with predictions has ``predicted_label`` (string; null where the classifier
abstained) and one ``score:LABEL`` column (float32, probabilities that sum to 1) for each label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.core.errors import DataError

PREDICTED_LABEL = "predicted_label"
SCORE = "score:"

Scores = npt.NDArray[np.float32]


def label_scheme(labels: Sequence[str]) -> str:
    """Return the name of a label set: its labels, sorted, joined by ``|``."""
    return "|".join(sorted(labels))


def answers(scores: Scores, labels: Sequence[str], abstain_below: float = 0.0) -> list[str | None]:
    """Return each row's most probable label; None where its probability is below the threshold.

    Args:
        scores: probabilities [n, num_labels]; the first label wins a tie.
        labels: the label of each column.
        abstain_below: least probability for an answer, 0 to 1.
    """
    best = scores.argmax(axis=1)
    sure = scores.max(axis=1) >= abstain_below
    return [labels[b] if s else None for b, s in zip(best, sure, strict=True)]


def with_predictions(
    records: pa.Table, labels: Sequence[str], scores: Scores, abstain_below: float = 0.0
) -> pa.Table:
    """Add prediction columns to records, in place of any that are there already."""
    kept = [n for n in records.column_names if n != PREDICTED_LABEL and not n.startswith(SCORE)]
    table = records.select(kept).append_column(
        PREDICTED_LABEL, pa.array(answers(scores, labels, abstain_below), pa.string())
    )
    for column, label in enumerate(labels):
        table = table.append_column(SCORE + label, pa.array(scores[:, column], pa.float32()))
    return table


def has_predictions(table: pa.Table) -> bool:
    """Say whether records carry predictions."""
    return PREDICTED_LABEL in table.column_names and bool(predicted_labels(table))


def predicted_labels(table: pa.Table) -> list[str]:
    """Return the labels that a table of records holds scores for, in column order."""
    return [name[len(SCORE) :] for name in table.column_names if name.startswith(SCORE)]


def read_predictions(
    table: pa.Table, labels: Sequence[str], where: str
) -> tuple[list[Any], Scores]:
    """Return the predicted label of each row and the scores [n, num_labels] in ``labels``' order.

    Raises:
        DataError: the table has no predictions, or they are of another label set.
    """
    if not has_predictions(table):
        raise DataError(f"{where} holds no predictions", where=where,
                        next_step="Make it with the label or the score stage.")  # fmt: skip
    check_same_labels(predicted_labels(table), labels, where)
    columns = [table[SCORE + label].to_numpy(zero_copy_only=False) for label in labels]
    scores = np.stack(columns, axis=1).astype(np.float32)
    return table[PREDICTED_LABEL].to_pylist(), scores


def check_same_labels(given: Sequence[str], expected: Sequence[str], where: str) -> None:
    """Refuse predictions of another label set.

    Raises:
        DataError: the two sets differ; both are told.
    """
    if sorted(given) != sorted(expected):
        raise DataError(
            f"{where} predicts {label_scheme(given)}, but the labels are {label_scheme(expected)}",
            where=where,
            next_step="Use data and models of one label set, or map the labels when integrating.",
        )
