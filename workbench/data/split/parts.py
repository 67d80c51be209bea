"""Which part each record goes to: dealt out by hash or cut by time, relatives never apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.record_field import encode
from workbench.data.split.dealing import cut_by_time, deal_groups, join_groups, later_relatives
from workbench.data.split.record_time import UNDATED

UNLABELLED = "unlabelled"
REPEATS = "repeats"
UNDATED_PART = "undated"
RESERVED = (UNLABELLED, REPEATS, UNDATED_PART)

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """What is known of the records that are to be split; all arrays are [n].

    ``keeper`` names each record's group of relatives by a row, ``order`` is an order of all rows,
    ``whole`` the part of a record whose source goes whole (empty: it is dealt out), ``times`` are
    microseconds or None where time does not matter.
    """

    keeper: Integers
    order: Integers
    subset: Integers
    labels: pa.ChunkedArray
    whole: npt.NDArray[np.object_]
    times: Integers | None = None


def choose_parts(
    records: Candidates, shares: Mapping[str, float], *, stratify: bool, own_unlabelled: bool
) -> npt.NDArray[np.object_]:
    """Return the name of each record's part; object [n].

    Records of whole sources go where their source goes. Their relatives follow them if that is a
    part that is dealt out, else they go to ``repeats``. The rest is dealt out in whole groups, or
    cut by time, where records that repeat an earlier part go to ``repeats``.
    """
    parts = np.where(records.whole != "", records.whole, _follow(records, shares))
    is_open = parts == ""
    is_unlabelled = ~pc.is_valid(records.labels).to_numpy()
    if records.times is not None:
        _cut(parts, is_open, records, shares)
    elif is_open.any():
        _deal(parts, is_open, records, shares, stratify)
    if own_unlabelled:
        parts[is_unlabelled & (records.whole == "")] = UNLABELLED
    return parts


def _follow(records: Candidates, shares: Mapping[str, float]) -> npt.NDArray[np.object_]:
    """Return the part that relatives of whole sources must go to; empty for all others."""
    is_whole = records.whole != ""
    followed = np.full(len(records.keeper), "", dtype=object)
    leaders = records.keeper[is_whole]
    for leader, part in zip(leaders.tolist(), records.whole[is_whole].tolist(), strict=True):
        is_free = followed[leader] in ("", part) and part in shares
        followed[leader] = part if is_free else REPEATS
    found: npt.NDArray[np.object_] = followed[records.keeper]
    return found


def _deal(
    parts: npt.NDArray[np.object_],
    is_open: Mask,
    records: Candidates,
    shares: Mapping[str, float],
    stratify: bool,
) -> None:
    rows = np.flatnonzero(is_open)
    labels = records.labels.filter(pa.array(is_open))
    stratum = encode(labels)[0] if stratify else pc.is_valid(labels).to_numpy().astype(np.int64)
    dealt = deal_groups(
        among(records.keeper, rows),
        np.argsort(_ranks(records.order)[rows], kind="stable"),
        subset=records.subset[rows],
        stratum=stratum,
        shares=np.array(list(shares.values())),
    )
    parts[rows] = np.array(list(shares), object)[dealt]


def _cut(
    parts: npt.NDArray[np.object_],
    is_open: Mask,
    records: Candidates,
    shares: Mapping[str, float],
) -> None:
    assert records.times is not None
    is_dated = records.times != UNDATED
    parts[is_open & ~is_dated] = UNDATED_PART
    rows = np.flatnonzero(is_open & is_dated)
    if not len(rows):
        return
    cut = cut_by_time(records.times[rows], np.array(list(shares.values())))
    names = np.array(list(shares), object)[cut]
    names[later_relatives(cut, among(records.keeper, rows))] = REPEATS
    parts[rows] = names


def among(keeper: Integers, rows: Integers) -> Integers:
    """Return the groups of some rows only, each named by its first of them."""
    _, first, place = np.unique(keeper[rows], return_index=True, return_inverse=True)
    return first[place].astype(np.int64)


def _ranks(order: Integers) -> Integers:
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def with_groups(keeper: Integers, values: pa.ChunkedArray) -> Integers:
    """Return groups of relatives that hold all records of one value together; int64 [n]."""
    return join_groups(keeper, encode(values)[0])
