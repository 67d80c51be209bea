"""Dealing records out to parts: whole groups, fair shares, or cuts in time; pure and exact."""

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


def cut_by_time(times: Integers, shares: Numbers) -> Integers:
    """Return the part of each record, int64 [n]: the earliest go to the first part, and so on.

    Records of one time stay together: each cut stands between two different times, where the
    shares of the records before it come nearest to what is asked. No part is empty where there
    are as many different times as parts.
    """
    distinct, place, counts = np.unique(times, return_inverse=True, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])  # records before each cut
    num_parts, cut = len(shares), 0
    cuts = []
    for number, wanted in enumerate(np.cumsum(shares)[:-1] * len(times), start=1):
        latest = max(cut, len(distinct) - (num_parts - number))
        possible = np.arange(min(cut + 1, latest), latest + 1)
        cut = int(possible[np.abs(before[possible] - wanted).argmin()])
        cuts.append(cut)
    parts: Integers = np.searchsorted(cuts, place, side="right").astype(np.int64)
    return parts


def join_groups(keeper: Integers, group: Integers) -> Integers:
    """Return groups that hold together what either grouping does; the first row of each, int64 [n].

    ``keeper`` names each record's group by a row, ``group`` by any number (-1: in no group).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.arange(len(keeper))
    grouped = np.flatnonzero(group >= 0)
    _, first, place = np.unique(group[grouped], return_index=True, return_inverse=True)
    left = np.concatenate([rows, grouped])
    right = np.concatenate([keeper, grouped[first][place]])
    ones = np.ones(len(left), np.int8)
    graph = coo_array((ones, (left, right)), shape=(len(rows), len(rows)))
    _, component = connected_components(graph, directed=False)
    _, firsts = np.unique(component, return_index=True)
    joined: Integers = firsts[component].astype(np.int64)
    return joined


def later_relatives(parts: Integers, keeper: Integers) -> npt.NDArray[np.bool_]:
    """Say which records have a relative in an earlier part than their own; bool [n]."""
    earliest = np.full(len(keeper), np.iinfo(np.int64).max)
    np.minimum.at(earliest, keeper, parts)
    is_later: npt.NDArray[np.bool_] = parts > earliest[keeper]
    return is_later
