"""What becomes of memory that a rank frees.

Ranks keep what they free (``_environment`` in ``host_ranks.py``): each step takes the same blocks
again, and giving them to the system in between costs a third of the speed. Where a model is spread
over ranks that is the wrong bargain: layers that are put together for a moment come in many sizes,
fill no hole that another has left, and what is kept grows to several times what is in use.
"""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_LARGE = 1 << 20  # bytes of a block that is not kept; smaller ones cost more to give back
_MOST_LARGE = 1 << 16  # how many there may be at a time: glibc's own number


def give_back_freed_memory() -> None:
    """Have this process give memory back when it frees it, where the system's allocator can."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # musl has none, and keeps nothing
        return
    libc.mallopt(_MMAP_MAX, _MOST_LARGE)
    for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD):
        libc.mallopt(option, _LARGE)
    libc.malloc_trim(0)
