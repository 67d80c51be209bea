"""Who is dropped, and for what: pure functions of scores, groups and thresholds.

Texts are not looked at: everything here can be decided again for other thresholds from what is
stored, and gives what a new run would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.clean.checks import Check, Scores
from workbench.data.clean.spec import CleanSpec
from workbench.data.rules.rule import Mask

Rows = npt.NDArray[np.int64]


# Columns of the scores that no rule measures.
GROUP_BACK = "rows_back_to_group"  # to the first record of its group of near-duplicates; int32
SAME_WORDS_BACK = "rows_back_to_same_words"  # to the first record of the same words; int32
PROTECTED = "protected"  # of a source that loses nothing


def first_failing(
    scores: Scores, checks: Sequence[Check], spec: CleanSpec
) -> npt.NDArray[np.uint8]:
    """Return for each record 1 + the first check that it fails, 0 where it passes all; [n]."""
    reason: npt.NDArray[np.uint8] | None = None
    for number, check in enumerate(checks, 1):
        failed = check.fails(scores[check.score], spec)
        if reason is None:
            reason = np.zeros(len(failed), dtype=np.uint8)
        reason[failed & (reason == 0)] = number
    assert reason is not None
    return reason


def choose_keepers(
    group: npt.NDArray[np.integer[Any]], passes: Mask, protected: Mask
) -> npt.NDArray[np.int64]:
    """Return for each record the one that stays for its group; -1 where none of it does; [n].

    Of a group (all records connected by near-duplicate pairs) the first protected record stays,
    else the first that passes.
    """
    count = len(group)
    rank = np.arange(count) + count * (~protected) + 2 * count * (~(passes | protected))
    best = np.full(count, 4 * count, dtype=np.int64)
    np.minimum.at(best, group, rank)
    chosen = best[group]
    keepers: npt.NDArray[np.int64] = np.where(chosen < 2 * count, chosen % max(count, 1), -1)
    return keepers


def find_groups(group: npt.NDArray[np.integer[Any]]) -> tuple[Rows, Rows]:
    """Return the rows that are not alone in their group, and each one's group among those rows.

    ``group`` names the first row of each row's group; [n].
    """
    is_member = group != np.arange(len(group), dtype=group.dtype)
    is_member[group[is_member]] = True
    members = np.flatnonzero(is_member)
    return members, np.searchsorted(members, group[members])
