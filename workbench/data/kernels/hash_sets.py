"""Hash sets and hash tables of uint64 keys, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.kernels.characters import Bytes, hash_bytes, spread
from workbench.data.kernels.compiled import entry, kernel

HashSet = npt.NDArray[np.uint64]


def hash_set(words: Sequence[bytes], size: int = 0) -> HashSet:
    """Return a set of words by their hashes; 0 marks a free place, at least half are free."""
    size = size or 1 << (2 * len(words) + 1).bit_length()
    places = np.zeros(size, np.uint64)
    offsets = np.fromiter(accumulate(map(len, words), initial=0), np.int64)
    _fill(places, np.frombuffer(b"".join(words), np.uint8), offsets)
    return places


@entry
def _fill(places: HashSet, data: Bytes, offsets: Any) -> None:
    mask = np.uint64(len(places) - 1)
    for word in range(len(offsets) - 1):
        text = data[offsets[word] : offsets[word + 1]]
        key = hash_bytes(text, 0, len(text))
        place = key >> np.uint64(32) & mask
        while places[place] != 0 and places[place] != key:
            place = (place + np.uint64(1)) & mask
        places[place] = key


@kernel
def place_of(places: HashSet, key: Any) -> int:
    """Return the place of a hash in a set whose size is a power of two; -1 if it is not there."""
    mask = np.uint64(len(places) - 1)
    place = key >> np.uint64(32) & mask
    while places[place] != key:
        if places[place] == 0:
            return -1
        place = (place + np.uint64(1)) & mask
    return int(place)


@kernel
def is_in(places: HashSet, key: Any) -> bool:
    """Whether a hash is in a set."""
    return place_of(places, key) >= 0


@kernel
def clear_table(table: Any, num_keys: int) -> Any:
    """Free the places that so many keys need; return the mask with which they are found."""
    size = 4
    while size < 2 * num_keys:
        size *= 2
    table[:size] = -1
    return np.uint64(size - 1)


@kernel
def number_key(key: Any, table: Any, mask: Any, keys: Any, num_keys: int) -> int:
    """Return the number of a key: that of its first arrival, or ``num_keys`` when it is new.

    ``table`` int32 holds numbers by place (-1: free), ``keys`` uint64 the keys by number.
    """
    place = spread(key) & mask
    while table[place] >= 0:
        number = table[place]
        if keys[number] == key:
            return int(number)
        place = (place + np.uint64(1)) & mask
    table[place] = num_keys
    keys[num_keys] = key
    return num_keys
