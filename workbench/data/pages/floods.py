"""Tags with thousands of attributes: cut out of a page before parsers, which are quadratic in them.

This module is loaded when a large page comes, so numba at its top costs nobody else.
"""

from __future__ import annotations

import numba as nb  # noqa: TID253 (compiled functions are made where they stand)
import numpy as np
import numpy.typing as npt

MOST_ATTRIBUTES = 1_000  # of one tag; a parser takes 2 ms for so many, and four times that for 2,000

_TEXT, _TAG, _DOUBLE, _SINGLE, _RAW = range(5)
_LT, _GT, _SLASH, _EQUALS, _QUOTE, _APOSTROPHE = 60, 62, 47, 61, 34, 39


def without_floods(page: bytes) -> bytes:
    """Return a page without its tags of more than a thousand attributes; linear in time."""
    spans = _flooded(np.frombuffer(page, dtype=np.uint8), MOST_ATTRIBUTES)
    if not len(spans):
        return page
    edges = [0, *spans.ravel().tolist(), len(page)]
    return b" ".join(page[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))


@nb.njit(cache=True)  # type: ignore[untyped-decorator]
def _flooded(page: npt.NDArray[np.uint8], most: int) -> npt.NDArray[np.int64]:
    """Return where tags with more than ``most`` attributes begin and end; int64 [k, 2]."""
    found = []
    state = _TEXT
    start = num_attributes = 0
    is_raw = is_between = False
    after_equals = False
    for place in range(len(page)):
        byte = page[place]
        if state == _TEXT:
            if byte == _LT and place + 1 < len(page) and (page[place + 1] | 32) - 97 < 26:
                if (page[place + 1] | 32) >= 97:
                    state, start, num_attributes = _TAG, place, 0
                    is_between = after_equals = False
                    is_raw = _is_raw(page, place + 1)
        elif state == _TAG:
            if byte == _GT:
                if num_attributes > most:
                    found.append((start, place + 1))
                state = _RAW if is_raw else _TEXT
            elif byte <= 32 or byte == _SLASH:
                is_between = True
            elif byte == _EQUALS:
                after_equals, is_between = True, False
            elif after_equals and byte == _QUOTE:
                state, after_equals = _DOUBLE, False
            elif after_equals and byte == _APOSTROPHE:
                state, after_equals = _SINGLE, False
            else:
                if is_between and not after_equals:
                    num_attributes += 1
                is_between = after_equals = False
        elif state == _DOUBLE:
            if byte == _QUOTE:
                state, is_between = _TAG, True
        elif state == _SINGLE:
            if byte == _APOSTROPHE:
                state, is_between = _TAG, True
        elif byte == _LT and place + 2 < len(page):  # raw text ends at </s, as in </script
            if page[place + 1] == _SLASH and (page[place + 2] | 32) == 115:
                state = _TEXT
    if state != _TEXT and state != _RAW and num_attributes > most:
        found.append((start, len(page)))
    spans = np.zeros((len(found), 2), dtype=np.int64)
    for row, span in enumerate(found):
        spans[row, 0], spans[row, 1] = span
    return spans


@nb.njit(cache=True)  # type: ignore[untyped-decorator]
def _is_raw(page: npt.NDArray[np.uint8], place: int) -> bool:
    """Return whether a tag's name begins as script or style do."""
    if place + 2 >= len(page) or (page[place] | 32) != 115:
        return False
    second, third = page[place + 1] | 32, page[place + 2] | 32
    return (second == 99 and third == 114) or (second == 116 and third == 121)
