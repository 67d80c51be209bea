"""Which rows are trained in which step: pure functions, the same for any number of ranks.

A step's *global batch* is cut into a fixed number of slices; ranks share the slices. As the slices
(and the dropout masks drawn for each) do not depend on how many ranks there are, neither does the
result, beyond the rounding of one sum; ``strategies/reduction.py`` can take that away, too.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

_ROWS_IN_SLICE = 16  # measured: half as many cost 12 % of the speed on short texts
_FEWEST_SLICES = 2  # so that two ranks can share even a small batch
_BATCHES_IN_POOL = 50  # rows of so many batches are sorted by length together


def num_batches(num_rows: int, batch_size: int) -> int:
    """Return how many steps one epoch takes."""
    return math.ceil(num_rows / batch_size)


def epoch_batches(
    lengths: npt.NDArray[np.integer], batch_size: int, seed: int, epoch: int
) -> list[Rows]:
    """Return an epoch's global batches: each row once, rows of similar length together.

    Rows are shuffled, sorted by length within pools of 50 batches, cut, and the batches shuffled:
    random enough to train on, with little padding. A pure function of its arguments.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[Rows] = []
    pool_rows = batch_size * _BATCHES_IN_POOL
    for start in range(0, len(order), pool_rows):
        pool = order[start : start + pool_rows]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    return [batches[number] for number in random.permutation(len(batches))]


def num_slices(batch_size: int, virtual_ranks: int | None = None, num_shrinks: int = 0) -> int:
    """Return into how many slices a global batch is cut; more ranks find no work in it.

    Without a wish (``virtual_ranks``), slices have about 16 rows.

    Each shrink, after a gang that ran out of memory, halves what is in memory at once: there are
    twice as many slices. The global batch, and its loss, are the same.
    """
    count = virtual_ranks or max(_FEWEST_SLICES, batch_size // _ROWS_IN_SLICE)
    return max(count, min(count << num_shrinks, batch_size))


def slice_batch(batch: Rows, number: int, count: int) -> Rows:
    """Return slice ``number`` of ``count`` of a global batch; empty where rows are too few.

    Rows are dealt out in turn, so that all slices take about the same time.
    """
    return batch[number::count]


def slices_of_rank(rank: int, world: int, count: int) -> range:
    """Return which of ``count`` slices a rank works on: as many as others, or one more.

    Together the ranks work on each slice once; those of one rank are consecutive.
    """
    return range(count * rank // world, count * (rank + 1) // world)


def slice_seed(seed: int, step: int, number: int) -> int:
    """Return the seed of the random numbers (dropout) of one slice of one step."""
    return int(np.random.SeedSequence([seed, step, number]).generate_state(1, np.uint64)[0])


def learning_rate_share(step: int, num_steps: int, warmup_share: float) -> float:
    """Return the share of the full learning rate at a step: up in a line, then down to zero.

    Above zero at every step from 0 to ``num_steps - 1``.
    """
    num_warmup = round(num_steps * warmup_share)
    if step < num_warmup:
        return (step + 1) / (num_warmup + 1)
    return (num_steps - step) / (num_steps - num_warmup)
