"""Dealing records out to parts: whole groups, fair shares in every stratum; pure and exact."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


def deal_groups(
    keeper: Integers, order: Integers, subset: Integers, stratum: Integers, shares: Numbers
) -> Integers:
    """Return the part of each record; int64 [n], an index into ``shares``.

    ``keeper`` names each record's group, ``order`` is an order of all records. A group stands in
    the order where its first record stands, counts for that record's subset and stratum, and is
    dealt whole. In each subset the shares hold over all strata together, not just in each.
    """
    group_rank = np.full(len(keeper), len(keeper), dtype=np.int64)
    np.minimum.at(group_rank, keeper[order], np.arange(len(order)))
    sizes = np.bincount(keeper, minlength=len(keeper))
    leaders = order[group_rank[keeper[order]] == np.arange(len(order))]
    part_of_group = np.zeros(len(keeper), dtype=np.int64)
    by_stratum = leaders[np.lexsort((stratum[leaders], subset[leaders]))]
    for members, is_new_subset in _strata(by_stratum, subset, stratum):
        if is_new_subset:
            carry = np.zeros(len(shares))
        groups = keeper[members]
        part_of_group[groups], carry = deal(sizes[groups], shares, carry)
    parts: Integers = part_of_group[keeper]
    return parts


def deal(sizes: Integers, shares: Numbers, carry: Numbers) -> tuple[Integers, Numbers]:
    """Deal groups of these sizes, in this order, to parts; return parts and what is still owed.

    ``carry`` is what earlier strata owe each part, in records, so that rounding does not always
    cost the same part. Each group goes where its middle falls.
    """
    total = int(sizes.sum())
    owed = shares * total + carry
    quota = np.maximum(owed, 0)
    ends = np.cumsum(quota) * (total / quota.sum())
    middles = np.cumsum(sizes) - sizes / 2
    parts = np.minimum(np.searchsorted(ends, middles, side="right"), len(shares) - 1)
    given = np.bincount(parts, weights=sizes, minlength=len(shares))
    return parts.astype(np.int64), owed - given


def _strata(members: Integers, subset: Integers, stratum: Integers) -> list[tuple[Integers, bool]]:
    """Cut sorted members into strata; say of each whether it begins a new subset."""
    new_subset = np.ones(len(members), dtype=bool)
    new_subset[1:] = np.diff(subset[members]) != 0
    new_stratum = new_subset.copy()
    new_stratum[1:] |= np.diff(stratum[members]) != 0
    starts = np.flatnonzero(new_stratum)
    cut = np.split(members, starts[1:])
    return list(zip(cut, new_subset[starts].tolist(), strict=True))
