"""Which records must share a subset: near copies of each other, through any number of others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.core.artifact import Artifact
from workbench.core.context import RunContext
from workbench.data.duplicates.fingerprints import FingerprintPart, Likeness, write_fingerprints
from workbench.data.duplicates.search import search
from workbench.data.records import partitions

Rows = npt.NDArray[np.int64]


def find_relatives(dataset: Artifact, jaccard: float, shingle_words: int, run: RunContext) -> Rows:
    """Return for each record the first one that it is a near copy of, at some removes; int64 [n].

    ``jaccard`` 0 relates only records of the same words. Texts stay in their partitions, and each
    step is a number of durable parts, made by all workers of the run: no more texts than those of
    one part are in memory.
    """
    likeness = Likeness(jaccard=jaccard or 1.0, shingle_words=shingle_words)
    parts = {
        f"fingerprints-{number:05d}": FingerprintPart(path=path, likeness=likeness)
        for number, path in enumerate(partitions(dataset))
    }
    taken = run.checkpoint_each(parts, write_fingerprints, "partitions", "fingerprints")
    table = search(
        taken,
        lambda parts, write, step: run.checkpoint_each(parts, write, "parts", step),
        only_copies=not jaccard,
    )
    groups: Rows = table["group"].astype(np.int64)
    return groups
