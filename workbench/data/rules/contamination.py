"""Contamination: records that hold what a test set asks, so that its scores would say little."""

from __future__ import annotations

from workbench.core.spec import DatasetRef, LocalPath, Spec, option
from workbench.data.rules.rule import Bound

CONTAMINATION_BOUND = Bound("contamination", "test_overlap", "max_test_overlap", "at most")

_GROUP = "Test sets"


class ContaminationSetting(Spec):
    """Which test sets no record may hold parts of."""

    test_sets: list[DatasetRef] = option(
        [], title="Test sets", group=_GROUP,
        help="Data sets that a model will be tested on: records that share a sequence of words "
        "with one of their texts are dropped.",
    )  # fmt: skip
    test_files: list[LocalPath] = option(
        [], title="Test files", group=_GROUP,
        help="The same for files: CSV, JSON and Parquet with a column called text, else one text "
        "a line.",
    )  # fmt: skip
    test_sequence_words: int = option(
        13, title="Words per sequence", group=_GROUP, unit="words", ge=3, le=100,
        help="Length of the compared sequences. A shorter test text is looked for as a whole, but "
        "not one of fewer than 5 words.",
    )  # fmt: skip
    max_test_overlap: float = option(
        0.0, title="Most overlap", group=_GROUP, unit="share of a test text's sequences",
        ge=0, le=1,
        help="Drop records that hold a larger share of some test text; 0: any sequence is too "
        "much.",
    )  # fmt: skip

    @property
    def has_test_texts(self) -> bool:
        """Whether there is anything to compare records with."""
        return bool(self.test_sets or self.test_files)
