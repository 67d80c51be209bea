"""Sparse rows of numbers, and the two list columns in which they are kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class SparseRows(NamedTuple):
    """Row i holds ``values[offsets[i]:offsets[i + 1]]`` at those ``indices``, ascending.

    ``offsets`` and ``indices`` are int32, ``values`` float32.
    """

    offsets: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    def columns(self, name: str) -> dict[str, pa.Array]:
        """Return the columns ``NAME_indices`` and ``NAME_values``, lists of one length a row."""
        return {
            f"{name}_indices": pa.ListArray.from_arrays(self.offsets, pa.array(self.indices)),
            f"{name}_values": pa.ListArray.from_arrays(self.offsets, pa.array(self.values)),
        }


def count_by_row(
    rows: npt.NDArray[np.int64], indices: npt.NDArray[np.int64], num_rows: int, width: int
) -> SparseRows:
    """Count how often each row has each index (0 to ``width`` - 1); rows come in any order."""
    cells, counts = np.unique(rows * width + indices, return_counts=True)
    sizes = np.bincount(cells // width, minlength=num_rows)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return SparseRows(
        offsets.astype(np.int32), (cells % width).astype(np.int32), counts.astype(np.float32)
    )
