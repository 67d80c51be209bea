"""What scorers that are language models share: how phrasings make one weight, and safe texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from workbench.core.spec import option
from workbench.prompts.scorers.scorer import ModelScorerSpec, Weights
from workbench.prompts.verbaliser import Option


class LanguageScorerSpec(ModelScorerSpec):
    """The settings of a scorer that gives words probabilities."""

    combine: Literal["sum", "mean", "max"] = option(
        "sum", title="Phrasings", group="Scorer",
        help="How several phrasings of an answer make one weight: the sum of their probabilities, "
        "the mean of their log-probabilities, or the likeliest.",
    )  # fmt: skip

    @property
    def weighs(self) -> bool:
        """Whether it can tell how likely each answer is."""
        return True


def combined(weights: Weights, options: Sequence[Option], how: str) -> Weights:
    """Return the weights of options [rows, options] from those of their phrasings, in order."""
    ends = np.cumsum([len(o.words) for o in options])[:-1]
    parts = np.split(weights, ends, axis=1)
    return np.stack([_COMBINED[how](part) for part in parts], axis=1).astype(np.float32)


_COMBINED: dict[str, Callable[[Weights], Any]] = {
    "sum": lambda weights: np.logaddexp.reduce(weights, axis=1),
    "mean": lambda weights: weights.mean(axis=1),
    "max": lambda weights: weights.max(axis=1),
}


def without_special_tokens(tokenizer: Any, text: str) -> str:
    """Take out what a tokenizer reads as an order: the end of a message, a mask.

    Texts come from strangers; one that ends its own message could speak as somebody else.
    """
    for token in tokenizer.all_special_tokens:
        text = text.replace(token, " ")
    return text
