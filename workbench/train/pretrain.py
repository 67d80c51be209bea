"""The pretrain stage: a language model that knows the team's own texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, ModelSource, Spec, option
from workbench.data.records import read_records
from workbench.models.folder import CONFIG, read_json
from workbench.models.resolve import fingerprint_model, resolve_model
from workbench.models.text_encoder import TextEncoder
from workbench.train.language_start import (
    Architecture,
    start_from_scratch,
    start_from_weights,
)
from workbench.train.options import FitJob, FitOptions, most_workers
from workbench.train.prepare import save_fitted
from workbench.train.supervise import fit
from workbench.train.token_set import make_blocks, make_token_set

_WHOLE_TEXT = 1 << 20  # tokens: packed texts are cut into blocks, not each by itself


class _PretrainData(Spec):
    """What is read, and what it begins with (its fields stand before those of the training)."""

    datasets: list[DatasetRef] = option(
        title="Corpus", help="Texts; labels are not looked at.", group="Data", min_length=1
    )
    validation: DatasetRef | None = option(
        None, title="Validation set", help="Other texts, on which the perplexity of each epoch is "
        "measured; without it the last epoch is returned.", group="Data",
    )  # fmt: skip
    model: ModelSource | None = option(
        None, title="Pre-trained model", help="What is trained further: a model of the catalog "
        "(name@version), a folder, or a name on the hub. From scratch when empty.", group="Model",
    )  # fmt: skip
    objective: Literal["masked", "causal"] = option(
        "masked", title="Objective", help="To fill in masked tokens (for classifiers and search), "
        "or to tell the next one (for writing).", group="Model",
    )  # fmt: skip
    mask_share: float = option(
        0.15, title="Masked", help="Share of the tokens that are to be filled in.", group="Model",
        gt=0, lt=1, search="0.1 0.4",
    )  # fmt: skip
    max_tokens: int = option(
        128, title="Tokens in a row", help="How far the model sees while it learns.",
        unit="tokens", group="Model", ge=8, le=8192,
    )  # fmt: skip
    pack: bool = option(
        True, title="Pack", help="Texts are laid end to end and cut into full rows: no padding. "
        "Else each text is a row of its own, cut after so many tokens.", group="Model",
    )  # fmt: skip
    vocabulary: int = option(
        8000, title="Vocabulary", help="Tokens of the tokenizer that is trained from scratch.",
        unit="tokens", group="From scratch", ge=100, le=500_000,
    )  # fmt: skip
    architecture: Architecture = option(
        {}, title="Size", help="Of a model from scratch.", group="From scratch"
    )
    new_words: int = option(
        0, title="New words", help="Words of the corpus that an existing tokenizer knows in parts "
        "only, to be known whole: at most so many, those that shorten texts the most.",
        unit="words", group="Further", ge=0, le=100_000,
    )  # fmt: skip


class PretrainSpec(FitOptions, _PretrainData):
    """Train a language model on the team's own texts, further or from scratch."""

    name: ArtifactName = option(
        "language-model", title="Name", help="Name of the resulting model.", group="Result"
    )

    @model_validator(mode="after")
    def _check_strategy(self) -> Self:
        if self.strategy == "pipeline":
            raise ValueError("strategy: a language model's first and last stage share their words. "
                             "Use ddp, fsdp or tensor")  # fmt: skip
        return self


class PretrainOutputs(Outputs):
    """The language model."""

    model: Draft


@stage(
    title="Pretrain", version=1, elastic=most_workers,
    fingerprint=lambda spec: fingerprint_model(spec.model) if spec.model else "",
)  # fmt: skip
def pretrain(spec: PretrainSpec, run: RunContext) -> PretrainOutputs:
    """Train a masked or causal language model on texts, further or from scratch.

    From scratch, a tokenizer is trained on the same texts first. The result is a stock model, which
    ``train`` takes as its pre-trained model.

    Raises:
        DataError: there are no texts; a model that was refused.
        StageError: the loss became NaN, or native code crashed.
        ResourceError: a rank ran out of memory or was killed.
    """
    start = run.checkpoint("start", lambda folder: _start(spec, folder, run))
    job = _job(spec, start, run)
    fitted = fit(job, run)
    draft = run.save("model", spec.name)
    save_fitted(fitted, draft, job)
    draft.describe(base_model=spec.model or "from scratch",
                   vocabulary=read_json(start / CONFIG)["vocab_size"])  # fmt: skip
    return PretrainOutputs(model=draft)


def _start(spec: PretrainSpec, folder: Path, run: RunContext) -> None:
    """Write the model that is trained, before it has learned anything."""
    run.log("making the tokenizer and the first weights")
    texts = _texts(spec.datasets, run)
    if spec.model is None:
        start_from_scratch(folder, texts, spec)
    else:
        source = run.open(spec.model).path if "@" in spec.model else resolve_model(spec.model)
        start_from_weights(folder, source, texts, spec)


def _job(spec: PretrainSpec, start: Path, run: RunContext) -> FitJob:
    most = int(read_json(start / CONFIG).get("max_position_embeddings") or spec.max_tokens)
    job = FitJob(
        task=spec.objective, model=start, max_tokens=min(spec.max_tokens, most),
        mask_share=spec.mask_share, options=FitOptions.of(spec),
    )  # fmt: skip
    changes: dict[str, Any] = {"train_set": _tokenise("train-set", spec.datasets, job, spec, run)}
    if spec.validation is not None:
        changes["validation_set"] = _tokenise("validation-set", [spec.validation], job, spec, run)
    return job.model_copy(update=changes)


def _tokenise(
    name: str, datasets: list[str], job: FitJob, spec: PretrainSpec, run: RunContext
) -> Path:
    folder = run.folder / name
    texts = list(_texts(datasets, run))
    if not any(texts):
        raise DataError("The corpus holds no text", where=", ".join(datasets),
                        next_step="Name data sets that hold texts.")  # fmt: skip
    if spec.pack:
        encoder = TextEncoder(job.model, _WHOLE_TEXT)
        made = make_blocks(folder, encoder, texts, job.max_tokens, run)
    else:
        no_labels = np.full(len(texts), -1, np.int64)
        made = make_token_set(folder, TextEncoder(job.model, job.max_tokens), texts, no_labels, run)
    if name == "train-set":
        run.count_rows(read=len(texts), written=len(made))
    return folder


def _texts(datasets: list[str], run: RunContext) -> Iterator[str]:
    for reference in datasets:
        yield from read_records(run.open(reference), ["text"])["text"].to_pylist()
