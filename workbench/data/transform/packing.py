"""Packing: the tokens of all records end to end, cut into sequences of one length; none is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.data.transform.shards import (
    FIRST_TOKEN,
    INPUT_IDS,
    NUM_TOKENS,
    Tokens,
    write_shard,
)
from workbench.models.text_encoder import TextEncoder

SHARD_FILE = "shard.arrow"

_NO_LIMIT = 2**31 - 1
_TEXTS_AT_ONCE = 8192
_TOKENS_FILE, _LENGTHS_FILE = "tokens.npy", "lengths.npy"


class Piece(NamedTuple):
    """Some items of one of many files that stand for one long row of items."""

    file: int
    start: int
    stop: int


def cut_evenly(sizes: Sequence[int], most: int) -> list[list[Piece]]:
    """Cut files of these sizes, taken end to end, into parts of ``most`` items; at least one."""
    ends = np.cumsum([0, *sizes])
    total = int(ends[-1])
    return [
        pieces_between(ends, start, min(start + most, total))
        for start in range(0, max(total, 1), most)
    ]


def pieces_between(ends: npt.NDArray[np.int64], start: int, stop: int) -> list[Piece]:
    """Return from which files the items from ``start`` to ``stop`` come; ``ends`` begins with 0."""
    first = int(np.searchsorted(ends, start, side="right")) - 1
    last = int(np.searchsorted(ends, stop, side="left"))
    pieces = []
    for file in range(first, last):
        begin, end = int(ends[file]), int(ends[file + 1])
        if max(start, begin) < min(stop, end):
            pieces.append(Piece(file, max(start - begin, 0), min(stop, end) - begin))
    return pieces


def write_tokens(folder: Path, value: dict[str, Any]) -> None:
    """Tokenise one partition: all its token ids end to end, and how many each record has."""
    encoder = TextEncoder(Path(value["model"]), _NO_LIMIT)
    after = np.array(value["separator"], np.int32)
    found: list[Tokens] = [np.empty(0, np.int32)]
    lengths: list[int] = []
    with pq.ParquetFile(value["path"]) as file:
        for batch in file.iter_batches(_TEXTS_AT_ONCE, columns=["text"]):
            for row in encoder.encode(batch["text"].to_pylist()):
                found += [row, after]
                lengths.append(len(row) + len(after))
    np.save(folder / _TOKENS_FILE, np.concatenate(found), allow_pickle=False)
    np.save(folder / _LENGTHS_FILE, np.array(lengths, np.int64), allow_pickle=False)


def lengths_of(folder: Path) -> npt.NDArray[np.int64]:
    """Return how many tokens each record of a tokenised partition has; int64 [n]."""
    lengths: npt.NDArray[np.int64] = np.load(folder / _LENGTHS_FILE, allow_pickle=False)
    return lengths


def write_sequences(folder: Path, value: dict[str, Any]) -> None:
    """Write one shard of sequences from the tokens of some partitions; the last one is padded."""
    width: int = value["sequence_tokens"]
    tokens = np.concatenate([
        np.empty(0, np.int32),
        *(np.load(Path(path) / _TOKENS_FILE, mmap_mode="r", allow_pickle=False)[start:stop]
          for path, start, stop in value["pieces"]),
    ])  # fmt: skip
    num_rows = -(-len(tokens) // width)
    padded = np.full(num_rows * width, value["pad_id"], np.int32)
    padded[: len(tokens)] = tokens
    held = np.clip(len(tokens) - np.arange(num_rows) * width, 0, width).astype(np.int32)
    columns = {
        INPUT_IDS: pa.FixedSizeListArray.from_arrays(pa.array(padded), width),
        NUM_TOKENS: pa.array(held),
    }
    write_shard(folder / SHARD_FILE, pa.table(columns))


def write_index(folder: Path, value: dict[str, Any]) -> None:
    """Write where the tokens of some records stand: id, first token, number of tokens."""
    tables = []
    for path, tokens, start, stop, first in value["pieces"]:
        lengths = lengths_of(Path(tokens))
        firsts = first + np.concatenate([[0], np.cumsum(lengths)])[start:stop]
        with pq.ParquetFile(path) as file:
            ids = file.read(["id"], use_threads=False)["id"].slice(start, stop - start)
        columns = {
            "id": ids,
            FIRST_TOKEN: pa.array(firsts),
            NUM_TOKENS: pa.array(lengths[start:stop].astype(np.int32)),
        }
        tables.append(pa.table(columns))
    write_shard(folder / SHARD_FILE, pa.concat_tables(tables))
