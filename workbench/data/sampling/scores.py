"""Numbers that stand beside records: weights under any name, the scores of a classifier."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.data.record_field import read_field
from workbench.data.records import partitions, read_records

# The columns that a score run adds; tasks/predictions.py names them, but stands above this layer.
SCORE = "score:"


def read_weights(dataset: Artifact, name: str) -> npt.NDArray[np.float64]:
    """Return the weight that each record has under a name, 0 where it has none; float64 [n].

    Raises:
        DataError: a value is no number of at least 0, or none is above 0.
    """
    texts = read_field(dataset, name).to_pylist()
    weights = np.array([_number(text) for text in texts])
    wrong = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(wrong):
        raise DataError(f"{name!r} is no weight: {texts[wrong[0]][:40]!a}",
                        where=f"{dataset.reference}, record {wrong[0]}",
                        next_step="Name a field with numbers of at least 0.")  # fmt: skip
    if not weights.any():
        raise DataError(f"No record has a {name!r} above 0", where=dataset.reference,
                        next_step="Name another field.")  # fmt: skip
    return weights


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return math.nan


def read_scores(dataset: Artifact) -> npt.NDArray[np.float32]:
    """Return the probabilities that a classifier gave; float32 [n, num_labels].

    Raises:
        DataError: the data set has no scores, or some records have none.
    """
    names = pq.read_schema(partitions(dataset)[0]).names
    columns = [name for name in names if name.startswith(SCORE)]
    if len(columns) < 2:
        raise DataError("The records carry no scores of two labels", where=dataset.reference,
                        next_step="Score them with a classifier first (score stage).")  # fmt: skip
    table = read_records(dataset, columns)
    scores = np.stack([table[name].to_numpy() for name in columns], axis=1).astype(np.float32)
    if not np.isfinite(scores).all():
        raise DataError("A record has no score", where=dataset.reference,
                        next_step="Score the data set again.")  # fmt: skip
    return scores
