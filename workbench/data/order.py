"""An order of records that depends on their ids and a seed, and on nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def hash_order(ids: pa.ChunkedArray | pa.Array, seed: int) -> npt.NDArray[np.int64]:
    """Return the rows sorted by the hash of seed and id; int64 [n].

    As random as a shuffle, but the same for any order of rows and any partitions; a record keeps
    its hash when others come or go.
    """
    import xxhash

    hashes = np.fromiter(
        (xxhash.xxh3_64_intdigest(f"{seed}\0{record}".encode()) for record in ids.to_pylist()),
        dtype=np.uint64, count=len(ids),
    )  # fmt: skip
    order: npt.NDArray[np.int64] = np.argsort(hashes, kind="stable")
    return order
