"""A sentence model as a scorer: the option whose words a text comes nearest to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from workbench.core.spec import ModelSource, option
from workbench.prompts.scorers.scorer import FindModel, ModelScorerSpec, Weights, Written, said
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Messages

Vectors = npt.NDArray[np.float32]


class EmbeddingScorerSpec(ModelScorerSpec):
    """Embeds texts and the options' words; cosine similarity decides. Writes nothing."""

    kind: Literal["embedding"] = option(
        "embedding", title="Kind", group="Scorer",
        help="A sentence model: the answer whose words a text is nearest to.",
    )  # fmt: skip
    model: ModelSource = option(
        "minilm", title="Sentence model", group="Scorer",
        help="Model that turns sentences into vectors: a name, a folder or an artifact.",
    )  # fmt: skip
    scale: float = option(
        10.0, title="Scale", group="Scorer", gt=0, le=1000,
        help="Weights are cosine similarities times this.",
    )  # fmt: skip

    @property
    def weighs(self) -> bool:
        """Whether it can tell how likely each answer is."""
        return True

    def open(self, find: FindModel, num_threads: int) -> EmbeddingScorer:
        """Load the model."""
        from workbench.models.embed import Embedder

        return EmbeddingScorer(Embedder(find(self.model), num_threads=num_threads), self.scale)


class EmbeddingScorer:
    """A loaded sentence model."""

    def __init__(self, embedder: Any, scale: float) -> None:
        self._embedder = embedder
        self._scale = scale
        self._directions: tuple[Sequence[Option], Vectors] = ((), np.empty((0, 0), np.float32))

    def weigh(self, prompts: Sequence[Messages], options: Sequence[Option]) -> Weights:
        """Return scaled cosine similarities, float32 [prompts, options]."""
        if self._directions[0] != options:
            self._directions = (options, directions(options, self._embedder.embed))
        vectors: Vectors = self._embedder.embed([said(prompt) for prompt in prompts])
        return similarities(vectors, self._directions[1]) * np.float32(self._scale)

    def write(
        self, prompts: Iterable[Messages], options: Sequence[Option], decoding: Decoding
    ) -> Iterator[tuple[int, Written]]:
        """Refuse: a sentence model has no words."""
        raise NotImplementedError


def directions(options: Sequence[Option], embed: Any) -> Vectors:
    """Return one unit vector per option [options, width]: the mean of its phrasings' vectors.

    Averaging phrasings makes a prompt less a matter of luck with one wording; the prompt ensemble
    of Radford et al. 2021, section 3.1.4.
    """
    means = np.stack([embed(list(option.words)).mean(axis=0) for option in options])
    unit: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit.astype(np.float32)


def similarities(vectors: Vectors, directions: Vectors) -> Weights:
    """Return cosine similarities [texts, options] of unit vectors."""
    found: Weights = vectors @ directions.T
    return found
