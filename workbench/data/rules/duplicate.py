"""Duplicates: records that say what an earlier one says, exactly or nearly."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from workbench.core.spec import Spec, option

EXACT_DUPLICATE = "exact_duplicate"
NEAR_DUPLICATE = "near_duplicate"
REPETITION_RULES = (EXACT_DUPLICATE, NEAR_DUPLICATE)
LEAST_JACCARD = 0.5


def _off_or_similar(similarity: float) -> float:
    if 0 < similarity < LEAST_JACCARD:
        raise ValueError(f"texts below {LEAST_JACCARD} are not nearly the same; 0 turns this off")
    return similarity


JaccardThreshold = Annotated[float, AfterValidator(_off_or_similar)]


class DuplicateSetting(Spec):
    """Which repetitions of earlier records are dropped."""

    drop_exact_duplicates: bool = option(
        True, title="Drop exact duplicates", group="Duplicates",
        help="Drop records whose words are those of an earlier one, whatever case, punctuation "
        "and spaces.",
    )  # fmt: skip
    near_duplicate_jaccard: JaccardThreshold = option(
        0.8, title="Near-duplicate similarity", group="Duplicates", unit="Jaccard similarity",
        ge=0, le=1,
        help="Drop records that share at least this much of their word sequences with an earlier "
        "one (0.5 to 1); 0: keep near-duplicates.",
    )  # fmt: skip
    shingle_words: int = option(
        3, title="Words per sequence", group="Duplicates", unit="words", ge=2, le=10,
        help="Length of the compared word sequences; longer is stricter. Chinese, Japanese, "
        "Korean and Thai are compared by character.",
    )  # fmt: skip
