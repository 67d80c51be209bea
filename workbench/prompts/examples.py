"""Examples that a prompt shows: which rows of a labelled data set stand before the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from pydantic import Field

from workbench.core.errors import DataError
from workbench.core.spec import DatasetRef, ModelSource, Spec, option

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]  # unit vectors [texts, width]


class Example(TypedDict):
    """A text and its label, as a template sees it."""

    text: str
    label: str


class Pool:
    """The labelled rows that examples are taken from, in the order of their data set."""

    def __init__(self, ids: Sequence[str], texts: Sequence[str], labels: Sequence[str]) -> None:
        self.ids = list(ids)
        self.texts = list(texts)
        self.labels = list(labels)

    def examples(self, rows: Sequence[int]) -> list[Example]:
        """Return rows as a template sees them."""
        return [{"text": self.texts[row], "label": self.labels[row]} for row in rows]


class Chooser:
    """Chooses the examples of each text; the text itself is never one of its own."""

    def __init__(self, pool: Pool, rows: Callable[[Sequence[str]], list[list[int]]]) -> None:
        self._pool = pool
        self._rows = rows  # for each text, more rows than are needed, the best first
        self._plain = [_plain(text) for text in pool.texts]

    def choose(self, texts: Sequence[str], count: int) -> list[list[Example]]:
        """Return at most ``count`` examples of each text, the best one last, next to the text."""
        chosen = []
        for text, rows in zip(texts, self._rows(texts), strict=True):
            own = _plain(text)
            others = [row for row in rows if self._plain[row] != own]
            chosen.append(self._pool.examples(others[:count][::-1]))
        return chosen


class _Examples(Spec):
    dataset: DatasetRef = option(
        title="Data set", group="Examples", help="Labelled rows that examples are taken from."
    )

    @property
    def size(self) -> int:
        """Return how many examples a text gets."""
        return self.count  # type: ignore[attr-defined,no-any-return]


class FixedExamples(_Examples):
    """Rows that somebody chose."""

    kind: Literal["fixed"] = option("fixed", title="Kind", help="Rows that you choose.")
    ids: list[str] = option(
        title="Ids", group="Examples", min_length=1, max_length=100,
        help="The ids of the rows, in the order in which they shall stand.",
    )  # fmt: skip

    @property
    def size(self) -> int:
        """Return how many examples a text gets."""
        return len(self.ids)

    def chooser(self, pool: Pool, embed: Embed) -> Chooser:
        """Return what gives each text the same rows.

        Raises:
            DataError: a row is not there.
        """
        place = {row_id: row for row, row_id in enumerate(pool.ids)}
        missing = [row_id for row_id in self.ids if row_id not in place]
        if missing:
            raise DataError(
                f"{self.dataset} has no labelled row {missing[0]!r}",
                where="examples.ids",
                next_step="Name rows of this data set.",
            )
        rows = [place[row_id] for row_id in self.ids][::-1]
        return Chooser(pool, lambda texts: [rows] * len(texts))


class _Counted(_Examples):
    count: int = option(4, title="Number", group="Examples", unit="examples", ge=1, le=100,
                        help="How many examples a text gets.")  # fmt: skip


class RandomExamples(_Counted):
    """Rows drawn at random, the same for all texts; each label in turn."""

    kind: Literal["random"] = option("random", title="Kind", help="Rows drawn at random.")
    seed: int = option(0, title="Seed", group="Examples", ge=0, le=2**31 - 1,
                       help="The same seed draws the same rows.")  # fmt: skip

    def chooser(self, pool: Pool, embed: Embed) -> Chooser:
        """Return what gives each text the same drawn rows."""
        order = np.random.default_rng(self.seed).permutation(len(pool.ids)).tolist()
        turn: dict[str, int] = {}
        turns = []
        for row in order:  # the first of each label, then the second of each
            label = pool.labels[row]
            turn[label] = turn.get(label, -1) + 1
            turns.append(turn[label])
        rows = [row for _, row in sorted(zip(turns, order, strict=True), key=lambda each: each[0])]
        few = rows[: self.count + 1]  # one more: a text may be a row itself
        return Chooser(pool, lambda texts: [few] * len(texts))


class _Embedded(_Counted):
    model: ModelSource = option(
        "minilm", title="Sentence model", group="Examples",
        help="What tells how near two texts are: a name, a folder or an artifact.",
    )  # fmt: skip


class NearestExamples(_Embedded):
    """The rows nearest to each text.

    Source: Liu et al. 2022 (what makes good in-context examples).
    """

    kind: Literal["nearest"] = option("nearest", title="Kind", help="The rows nearest to a text.")

    def chooser(self, pool: Pool, embed: Embed) -> Chooser:
        """Return what gives each text its nearest rows."""
        vectors = embed(pool.texts)

        def rows(texts: Sequence[str]) -> list[list[int]]:
            near = -(embed(texts) @ vectors.T)
            return np.argsort(near, axis=1, kind="stable")[:, : self.count + _SPARE].tolist()  # type: ignore[no-any-return]

        return Chooser(pool, rows)


class DiverseExamples(_Embedded):
    """Rows near to each text and unlike each other: maximal marginal relevance.

    Source: Carbonell and Goldstein 1998.
    """

    kind: Literal["diverse"] = option(
        "diverse", title="Kind", help="Rows near to a text and unlike each other."
    )
    diversity: float = option(
        0.3, title="Diversity", group="Examples", ge=0, le=1,
        help="How much a row's likeness to those chosen before counts against it; 0 is nearest.",
    )  # fmt: skip

    def chooser(self, pool: Pool, embed: Embed) -> Chooser:
        """Return what gives each text near rows that are unlike each other."""
        vectors = embed(pool.texts)

        def rows(texts: Sequence[str]) -> list[list[int]]:
            return [self._rows(near, vectors) for near in embed(texts) @ vectors.T]

        return Chooser(pool, rows)

    def _rows(self, near: Vectors, vectors: Vectors) -> list[int]:
        candidates = np.argsort(-near, kind="stable")[:_MOST_CANDIDATES]
        likeness = np.full(len(candidates), -1.0, np.float32)
        chosen: list[int] = []
        for _ in range(min(self.count + _SPARE, len(candidates))):
            worth = (1 - self.diversity) * near[candidates] - self.diversity * likeness
            worth[chosen] = -np.inf
            best = int(worth.argmax())
            chosen.append(best)
            likeness = np.maximum(likeness, vectors[candidates] @ vectors[candidates[best]])
        return [int(candidates[place]) for place in chosen]


_SPARE = 4  # rows beyond those that are needed: some may be the text itself, once or more
_MOST_CANDIDATES = 200  # of which the diverse ones are chosen

ExampleSet = Annotated[
    FixedExamples | RandomExamples | NearestExamples | DiverseExamples, Field(discriminator="kind")
]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def needs_vectors(examples: Any) -> bool:
    """Whether an example set is chosen by a sentence model."""
    return isinstance(examples, _Embedded)
