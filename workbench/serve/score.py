"""The score stage: a model's predictions on every record of a data set, in durable parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core.artifact import Artifact, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import BugError, DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, ModelRef, Spec, option
from workbench.data.records import partitions, write_partition
from workbench.tasks.predictions import PREDICTED_LABEL, Scores, with_predictions

if TYPE_CHECKING:
    from workbench.models.predictor import Predictor

_PART_FILE = "scores.npy"


class ScoreSpec(Spec):
    """A model and the records it shall predict."""

    name: ArtifactName = option(
        "scored", title="Name", group="Result", help="Name of the data set with predictions."
    )
    dataset: DatasetRef = option(
        title="Data set", group="Data", help="The records whose texts are predicted."
    )
    model: ModelRef = option(title="Model", group="Model", help="The model that predicts them.")
    part_rows: int = option(
        2048, title="Rows per part", unit="rows", group="Result", ge=1, le=100_000,
        help="Predictions become durable in parts of this size; a paused or killed run repeats "
        "at most one part.",
    )  # fmt: skip


class ScoreOutputs(Outputs):
    """The records with the columns ``predicted_label`` and ``score:<label>``."""

    dataset: Draft


@stage(title="Score a data set", version=1)
def score(spec: ScoreSpec, run: RunContext) -> ScoreOutputs:
    """Predict the label of every record and the probability of each label.

    One row in gives one row out, in the same order and the same partitions, with all columns the
    data set had; predictions of another model in it are replaced.

    Raises:
        DataError: a reference is of the wrong kind, or a record has no text.
    """
    dataset, model = _open(run, spec.dataset, "dataset"), _open(run, spec.model, "model")
    files = partitions(dataset)
    total = sum(pq.read_metadata(file).num_rows for file in files)
    scorer = _Scorer(spec, model, run, total)
    draft = run.save("dataset", spec.name)
    for number, file in enumerate(files):
        write_partition(draft.path / file.name, scorer.score_partition(number, file))
    if scorer.done != total:
        raise BugError(f"{total} records became {scorer.done} predictions", where=spec.dataset)
    run.count_rows(read=total, written=scorer.done)
    draft.describe(rows=total, model=model.reference, labels=scorer.labels,
                   predicted=dict(sorted(scorer.predicted.items())))  # fmt: skip
    return ScoreOutputs(dataset=draft)


class _Scorer:
    """The model over the partitions of one data set; a part that is there is not done again."""

    def __init__(self, spec: ScoreSpec, model: Artifact, run: RunContext, total: int) -> None:
        from workbench.models.predictor import load_predictor

        self._predictor: Predictor = load_predictor(model.path, run.threads_per_worker)
        self.labels = list(self._predictor.labels)
        self.predicted: Counter[str] = Counter()
        self.done = 0
        self._spec = spec
        self._run = run
        self._total = total

    def score_partition(self, number: int, file: Path) -> pa.Table:
        """Return the partition's table with the predictions of all its parts."""
        table = pq.read_table(file)
        empty = np.empty((0, len(self.labels)), np.float32)
        scores: Scores = np.concatenate([empty, *self._parts(number, _texts(table, file))])
        predicted = with_predictions(table, self.labels, scores)
        self.predicted.update(predicted[PREDICTED_LABEL].to_pylist())
        return predicted

    def _parts(self, number: int, texts: list[str]) -> Iterator[Scores]:
        for start in range(0, len(texts), self._spec.part_rows):
            self._run.stop_if_asked()
            part = texts[start : start + self._spec.part_rows]

            def write(folder: Path, part: list[str] = part) -> None:
                scores = np.asarray(self._predictor.predict(part), np.float32)
                np.save(folder / _PART_FILE, scores, allow_pickle=False)

            folder = self._run.checkpoint(f"scores-{number:05d}-{start:09d}", write)
            yield np.load(folder / _PART_FILE, allow_pickle=False)
            self.done += len(part)
            self._run.progress(self.done, self._total, "rows")


def _open(run: RunContext, reference: str, kind: str) -> Artifact:
    artifact = run.open(reference)
    if artifact.kind != kind:
        raise DataError(f"{artifact.reference} is a {artifact.kind}, not a {kind}",
                        where=kind, next_step=f"Name a {kind}.")  # fmt: skip
    return artifact


def _texts(table: pa.Table, file: Path) -> list[str]:
    if "text" not in table.column_names or table["text"].null_count:
        raise DataError("A record has no text", where=str(file),
                        next_step="Integrate the data set again.")  # fmt: skip
    texts: list[str] = table["text"].to_pylist()
    return texts
