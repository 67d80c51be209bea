"""From records to texts and label numbers, and from label counts to the weights of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.data.records import read_records
from workbench.train.options import ClassWeights
from workbench.train.token_set import NO_LABEL

_COLUMNS = ["text", "label", "label_scheme"]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the numbers of their labels (int64, -1 for none) and the labels by number."""

    texts: list[str]
    numbers: npt.NDArray[np.int64]
    labels: list[str]
    num_left_out: int = 0  # records without a label, where only labelled ones were asked for


def read_labelled(dataset: Artifact, labels: Sequence[str] | None = None) -> LabelledTexts:
    """Read the labelled records of a data set; the others are left out and counted.

    Args:
        dataset: a data set artifact.
        labels: the labels that may occur; from the data set's label scheme when None.

    Raises:
        DataError: no labelled records, several label schemes, or a label that is not in the
            scheme.
    """
    everything = read_records(dataset, _COLUMNS)
    table = everything.filter(everything["label"].is_valid())
    if table.num_rows == 0:
        raise DataError(f"{dataset.reference} holds no labelled records", where=dataset.reference,
                        next_step="Map a label column when integrating, or label them "
                        "(label stage).")  # fmt: skip
    known = list(labels) if labels is not None else _labels_of(table, dataset)
    numbers = _numbers(table, known)
    if (numbers < 0).any():
        stranger = table["label"][int(np.argmin(numbers))].as_py()
        raise DataError(f"The label {stranger!r} is not in the scheme {'|'.join(known)}",
                        where=f"{dataset.reference}, record {int(np.argmin(numbers))}",
                        next_step="Map the labels when integrating.")  # fmt: skip
    num_left_out = everything.num_rows - table.num_rows
    return LabelledTexts(table["text"].to_pylist(), numbers, known, num_left_out)


def read_transfer(datasets: Sequence[Artifact], labels: Sequence[str]) -> LabelledTexts:
    """Read data sets for a teacher with these labels; labels of another scheme count as none.

    Raises:
        DataError: there is no record.
    """
    tables = [read_records(dataset, _COLUMNS) for dataset in datasets]
    numbers = np.concatenate([_numbers_if_same_scheme(table, labels) for table in tables])
    texts: list[str] = pa.concat_tables(tables)["text"].to_pylist()
    if not texts:
        raise DataError("The transfer set holds no records",
                        where=", ".join(map(str, datasets)),
                        next_step="Name data sets that hold texts.")  # fmt: skip
    return LabelledTexts(texts, numbers, list(labels))


def _labels_of(table: pa.Table, dataset: Artifact) -> list[str]:
    schemes = [s for s in pc.unique(table["label_scheme"]).to_pylist() if s is not None]
    if len(schemes) > 1:
        raise DataError(
            f"The records are of {len(schemes)} label schemes: {', '.join(sorted(schemes))}",
            where=dataset.reference,
            next_step="Map them to one scheme when integrating.",
        )
    labels = schemes[0].split("|") if schemes else sorted(pc.unique(table["label"]).to_pylist())
    if len(labels) < 2:
        raise DataError(f"There is only one label: {labels[0]}", where=dataset.reference,
                        next_step="A classifier needs records of two labels.")  # fmt: skip
    return sorted(labels)


def _numbers(table: pa.Table, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    found = pc.index_in(table["label"], pa.array(labels, pa.string()))
    numbers = pc.fill_null(found, NO_LABEL).to_numpy()
    return np.asarray(numbers, dtype=np.int64)


def _numbers_if_same_scheme(table: pa.Table, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    scheme = "|".join(sorted(labels))
    same = pc.fill_null(pc.equal(table["label_scheme"], scheme), False).to_numpy()
    return np.where(same, _numbers(table, labels), NO_LABEL)


def class_weights(
    numbers: npt.NDArray[np.int64], num_labels: int, kind: ClassWeights
) -> npt.NDArray[np.float64]:
    """Return each class's weight in the loss, 1 on average over the labelled rows.

    ``balanced`` is inverse to a class's share of the rows, ``sqrt`` to the root of its share,
    ``none`` the same for all. A class without rows weighs 0.
    """
    counts = np.bincount(numbers[numbers >= 0], minlength=num_labels).astype(np.float64)
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0.0)
    total = float((weights * counts).sum())
    return weights * (counts.sum() / total) if total else np.ones(num_labels)
