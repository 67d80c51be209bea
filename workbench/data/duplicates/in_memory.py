"""Duplicates among texts at hand: the same search, over a folder that is gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.core.context import PartWriter
from workbench.data.duplicates.fingerprints import Likeness, fingerprint, identities_of
from workbench.data.duplicates.search import search

_PARTITION_ROWS = 1 << 16

Rows = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NearDuplicates:
    """Which rows resemble each other; all arrays are [n].

    ``keeper`` is the first row of a row's group (its own index when it is that row or alone);
    ``relative`` is a row of the group whose Jaccard similarity to this one, ``jaccard``, is at
    least the threshold: the keeper if that is one, else the nearest (-1 and 0.0 for keepers).
    """

    keeper: Rows
    relative: Rows
    jaccard: Similarities


def same_texts(texts: pa.Array) -> Rows:
    """Return for each row the first row of the same words; int64 [n].

    Texts without words (punctuation only) are compared as they are.
    """
    identities = identities_of(texts).view([("low", "<u8"), ("high", "<u8")]).ravel()
    _, first, place = np.unique(identities, return_index=True, return_inverse=True)
    firsts: Rows = first[place].astype(np.int64)
    return firsts


def near_duplicates(
    texts: pa.Array,
    threshold: float,
    shingle_words: int,
    at_safe_point: Callable[[float], None] = lambda share: None,
) -> NearDuplicates:
    """Group texts by their word shingles.

    ``at_safe_point`` hears which share of the work is done, and may raise to stop it.
    """
    likeness = Likeness(jaccard=threshold, shingle_words=shingle_words)
    with TemporaryDirectory(prefix="duplicates-") as scratch:
        work = _Work(Path(scratch), at_safe_point)
        starts = range(0, max(len(texts), 1), _PARTITION_ROWS)
        slices = {f"texts-{start}": texts.slice(start, _PARTITION_ROWS) for start in starts}

        def take(folder: Path, own: pa.Array) -> None:
            fingerprint(folder, [own], likeness)

        found = np.array(search(work.make(slices, take, "fingerprints"), work.make))
    return NearDuplicates(
        keeper=found["group"].astype(np.int64),
        relative=found["relative"].astype(np.int64),
        jaccard=found["jaccard"].astype(np.float64),
    )


# Which share of the work is done before a step.
_SHARE_DONE = {"fingerprints": 0.0, "candidates": 0.6, "near-duplicates": 0.8, "groups": 0.95}


@dataclass(frozen=True)
class _Work:
    folder: Path
    at_safe_point: Callable[[float], None]

    def make(self, parts: Mapping[str, Any], write: PartWriter, step: str) -> list[Path]:
        """Make parts one after the other."""
        folders = []
        for key, value in parts.items():
            self.at_safe_point(_SHARE_DONE[step])
            folder = self.folder / key
            folder.mkdir()
            write(folder, value)
            folders.append(folder)
        return folders
