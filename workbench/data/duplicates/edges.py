"""Verified pairs of near-duplicates: exact Jaccard similarity decides, each pair once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from workbench.data.duplicates.candidates import PAIR, Pairs, distinct, open_pairs, unpack
from workbench.data.duplicates.columns import Column, load_column, save_column
from workbench.data.duplicates.fingerprints import Fingerprints
from workbench.data.duplicates.parts import cut_evenly
from workbench.data.duplicates.shingle_reader import ShingleReader

EDGE = np.dtype([("left", "<u4"), ("right", "<u4"), ("jaccard", "<f8")])

_PAIRS_AT_ONCE = 1 << 19
_NUM_SPANS = 4096


class EdgePart(BaseModel):
    """The candidate pairs whose lower row is in ``first_row:end_row``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprints: Fingerprints
    candidates: tuple[Path, ...]
    first_row: int
    end_row: int


def plan_edges(
    fingerprints: Fingerprints, candidates: list[Path], pairs_at_once: int = _PAIRS_AT_ONCE
) -> dict[str, EdgePart]:
    """Cut the candidate pairs into parts that need the same memory, however many there are."""
    bounds = np.linspace(0, fingerprints.num_rows, _NUM_SPANS + 1).astype(np.int64)
    counts = np.zeros(_NUM_SPANS, dtype=np.int64)
    for folder in candidates:
        for pairs in open_pairs(folder):
            counts += np.diff(np.searchsorted(pairs, _first_pair(bounds)))
    return {
        f"edges-{number:05d}": EdgePart(
            fingerprints=fingerprints, candidates=tuple(candidates),
            first_row=int(bounds[first]), end_row=int(bounds[end]),
        )
        for number, (first, end) in enumerate(cut_evenly(counts, pairs_at_once))
    }  # fmt: skip


def write_edges(folder: Path, part: EdgePart) -> None:
    """Keep the pairs whose exact Jaccard similarity reaches the threshold, sorted."""
    threshold = part.fingerprints.likeness.jaccard
    left, right = unpack(_gather(part))
    similarities = ShingleReader(part.fingerprints).compare(left, right, threshold)
    is_edge = similarities >= threshold
    edges = np.empty(int(is_edge.sum()), dtype=EDGE)
    edges["left"], edges["right"] = left[is_edge], right[is_edge]
    edges["jaccard"] = similarities[is_edge]
    save_column(folder / "edges.npy", edges)


def open_edges(folder: Path) -> Column:
    """Return verified pairs (EDGE), sorted."""
    return load_column(folder / "edges.npy", EDGE)


def _gather(part: EdgePart) -> Pairs:
    first, end = _first_pair(np.array([part.first_row, part.end_row]))
    gathered: Pairs = np.empty(0, PAIR)
    waiting: list[Pairs] = []
    for folder in part.candidates:
        for pairs in open_pairs(folder):
            waiting.append(pairs[slice(*np.searchsorted(pairs, [first, end]))])
            if sum(map(len, waiting)) >= _PAIRS_AT_ONCE:
                gathered, waiting = distinct(np.concatenate([gathered, *waiting])), []
    return distinct(np.concatenate([gathered, *waiting]))


def _first_pair(rows: Column) -> Pairs:
    return rows.astype(np.uint64) << np.uint64(32)
