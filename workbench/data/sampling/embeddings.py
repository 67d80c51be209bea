"""Embeddings of some records: from a column, or computed in durable parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact
from workbench.core.context import RunContext
from workbench.core.errors import DataError
from workbench.data.embedder import open_embedder
from workbench.data.order import Rows
from workbench.data.records import partitions
from workbench.data.subsets import gather_rows

Vectors = npt.NDArray[np.float32]

_PART_ROWS = 2048
_TEXTS, _VECTORS = "texts.arrow", "vectors.npy"


def read_embeddings(dataset: Artifact, column: str, rows: Rows) -> Vectors:
    """Return what a column of number lists holds for these rows (ascending); float32 [k, width].

    Raises:
        DataError: there is no such column, or its lists are no vectors of one width.
    """
    schema = pq.read_schema(partitions(dataset)[0])
    if column not in schema.names or not _is_list(schema.field(column).type):
        known = [field.name for field in schema if _is_list(field.type)]
        raise DataError(f"There is no column of vectors called {column!r}", where=str(dataset),
                        next_step=f"Known: {', '.join(known) or 'none'}. The transform stage "
                        "adds embeddings.")  # fmt: skip
    values = gather_rows(dataset, rows, [column])[column].combine_chunks()
    widths = pc.unique(pc.list_value_length(values)).to_pylist()
    flat = pc.list_flatten(values)
    if len(widths) != 1 or widths[0] in (None, 0) or flat.null_count:
        raise DataError(f"The lists of {column!r} are no vectors of one width", where=str(dataset),
                        next_step="Name a column of vectors.")  # fmt: skip
    vectors: Vectors = flat.to_numpy(zero_copy_only=False).reshape(-1, widths[0])
    return vectors.astype(np.float32)


def _is_list(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    is_list = is_list or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type))


def embed_rows(dataset: Artifact, order: Rows, model: Path, run: RunContext) -> Vectors:
    """Embed the texts of these rows in this order, in durable parts; float32 [k, width].

    The order must not depend on partitions: texts that are embedded together touch each other's
    last digits.
    """

    def write(folder: Path) -> None:
        rows = np.sort(order)
        texts = gather_rows(dataset, rows, ["text"])
        table = texts.take(pa.array(np.searchsorted(rows, order))).combine_chunks()
        with pa.ipc.new_file(folder / _TEXTS, table.schema) as file:
            file.write_table(table)

    texts = run.checkpoint("candidate-texts", write)
    parts = {
        f"embedded-{start:09d}": {
            "texts": str(texts / _TEXTS), "start": start, "stop": start + _PART_ROWS,
            "model": str(model), "threads": run.threads_per_worker,
        }
        for start in range(0, len(order), _PART_ROWS)
    }  # fmt: skip
    folders = run.checkpoint_each(parts, write_embeddings, unit="parts", note="embedding")
    return np.concatenate([np.load(folder / _VECTORS) for folder in folders])


def write_embeddings(folder: Path, value: dict[str, Any]) -> None:
    """Embed one part of the texts."""
    with pa.memory_map(value["texts"]) as source:
        table = pa.ipc.open_file(source).read_all()
        texts = table["text"].slice(value["start"], value["stop"] - value["start"]).to_pylist()
    embedder = open_embedder(value["model"], value["threads"])
    np.save(folder / _VECTORS, embedder.embed(texts), allow_pickle=False)
