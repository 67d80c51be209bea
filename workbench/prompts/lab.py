"""A prompt lab: sentences of labels are edited, and labels, figures and intervals move at once.

Texts are embedded once (``transform`` with the feature ``embeddings``); an edit embeds the
sentences of one label and multiplies, and no model reads a text again.

    lab = ws.prompt_lab("vectors@latest").lab
    view = lab.edit("positive", ["I love this", "so good"])
    view.figure, view.moved             # the figure with its interval, and how many records moved
    lab.differing()                     # records that are labelled otherwise than at the beginning
    ws.do(lab.spec("mood"))             # kept as a version
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError, SpecError, nearest_name
from workbench.data.records import read_records
from workbench.prompts.scorers.embedding import directions
from workbench.prompts.verbaliser import Choice, Option
from workbench.prompts.write import PromptSpec
from workbench.tasks.metrics import Interval, Metric, bootstrap_interval, encode

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]  # unit vectors [texts, width]

_EMBEDDING = "embedding"
_RESAMPLES = 1000
_SAME_MODEL = 0.98  # cosine of a text's two vectors; what is embedded beside it moves digits
_ROWS_AT_ONCE = 200_000  # so that the best labels are found in the processor's cache


class View(NamedTuple):
    """What the present sentences give."""

    labels: list[str]
    counts: dict[str, int]  # records by predicted label
    figure: Interval | None  # with its 95 % interval, where records have labels
    judged: int  # records with one of the labels
    moved: int  # records labelled otherwise than before the last edit


class Difference(NamedTuple):
    """A record that is labelled otherwise than at the beginning."""

    row: int
    text: str
    before: str
    now: str
    truth: str | None


class PromptLab:
    """Sentences of labels over records that are embedded already."""

    def __init__(
        self, vectors: Sequence[Vectors], embed: Embed, words: Mapping[str, Sequence[str]],
        *, truth: Sequence[str | None] | None = None, texts: Sequence[str] | None = None,
        metric: Metric = "macro_recall",
    ) -> None:  # fmt: skip
        """Begin with the sentences of each label.

        Args:
            vectors: unit vectors of the records, in parts, each [records, width].
            embed: turns sentences into vectors of the same model.
            words: sentences by label.
            truth: what the records' labels are, None where not known.
            texts: of the records, to be shown.
            metric: the figure that is told.
        """
        self._vectors = list(vectors)
        self._embed = embed
        self._words = {label: list(own) for label, own in words.items()}
        self.metric: Metric = metric
        self._truth = truth
        self._texts = texts
        self._near: dict[str, Vectors] = {}  # cosine of each record with a label's sentences
        self._best = np.empty(0, np.int8)
        for label in self._words:
            self._near[label] = self._similarities(label)
        self._decide()
        self._begun = self.labels, self._best

    @classmethod
    def of(
        cls, dataset: Artifact, embed: Embed, words: Mapping[str, Sequence[str]],
        metric: Metric = "macro_recall",
    ) -> PromptLab:  # fmt: skip
        """Return a lab over the records of a data set with a column of embeddings.

        Raises:
            DataError: it has none.
        """
        table = read_records(dataset)
        if _EMBEDDING not in table.column_names:
            raise DataError(
                f"{dataset.reference} has no embeddings",
                where=dataset.reference,
                next_step='Make them: transform with features ["embeddings"], format parquet.',
            )
        parts = [
            chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
            for chunk in table[_EMBEDDING].chunks
            if len(chunk)
        ]
        _check_model(parts, table["text"], embed, dataset.reference)
        return cls(
            parts, embed, words, truth=table["label"].to_pylist(),
            texts=table["text"].to_pylist(), metric=metric,
        )  # fmt: skip

    @property
    def words(self) -> dict[str, list[str]]:
        """Return the sentences of each label."""
        return {label: list(own) for label, own in self._words.items()}

    @property
    def labels(self) -> list[str]:
        """Return the labels, sorted."""
        return sorted(self._words)

    def edit(self, label: str, sentences: Sequence[str]) -> View:
        """Give a label other sentences; a label that is new is added.

        Raises:
            SpecError: there is no sentence.
        """
        own = [sentence.strip() for sentence in sentences if sentence.strip()]
        if not own:
            raise SpecError(f"{label} needs a sentence", where=label,
                            next_step="Write one, or drop the label.")  # fmt: skip
        self._words[label] = own
        self._near[label] = self._similarities(label)
        return self._decide()

    def drop(self, label: str) -> View:
        """Take a label out.

        Raises:
            SpecError: there is no such label, or two are left.
        """
        if label not in self._words:
            raise SpecError(f"There is no label {label!r}", where=label,
                            next_step=nearest_name(label, self._words))  # fmt: skip
        if len(self._words) <= 2:
            raise SpecError("A classifier needs two labels", where=label,
                            next_step="Add another one first.")  # fmt: skip
        del self._words[label], self._near[label]
        return self._decide()

    def view(self) -> View:
        """Return what the present sentences give."""
        return self._view(moved=0)

    def differing(self, most: int = 20) -> list[Difference]:
        """Return records that are labelled otherwise than at the beginning, wrong ones first.

        Those whose label is known and is not the one they have now come first.
        """
        labels, best = self._begun
        now = np.asarray(self.labels, dtype=object)[self._best]
        before = np.asarray(labels, dtype=object)[best]
        rows = np.flatnonzero(now != before).tolist()
        truth = self._truth or [None] * len(now)
        rows.sort(key=lambda row: truth[row] is None or truth[row] == now[row])
        return [
            Difference(row, self._texts[row] if self._texts else "", before[row], now[row],
                       truth[row])
            for row in rows[:most]
        ]  # fmt: skip

    def spec(self, name: str, **options: Any) -> PromptSpec:
        """Return the present sentences as a prompt to be kept; ``options`` are its verbaliser's."""
        verbaliser = Choice(words=self.words, **options)
        return PromptSpec(name=name, verbaliser=verbaliser, origin="prompt lab")

    # -- figures ------------------------------------------------------------------------------

    def _similarities(self, label: str) -> Vectors:
        option = Option(label, tuple(self._words[label]))
        (direction,) = directions([option], self._embed)
        return np.concatenate([part @ direction for part in self._vectors])

    def _decide(self) -> View:
        columns = [self._near[label] for label in self.labels]
        best = np.empty(len(columns[0]), np.int8)
        for start in range(0, len(best), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            highest = columns[0][part].copy()
            chosen = np.zeros(len(highest), np.int8)
            for number, column in enumerate(columns[1:], 1):
                is_higher = column[part] > highest
                chosen[is_higher] = number
                np.maximum(highest, column[part], out=highest)
            best[part] = chosen
        labels_before, before = getattr(self, "_decided", (self.labels, best))
        moved = int((best != before).sum()) if labels_before == self.labels else _num_moved(
            before, labels_before, best, self.labels
        )  # fmt: skip
        if labels_before != self.labels or not hasattr(self, "_codes"):
            self._codes = None if self._truth is None else encode(self._truth, self.labels)
        self._best, self._decided = best, (self.labels, best)
        return self._view(moved)

    def _view(self, moved: int) -> View:
        labels = self.labels
        counted = np.bincount(self._best, minlength=len(labels)).tolist()
        figure, judged = None, 0
        if self._codes is not None:
            cells = self._codes * (len(labels) + 1) + self._best
            known = self._codes >= 0
            judged = int(known.sum())
            if judged:
                counts = np.bincount(cells[known], minlength=len(labels) * (len(labels) + 1))
                figure = bootstrap_interval(
                    counts.reshape(len(labels), -1), self.metric, resamples=_RESAMPLES
                )
        return View(labels, dict(zip(labels, counted, strict=True)), figure, judged, moved)


def _num_moved(
    before: npt.NDArray[np.int8], labels_before: Sequence[str], now: npt.NDArray[np.int8],
    labels: Sequence[str],
) -> int:  # fmt: skip
    place = {label: number for number, label in enumerate(labels)}
    as_now = np.asarray([place.get(label, -1) for label in labels_before])[before]
    return int((as_now != now).sum())


def _check_model(parts: Sequence[Vectors], texts: Any, embed: Embed, where: str) -> None:
    """See that the vectors are those of the model that embeds the sentences.

    Raises:
        DataError: there is no record, or they are another model's.
    """
    if not parts:
        raise DataError(f"{where} holds no record", where=where,
                        next_step="Name a data set with records.")  # fmt: skip
    (own,) = embed([texts[0].as_py()])
    first = parts[0][0]
    if len(own) != len(first) or float(own @ first) < _SAME_MODEL:
        raise DataError(
            "The embeddings are of another model than that of the lab",
            where=where,
            next_step="Give the model that made them (prompt_lab(..., model=...)).",
        )
