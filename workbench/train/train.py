"""The train stage: a classifier from labelled records and a pre-trained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import SpecError, nearest_name
from workbench.core.registry import stage
from workbench.core.spec import (
    ArtifactName,
    DatasetRef,
    ModelSource,
    Spec,
    option,
    parse_reference,
)
from workbench.models.folder import CONFIG, ONNX_FILES, WEIGHTS, read_json
from workbench.models.resolve import fingerprint_model, resolve_model
from workbench.train.labelled import JointSource, join, read_labelled
from workbench.train.options import FitJob, FitOptions, most_workers
from workbench.train.prepare import prepare, save_fitted
from workbench.train.supervise import fit
from workbench.train.user_loss import UserLoss
from workbench.train.user_model import UserModel


class _TrainData(Spec):
    """What is learned from (its fields stand before those of the training)."""

    dataset: DatasetRef = option(
        title="Training set", help="Records with labels, all of one label scheme.", group="Data"
    )
    sources: list[JointSource] = option(
        [], title="Learned with", help="Other data sets that are learned from at the same time, "
        "each with its weight; of the same labels, of ones that are mapped to them, or of others.",
        group="Data",
    )  # fmt: skip
    leave_out: str = option(
        "", title="Leave out", help="One of these data sets, by name: searched over, it shows what "
        "each of them gives.", group="Data",
    )  # fmt: skip
    validation: DatasetRef | None = option(
        None, title="Validation set", help="Other records with the same labels, on which each "
        "epoch is judged; without it the last epoch is returned.", group="Data",
    )  # fmt: skip
    model: ModelSource = option(
        "minilm", title="Pre-trained model", help="A model of the catalog (name@version), a "
        "folder, or a name on the hub; minilm is all-MiniLM-L6-v2.", group="Model", min_length=1,
    )  # fmt: skip
    own_model: UserModel | None = option(
        None, title="Own model", help="A model that you wrote with @model, built on the "
        "pre-trained model or on its tokenizer alone.", group="Model",
    )  # fmt: skip
    max_tokens: int = option(
        64, title="Longest text", help="Texts are cut after so many tokens; more cost time.",
        unit="tokens", group="Model", ge=4, le=8192,
    )  # fmt: skip


class TrainSpec(FitOptions, _TrainData):
    """Fine-tune a pre-trained encoder into a classifier."""

    loss: UserLoss | None = option(
        None, title="Own loss", help="A loss that you wrote with @loss; cross-entropy when empty.",
        group="Training",
    )  # fmt: skip

    name: ArtifactName = option(
        "classifier", title="Name", help="Name of the resulting model.", group="Result"
    )

    @model_validator(mode="after")
    def _own_model_lies_whole(self) -> Self:
        if self.own_model is not None and self.strategy not in ("auto", "ddp"):
            raise ValueError("strategy: a model of your own lies whole on each worker. Use ddp")
        return self


class TrainOutputs(Outputs):
    """The classifier."""

    model: Draft


@stage(
    title="Train", version=3, fingerprint=lambda spec: fingerprint_model(spec.model),
    elastic=most_workers,
)  # fmt: skip
def train(spec: TrainSpec, run: RunContext) -> TrainOutputs:
    """Fine-tune a pre-trained encoder on labelled records into a classifier.

    The same Spec and data give the same weights, whether the run was paused, killed and resumed or
    left alone; another number of workers changes no more than the rounding of sums.

    Raises:
        DataError: no labelled records, or a label that is not in the scheme; a model that was
            refused.
        StageError: the loss became NaN, or native code crashed.
        ResourceError: a rank ran out of memory or was killed.
    """
    source = run.open(spec.model).path if "@" in spec.model else resolve_model(spec.model)
    job = _job(spec, source, run)
    if job.own_model is not None:  # what cannot be served is told before it is trained
        run.checkpoint("untrained-graph", lambda folder: _export_own(job, None, folder))
    fitted = fit(job, run)
    draft = run.save("model", spec.name)
    save_fitted(fitted, draft, job)
    if job.own_model is not None:
        _export_own(job, draft.path / WEIGHTS, draft.path)
    draft.describe(base_model=spec.model)
    return TrainOutputs(model=draft)


def _export_own(job: FitJob, weights: Path | None, folder: Path) -> None:
    from workbench.train.own_classifier import export_own

    export_own(job, weights, folder / ONNX_FILES[1])


def _job(spec: TrainSpec, source: Path, run: RunContext) -> FitJob:
    main = read_labelled(run.open(spec.dataset))
    records = join(main, [(each, run.open(each.dataset)) for each in _sources(spec)])
    if spec.own_model is not None and records.others:
        raise SpecError(
            f"The model {spec.own_model.name} learns one label scheme; the sources have others",
            where="sources",
            next_step="Map their labels to those of the training set.",
        )
    return prepare(
        FitJob(
            model=source,
            new_head=bool(records.others) or not _has_head_for(source, main.labels),
            labels=records.labels,
            others=list(records.others),
            own_model=spec.own_model,
            loss=spec.loss,
            max_tokens=min(spec.max_tokens, _most_tokens(source)),
            options=_options(spec),
        ),
        records, spec.validation, run,
    )  # fmt: skip


def _options(spec: TrainSpec) -> FitOptions:
    """Return the options of the training; nobody knows how to cut a model of a user's own."""
    options = FitOptions.of(spec)
    return options if spec.own_model is None else options.model_copy(update={"strategy": "ddp"})


def _sources(spec: TrainSpec) -> list[JointSource]:
    """Return what is learned from beside the training set."""
    names = [parse_reference(each.dataset).name for each in spec.sources]
    if spec.leave_out and spec.leave_out not in names:
        raise SpecError(
            f"{spec.leave_out!r} is none of the data sets that are learned with",
            where="leave_out",
            next_step=nearest_name(spec.leave_out, names),
        )
    pairs = zip(spec.sources, names, strict=True)
    return [each for each, name in pairs if name != spec.leave_out]


def _most_tokens(source: Path) -> int:
    """Return the length of the model's position table, whatever its maker used of it."""
    return int(read_json(source / CONFIG).get("max_position_embeddings") or 512)


def _has_head_for(source: Path, labels: list[str]) -> bool:
    """Whether the model is a classifier of exactly these labels, to be trained further."""
    config = read_json(source / CONFIG)
    is_classifier = any("Classification" in name for name in config.get("architectures") or ())
    named = config.get("id2label") or {}
    return is_classifier and [named.get(str(n)) for n in range(len(named))] == labels
