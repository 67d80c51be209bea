"""Where the rows of a table in a text file end, without reading their cells.

The states are those of Python's ``csv.reader(strict=True)`` (Modules/_csv.c): a quote opens a cell
only where the cell begins, and a doubled one stands for itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.data.kernels.compiled import entry

NO_QUOTE = 256  # no byte
NOT_FOUND, ODD = -1, -2  # in place of where a row ends
NUM_ROWS = 1  # its place in what is known between two calls

_BEGINS, _PLAIN, _QUOTED, _CLOSED, _RETURN = range(5)  # states of a cell
_NEW_LINE, _CARRIAGE_RETURN = 10, 13


@entry
def find_row_end(
    content: npt.NDArray[np.uint8], start: int, delimiter: int, quote: int, most_bytes: int,
    known: npt.NDArray[np.int64],
) -> int:  # fmt: skip
    """Return where the first row that ends at or after ``start`` ends, ``NOT_FOUND`` if none does.

    ``known`` (int64 [4]) begins as zeros and is carried on: the state, the rows before the end
    (those without a byte are none), and the bytes of the row that is open. A table that is not
    well-formed, or has a row of more than ``most_bytes``, is ``ODD``.
    """
    state, num_rows, row_bytes, total = known[0], known[1], known[2], known[3]
    for place in range(len(content)):
        sign = content[place]
        total += 1
        if total > most_bytes:
            return ODD
        if state == _QUOTED:
            row_bytes += 1
            if sign == quote:
                state = _CLOSED
            continue
        if sign == _NEW_LINE:
            num_rows += row_bytes > 0
            state, row_bytes, total = _BEGINS, 0, 0
            if place + 1 >= start:
                known[0], known[1], known[2], known[3] = state, num_rows, row_bytes, total
                return place + 1
            continue
        if state == _RETURN:  # ends a row, and nothing but a line end may follow
            return ODD
        if sign == _CARRIAGE_RETURN:
            state = _RETURN
            continue
        row_bytes += 1
        if sign == delimiter:
            state = _BEGINS
        elif (sign == quote and state == _BEGINS) or (sign == quote and state == _CLOSED):
            state = _QUOTED
        elif state == _CLOSED:
            return ODD
        else:
            state = _PLAIN
    known[0], known[1], known[2], known[3] = state, num_rows, row_bytes, total
    return NOT_FOUND


def begin() -> npt.NDArray[np.int64]:
    """Return what is known before the first byte."""
    return np.zeros(4, np.int64)


def is_quote_open(known: npt.NDArray[np.int64]) -> bool:
    """Whether a cell was begun that only a quote can end."""
    return bool(known[0] == _QUOTED)
