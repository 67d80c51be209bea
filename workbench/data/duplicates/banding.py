"""How many minima of hashes are compared, and how: bands that miss a pair once in a million.

MinHash with locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman & Ullman, Mining of
Massive Datasets, chapter 3): the minimum of a hash over the shingles of two texts is the same with
a probability of their Jaccard similarity s. A band of r minima agrees with s**r, and a pair is
looked at if any of b bands agrees, so that (1 - s**r)**b of the pairs are missed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

MISS_PROBABILITY = 1e-6
_FEWEST_ROWS = 3  # shorter bands agree for texts that only share common phrases
_MOST_ROWS = 16
_MOST_PERMUTATIONS = 128


class Banding(NamedTuple):
    """The number of bands, and of minima in each."""

    num_bands: int
    rows_per_band: int

    @property
    def num_permutations(self) -> int:
        """How many minima a text's signature has."""
        return self.num_bands * self.rows_per_band


def choose_banding(threshold: float) -> Banding:
    """Return the longest bands that cost little and miss a pair at the threshold once in a million.

    Longer bands bring fewer pairs together that are not alike, but more of them are needed.
    """
    for rows in range(_MOST_ROWS, _FEWEST_ROWS, -1):
        banding = Banding(_bands_needed(threshold, rows), rows)
        if banding.num_permutations <= _MOST_PERMUTATIONS:
            return banding
    return Banding(_bands_needed(threshold, _FEWEST_ROWS), _FEWEST_ROWS)


def miss_probability(banding: Banding, similarity: float) -> float:
    """Return how likely a pair of this Jaccard similarity is missed."""
    agree: float = similarity**banding.rows_per_band
    return float((1 - agree) ** banding.num_bands)


def _bands_needed(threshold: float, rows: int) -> int:
    agree = threshold**rows
    return 1 if agree == 1 else math.ceil(math.log(MISS_PROBABILITY) / math.log1p(-agree))
