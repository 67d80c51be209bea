"""Lines and paragraphs that many records share, as spans of bytes that a cleaner can cut.

Menus, footers and notices repeat across pages that are no duplicates of each other. A passage is
known by the 128-bit identity of its words; only identities and positions meet.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from workbench.core.errors import DataError
from workbench.data.duplicates.columns import Column, create_column, load_column, save_column
from workbench.data.duplicates.fingerprints import ALGORITHM_VERSION, text_slices
from workbench.data.duplicates.parts import cut_evenly

PASSAGE = np.dtype([
    ("low", "<u8"), ("high", "<u8"),  # the identity of its words
    ("row", "<u8"), ("start", "<u8"), ("end", "<u8"),  # bytes of the record's text
])  # fmt: skip
SPAN = np.dtype([
    ("row", "<u8"), ("start", "<u8"), ("end", "<u8"),
    ("hash", "<u8"), ("first_row", "<u8"),  # the first record with this passage
])  # fmt: skip

_MANIFEST = "passages.json"
_BATCH_ROWS = 4096
_PASSAGES_AT_ONCE = 1 << 18


class PassageSetting(BaseModel):
    """Which passages count, and which of them are repeated too often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Literal["line", "paragraph"] = "line"
    fewest_characters: int = Field(20, ge=1)  # shorter passages are never cut
    fewest_records: int = Field(2, ge=2)  # a passage in fewer records stays
    keep: Literal["first", "none"] = "first"


class PassagePart(BaseModel):
    """A partition to look for passages in: a column of texts in a Parquet file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    column: str = "text"
    setting: PassageSetting = PassageSetting()


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: int
    setting: PassageSetting
    num_rows: int


class Passages(BaseModel):
    """The passages of all partitions, in order; rows are counted through them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: tuple[Path, ...]
    starts: tuple[int, ...]
    setting: PassageSetting

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Passages:
        """Put the passages of partitions one after the other.

        Raises:
            DataError: they were taken in different ways.
        """
        paths = tuple(folders)
        manifests = [_Manifest.model_validate_json((p / _MANIFEST).read_bytes()) for p in paths]
        kinds = {(manifest.algorithm, manifest.setting) for manifest in manifests}
        if len(kinds) != 1 or kinds.pop()[0] != ALGORITHM_VERSION:
            raise DataError("Passages of different kinds cannot be compared",
                            where=str(paths[0].parent) if paths else "no partition",
                            next_step="Find the passages of all partitions again.")  # fmt: skip
        starts = np.concatenate([[0], np.cumsum([m.num_rows for m in manifests])]).tolist()
        return cls(folders=paths, starts=tuple(starts), setting=manifests[0].setting)


class RepeatPart(BaseModel):
    """A run of ranges of identities, in the passages of all partitions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passages: Passages
    first_range: int
    end_range: int


def write_passages(folder: Path, part: PassagePart) -> None:
    """Find the passages of one partition."""
    with pq.ParquetFile(part.path, buffer_size=1 << 20) as file:
        batches = file.iter_batches(_BATCH_ROWS, columns=[part.column])
        find_passages(folder, (batch.column(0) for batch in batches), part.setting)


def find_passages(folder: Path, columns: Iterable[pa.Array], setting: PassageSetting) -> None:
    """Find the passages of texts that come in arrays, as one partition."""
    from workbench.data.duplicates import passage_kernels
    from workbench.data.duplicates.characters import character_table
    from workbench.data.duplicates.range_kernels import range_starts

    found = [np.empty(0, PASSAGE)]
    num_rows = 0
    for data, offsets in text_slices(columns):
        identities, places = passage_kernels.find_passages(
            data, offsets, character_table(), setting.unit == "paragraph",
            setting.fewest_characters,
        )  # fmt: skip
        own = np.empty(len(places), PASSAGE)
        own["low"], own["high"] = identities.T
        own["row"], own["start"], own["end"] = places.T
        own["row"] += np.uint64(num_rows)
        found.append(own)
        num_rows += len(offsets) - 1
    passages = np.concatenate(found)
    order = np.argsort(passages["low"], kind="stable")
    save_column(folder / "passage_starts.npy", range_starts(passages["low"].copy()))
    create_column(folder / "passages.npy", PASSAGE, len(passages))[:] = passages[order]
    manifest = _Manifest(algorithm=ALGORITHM_VERSION, setting=setting, num_rows=num_rows)
    (folder / _MANIFEST).write_text(manifest.model_dump_json())


def plan_repeats(
    passages: Passages, passages_at_once: int = _PASSAGES_AT_ONCE
) -> dict[str, RepeatPart]:
    """Cut the search into parts that need the same memory, however many passages there are."""
    counts = sum(np.diff(_open(folder)[1]) for folder in passages.folders)
    return {
        f"repeats-{number:05d}": RepeatPart(passages=passages, first_range=first, end_range=end)
        for number, (first, end) in enumerate(cut_evenly(np.asarray(counts), passages_at_once))
    }


def write_repeats(folder: Path, part: RepeatPart) -> None:
    """Write the spans (SPAN) of passages that enough records share, by row and start."""
    setting = part.passages.setting
    rows = _gather(part)
    rows = rows[np.lexsort((rows["start"], rows["row"], rows["high"], rows["low"]))]
    is_same = (rows["low"][1:] == rows["low"][:-1]) & (rows["high"][1:] == rows["high"][:-1])
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = ~is_same
    passage = np.cumsum(is_first) - 1
    is_new_record = is_first.copy()
    is_new_record[1:] |= rows["row"][1:] != rows["row"][:-1]
    num_records = np.bincount(passage, weights=is_new_record).astype(np.int64)
    is_cut = num_records[passage] >= setting.fewest_records
    if setting.keep == "first":
        is_cut &= ~is_first
    spans = np.empty(int(is_cut.sum()), SPAN)
    for name, source in (("row", "row"), ("start", "start"), ("end", "end"), ("hash", "low")):
        spans[name] = rows[source][is_cut]
    spans["first_row"] = rows["row"][np.flatnonzero(is_first)[passage[is_cut]]]
    save_column(folder / "spans.npy", spans[np.lexsort((spans["start"], spans["row"]))])


def read_spans(folders: Iterable[Path], first_row: int, end_row: int) -> Column:
    """Return the spans (SPAN) of some rows, by row and start, out of all folders of repeats."""
    found = [np.empty(0, SPAN)]
    for folder in folders:
        spans = load_column(folder / "spans.npy", SPAN)
        bounds = np.array([first_row, end_row], dtype=np.uint64)
        found.append(spans[slice(*np.searchsorted(spans["row"], bounds))])
    spans = np.concatenate(found)
    ordered: Column = spans[np.lexsort((spans["start"], spans["row"]))]
    return ordered


def cut_passages(texts: pa.Array, spans: Column, unit: Literal["line", "paragraph"]) -> pa.Array:
    """Return texts (large_string) without the passages at ``spans`` (SPAN).

    Rows of spans are counted from the first text. A passage goes with its line break.
    """
    from workbench.data.duplicates.compiled import read_only
    from workbench.data.duplicates.passage_kernels import cut_spans

    rows, places = np.unique(spans["row"].astype(np.int64), return_inverse=True)
    held = texts.take(pa.array(rows))
    cut = []
    row = 0
    for data, offsets in text_slices([held]):
        own = slice(*np.searchsorted(places, [row, row + len(offsets) - 1]))
        left, starts = cut_spans(
            data, offsets, read_only(places[own] - row),
            read_only(spans["start"][own].astype(np.int64)),
            read_only(spans["end"][own].astype(np.int64)), unit == "paragraph",
        )  # fmt: skip
        buffers = [None, pa.py_buffer(starts), pa.py_buffer(left)]
        cut.append(pa.Array.from_buffers(pa.large_string(), len(starts) - 1, buffers))
        row += len(offsets) - 1
    if not cut:
        return texts
    mask = np.zeros(len(texts), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.concat_arrays(cut))


def _open(folder: Path) -> tuple[Column, Column]:
    return (
        load_column(folder / "passages.npy", PASSAGE),
        load_column(folder / "passage_starts.npy", np.dtype("<i8")),
    )


def _gather(part: RepeatPart) -> Column:
    slices = [np.empty(0, PASSAGE)]
    for folder, start in zip(part.passages.folders, part.passages.starts, strict=False):
        passages, starts = _open(folder)
        own = np.array(passages[starts[part.first_range] : starts[part.end_range]])
        own["row"] += np.uint64(start)
        slices.append(own)
    return np.concatenate(slices)
