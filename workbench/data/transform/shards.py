"""Shards: rows for training, as uncompressed Arrow files that map into memory, or as Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.data.records import write_partition

MANIFEST = "shards.json"
INPUT_IDS = "input_ids"
NUM_TOKENS = "num_tokens"
FIRST_TOKEN = "first_token"  # noqa: S105 (a column, no secret)

Tokens = npt.NDArray[np.int32]


def write_shard(path: Path, table: pa.Table) -> None:
    """Write one shard; the same rows give the same bytes, however the table holds them."""
    if path.suffix == ".parquet":
        write_partition(path, table)
        return
    # Taking every row makes buffers anew: none keeps what an earlier table left beyond its end.
    fresh = table.combine_chunks().take(pa.array(np.arange(table.num_rows)))
    with pa.ipc.new_file(path, fresh.schema.remove_metadata()) as file:
        file.write_table(fresh.combine_chunks().replace_schema_metadata(None))


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write what the shards hold; ``open_shards`` reads it."""
    text = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Shards:
    """The shards of a transform run, mapped into memory: nothing is read before it is looked at.

    ``facts`` is the manifest: ``layout`` (rows or packed), ``columns``, ``shards`` with the rows
    of each file, and for tokens the ``tokenizer`` with its hash and ``pad_id``.
    """

    folder: Path
    facts: dict[str, Any]

    def __len__(self) -> int:
        return sum(shard["rows"] for shard in self.facts["shards"])

    @cached_property
    def tables(self) -> list[pa.Table]:
        """The rows of each shard: records, or packed sequences."""
        return [_map(self.folder / shard["file"]) for shard in self.facts["shards"]]

    @cached_property
    def records(self) -> pa.Table:
        """The records: of packed sequences ``id``, ``first_token`` and ``num_tokens`` of each."""
        if self.facts["layout"] == "rows":
            return pa.concat_tables(self.tables)
        return pa.concat_tables(
            _map(self.folder / index["file"]) for index in self.facts["records"]
        )

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column over all shards, without a copy."""
        return pa.chunked_array([chunk for t in self.tables for chunk in t[name].chunks])

    def matrices(self) -> list[Tokens]:
        """Return the packed sequences of each shard; int32 [rows, sequence_tokens], no copy."""
        width = self.facts["sequence_tokens"]
        return [
            table[INPUT_IDS].chunk(0).flatten().to_numpy().reshape(-1, width)
            for table in self.tables
            if table.num_rows
        ]

    def tokens_of(self, record: int) -> Tokens:
        """Return the token ids of one record, by its place among all records."""
        if self.facts["layout"] == "rows":
            shard, row = self._find(record)
            return self.tables[shard][INPUT_IDS][row].values.to_numpy()  # type: ignore[no-any-return]
        first = self.records[FIRST_TOKEN][record].as_py()
        return self._stream(first, first + self.records[NUM_TOKENS][record].as_py())

    def segments(self, sequence: int) -> npt.NDArray[np.int64]:
        """Return which record each token of a packed sequence is of; int64 [sequence_tokens].

        -1 stands for padding. A model that shall not look from one record into another needs it.
        """
        width = self.facts["sequence_tokens"]
        places = np.arange(sequence * width, (sequence + 1) * width)
        found = np.searchsorted(self._firsts, places, side="right") - 1
        return np.where(places < self.facts["num_tokens"], found, -1)

    @cached_property
    def _firsts(self) -> npt.NDArray[np.int64]:
        firsts: npt.NDArray[np.int64] = self.records[FIRST_TOKEN].to_numpy()
        return firsts

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum([0, *(shard["rows"] for shard in self.facts["shards"])])

    def _find(self, row: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        return shard, row - int(self._starts[shard])

    def _stream(self, first: int, last: int) -> Tokens:
        """Return tokens by their places in the stream of all records."""
        width = self.facts["sequence_tokens"]
        pieces = [np.empty(0, np.int32)]
        for sequence in range(first // width, -(-last // width)):
            shard, row = self._find(sequence)
            tokens = self.tables[shard][INPUT_IDS][row].values.to_numpy()
            start = sequence * width
            pieces.append(tokens[max(first - start, 0) : last - start])
        return np.concatenate(pieces)


def open_shards(made: Artifact | Path) -> Shards:
    """Open what a transform run made: an artifact, or its folder on a training machine.

    Raises:
        DataError: there is no manifest, or it is none.
    """
    folder = made.path if isinstance(made, Artifact) else made
    try:
        facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = [shard["file"] for shard in [*facts["shards"], *facts["records"]]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("These are no shards", where=str(folder),
                        next_step="Name what the transform stage made.") from error  # fmt: skip
    _refuse_outside(folder, names)
    return Shards(folder, facts)


def _refuse_outside(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise DataError(f"The shards name {name!a}, which is no file of theirs",
                            where=str(folder), next_step="Transform again.")  # fmt: skip


def _map(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path, memory_map=True)
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
