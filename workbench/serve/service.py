"""From texts to logged predictions: the model, its batcher and the log of one deployment."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from workbench.core.errors import DataError, ResourceError, StageError
from workbench.serve.batcher import Batcher, BatcherClosed, Failed, QueueFull
from workbench.serve.limits import Limits
from workbench.serve.measurements import Measurements
from workbench.serve.prediction_log import LoggedPrediction, PredictionLog
from workbench.serve.request import Refused

PROBE = "The quick brown fox jumps over the lazy dog."
# Concurrent requests committed to the log at once: one flush of the disk for all of them.
MAX_COMMIT = 256


class Classifier(Protocol):
    """What serving needs of a model; see ``workbench.models.predictor.Predictor``."""

    labels: list[str]

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return probabilities, float32 [num_texts, num_labels], rows in the order of texts."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one text: the likeliest label and the probability of every label."""

    label: str
    score: float
    scores: dict[str, float]


class Service:
    """Answers texts: batched through one model thread, logged before the answer is returned."""

    def __init__(
        self, classifier: Classifier, log: PredictionLog, reference: str, limits: Limits
    ) -> None:
        """Take over the log, which ``close`` closes; try the model once.

        Raises:
            StageError: the model cannot even read a plain sentence.
        """
        self.reference = reference
        self.limits = limits
        self.measurements = Measurements()
        self.model_works = True
        self._classifier = classifier
        self._log = log
        self._texts: Batcher[str, Prediction] = Batcher(
            self._classify, max_batch=limits.max_batch, max_waiting=limits.max_waiting,
            on_batch=self.measurements.batches.observe,
        )  # fmt: skip
        # Every request waits here with all its rows, and at least one of its texts waited before.
        self._commits: Batcher[list[LoggedPrediction], int] = Batcher(
            log.append, max_batch=MAX_COMMIT, max_waiting=max(limits.max_waiting, MAX_COMMIT)
        )
        try:
            self._classify([PROBE])
        except Exception as error:
            raise self._model_is_broken(error) from error

    @property
    def num_waiting(self) -> int:
        """How many texts wait for the model."""
        return self._texts.num_waiting

    def complaint(self) -> str:
        """Say why the service should get no requests now; empty when it should."""
        if not self.model_works:
            return "the model fails on a plain sentence"
        if self._texts.busy_seconds > 2 * self.limits.deadline_seconds:
            return f"the model has been at one batch for {self._texts.busy_seconds:.0f} s"
        return ""

    async def predict(self, texts: list[str]) -> dict[str, Any]:
        """Return the answer to one request, after it is on disk in the log.

        Raises:
            Refused: 422 a text that the model cannot read, 429 the queue is full, 503 the model
                or the log is broken or the server stops, 504 the deadline has passed.
        """
        try:
            async with asyncio.timeout(self.limits.deadline_seconds):
                predictions = await self._predict_all(texts)
                request_id = uuid.uuid4().hex
                await self._write_log(request_id, texts, predictions)
        except TimeoutError as error:
            raise _too_late(self.limits.deadline_seconds) from error
        except QueueFull as error:
            raise _queue_is_full(self.num_waiting) from error
        except BatcherClosed as error:
            raise _stopping() from error
        self.measurements.predicted.update(answer.label for answer in predictions)
        return {
            "model": self.reference,
            "predictions": [vars(answer) for answer in predictions],
            "request_id": request_id,
        }

    async def close(self) -> None:
        """Answer what waits, then close the log."""
        await self._texts.close()
        await self._commits.close()
        self._log.close()

    async def _predict_all(self, texts: list[str]) -> list[Prediction]:
        answers = await self._texts.submit(texts)
        predictions = [answer for answer in answers if not isinstance(answer, Failed)]
        if len(predictions) == len(texts):
            return predictions
        place, failed = next((p, a) for p, a in enumerate(answers) if isinstance(a, Failed))
        await self._blame(failed.error, place)
        raise Refused(422, _unreadable(failed.error, place)) from failed.error

    async def _blame(self, error: Exception, place: int) -> None:
        """Find out whether the text or the model is to blame: a plain sentence must still work."""
        (probe,) = await self._texts.submit([PROBE])
        self.model_works = not isinstance(probe, Failed)
        if not self.model_works:
            raise Refused(503, self._model_is_broken(error), retry_seconds=30) from error

    async def _write_log(
        self, request_id: str, texts: list[str], predictions: list[Prediction]
    ) -> None:
        now = time.time()
        rows = [
            LoggedPrediction(request_id, place, now, self.reference, text, answer.label,
                             answer.score, json.dumps(answer.scores, ensure_ascii=False))
            for place, (text, answer) in enumerate(zip(texts, predictions, strict=True))
        ]  # fmt: skip
        (committed,) = await self._commits.submit([rows])
        if isinstance(committed, Failed):
            raise Refused(503, _cannot_log(self._log, committed.error), retry_seconds=30)

    def _classify(self, texts: list[str]) -> list[Prediction]:
        scores = self._classifier.predict(texts)
        if not np.isfinite(scores).all():
            raise ValueError("the model's probabilities are not finite")
        labels = self._classifier.labels
        best = scores.argmax(axis=1)
        return [
            Prediction(labels[column], float(row[column]),
                       dict(zip(labels, row.tolist(), strict=True)))
            for row, column in zip(scores, best, strict=True)
        ]  # fmt: skip

    def _model_is_broken(self, error: Exception) -> StageError:
        return StageError(
            f"The model fails on a plain sentence: {type(error).__name__}: {error}",
            where=self.reference,
            next_step="Deploy another version of the model.",
        )


def _unreadable(error: Exception, place: int) -> DataError:
    return DataError(
        f"The model cannot read this text: {type(error).__name__}: {error}",
        where=f"texts[{place}]",
        next_step="Leave this text out; the model reads others.",
    )


def _queue_is_full(num_waiting: int) -> Refused:
    error = ResourceError(
        f"The server is busy: {num_waiting} texts are waiting",
        where="queue",
        next_step="Send the request again after the seconds in Retry-After.",
    )
    return Refused(429, error, retry_seconds=1)


def _too_late(seconds: float) -> Refused:
    error = ResourceError(
        f"There was no answer within {seconds:g} s",
        where="deadline",
        next_step="Send fewer texts per request, or the same request again later.",
    )
    return Refused(504, error)


def _stopping() -> Refused:
    error = ResourceError("The server is stopping", where="server",
                          next_step="Send the request again.")  # fmt: skip
    return Refused(503, error, retry_seconds=1)


def _cannot_log(log: PredictionLog, error: Exception) -> ResourceError:
    return ResourceError(
        f"The prediction could not be written to the log: {error}",
        where=str(log.path),
        next_step="Free space on the server's disk; nothing is answered that is not logged.",
    )
