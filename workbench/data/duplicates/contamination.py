"""Contamination: how much of a test set's texts stands in records that a model would learn from.

Overlap of word sequences, 13 words long by default as in GPT-3's report (Brown et al. 2020,
appendix C). Test sets are small: their hashed sequences are held whole, records pass by.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from workbench.core.errors import DataError
from workbench.data.duplicates.columns import Column, load_column, save_column
from workbench.data.duplicates.fingerprints import ALGORITHM_VERSION, text_slices

_MANIFEST = "test_texts.json"
_COLUMNS = {
    "grams": np.dtype("<u8"),  # sorted distinct word sequences of all test texts
    "owner_starts": np.dtype("<i8"),  # where the owners of each sequence start
    "owners": np.dtype("<i8"),  # rows of test texts
    "sizes": np.dtype("<i8"),  # how many distinct sequences each test text has
    "lengths": np.dtype("<i8"),  # how many words a sequence may have
}


class SequenceSetting(BaseModel):
    """Which word sequences of test texts are looked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence_words: int = 13
    fewest_words: int = 5  # shorter test texts are common phrases, and found nowhere


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: int
    setting: SequenceSetting


class Overlaps(NamedTuple):
    """The largest share of a test text's sequences in each record, and which test text it is.

    ``share`` is float32 [n], 0 to 1; ``test_row`` is int64 [n], the lowest row of equals, -1
    where nothing of any test text is found.
    """

    share: npt.NDArray[np.float32]
    test_row: npt.NDArray[np.int64]


def write_test_texts(folder: Path, texts: Iterable[pa.Array], setting: SequenceSetting) -> None:
    """Write the word sequences of test texts, rows counted through all arrays.

    A test text of fewer words than a sequence is one sequence, all of it.
    """
    from workbench.data.duplicates.characters import character_table
    from workbench.data.duplicates.overlap_kernels import gram_texts

    slices = [
        gram_texts(data, offsets, character_table(), setting.sequence_words)
        for data, offsets in text_slices(texts)
    ]
    grams = _joined([own for own, _, _ in slices], "<u8")
    sizes = _joined([np.diff(offsets) for _, offsets, _ in slices], "<i8")
    num_words = _joined([lengths for _, _, lengths in slices], "<i8")
    is_long = num_words >= setting.fewest_words
    owners = np.repeat(np.arange(len(sizes)), sizes)
    grams, owners = grams[is_long[owners]], owners[is_long[owners]]
    order = np.lexsort((owners, grams))
    distinct, starts = np.unique(grams[order], return_index=True)
    columns = {
        "grams": distinct,
        "owner_starts": np.append(starts, len(owners)),
        "owners": owners[order],
        "sizes": sizes,
        "lengths": np.unique(num_words[is_long]),
    }
    for name, dtype in _COLUMNS.items():
        save_column(folder / f"{name}.npy", columns[name].astype(dtype))
    manifest = _Manifest(algorithm=ALGORITHM_VERSION, setting=setting)
    (folder / _MANIFEST).write_text(manifest.model_dump_json())


class TestTexts:
    """The word sequences of test texts, as ``write_test_texts`` left them in a folder."""

    __test__ = False  # no test case, whatever its name

    def __init__(self, folder: Path) -> None:
        from workbench.data.duplicates.compiled import read_only
        from workbench.data.duplicates.overlap_kernels import mark_present

        manifest = _Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
        if manifest.algorithm != ALGORITHM_VERSION:
            raise DataError("Word sequences of another version cannot be compared",
                            where=str(folder), next_step="Read the test set again.")  # fmt: skip
        columns = {
            name: read_only(load_column(folder / f"{name}.npy", dtype))
            for name, dtype in _COLUMNS.items()
        }
        self._lengths = columns.pop("lengths")
        self._index: tuple[Any, ...] = (*columns.values(), mark_present(columns["grams"]))

    def overlaps(self, texts: Iterable[pa.Array]) -> Overlaps:
        """Return how much of a test text each record holds, records counted through all arrays."""
        from workbench.data.duplicates.characters import character_table
        from workbench.data.duplicates.overlap_kernels import find_overlaps

        found = [
            find_overlaps(data, offsets, character_table(), self._lengths, self._index)
            for data, offsets in text_slices(texts)
        ]
        return Overlaps(
            _joined([shares for shares, _ in found], "<f4"),
            _joined([rows for _, rows in found], "<i8"),
        )


def _joined(arrays: list[Column], dtype: str) -> Column:
    return np.concatenate([np.empty(0, dtype), *arrays])
