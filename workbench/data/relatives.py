"""Which records must share a subset: near copies of each other, through any number of others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.core.artifact import Artifact
from workbench.core.context import RunContext
from workbench.data.duplicates import near_duplicates
from workbench.data.records import read_records
from workbench.data.tokens import as_texts

Rows = npt.NDArray[np.int64]


def find_relatives(dataset: Artifact, jaccard: float, shingle_words: int, run: RunContext) -> Rows:
    """Return for each record the first one that it is a near copy of, at some removes; int64 [n].

    ``jaccard`` 0 relates only records of the same words.
    """

    def report(share: float) -> None:
        run.stop_if_asked()
        run.progress(share, 1, "share", "near-duplicates")

    texts = as_texts(read_records(dataset, ["text"])["text"])
    return near_duplicates(texts, jaccard or 1.0, shingle_words, report).keeper
