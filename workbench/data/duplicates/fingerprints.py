"""What is kept of each text to find its duplicates: hashes of its words, shingles and bands.

Texts stay where they are. A partition's fingerprints are columns of fixed width in a folder of
their own; they say nothing of where the partition stands among others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from workbench.core.errors import DataError
from workbench.data.duplicates.banding import Banding, choose_banding
from workbench.data.duplicates.columns import (
    Column,
    ColumnWriter,
    create_column,
    load_column,
    save_column,
)
from workbench.data.tokens import as_texts

# Fingerprints of another version are not compared with these; raise it whenever a hash changes.
ALGORITHM_VERSION = 1

IDENTITY = np.dtype([("low", "<u8"), ("high", "<u8"), ("row", "<u8")])
BAND = np.dtype([("key", "<u8"), ("tag", "<u4"), ("row", "<u4")])
SHINGLE = np.dtype("<u8")
OFFSET = np.dtype("<i8")
MOST_ROWS = 2**32 - 1

_MANIFEST = "fingerprints.json"
_BATCH_ROWS = 4096
_SLICE_BYTES = 1 << 22  # what is worked on at once stays in a processor's cache
_NUM_BINS = 1 << 16


class Likeness(BaseModel):
    """When two texts are near-duplicates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jaccard: float = 0.8
    shingle_words: int = 3

    @property
    def banding(self) -> Banding:
        """The bands that find such texts."""
        return choose_banding(self.jaccard)


class FingerprintPart(BaseModel):
    """A partition to take fingerprints of: a column of texts in a Parquet file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    column: str = "text"
    likeness: Likeness = Likeness()


class Manifest(BaseModel):
    """What the fingerprints in a folder are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: int
    likeness: Likeness
    num_rows: int


class Fingerprints(BaseModel):
    """The fingerprints of all partitions, in order; rows are counted through them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: tuple[Path, ...]
    starts: tuple[int, ...]  # the first row of each partition, and the number of all rows
    likeness: Likeness

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Fingerprints:
        """Put the fingerprints of partitions one after the other.

        Raises:
            DataError: they were taken in different ways, or are too many.
        """
        paths = tuple(folders)
        manifests = [Manifest.model_validate_json((p / _MANIFEST).read_bytes()) for p in paths]
        kinds = {(manifest.algorithm, manifest.likeness) for manifest in manifests}
        if len(kinds) != 1 or kinds.pop()[0] != ALGORITHM_VERSION:
            raise DataError("Fingerprints of different kinds cannot be compared",
                            where=str(paths[0].parent) if paths else "no partition",
                            next_step="Take the fingerprints of all partitions again.")  # fmt: skip
        starts = np.concatenate([[0], np.cumsum([m.num_rows for m in manifests])]).tolist()
        if starts[-1] > MOST_ROWS:
            raise DataError(f"{starts[-1]} records are more than rows can be numbered",
                            where=str(paths[0].parent),
                            next_step=f"Compare at most {MOST_ROWS} records at once.")  # fmt: skip
        return cls(folders=paths, starts=tuple(starts), likeness=manifests[0].likeness)

    @property
    def num_rows(self) -> int:
        """The number of records in all partitions."""
        return self.starts[-1]


def write_fingerprints(folder: Path, part: FingerprintPart) -> None:
    """Take the fingerprints of one partition, in memory that its size does not change."""
    with pq.ParquetFile(part.path, buffer_size=1 << 20) as file:
        batches = file.iter_batches(_BATCH_ROWS, columns=[part.column])
        fingerprint(folder, (batch.column(0) for batch in batches), part.likeness)


def fingerprint(folder: Path, columns: Iterable[pa.Array], likeness: Likeness) -> None:
    """Take the fingerprints of texts that come in arrays, as one partition."""
    identities, keys, rows = _write_shingles(folder, columns, likeness)
    _write_identities(folder, identities)
    _write_bands(folder, keys, rows, identities[rows, 1].astype(np.uint32))
    manifest = Manifest(algorithm=ALGORITHM_VERSION, likeness=likeness, num_rows=len(identities))
    (folder / _MANIFEST).write_text(manifest.model_dump_json())


def identities_of(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """Return 128 bits that stand for the words of each text; uint64 [n, 2].

    Texts without words (punctuation only) have the identity of their bytes.
    """
    taken = [part[0] for part in _fingerprint_slices([texts], shingle_words=1)]
    return np.concatenate([np.empty((0, 2), np.uint64), *taken])


def open_bands(folder: Path) -> tuple[Column, Column]:
    """Return a partition's bands (BAND) by range of their key, and where each range starts."""
    return load_column(folder / "bands.npy", BAND), load_column(folder / "band_starts.npy", OFFSET)


def open_identities(folder: Path) -> tuple[Column, Column]:
    """Return a partition's identities (IDENTITY) by range, and where each range starts."""
    return (
        load_column(folder / "identities.npy", IDENTITY),
        load_column(folder / "identity_starts.npy", OFFSET),
    )


def open_shingles(folder: Path) -> tuple[Column, Column]:
    """Return a partition's shingles, and where those of each of its rows start."""
    return (
        load_column(folder / "shingles.npy", SHINGLE),
        load_column(folder / "shingle_offsets.npy", OFFSET),
    )


def text_slices(columns: Iterable[pa.Array]) -> Iterator[tuple[Column, Column]]:
    """Yield UTF-8 bytes and the offsets of texts in them, a few megabytes of text at a time."""
    from workbench.data.duplicates.compiled import read_only

    for column in columns:
        texts = as_texts(column.fill_null("") if column.null_count else column)
        _, offset_buffer, data_buffer = texts.buffers()
        if not len(texts):
            continue
        offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset :][: len(texts) + 1]
        data = np.frombuffer(data_buffer or b"", np.uint8)
        first = 0
        while first < len(texts):
            end = int(np.searchsorted(offsets, offsets[first] + _SLICE_BYTES, side="right")) - 1
            end = min(max(end, first + 1), len(texts))
            yield read_only(data), read_only(offsets[first : end + 1])
            first = end


def _fingerprint_slices(
    columns: Iterable[pa.Array], shingle_words: int
) -> Iterator[tuple[Column, Column, Column, Column]]:
    from workbench.data.duplicates.characters import character_table
    from workbench.data.duplicates.word_kernels import fingerprint_texts

    scratch: tuple[Any, ...] = ()
    for data, offsets in text_slices(columns):
        needed = int(offsets[-1] - offsets[0]) + len(offsets)
        if not scratch or len(scratch[0]) < needed:
            words, sorting, shingles = (np.empty(needed, np.uint64) for _ in range(3))
            scratch = (words, sorting, np.empty(_NUM_BINS + 1, np.int64), shingles)
        yield fingerprint_texts(data, offsets, character_table(), shingle_words, scratch)


def _write_shingles(
    folder: Path, columns: Iterable[pa.Array], likeness: Likeness
) -> tuple[Column, Column, Column]:
    """Write shingles; return identities [n, 2], band keys [k, num_bands] and the k rows of those.

    A text with fewer words than a shingle has no bands: it resembles only its equals, which
    identities find.
    """
    from workbench.data.duplicates.signature_kernels import find_band_keys, multipliers

    banding = likeness.banding
    factors = multipliers(banding.num_permutations)
    identities: list[Column] = [np.empty((0, 2), np.uint64)]
    keys: list[Column] = [np.empty((0, banding.num_bands), np.uint64)]
    rows: list[Column] = [np.empty(0, np.int64)]
    num_rows = num_shingles = 0
    with (
        ColumnWriter(folder / "shingles.npy", SHINGLE) as shingle_file,
        ColumnWriter(folder / "shingle_offsets.npy", OFFSET) as offset_file,
    ):
        offset_file.append(np.zeros(1, np.int64))
        for own, num_words, shingles, offsets in _fingerprint_slices(
            columns, likeness.shingle_words
        ):
            shingle_file.append(shingles)
            offset_file.append(offsets[1:] + num_shingles)
            long = np.flatnonzero(num_words >= likeness.shingle_words)
            keys.append(find_band_keys(shingles, offsets, long, factors, banding.num_bands))
            rows.append(long + num_rows)
            identities.append(own)
            num_rows += len(own)
            num_shingles += len(shingles)
    return np.concatenate(identities), np.concatenate(keys), np.concatenate(rows)


def _write_identities(folder: Path, identities: Column) -> None:
    from workbench.data.duplicates.range_kernels import lay_out_identities, range_starts

    starts = range_starts(np.ascontiguousarray(identities[:, 0]))
    save_column(folder / "identity_starts.npy", starts)
    column = create_column(folder / "identities.npy", IDENTITY, len(identities))
    lay_out_identities(identities, starts, column.view(np.uint64).reshape(-1, 3))


def _write_bands(folder: Path, keys: Column, rows: Column, tags: Column) -> None:
    from workbench.data.duplicates.range_kernels import lay_out_bands, range_starts

    starts = range_starts(keys.reshape(-1))
    save_column(folder / "band_starts.npy", starts)
    column = create_column(folder / "bands.npy", BAND, keys.size)
    lay_out_bands(keys, rows, tags, starts, column.view(np.uint64).reshape(-1, 2))
