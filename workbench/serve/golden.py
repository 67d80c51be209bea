"""Golden rows: labelled texts with which a model is tried before it goes live."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice, zip_longest
from typing import NamedTuple

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.data.records import read_records


class GoldenRow(NamedTuple):
    """A text and its true label."""

    text: str
    label: str


def choose_golden_rows(test: Artifact, num_rows: int, labels: list[str]) -> list[GoldenRow]:
    """Choose labelled rows of a data set, as evenly over its labels as their numbers allow.

    Macro-recall weighs every label alike, so even numbers make it surest. The choice depends on
    the rows' ids alone: the same data set gives the same rows in the same order.

    Raises:
        DataError: no row has a label, or one has a label that the model does not know.
    """
    table = read_records(test, ["id", "text", "label"])
    rows_by_label: dict[str, list[tuple[bytes, GoldenRow]]] = defaultdict(list)
    for record in table.to_pylist():
        if record["label"] is not None:
            key = hashlib.sha256(record["id"].encode()).digest()
            rows_by_label[record["label"]].append((key, GoldenRow(record["text"], record["label"])))
    _check_labels(test, rows_by_label.keys(), labels)
    ordered = [sorted(rows_by_label[label]) for label in sorted(rows_by_label)]
    rounds = (row for turn in zip_longest(*ordered) for row in turn if row is not None)
    return [row for _, row in islice(rounds, num_rows)]


def _check_labels(test: Artifact, found: Iterable[str], labels: list[str]) -> None:
    given = set(found)
    if not given:
        raise DataError(f"{test.reference} has no labelled row", where=test.reference,
                        next_step="Give a test set with labels.")  # fmt: skip
    unknown = sorted(given - set(labels))
    if unknown:
        raise DataError(
            f"{test.reference} has labels the model cannot give: {', '.join(unknown[:10])}",
            where=test.reference,
            next_step=f"Use rows with the model's labels: {', '.join(labels)}.",
        )
