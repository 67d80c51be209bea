"""The search for duplicates step by step in a folder, cut as a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.data.duplicates.candidates import plan_candidates, write_candidates
from workbench.data.duplicates.edges import plan_edges, write_edges
from workbench.data.duplicates.fingerprints import (
    FingerprintPart,
    Fingerprints,
    Likeness,
    write_fingerprints,
)
from workbench.data.duplicates.groups import GroupPart, find_groups, open_groups
from workbench.data.tokens import normalise

Each = Callable[[Callable[[Path, Any], None], Mapping[str, Any], Path], list[Path]]


def one_after_the_other(
    write: Callable[[Path, Any], None], parts: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Make each part in a folder of its own."""
    folders = []
    for key, part in parts.items():
        own = folder / key
        own.mkdir(parents=True)
        write(own, part)
        folders.append(own)
    return folders


def take_fingerprints(
    folder: Path, texts: Sequence[str], likeness: Likeness, cuts: Iterable[int] = (),
    each: Each = one_after_the_other,
) -> Fingerprints:  # fmt: skip
    """Write texts as Parquet partitions that end at ``cuts``, and take their fingerprints."""
    folder.mkdir(parents=True, exist_ok=True)
    bounds = [0, *sorted(cuts), len(texts)]
    parts = {}
    for number, (first, end) in enumerate(pairwise(bounds)):
        path = folder / f"part-{number}.parquet"
        pq.write_table(pa.table({"text": pa.array(texts[first:end], pa.string())}), path)
        parts[f"fingerprints-{number}"] = FingerprintPart(path=path, likeness=likeness)
    return Fingerprints.of(each(write_fingerprints, parts, folder))


def group_fingerprints(
    folder: Path, fingerprints: Fingerprints, rows_at_once: int = 1 << 19,
    pairs_at_once: int = 1 << 19, each: Each = one_after_the_other,
) -> npt.NDArray[Any]:  # fmt: skip
    """Return the groups that the remaining steps find."""
    candidates = each(write_candidates, plan_candidates(fingerprints, rows_at_once), folder)
    edges = each(write_edges, plan_edges(fingerprints, candidates, pairs_at_once), folder)
    part = GroupPart(fingerprints=fingerprints, candidates=candidates, edges=edges)
    (found,) = each(find_groups, {"groups": part}, folder)
    return np.array(open_groups(found))


def shingle_sets(texts: Sequence[str], size: int) -> list[set[tuple[str, ...]]]:
    """Return the set of word runs of each text; fewer words are one run."""
    sets = []
    for line in normalise(pa.array(texts, pa.large_string())).to_pylist():
        words = tuple(line.split())
        runs = {words[n : n + size] for n in range(len(words) - size + 1)}
        sets.append(runs or ({words} if words else set()))
    return sets


def jaccard(left: set[Any], right: set[Any]) -> float:
    """Return the share of all elements that both sets hold."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def every_pair_compared(texts: Sequence[str], likeness: Likeness) -> list[int]:
    """Return the first row of each row's group, from all pairs of texts."""
    sets = shingle_sets(texts, likeness.shingle_words)
    words = normalise(pa.array(texts, pa.large_string())).to_pylist()
    group = list(range(len(texts)))
    for right in range(len(texts)):
        for left in range(right):
            is_copy = words[left] == words[right] and (
                bool(words[left]) or texts[left] == texts[right]
            )
            if is_copy or jaccard(sets[left], sets[right]) >= likeness.jaccard:
                old, new = sorted((group[left], group[right]), reverse=True)
                group = [new if g == old else g for g in group]
    return group
