"""Tags with thousands of attributes: cut out of a page before parsers, which are quadratic in them.

This module is loaded when a large page comes, so numba at its top costs nobody else.
"""

from __future__ import annotations

import numba as nb  # noqa: TID253 (compiled functions are made where they stand)
import numpy as np
import numpy.typing as npt

MOST_ATTRIBUTES = (
    1_000  # of one tag; a parser takes 2 ms for so many, and four times that for 2,000
)

_LT, _GT, _SLASH, _EQUALS, _QUOTE, _APOSTROPHE = 60, 62, 47, 61, 34, 39


def without_floods(page: bytes | memoryview) -> bytes | memoryview:
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
    size = len(page)
    place = 0
    while place < size - 1:
        if page[place] != _LT or not _is_letter(page[place + 1]):
            place += 1
            continue
        end, num_attributes = _end_of_tag(page, place + 1)
        if num_attributes > most:
            found.append((place, end))
        if _is_raw(page, place + 1):  # up to </s, as in </script
            end = _end_of_raw_text(page, end)
        place = end
    spans = np.zeros((len(found), 2), dtype=np.int64)
    for row, span in enumerate(found):
        spans[row, 0], spans[row, 1] = span
    return spans


@nb.njit(cache=True)  # type: ignore[untyped-decorator]
def _end_of_tag(page: npt.NDArray[np.uint8], place: int) -> tuple[int, int]:
    """Return where the tag ends whose name begins here, and its number of attributes."""
    size = len(page)
    num_attributes = 0
    is_between = after_equals = False
    while place < size:
        byte = page[place]
        place += 1
        if byte == _GT:
            break
        if after_equals and byte in (_QUOTE, _APOSTROPHE):
            while place < size and page[place] != byte:
                place += 1
            place += 1
            is_between, after_equals = True, False
        elif byte == _EQUALS:
            is_between, after_equals = False, True
        elif byte <= 32 or byte == _SLASH:
            is_between = True
        else:
            if is_between and not after_equals:
                num_attributes += 1
            is_between = after_equals = False
    return min(place, size), num_attributes


@nb.njit(cache=True)  # type: ignore[untyped-decorator]
def _end_of_raw_text(page: npt.NDArray[np.uint8], place: int) -> int:
    size = len(page)
    while place < size - 2:
        if page[place] == _LT and page[place + 1] == _SLASH and (page[place + 2] | 32) == 115:
            break
        place += 1
    return place


@nb.njit(cache=True)  # type: ignore[untyped-decorator]
def _is_letter(byte: int) -> bool:
    return 97 <= (byte | 32) <= 122


@nb.njit(cache=True)  # type: ignore[untyped-decorator]
def _is_raw(page: npt.NDArray[np.uint8], place: int) -> bool:
    """Return whether a tag's name begins as script or style do."""
    if place + 2 >= len(page) or (page[place] | 32) != 115:
        return False
    second, third = page[place + 1] | 32, page[place + 2] | 32
    return bool((second == 99 and third == 114) or (second == 116 and third == 121))
