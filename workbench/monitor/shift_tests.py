"""Tests of one number or one category per text: are two samples from one distribution?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LEAST_EXPECTED = 5.0  # below it the chi-square approximation fails (Cochran 1954)
REST = "(rare, together)"


@dataclass(frozen=True)
class NumberShift:
    """A Kolmogorov-Smirnov test; ``distance`` is the largest gap of the two distributions."""

    p: float
    distance: float
    reference_median: float
    live_median: float


@dataclass(frozen=True)
class CategoryShift:
    """A chi-square test; ``distance`` is half the summed change of shares (total variation)."""

    p: float
    distance: float
    reference_shares: dict[str, float]
    live_shares: dict[str, float]


def number_shift(reference: npt.NDArray[np.float64], live: npt.NDArray[np.float64]) -> NumberShift:
    """Two-sample Kolmogorov-Smirnov test; ties make it careful, never too quick."""
    from scipy.stats import ks_2samp

    result = ks_2samp(reference, live, method="asymp")
    return NumberShift(
        float(result.pvalue), float(result.statistic),
        float(np.median(reference)), float(np.median(live)),
    )  # fmt: skip


def category_shift(reference: Sequence[str], live: Sequence[str]) -> CategoryShift | None:
    """Pearson's chi-square test of homogeneity; rare categories are tested as one.

    Returns:
        None where fewer than two categories are frequent enough to be compared.
    """
    from scipy.stats import chi2_contingency

    before, now = Counter(reference), Counter(live)
    table = _pooled(before, now)
    if table is None:
        return None
    result = chi2_contingency(table, correction=False)
    shares = table / table.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return CategoryShift(
        float(result.pvalue), distance, _shares(before, now, before), _shares(before, now, now)
    )


def _pooled(before: Counter[str], now: Counter[str]) -> npt.NDArray[np.int64] | None:
    """Counts [2, categories]; those with too few expected in either sample are put together.

    What is pooled depends on the two samples' sum only, which says nothing about a shift.
    """
    both = before + now
    smaller = min(before.total(), now.total()) / both.total()
    names = sorted(both, key=lambda name: (-both[name], name))
    frequent = [name for name in names if both[name] * smaller >= _LEAST_EXPECTED]
    rare = [name for name in names if name not in frequent]
    groups = [[name] for name in frequent]
    if rare and sum(both[name] for name in rare) * smaller >= _LEAST_EXPECTED:
        groups.append(rare)
    elif rare and groups:
        groups[-1] = groups[-1] + rare
    if len(groups) < 2:
        return None
    counts = [[sum(side[name] for name in group) for group in groups] for side in (before, now)]
    return np.asarray(counts, dtype=np.int64)


def _shares(before: Counter[str], now: Counter[str], of: Counter[str]) -> dict[str, float]:
    """Shares of one sample, most frequent category of both first; at most 12, then the rest."""
    names = sorted({*before, *now}, key=lambda name: (-(before + now)[name], name))
    shares = {name: of[name] / of.total() for name in names[:12]}
    if names[12:]:
        shares[REST] = sum(of[name] for name in names[12:]) / of.total()
    return shares
