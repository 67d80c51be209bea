"""What stands before and after the fitting, whatever the loss: token sets in, a model out."""

from __future__ import annotations

import shutil

from workbench.core.artifact import Draft
from workbench.core.context import RunContext
from workbench.models.folder import WEIGHTS
from workbench.models.text_encoder import TextEncoder
from workbench.train.labelled import LabelledTexts, read_labelled, row_weights
from workbench.train.options import FitJob
from workbench.train.supervise import Fitted
from workbench.train.token_set import make_token_set


def prepare(job: FitJob, records: LabelledTexts, validation: str | None, run: RunContext) -> FitJob:
    """Tokenise what is learned from and judged on; return the job with its sets and weights.

    Raises:
        DataError: no validation record has a label, or one has a label outside the scheme.
    """
    encoder = TextEncoder(job.model, job.max_tokens)
    weights = row_weights(records, job.options.class_weights)
    make_token_set(
        run.folder / "train-set", encoder, records.texts, records.numbers, run, weights,
        records.targets,
    )  # fmt: skip
    changes: dict[str, object] = {"train_set": run.folder / "train-set"}
    if validation is not None:
        judged = read_labelled(run.open(validation), records.labels)
        changes["validation_set"] = run.folder / "validation-set"
        make_token_set(run.folder / "validation-set", encoder, judged.texts, judged.numbers, run)
    if records.num_left_out:
        run.log(f"left out {records.num_left_out} records without a label")
    run.count_rows(read=len(records.texts) + records.num_left_out, written=len(records.texts))
    return job.model_copy(update=changes)


def save_fitted(fitted: Fitted, draft: Draft, job: FitJob) -> None:
    """Copy a fitted model into a draft and describe it."""
    from workbench.models.checkpoint import megabytes, num_parameters

    for path in sorted(fitted.folder.iterdir()):
        shutil.copyfile(path, draft.path / path.name)
    place = fitted.place
    labels = {"labels": job.labels} if job.task == "classify" else {}
    draft.describe(
        task=job.task, **labels, max_tokens=job.max_tokens,
        parameters=num_parameters(draft.path), megabytes=megabytes(draft.path / WEIGHTS),
    )  # fmt: skip
    if place.figures is not None:
        draft.describe(**{name: round(value, 4) for name, value in place.figures.items()})
    if place.best_epoch is not None:
        draft.describe(best_epoch=place.best_epoch)
