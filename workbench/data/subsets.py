"""Writing subsets of a data set: each partition is read once, and what is made of it is durable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact, Draft
from workbench.core.context import RunContext
from workbench.data.profile import Profile, merge, profile
from workbench.data.records import (
    REPETITIVE,
    partition_ends,
    partitions,
    text_bytes,
    write_partition,
)

LEFT_OUT = -1

Rows = npt.NDArray[np.int64]

_CODES = "codes.npy"
_CUT, _BATCHES, _SIZES = "cut.arrow", "batches.json", "sizes.npy"
_PART, _PROFILE = "part.parquet", "profile.json"
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


def save_codes(folder: Path, codes: Rows) -> None:
    """Keep in which subset each record of a data set goes; ``LEFT_OUT`` for none."""
    np.save(folder / _CODES, codes.astype(np.int32), allow_pickle=False)


def load_codes(folder: Path) -> npt.NDArray[np.int32]:
    """Map what ``save_codes`` kept; int32 [n]."""
    codes: npt.NDArray[np.int32] = np.load(folder / _CODES, mmap_mode="r", allow_pickle=False)
    return codes


def write_subsets(
    dataset: Artifact, decided: Path, drafts: Sequence[Draft], run: RunContext
) -> list[Profile]:
    """Write the records of code i (see ``save_codes`` in the folder ``decided``) into draft i.

    Records keep the order of the data set. Each partition of it is read once and cut; then each
    partition of a subset is put together from the cuts. No more than one partition is in memory,
    and a pause or a kill costs no more than one. The result is the bytes that ``write_records``
    would have made, whatever the partitions of the data set.

    Returns:
        The profile of each draft.
    """
    codes = load_codes(decided)
    starts = row_starts(dataset)
    files = partitions(dataset)
    values = {
        f"cut-{number:05d}": {
            "path": str(path), "decided": str(decided),
            "start": int(starts[number]), "stop": int(starts[number + 1]),
        }
        for number, path in enumerate(files)
    }  # fmt: skip
    cuts = run.checkpoint_each(values, cut_partition, note="cutting")
    counts = np.stack(
        [
            np.bincount(codes[a:b][codes[a:b] >= 0], minlength=len(drafts))
            for a, b in pairwise(starts.tolist())
        ]
    )
    places: list[tuple[int, str]] = []
    parts: dict[str, Any] = {}
    for code, sizes in enumerate(_text_sizes(cuts, counts)):
        for number, pieces in enumerate(_pieces(counts[:, code], sizes)):
            named = [[str(cuts[file]), start, stop] for file, start, stop in pieces]
            parts[f"subset-{code:05d}-{number:05d}"] = {"code": code, "pieces": named}
            places.append((code, f"part-{number:05d}.parquet"))
    folders = run.checkpoint_each(parts, join_pieces, note="writing")
    found: list[list[Profile]] = [[] for _ in drafts]
    for folder, (code, name) in zip(folders, places, strict=True):
        place_file(folder / _PART, drafts[code].path / name)
        found[code].append(Profile.model_validate_json((folder / _PROFILE).read_bytes()))
    profiles = [merge(parts) for parts in found]
    for draft, one in zip(drafts, profiles, strict=True):
        draft.describe(rows=one.rows)
    return profiles


def row_starts(dataset: Artifact) -> Rows:
    """Return the first row of each partition among all rows, and their number; int64 [k + 1]."""
    sizes = [pq.read_metadata(path).num_rows for path in partitions(dataset)]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def gather_rows(dataset: Artifact, rows: Rows, columns: list[str] | None = None) -> pa.Table:
    """Return these rows (ascending) of a data set; row groups that hold none are not read."""
    starts = row_starts(dataset)
    bounds = np.searchsorted(rows, starts)
    tables = [
        take_rows(path, rows[bounds[number] : bounds[number + 1]] - starts[number], columns)
        for number, path in enumerate(partitions(dataset))
        if bounds[number] < bounds[number + 1] or number == 0
    ]
    return pa.concat_tables(tables)


def take_rows(path: Path, rows: Rows, columns: list[str] | None = None) -> pa.Table:
    """Return these rows (ascending) of a partition; row groups that hold none are not read."""
    # Most rows are not taken, and need no strings: places in a dictionary will do.
    with pq.ParquetFile(path, read_dictionary=REPETITIVE) as file:
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        bounds = np.searchsorted(rows, starts)
        schema = pq.read_schema(path)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns], schema.metadata)
        tables = [schema.empty_table()]
        for group in np.flatnonzero(np.diff(bounds)).tolist():
            wanted = rows[bounds[group] : bounds[group + 1]] - starts[group]
            table = file.read_row_group(group, columns, use_threads=False)
            is_whole = len(wanted) == table.num_rows
            taken = table if is_whole else table.take(pa.array(wanted))
            tables.append(taken.cast(schema))
    return pa.concat_tables(tables)


def cut_partition(folder: Path, value: dict[str, Any]) -> None:
    """Write a partition's rows subset after subset, each as batches of its own."""
    codes = load_codes(Path(value["decided"]))[value["start"] : value["stop"]]
    rows = np.flatnonzero(codes >= 0)
    table = take_rows(Path(value["path"]), rows)
    order = np.argsort(codes[rows], kind="stable")
    ordered = codes[rows][order]
    np.save(folder / _SIZES, text_bytes(table)[order], allow_pickle=False)
    present = np.unique(ordered)
    bounds = zip(*(np.searchsorted(ordered, present, side) for side in _SIDES), strict=True)
    batches: list[int] = []
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(folder / _CUT, table.schema, options=options) as file:
        for code, (start, stop) in zip(present.tolist(), bounds, strict=True):
            taken = table.take(pa.array(order[start:stop])).combine_chunks().to_batches()
            for batch in taken:
                file.write_batch(batch)
            batches += [code] * len(taken)
    (folder / _BATCHES).write_text(json.dumps(batches))


def join_pieces(folder: Path, value: dict[str, Any]) -> None:
    """Put one partition of a subset together from what was cut."""
    tables = [
        _read_cut(Path(cut), value["code"]).slice(start, stop - start)
        for cut, start, stop in value["pieces"]
    ]
    joined = pa.concat_tables(tables)
    write_partition(folder / _PART, joined)
    (folder / _PROFILE).write_text(profile(joined).model_dump_json())


def _read_cut(folder: Path, code: int) -> pa.Table:
    batches = json.loads((folder / _BATCHES).read_text())
    with pa.memory_map(str(folder / _CUT)) as source:
        file = pa.ipc.open_file(source)
        found = [file.get_batch(n) for n, batch in enumerate(batches) if batch == code]
        return pa.Table.from_batches(found, file.schema)


def _text_sizes(cuts: Sequence[Path], counts: Rows) -> Iterator[Rows]:
    """Yield, subset after subset, the bytes of text of each of its records; int64 [n]."""
    sizes = [np.load(cut / _SIZES, mmap_mode="r", allow_pickle=False) for cut in cuts]
    stops = np.cumsum(counts, axis=1)
    for code in range(counts.shape[1]):
        some = np.flatnonzero(counts[:, code])
        stop, count = stops[some, code], counts[some, code]
        own = [sizes[n][b - k : b] for n, b, k in zip(some, stop, count, strict=True)]
        yield np.concatenate([np.empty(0, np.int64), *own])


def _pieces(counts: Rows, sizes: Rows) -> list[list[tuple[int, int, int]]]:
    """Say of what each partition of a subset consists: (input, from row, to row) of its cuts.

    ``counts`` is how many rows of the subset each input partition holds, ``sizes`` their bytes of
    text. A subset without records is a piece without rows, which has the schema.
    """
    ends = np.cumsum(counts)
    pieces, first = [], 0
    for last in partition_ends(sizes):
        is_part = (ends > first) & (ends - counts < last) & (counts > 0)
        pieces.append(
            [
                (
                    number,
                    max(first - int(ends[number] - counts[number]), 0),
                    min(last - int(ends[number] - counts[number]), int(counts[number])),
                )
                for number in np.flatnonzero(is_part).tolist()
            ]
            or [(0, 0, 0)]
        )
        first = last
    return pieces


def place_file(source: Path, target: Path) -> None:
    """Let the file stand in the draft as well, without writing its bytes twice if possible."""
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
