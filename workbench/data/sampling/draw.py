"""Drawing by hash: shares of strata, weights of records, the least sure first; pure and exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.data.order import Hashes, Rows, as_uniform, first_by

Measure = Literal["margin", "entropy", "confidence"]
Numbers = npt.NDArray[np.float64]

_LEAST = 1e-12  # probability whose logarithm is taken


def apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Share ``total`` out by weight in whole numbers that sum to it (largest remainders)."""
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    quotas = {name: int(amount) for name, amount in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def draw_strata(hashes: Hashes, stratum: npt.NDArray[np.int64], quotas: Mapping[int, int]) -> Rows:
    """Return the rows of the smallest hashes of each stratum, as many as its quota; ascending."""
    taken = [np.empty(0, np.int64)]
    for number, quota in quotas.items():
        members = np.flatnonzero(stratum == number)
        taken.append(members[first_by(hashes[members], quota)])
    return np.sort(np.concatenate(taken))


def draw_weighted(hashes: Hashes, weights: Numbers, size: int) -> Rows:
    """Draw rows without replacement, each next one in proportion to its weight; ascending.

    Rows of weight 0 are never drawn. The row with the smallest ``-log(u) / weight`` comes first
    (Efraimidis & Spirakis 2006), where u is the row's hash: so the draw depends on no order.
    """
    possible = np.flatnonzero(weights > 0)
    # Logarithms of those quotients: a tiny weight makes none of them infinite.
    keys = np.log(-np.log(as_uniform(hashes[possible]))) - np.log(weights[possible])
    return possible[first_by(keys, size)]


def draw_by_log_weight(hashes: Hashes, log_weights: Numbers, size: int) -> Rows:
    """Do as ``draw_weighted`` does with weights that are given as logarithms; ascending.

    Adding Gumbel noise and taking the largest is the same draw, and no weight overflows.
    """
    gumbel = -np.log(-np.log(as_uniform(hashes)))
    return first_by(-(log_weights + gumbel), size)


def draw_uncertain(hashes: Hashes, scores: npt.NDArray[np.float32], measure: Measure) -> Rows:
    """Return all rows, those of which a classifier is least sure first; int64 [n].

    Args:
        hashes: decide between rows of one measure.
        scores: probabilities [n, num_labels].
        measure: ``margin`` (between the two likeliest labels), ``entropy`` (of all labels) or
            ``confidence`` (of the likeliest label).
    """
    return np.lexsort((hashes, certainty(scores, measure)))


def certainty(scores: npt.NDArray[np.float32], measure: Measure) -> Numbers:
    """Return how sure a classifier is of each row; float64 [n], larger is surer."""
    ordered = np.sort(scores.astype(np.float64), axis=1)
    if measure == "entropy":
        sure: Numbers = np.sum(ordered * np.log(np.maximum(ordered, _LEAST)), axis=1)
    elif measure == "margin":
        sure = ordered[:, -1] - ordered[:, -2]
    else:
        sure = ordered[:, -1]
    return sure
