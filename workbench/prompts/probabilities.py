"""From a scorer's weights to probabilities: what it prefers anyway taken out, softened."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.tasks.predictions import Scores

# Texts without content, that tell what a scorer answers whatever it is asked.
CONTENT_FREE = ("", "N/A", "-")


def probabilities(
    weights: npt.NDArray[np.float32], temperature: float, prior: npt.NDArray[Any] | None = None
) -> Scores:
    """Return probabilities, float32 [n, num_options].

    Args:
        weights: of which the softmax is meant, [n, num_options].
        temperature: by which they are divided first.
        prior: probabilities of the options whatever the text [num_options]; each row is divided by
            them.
    """
    logs = _log_softmax(weights.astype(np.float64) / temperature)
    if prior is not None:
        logs = _log_softmax(logs - np.log(np.maximum(prior, np.finfo(np.float64).tiny)))
    shares: Scores = np.exp(logs).astype(np.float32)
    return shares


def prior_of(weights: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Return the mean probability of each option over texts, [num_options].

    Over texts without content that is contextual calibration (Zhao et al. 2021), over the texts
    themselves batch calibration (Zhou et al. 2024, here with the mean of probabilities).
    """
    found: npt.NDArray[np.float64] = np.exp(
        _log_softmax(weights.astype(np.float64) / temperature)
    ).mean(axis=0)
    return found


def _log_softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = values - values.max(axis=1, keepdims=True)
    found: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
