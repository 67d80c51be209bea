"""From records to texts and label numbers, and from label counts to the weights of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, model_validator

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, nearest_name
from workbench.core.spec import DatasetRef, option
from workbench.data.records import read_records
from workbench.train.options import ClassWeights
from workbench.train.token_set import NO_LABEL

_COLUMNS = ["text", "label", "label_scheme"]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the numbers of their labels (int64, -1 for none) and the labels by number.

    Where texts of several label schemes are learned from together, numbers go on from scheme to
    scheme: ``labels`` are those of the first, ``others`` how many each further one has; 1 stands
    for scores, which are in ``targets`` (float32). ``shares`` (float32) say how much each text
    counts; all the same where there are none.
    """

    texts: list[str]
    numbers: npt.NDArray[np.int64]
    labels: list[str]
    num_left_out: int = 0  # records without a label, where only labelled ones were asked for
    others: tuple[int, ...] = ()
    shares: npt.NDArray[np.float32] | None = None
    targets: npt.NDArray[np.float32] | None = None


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


def read_scores(dataset: Artifact) -> LabelledTexts:
    """Read the records of a data set whose labels are numbers; the others are left out.

    Their ``targets`` are the numbers, moved and scaled to a mean of 0 and a deviation of 1: a
    score from 0 to 100 shall not weigh more than one from 0 to 1. All are of the one label 0.

    Raises:
        DataError: no record has a score, one is no finite number, or all are the same.
    """
    everything = read_records(dataset, _COLUMNS)
    table = everything.filter(everything["label"].is_valid())
    scores = np.array([_score(text, row, dataset) for row, text in
                       enumerate(table["label"].to_pylist())])  # fmt: skip
    if len(scores) == 0 or scores.min() == scores.max():
        told = "no score" if len(scores) == 0 else f"one score only: {scores[0]:g}"
        raise DataError(
            f"{dataset.reference} holds {told}",
            where=dataset.reference,
            next_step="Name a data set whose labels are different numbers.",
        )
    targets = ((scores - scores.mean()) / scores.std()).astype(np.float32)
    return LabelledTexts(
        table["text"].to_pylist(), np.zeros(len(scores), np.int64), ["score"],
        everything.num_rows - len(scores), targets=targets,
    )  # fmt: skip


def _score(text: str, row: int, dataset: Artifact) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(
            f"The score {text!r:.80} is no number",
            where=f"{dataset.reference}, labelled record {row}",
            next_step="Clear or mend it when integrating, or leave has_scores off.",
        )
    return score


class JointSource(BaseModel):
    """Another data set that is learned from at the same time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: DatasetRef = option(title="Data set", help="Records with labels of any scheme.")
    weight: float = option(
        1.0, title="Weight", help="How much one of its records counts beside one of the training "
        "set.", gt=0, le=1000,
    )  # fmt: skip
    labels: dict[str, str] = option(
        {}, title="Labels", help="What its labels are called in the training set. Without it, a "
        "data set with other labels has a head of its own, and only the encoder is shared.",
    )  # fmt: skip
    has_scores: bool = option(
        False, title="Scores", help="Its labels are numbers, such as 0.25: a head of its own "
        "learns how large they are.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _scores_are_no_labels(self) -> Self:
        if self.has_scores and self.labels:
            raise ValueError("has_scores: scores have no names to map. Leave labels empty")
        return self


def join(main: LabelledTexts, others: Sequence[tuple[JointSource, Artifact]]) -> LabelledTexts:
    """Put data sets of any label schemes together, to be learned from at the same time.

    Raises:
        DataError: a label is not in a mapping, or one is mapped to a label that is not there; a
            score is no number.
    """
    texts, numbers = list(main.texts), [main.numbers]
    shares = [np.ones(len(main.texts), np.float32)]
    targets = [np.zeros(len(main.texts), np.float32)]
    sizes: list[int] = []
    num_left_out = main.num_left_out
    for source, dataset in others:
        found = read_scores(dataset) if source.has_scores else read_labelled(dataset)
        if found.targets is not None:
            places = np.array([len(main.labels) + sum(sizes)])
            sizes.append(1)
        elif source.labels or found.labels == main.labels:
            places = _mapped(found.labels, source.labels, main.labels, dataset)
        else:
            first = len(main.labels) + sum(sizes)
            places = np.arange(first, first + len(found.labels))
            sizes.append(len(found.labels))
        texts += found.texts
        numbers.append(places[found.numbers])
        shares.append(np.full(len(found.texts), source.weight, np.float32))
        targets.append(
            np.zeros(len(found.texts), np.float32) if found.targets is None else found.targets
        )
        num_left_out += found.num_left_out
    return LabelledTexts(
        texts, np.concatenate(numbers), main.labels, num_left_out, tuple(sizes),
        np.concatenate(shares), np.concatenate(targets, dtype=np.float32),
    )  # fmt: skip


def _mapped(
    own: Sequence[str], mapping: Mapping[str, str], labels: Sequence[str], dataset: Artifact
) -> npt.NDArray[np.int64]:
    """Return for each own label its number among those of the training set."""
    names = {**{label: label for label in own if label in labels}, **mapping}
    strangers = [label for label in own if label not in names]
    if strangers:
        raise DataError(
            f"The mapping does not say what {strangers[0]!r} is in the training set",
            where=dataset.reference,
            next_step=f"Map it to one of {', '.join(labels)}; or map none, for a head of its own.",
        )
    unknown = [name for name in names.values() if name not in labels]
    if unknown:
        raise DataError(f"The training set has no label {unknown[0]!r}", where=dataset.reference,
                        next_step=nearest_name(unknown[0], labels))  # fmt: skip
    return np.array([labels.index(names[label]) for label in own], np.int64)


def row_weights(texts: LabelledTexts, kind: ClassWeights) -> npt.NDArray[np.float32]:
    """Return how much each text counts in the loss: its share times the weight of its label.

    Labels are weighed within their scheme. A text without a label counts 0.
    """
    weights = np.zeros(len(texts.texts), np.float32)
    begin = 0
    for size in (len(texts.labels), *texts.others):
        own = (texts.numbers >= begin) & (texts.numbers < begin + size)
        of_labels = class_weights(texts.numbers[own] - begin, size, kind)
        weights[own] = of_labels[texts.numbers[own] - begin]
        begin += size
    return weights if texts.shares is None else weights * texts.shares


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
