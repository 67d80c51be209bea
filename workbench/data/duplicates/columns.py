"""Columns of fixed width on disk: written as they come, mapped into memory when read."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from workbench.core.errors import DataError

Column = npt.NDArray[Any]


class ColumnWriter:
    """A ``.npy`` file that grows by arrays of one type; a context manager."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._num_rows = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, values: Column) -> None:
        """Add values of the column's type; [n]."""
        values.astype(self._dtype, copy=False).tofile(self._file)
        self._num_rows += len(values)

    def _write_header(self) -> None:
        # numpy leaves room for the first dimension to grow, so the header can be written again.
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False,
                  "shape": (self._num_rows,)}  # fmt: skip
        npy.write_array_header_1_0(self._file, header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._file.seek(0)
        self._write_header()
        self._file.close()


def save_column(path: Path, values: Column) -> None:
    """Write a whole column."""
    np.save(path, values, allow_pickle=False)


def create_column(path: Path, dtype: npt.DTypeLike, num_rows: int) -> Column:
    """Open a new column that is filled in place, in the file's pages rather than in memory.

    Raises:
        OSError: the disk has no room for all of it.
    """
    column: Column = npy.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=(num_rows,))
    # Taken now: a mapped page that finds no room when it is written ends the process (SIGBUS).
    with path.open("rb+") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return column


def load_column(path: Path, dtype: npt.DTypeLike) -> Column:
    """Map a column into memory, read-only; [n].

    Raises:
        DataError: the file is absent or holds something else.
    """
    try:
        column: Column = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError("A column of fixed width cannot be read", where=str(path),
                        next_step="Make this part again.") from error  # fmt: skip
    if column.dtype != np.dtype(dtype) or column.ndim != 1:
        raise DataError(f"A column holds {column.dtype}, not {np.dtype(dtype)}", where=str(path),
                        next_step="Make this part again.")  # fmt: skip
    return column.view(np.ndarray)


def release(column: Column) -> None:
    """Give the memory of a mapped column's pages back; what is read again comes from the file.

    Without this, a search that looks everywhere holds all that it has ever looked at.
    """
    owner: Any = column
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None)
    if owner is not None:
        owner.madvise(mmap.MADV_DONTNEED)
