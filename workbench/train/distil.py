"""The distil stage: a smaller classifier that answers as its teacher does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, ModelRef, Spec, option
from workbench.models.folder import CONFIG, TOKENIZER, labels_of, max_tokens_of, read_json
from workbench.models.text_encoder import TextEncoder
from workbench.train.labelled import LabelledTexts, read_transfer
from workbench.train.options import FitJob, FitOptions, ScoreJob, Teaching, most_workers
from workbench.train.prepare import prepare, save_fitted
from workbench.train.student import make_student
from workbench.train.supervise import fit, score
from workbench.train.token_set import TokenSet, make_token_set
from workbench.train.vocabulary import PrunedVocabulary, prune_vocabulary

_SCORES = "teacher-scores"


class _DistilData(Spec):
    """Who teaches what to whom (its fields stand before those of the training)."""

    teacher: ModelRef = option(
        title="Teacher", help="The classifier whose answers are learned.", group="Data"
    )
    more_teachers: list[ModelRef] = option(
        [], title="More teachers", help="Classifiers of the same labels: the mean of all teachers' "
        "answers is learned. The student begins with the first one's layers.", group="Data",
    )  # fmt: skip
    datasets: list[DatasetRef] = option(
        title="Transfer sets", help="Texts that the teacher answers; labels are not needed, and "
        "are used where they are of the teacher's scheme.", group="Data", min_length=1,
    )  # fmt: skip
    validation: DatasetRef | None = option(
        None, title="Validation set", help="Records with labels, on which each epoch is judged; "
        "without it the last epoch is returned.", group="Data",
    )  # fmt: skip
    num_layers: int = option(
        3, title="Layers", help="How many of the teacher's layers the student keeps, evenly "
        "spread; time falls in proportion.", unit="layers", group="Student", ge=1, le=96,
    )  # fmt: skip
    vocabulary: Literal["teacher", "pruned"] = option(
        "pruned", title="Vocabulary", help="All words of the teacher, or only those that occur in "
        "the transfer sets, plus every character: half of a small model is its words.",
        group="Student",
    )  # fmt: skip
    most_words: int = option(
        16_000, title="Most words", help="Tokens that a pruned vocabulary keeps, the most frequent "
        "first; characters are always kept.", unit="tokens", group="Student", ge=100,
    )  # fmt: skip
    temperature: float = option(
        2.0, title="Temperature", help="Above 1 the teacher's second thoughts count for more.",
        group="Teaching", ge=0.1, le=100,
    )  # fmt: skip
    soft_share: float = option(
        0.8, title="Share of the teacher", help="How much the teacher's answers count; the rest "
        "are the labels of the records.", group="Teaching", ge=0, le=1,
    )  # fmt: skip
    hidden_weight: float = option(
        0.5, title="Hidden states", help="Weight of being alike in the last hidden state, too; "
        "0 leaves it out.", group="Teaching", ge=0, le=100,
    )  # fmt: skip


class DistilSpec(FitOptions, _DistilData):
    """Distil a classifier into a smaller one."""

    name: ArtifactName = option(
        "student", title="Name", help="Name of the resulting model.", group="Result"
    )


class DistilOutputs(Outputs):
    """The student."""

    model: Draft


@stage(title="Distil", version=2, elastic=most_workers)
def distil(spec: DistilSpec, run: RunContext) -> DistilOutputs:
    """Train a smaller classifier to answer as a larger one does, on texts with or without labels.

    The teacher answers each text once; the answers are kept in a checkpoint. The student starts
    from the teacher's own layers and words, and is a stock model that opens anywhere.

    Raises:
        SpecError: the teacher has fewer layers than the student shall have.
        DataError: there are no texts, or the teacher was refused.
        StageError: the loss became NaN, or weights and configuration of the teacher differ.
        ResourceError: a rank ran out of memory or was killed.
    """
    teacher = run.open(spec.teacher).path
    records = read_transfer([run.open(name) for name in spec.datasets], labels_of(teacher))
    more = [run.open(name).path for name in spec.more_teachers]
    _check_labels(teacher, more, spec)
    seen = _seen_by(teacher, "teacher-set", records, run)
    answers = [_scores(spec, teacher, "", seen, run)]
    for number, other in enumerate(more, start=1):
        of_other = _seen_by(other, f"teacher-set-{number}", records, run)
        answers.append(_scores(spec, other, f"-{number}", of_other, run))
    scores = answers[0]
    if more:
        scores = run.checkpoint(f"{_SCORES}-mean", lambda target: _mean(answers, target))
    student = _student(spec, teacher, seen, run)
    job = _job(spec, student, records, scores, run)
    draft = run.save("model", spec.name)
    fitted = fit(job, run)
    save_fitted(fitted, draft, job)
    draft.describe(
        teacher=spec.teacher, layers=spec.num_layers,
        vocabulary=read_json(student / CONFIG)["vocab_size"],
    )  # fmt: skip
    if more:
        draft.describe(members=1 + len(more), combined="distil")
    return DistilOutputs(model=draft)


def _check_labels(teacher: Path, more: list[Path], spec: DistilSpec) -> None:
    for other, name in zip(more, spec.more_teachers, strict=True):
        if labels_of(other) != labels_of(teacher):
            raise DataError(f"{name} has other labels than {spec.teacher}", where=name,
                            next_step="Give teachers of the same labels.")  # fmt: skip


def _seen_by(teacher: Path, name: str, records: LabelledTexts, run: RunContext) -> TokenSet:
    """Return the texts in a teacher's own tokens."""
    encoder = TextEncoder(teacher, max_tokens_of(teacher))
    return make_token_set(run.folder / name, encoder, records.texts, records.numbers, run)


def _scores(spec: DistilSpec, teacher: Path, which: str, seen: TokenSet, run: RunContext) -> Path:
    """Return the folder of a teacher's answers, one row per text."""
    key = f"{_SCORES}{which}"
    if key not in run.checkpoints():
        with_hidden = spec.hidden_weight > 0
        shards = run.folder / f"shards{which}"
        job = ScoreJob(
            model=teacher, token_set=run.folder / f"teacher-set{which}", target=shards,
            work=run.folder, with_hidden=with_hidden,
        )  # fmt: skip
        score(job, len(seen), run)
        names = ["logits.npy", "hidden.npy"] if with_hidden else ["logits.npy"]
        run.checkpoint(key, lambda target: _join(shards, names, target))
        shutil.rmtree(shards)
    return run.checkpoints()[key]


def _mean(answers: list[Path], target: Path) -> None:
    """Write the logarithms of mean probabilities, and mean hidden states, of several teachers."""
    logits = [np.load(folder / "logits.npy") for folder in answers]
    each = [np.exp(x - x.max(-1, keepdims=True)) for x in logits]
    mean = np.mean([x / x.sum(-1, keepdims=True) for x in each], axis=0)
    np.save(target / "logits.npy", np.log(np.maximum(mean, 1e-12)).astype(np.float32))
    if (answers[0] / "hidden.npy").exists():
        hidden = [np.load(folder / "hidden.npy").astype(np.float32) for folder in answers]
        np.save(target / "hidden.npy", np.mean(hidden, axis=0).astype(np.float16))


def _join(shards: Path, names: list[str], target: Path) -> None:
    for name in names:
        parts = [np.load(folder / name) for folder in sorted(shards.iterdir())]
        np.save(target / name, np.concatenate(parts))


def _student(spec: DistilSpec, teacher: Path, seen: TokenSet, run: RunContext) -> Path:
    """Return the student's folder before it has learned anything."""
    target = run.folder / "student"
    if not target.exists():
        vocabulary: PrunedVocabulary | None = None
        if spec.vocabulary == "pruned":
            size = int(read_json(teacher / CONFIG)["vocab_size"])
            counts = np.bincount(seen.ids, minlength=size)
            vocabulary = prune_vocabulary(read_json(teacher / TOKENIZER), counts, spec.most_words)
        make_student(teacher, target, spec.num_layers, vocabulary)
    return target


def _job(
    spec: DistilSpec, student: Path, records: LabelledTexts, scores: Path, run: RunContext
) -> FitJob:
    teaching = Teaching(
        scores=scores, temperature=spec.temperature, soft_share=spec.soft_share,
        hidden_weight=spec.hidden_weight,
    )  # fmt: skip
    return prepare(
        FitJob(
            model=student, new_head=False, labels=records.labels,
            max_tokens=max_tokens_of(student), options=FitOptions.of(spec), teaching=teaching,
        ),
        records, spec.validation, run,
    )  # fmt: skip
