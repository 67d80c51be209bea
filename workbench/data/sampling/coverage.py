"""Samples that cover a space of embeddings; all arithmetic is on whole numbers, so it is exact.

Vectors are brought to unit length and rounded to a grid: distances are then whole numbers that
float32 holds exactly, and the choice is the same for any number of threads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

NUM_STRATA = 50
_GRID = 1000  # a unit vector's squared length, a million, is far below 2**24


def on_grid(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Return vectors at unit length, in whole thousandths; float32 [n, width]. Zero stays zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.rint(vectors / np.where(lengths > 0, lengths, 1) * _GRID).astype(np.float32)


def k_centre(grid: Vectors, size: int) -> Rows:
    """Return ``size`` rows so that every row is near one of them; int64, in order of choice.

    The first row is taken first, then always the row farthest from all that are taken (Gonzalez
    1985; for active learning Sener & Savarese 2018): at most twice as far as the best choice
    would leave any row. Of rows equally far the first is taken.
    """
    size = min(size, len(grid))
    squares = np.einsum("nd,nd->n", grid, grid)
    nearest = np.full(len(grid), np.inf, np.float32)
    chosen = np.zeros(size, np.int64)
    for number in range(size):
        row = int(nearest.argmax())
        chosen[number] = row
        distances = squares + squares[row] - 2 * (grid @ grid[row])
        np.minimum(nearest, distances, out=nearest)
        nearest[row] = -1
    return chosen


def difficulty(grid: Vectors, group: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return how far each row is from the middle of its group; float64 [n], in grid units."""
    far = np.zeros(len(grid))
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        middle = on_grid(grid[members].sum(axis=0, dtype=np.float64)[None])[0]
        far[members] = _GRID * _GRID - grid[members] @ middle
    return far


def stratified_by_score(scores: npt.NDArray[np.float64], size: int, hardest_share: float) -> Rows:
    """Return ``size`` rows that cover the range of a score evenly; int64, ascending.

    Coverage-centric selection (Zheng, Liu, Lai & Prakash 2023): the hardest rows are left out,
    the range of the others is cut into strata of equal width, and each stratum gives the same
    number of rows, small ones all they have. Within a stratum the first rows are taken.
    """
    num_kept = max(len(scores) - int(hardest_share * len(scores)), min(size, len(scores)))
    kept = np.sort(np.argsort(scores, kind="stable")[:num_kept])
    low, high = scores[kept].min(), scores[kept].max()
    width = (high - low) / NUM_STRATA or 1.0
    stratum = np.minimum(((scores[kept] - low) / width).astype(np.int64), NUM_STRATA - 1)
    members = [kept[stratum == number] for number in np.unique(stratum)]
    taken, left = [np.empty(0, np.int64)], min(size, len(kept))
    by_size = sorted(members, key=len)
    for number, rows in enumerate(by_size):
        quota = min(len(rows), -(-left // (len(by_size) - number)))
        taken.append(rows[:quota])
        left -= quota
    return np.sort(np.concatenate(taken))
