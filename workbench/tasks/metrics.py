"""Figures of a classifier, and how sure they are: all computed from counts of (truth, predicted).

Every metric here depends on the rows only through the confusion counts. A bootstrap resample of n
rows is therefore exactly one multinomial draw over the cells, which makes 2,000 resamples of any
number of rows a matter of milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from workbench.core.errors import DataError, SpecError, nearest_name

Metric = Literal["macro_recall", "accuracy", "macro_f1"]
METRIC_NAMES: tuple[str, ...] = get_args(Metric)

Counts = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float64]
Labels = Sequence[Any] | npt.NDArray[Any]

_CELLS_AT_ONCE = 4_000_000  # bounds the memory of one block of resamples to about 32 MB


class Interval(NamedTuple):
    """A figure with the ends of its confidence interval."""

    value: float
    low: float
    high: float


class PairedDifference(NamedTuple):
    """How much better one system is than another on the same rows."""

    difference: float
    low: float
    high: float
    p: float


# --- counts -----------------------------------------------------------------------------------


def encode(values: Labels, labels: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Return each value's position in ``labels``; -1 for None and for any other value."""
    position = {label: number for number, label in enumerate(labels)}
    return np.fromiter((position.get(value, -1) for value in values), np.int64, len(values))


def confusion(truth: Labels, predicted: Labels, labels: Sequence[Any] | None = None) -> Counts:
    """Count rows by true label (row) and predicted label (column).

    Args:
        truth: the true label of each row.
        predicted: the predicted label of each row; None, or a label that is not in ``labels``,
            means that the system gave no valid answer.
        labels: the label set in the order of the result; all labels that occur when None.

    Returns:
        int64 [num_labels, num_labels + 1]; the last column counts rows without a valid answer,
        which are wrong in every metric.

    Raises:
        DataError: the two differ in length, there is no row, or a true label is unknown.
    """
    if len(truth) != len(predicted) or len(truth) == 0:
        raise DataError(f"{len(truth)} true labels and {len(predicted)} predictions",
                        next_step="Give one prediction for each of at least one row.")  # fmt: skip
    known = labels if labels is not None else _occurring(truth, predicted)
    rows, columns = encode(truth, known), encode(predicted, known)
    if rows.min() < 0:
        stranger = truth[int(np.argmin(rows))]
        raise DataError(f"The true label {stranger!r} is not in the label set",
                        where=f"row {int(np.argmin(rows))}",
                        next_step="Labels: " + ", ".join(map(str, known)))  # fmt: skip
    return _count(rows, columns, len(known))


def _occurring(truth: Labels, predicted: Labels) -> list[Any]:
    return sorted({value for value in (*truth, *predicted) if value is not None})


def _count(rows: Counts, columns: Counts, num_labels: int) -> Counts:
    width = num_labels + 1
    columns = np.where(columns < 0, num_labels, columns)
    return np.bincount(rows * width + columns, minlength=num_labels * width).reshape(-1, width)


# --- metrics ----------------------------------------------------------------------------------


def per_label_recall(counts: npt.NDArray[Any]) -> Figures:
    """Return [..., num_labels]: the share of a label's rows that were found; nan without rows."""
    return _divide(_hits(counts), counts.sum(-1))


def per_label_precision(counts: npt.NDArray[Any]) -> Figures:
    """Return [..., num_labels]: the share of a label's predictions that are right; nan if none."""
    return _divide(_hits(counts), counts.sum(-2)[..., :-1])


def per_label_f1(counts: npt.NDArray[Any]) -> Figures:
    """Return [..., num_labels]: harmonic mean of precision and recall; nan if never seen or said.

    A label that occurs or is predicted but is never right has an F1 of 0.
    """
    return _divide(2 * _hits(counts), counts.sum(-1) + counts.sum(-2)[..., :-1])


def macro_recall_of(counts: npt.NDArray[Any]) -> Figures:
    """Mean recall over the labels that have rows, from confusion counts [..., k, k + 1].

    The measure of SemEval-2016/2017 task 4 A (Rosenthal, Farra and Nakov 2017); also known as
    balanced accuracy. A system that always says one label gets 1 / num_labels.
    """
    return _mean_of_known(per_label_recall(counts))


def accuracy_of(counts: npt.NDArray[Any]) -> Figures:
    """Share of rows with the right label, from confusion counts [..., k, k + 1]."""
    return _divide(_hits(counts).sum(-1), counts.sum((-2, -1)))


def macro_f1_of(counts: npt.NDArray[Any]) -> Figures:
    """Mean F1 over the labels that occur or are predicted, from counts [..., k, k + 1].

    The mean of the labels' F1, not the F1 of their means (Opitz and Burst 2019).
    """
    return _mean_of_known(per_label_f1(counts))


METRICS: dict[str, Callable[[npt.NDArray[Any]], Figures]] = {
    "macro_recall": macro_recall_of,
    "accuracy": accuracy_of,
    "macro_f1": macro_f1_of,
}


def macro_recall(truth: Labels, predicted: Labels, labels: Sequence[Any] | None = None) -> float:
    """Mean recall over the labels that have rows; see ``macro_recall_of``."""
    return float(macro_recall_of(confusion(truth, predicted, labels)))


def accuracy(truth: Labels, predicted: Labels, labels: Sequence[Any] | None = None) -> float:
    """Share of rows with the right label."""
    return float(accuracy_of(confusion(truth, predicted, labels)))


def macro_f1(truth: Labels, predicted: Labels, labels: Sequence[Any] | None = None) -> float:
    """Mean F1 over the labels that occur or are predicted; see ``macro_f1_of``."""
    return float(macro_f1_of(confusion(truth, predicted, labels)))


def metric_named(name: str) -> Callable[[npt.NDArray[Any]], Figures]:
    """Return the function over confusion counts of a metric's name.

    Raises:
        SpecError: there is no such metric.
    """
    if name not in METRICS:
        raise SpecError(f"There is no metric {name!r}", where="metric",
                        next_step=nearest_name(name, METRICS))  # fmt: skip
    return METRICS[name]


def _hits(counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _divide(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Figures:
    quotient: Figures = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) > 0)
    return quotient


def _mean_of_known(figures: Figures) -> Figures:
    """Mean over the last axis without its nans; 0 where all are nan."""
    known = ~np.isnan(figures)
    total: Figures = np.where(known, figures, 0.0).sum(-1)
    return np.asarray(total / np.maximum(known.sum(-1), 1), dtype=np.float64)


# --- intervals --------------------------------------------------------------------------------


def bootstrap_interval(
    counts: Counts,
    metric: str = "macro_recall",
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Give a metric its bias-corrected and accelerated (BCa) bootstrap interval over rows.

    Source: Efron 1987; Efron and Tibshirani 1993, chapter 14. It holds the confidence to second
    order where the percentile interval is biased. A system without any error gets an interval of
    no width, as every resample is without error too: read it together with the number of rows.

    Args:
        counts: confusion counts [k, k + 1] as from ``confusion``.
        metric: one of ``METRIC_NAMES``.
        resamples: number of bootstrap resamples.
        seed: the same seed gives the same interval.
        confidence: share of such intervals that shall hold the true value.
    """
    figure = metric_named(metric)
    cells, weights = _occupied(counts)
    shape = counts.shape

    def evaluate(draws: Counts) -> Figures:
        full = np.zeros((len(draws), counts.size), np.int64)
        full[:, cells] = draws
        return figure(full.reshape(-1, *shape))

    low, high = _bca_ends(evaluate, weights, resamples, seed, confidence)
    return Interval(float(figure(counts)), low, high)


def paired_bootstrap(
    truth: Labels,
    predicted: Labels,
    predicted_by_reference: Labels,
    labels: Sequence[Any] | None = None,
    *,
    metric: str = "macro_recall",
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare two systems on the same rows: difference, its BCa interval, and a p-value.

    Rows are resampled as (truth, answer, reference's answer), so that rows which are hard for both
    cancel out. The two-sided p-value is that of approximate randomisation (Noreen 1989; Yeh 2000):
    were the systems alike, their answers to a row could be swapped; p is the share of random swaps
    that give a difference at least as large, never below 1 / (resamples + 1).

    Raises:
        DataError: the three differ in length, or a true label is not in ``labels``.
    """
    figure = metric_named(metric)
    known = labels if labels is not None else _occurring(
        truth, [*predicted, *predicted_by_reference]
    )  # fmt: skip
    own, other = confusion(truth, predicted, known), confusion(truth, predicted_by_reference, known)
    observed = float(figure(own) - figure(other))
    joint = _joint_counts(truth, predicted, predicted_by_reference, known)

    def evaluate(cells: Counts, draws: Counts) -> Figures:
        first, second = _two_confusions(cells, draws, len(known))
        return figure(first) - figure(second)

    cells, weights = _occupied(joint)
    low, high = _bca_ends(lambda d: evaluate(cells, d), weights, resamples, seed, confidence)
    p = _randomisation_p(joint, observed, evaluate, resamples, seed + 1)
    return PairedDifference(observed, low, high, p)


def rows_needed(
    found: PairedDifference, num_rows: int, difference: float, *, power: float = 0.8
) -> int:
    """Return how many rows like these it takes to see a difference, at 5 % two-sided.

    The spread of the difference between the two systems, told by its 95 % interval on ``num_rows``
    rows, shrinks with the root of their number. Source: Lehr 1992 (the normal approximation).

    Args:
        found: what a comparison of the two found.
        num_rows: on how many rows.
        difference: that is to be seen.
        power: how often it shall be seen, if it is there.
    """
    normal = NormalDist()
    spread = (found.high - found.low) / (2 * normal.inv_cdf(0.975))
    wanted = (normal.inv_cdf(0.975) + normal.inv_cdf(power)) * spread / difference
    return max(1, math.ceil(num_rows * wanted**2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for having asked several questions; the order is kept.

    Holm's step-down method (Holm 1979): the chance of even one false alarm among all questions is
    at most alpha if those with an adjusted p below alpha are called real; no independence needed.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


# --- the bootstrap's parts --------------------------------------------------------------------


def _occupied(counts: Counts) -> tuple[Counts, Counts]:
    flat = counts.ravel()
    cells = np.flatnonzero(flat)
    return cells, flat[cells]


def _blocks(num_draws: int, num_cells: int) -> Iterator[int]:
    size = max(1, _CELLS_AT_ONCE // max(num_cells, 1))
    yield from (min(size, num_draws - start) for start in range(0, num_draws, size))


def _bca_ends(
    evaluate: Callable[[Counts], Figures],
    weights: Counts,
    resamples: int,
    seed: int,
    confidence: float,
) -> tuple[float, float]:
    """Ends of the BCa interval of a statistic of counts; equation numbers as in the book."""
    random = np.random.default_rng(seed)
    total = int(weights.sum())
    share = weights / total
    blocks = _blocks(resamples, len(share))
    drawn = np.concatenate([evaluate(random.multinomial(total, share, size)) for size in blocks])
    observed = float(evaluate(weights[None])[0])
    if drawn.min() == drawn.max():
        return float(drawn[0]), float(drawn[0])
    normal = NormalDist()
    below = (drawn < observed).mean() + (drawn == observed).mean() / 2
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples)))  # 14.14
    acceleration = _acceleration(evaluate, weights)
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + normal.inv_cdf(tail)
        ends.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))  # 14.10
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)


def _acceleration(evaluate: Callable[[Counts], Figures], weights: Counts) -> float:
    """Skewness of the jackknife (14.15): leaving out any row of one cell gives the same figure."""
    left_out = []
    start = 0
    for size in _blocks(len(weights), len(weights)):
        removed = np.eye(size, len(weights), start, dtype=np.int64)
        left_out.append(evaluate(weights - removed))
        start += size
    figures = np.concatenate(left_out)
    deviation = np.average(figures, weights=weights) - figures
    spread = float((weights * deviation**2).sum())
    return float((weights * deviation**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def _joint_counts(truth: Labels, first: Labels, second: Labels, labels: Sequence[Any]) -> Counts:
    """Count rows by (truth, first answer, second answer): int64 [k, k + 1, k + 1]."""
    width = len(labels) + 1
    rows = encode(truth, labels)
    one, two = encode(first, labels), encode(second, labels)
    one, two = np.where(one < 0, len(labels), one), np.where(two < 0, len(labels), two)
    index = (rows * width + one) * width + two
    return np.bincount(index, minlength=len(labels) * width * width).reshape(-1, width, width)


def _two_confusions(cells: Counts, draws: Counts, num_labels: int) -> tuple[Counts, Counts]:
    """Sum draws [n, cells] over (truth, first, second) into two stacks [n, k, k + 1]."""
    truth, first, second = np.unravel_index(cells, (num_labels, num_labels + 1, num_labels + 1))
    return (_sum_into(truth, first, draws, num_labels), _sum_into(truth, second, draws, num_labels))


def _sum_into(rows: Counts, columns: Counts, draws: Counts, num_labels: int) -> Counts:
    target = rows * (num_labels + 1) + columns
    order = np.argsort(target, kind="stable")
    names, starts = np.unique(target[order], return_index=True)
    summed = np.zeros((len(draws), num_labels * (num_labels + 1)), np.int64)
    summed[:, names] = np.add.reduceat(draws[:, order], starts, axis=1)
    return summed.reshape(-1, num_labels, num_labels + 1)


def _randomisation_p(
    joint: Counts,
    observed: float,
    evaluate: Callable[[Counts, Counts], Figures],
    resamples: int,
    seed: int,
) -> float:
    """Two-sided p of swapping the two answers of each row with probability one half."""
    random = np.random.default_rng(seed)
    either_way = joint + joint.swapaxes(1, 2)
    cells, totals = _occupied(either_way)
    _, first, second = np.unravel_index(cells, joint.shape)
    upper, diagonal = first < second, first == second
    partner = _positions_of_mirror(cells, joint.shape)
    at_least = 0
    for size in _blocks(resamples, len(cells)):
        draws = np.zeros((size, len(cells)), np.int64)
        draws[:, diagonal] = totals[diagonal] // 2
        draws[:, upper] = random.binomial(totals[upper], 0.5, (size, int(upper.sum())))
        draws[:, partner[upper]] = totals[upper] - draws[:, upper]
        at_least += int((np.abs(evaluate(cells, draws)) >= abs(observed) - 1e-12).sum())
    return (1 + at_least) / (1 + resamples)


def _positions_of_mirror(cells: Counts, shape: tuple[int, ...]) -> Counts:
    """For each (truth, a, b) return where (truth, b, a) stands among the sorted cells."""
    truth, first, second = np.unravel_index(cells, shape)
    return np.searchsorted(cells, np.ravel_multi_index((truth, second, first), shape))
