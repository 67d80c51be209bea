"""Rows: records with their token ids and features as further columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.data.embedder import open_embedder
from workbench.data.ngrams import hash_grams
from workbench.data.subsets import take_rows
from workbench.data.tokens import as_texts
from workbench.data.transform.shards import INPUT_IDS, write_shard
from workbench.data.transform.sparse import count_by_row
from workbench.data.transform.tfidf import TfIdf
from workbench.models.text_encoder import TextEncoder

EMBEDDING = "embedding"
_VECTORS = "vectors.npy"


def write_rows(folder: Path, value: dict[str, Any]) -> None:
    """Write one shard: some records of some partitions, with what was asked for beside them."""
    table = _records(value["pieces"], value["columns"])
    texts = as_texts(table["text"])
    added: dict[str, pa.Array] = {}
    if value["tokenizer"]:
        added[INPUT_IDS] = _tokenise(texts, Path(value["tokenizer"]), value["max_tokens"])
    if value["num_buckets"]:
        grams = hash_grams(texts, value["longest_gram"])
        buckets = (grams.hashes % np.uint64(value["num_buckets"])).astype(np.int64)
        rows = np.repeat(np.arange(len(texts)), np.diff(grams.offsets))
        counted = count_by_row(rows, buckets, len(texts), value["num_buckets"])
        added |= counted.columns("ngram")
    if value["tfidf"]:
        added |= TfIdf.open(Path(value["tfidf"])).apply(texts).columns("tfidf")
    if value["vectors"]:
        added[EMBEDDING] = _vectors(value["vectors"])
    kept = [n for n in value["columns"] or table.column_names if n not in added]
    result = table.select(kept)
    for name, column in added.items():
        result = result.append_column(name, column)
    write_shard(folder / value["file"], result)


def _records(pieces: list[tuple[str, int, int]], columns: list[str]) -> pa.Table:
    """Return the records of some pieces, with their texts."""
    wanted = [*dict.fromkeys([*columns, "text"])] if columns else None
    return pa.concat_tables(
        take_rows(Path(path), np.arange(start, stop), wanted) for path, start, stop in pieces
    )


def _tokenise(texts: pa.Array, model: Path, max_tokens: int) -> pa.Array:
    rows = TextEncoder(model, max_tokens).encode(texts.to_pylist())
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    ids = np.concatenate([np.empty(0, np.int32), *rows])
    return pa.ListArray.from_arrays(offsets, pa.array(ids))


def _vectors(parts: list[tuple[str, int, int]]) -> pa.Array:
    vectors: npt.NDArray[np.float32] = np.concatenate([
        np.load(Path(path) / _VECTORS, mmap_mode="r", allow_pickle=False)[start:stop]
        for path, start, stop in parts
    ])  # fmt: skip
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def write_vectors(folder: Path, value: dict[str, Any]) -> None:
    """Embed the texts of some records.

    Texts that are embedded together touch each other's last digits: so parts are cut by the place
    of records in the whole data set, whatever its partitions.
    """
    texts = _records(value["pieces"], ["text"])["text"].to_pylist()
    embedder = open_embedder(value["model"], value["threads"])
    np.save(folder / _VECTORS, embedder.embed(texts), allow_pickle=False)
