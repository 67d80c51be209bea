"""Columns: the offsets and bytes of Arrow strings, without a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.tokens import as_texts


class Column(NamedTuple):
    """Texts as kernels see them: text i is ``data[offsets[i] : offsets[i + 1]]``."""

    data: npt.NDArray[np.uint8]  # read-only
    offsets: npt.NDArray[np.int64]  # [n + 1]

    @property
    def num_rows(self) -> int:
        """The number of texts."""
        return len(self.offsets) - 1


def column_of(texts: pa.Array | pa.ChunkedArray) -> Column:
    """Return the buffers of texts; an absent text counts as empty."""
    texts = as_texts(texts)
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    if not len(texts):
        return Column(np.frombuffer(b"", np.uint8), np.zeros(1, np.int64))
    _, offsets, data = texts.buffers()
    starts = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return Column(np.frombuffer(data or b"", np.uint8), starts)
