"""Rows with a known answer: what of a data set can be used to train or to judge a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.data.records import read_records

_COLUMNS = ["id", "text", "label", "label_scheme"]


@dataclass(frozen=True)
class LabelledRows:
    """Rows with a label of one label set, and how many were left out and why."""

    ids: list[str]
    texts: list[str]
    truth: list[str]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.ids)


def label_set(test: Artifact, train: Artifact) -> list[str]:
    """Return the sorted labels that test and training set share.

    The scheme written in the records decides; where none is written, the labels of the training
    set do.

    Raises:
        DataError: the two follow different schemes, or nothing is labelled.
    """
    schemes = {name: _schemes(artifact) for name, artifact in (("test", test), ("train", train))}
    found = sorted({scheme for given in schemes.values() for scheme in given})
    if len(found) > 1:
        raise DataError(
            "Test and training set do not follow one label scheme: " + ", ".join(found),
            where=f"{test.reference}, {train.reference}",
            next_step="Map the labels to one scheme when integrating.",
        )
    if found:
        return sorted(found[0].split("|"))
    labels = pc.unique(read_records(train, ["label"])["label"]).to_pylist()
    return sorted(label for label in labels if label is not None)


def _schemes(dataset: Artifact) -> list[str]:
    column = pc.unique(read_records(dataset, ["label_scheme"])["label_scheme"])
    return [scheme for scheme in column.to_pylist() if scheme is not None]


def read_labelled(dataset: Artifact, labels: Sequence[str]) -> LabelledRows:
    """Read the rows that have one of the labels; count the others by reason.

    Raises:
        DataError: no row is left, or an id occurs twice.
    """
    table = read_records(dataset, _COLUMNS)
    unlabelled = pc.is_null(table["label"])
    known = pc.is_in(table["label"], value_set=pa.array(labels, pa.string()))
    outside = pc.and_not(pc.invert(unlabelled), known)
    left_out = {"no label": _count(unlabelled), "label outside the scheme": _count(outside)}
    kept = table.filter(known)
    if kept.num_rows == 0:
        raise DataError(f"{dataset.reference} has no row with one of the labels "
                        + ", ".join(labels), where=dataset.reference,
                        next_step="Name a labelled data set of this scheme.")  # fmt: skip
    _refuse_repeated_ids(kept["id"], dataset)
    return LabelledRows(
        kept["id"].to_pylist(), kept["text"].to_pylist(), kept["label"].to_pylist(), left_out
    )


def _count(mask: pa.ChunkedArray) -> int:
    return pc.sum(mask).as_py() or 0


def _refuse_repeated_ids(ids: pa.ChunkedArray, dataset: Artifact) -> None:
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise DataError(
            f"{len(repeated)} ids occur more than once, first {repeated[0]['values'].as_py()!r}",
            where=dataset.reference,
            next_step="Remove repeated rows with the clean stage: they would count twice.",
        )


def num_seen(texts: Sequence[str], training_texts: Sequence[str]) -> int:
    """Count texts that also stand in the training set, but for case and spaces."""
    seen = {_plain(text) for text in training_texts}
    return sum(_plain(text) in seen for text in texts)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
