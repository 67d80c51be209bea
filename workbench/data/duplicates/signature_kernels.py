"""MinHash signatures of sets of shingles, and the keys of their bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.duplicates.compiled import Integer, compiled, mix

_LARGEST = np.uint32(0xFFFFFFFF)
_HALF_BITS = np.uint64(32)
_SEED = 1


def multipliers(num_permutations: int, seed: int = _SEED) -> npt.NDArray[np.uint32]:
    """Return an odd factor for each permutation; uint32 [num_permutations], read-only."""
    generator = np.random.Generator(np.random.PCG64(seed))
    factors = generator.integers(0, 1 << 32, num_permutations, dtype=np.uint32) | np.uint32(1)
    factors.flags.writeable = False
    return factors


@compiled
def find_minima(shingles: Any, factors: Any, minima: Any) -> None:
    """Write the minimum of each permutation over a set of shingles; uint32 [num_permutations].

    A shingle's two halves x and y give factor * x + y as its rank, modulo 2**32: two independent
    hashes make any number of them (Kirsch & Mitzenmacher 2008). Four shingles at a time, since
    reading factors and minima costs as much as the arithmetic.
    """
    num_permutations = len(factors)
    minima[:] = _LARGEST
    whole = len(shingles) // 4 * 4
    for place in range(0, whole, 4):
        a, b = shingles[place], shingles[place + 1]
        c, d = shingles[place + 2], shingles[place + 3]
        ax, ay = np.uint32(a), np.uint32(a >> _HALF_BITS)
        bx, by = np.uint32(b), np.uint32(b >> _HALF_BITS)
        cx, cy = np.uint32(c), np.uint32(c >> _HALF_BITS)
        dx, dy = np.uint32(d), np.uint32(d >> _HALF_BITS)
        for number in range(num_permutations):
            factor = factors[number]
            first = min(np.uint32(factor * ax + ay), np.uint32(factor * bx + by))
            second = min(np.uint32(factor * cx + cy), np.uint32(factor * dx + dy))
            minima[number] = min(minima[number], min(first, second))
    for place in range(whole, len(shingles)):
        x, y = np.uint32(shingles[place]), np.uint32(shingles[place] >> _HALF_BITS)
        for number in range(num_permutations):
            minima[number] = min(minima[number], np.uint32(factors[number] * x + y))


@compiled
def find_band_keys(shingles: Any, offsets: Any, rows: Any, factors: Any, num_bands: Integer) -> Any:
    """Return the key of each band of these rows' signatures; uint64 [len(rows), num_bands].

    The band's number is part of its key: keys of different bands do not meet.
    """
    num_permutations = len(factors)
    rows_per_band = num_permutations // num_bands
    minima = np.empty(num_permutations, np.uint32)
    keys = np.empty((len(rows), num_bands), np.uint64)
    for place in range(len(rows)):
        row = rows[place]
        find_minima(shingles[offsets[row] : offsets[row + 1]], factors, minima)
        for band in range(num_bands):
            key = np.uint64(band)
            for number in range(band * rows_per_band, (band + 1) * rows_per_band):
                key = mix(key ^ np.uint64(minima[number]))
            keys[place, band] = key
    return keys


@compiled
def find_signatures(shingles: Any, offsets: Any, factors: Any) -> Any:
    """Return the minima of each set of shingles; uint32 [n, num_permutations]."""
    signatures = np.empty((len(offsets) - 1, len(factors)), np.uint32)
    for row in range(len(offsets) - 1):
        find_minima(shingles[offsets[row] : offsets[row + 1]], factors, signatures[row])
    return signatures
