"""Which records say what others say: groups over all records, whatever the rules think of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.context import RunContext
from workbench.data.clean.spec import CleanSpec
from workbench.data.duplicates import near_duplicates, same_texts
from workbench.data.tokens import as_texts


@dataclass(frozen=True)
class Repeats:
    """For each record of the whole input the first of its group; all arrays are [n].

    A group is what pairs of similar records connect. As it does not depend on which records the
    rules drop, thresholds of rules can be moved without looking for duplicates again.
    """

    group: npt.NDArray[np.int64]
    same_words: npt.NDArray[np.int64]  # the first record of the same words
    relative: npt.NDArray[np.int64]  # a record of the group that is similar; -1 for the first
    jaccard: npt.NDArray[np.float64]  # with the relative
    threshold: float


def find_repeats(folders: list[Path], spec: CleanSpec, run: RunContext) -> Repeats:
    """Group the repaired records of all partitions."""
    tables = [pq.read_table(folder / "records.parquet", columns=["text"]) for folder in folders]
    texts = as_texts(pa.concat_tables(tables)["text"])
    alone = np.arange(len(texts))
    same = same_texts(texts)
    if spec.near_duplicate_jaccard:

        def report(share: float) -> None:
            run.stop_if_asked()
            run.progress(share, 1, "share", "near-duplicates")

        found = near_duplicates(texts, spec.near_duplicate_jaccard, spec.shingle_words, report)
        return Repeats(
            found.keeper, same, found.relative, found.jaccard, spec.near_duplicate_jaccard
        )
    group = same if spec.drop_exact_duplicates else alone
    return Repeats(group, same, np.where(group == alone, -1, group), np.ones(len(texts)), 1.0)
