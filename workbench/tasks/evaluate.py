"""Judge classifiers on labelled test rows: figures with intervals, beside a simple baseline."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from workbench.core.artifact import MANIFEST, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, ModelRef, Spec, option
from workbench.data.records import read_records
from workbench.tasks.baseline import Baseline, train_baseline
from workbench.tasks.evaluation_page import write_evaluation_page
from workbench.tasks.evidence import (
    PREDICTIONS,
    REPORT,
    Answers,
    Question,
    figures,
    write_answers,
    write_json,
)
from workbench.tasks.labelled_rows import LabelledRows, label_set, num_seen, read_labelled
from workbench.tasks.latency import (
    FP32_ONNX,
    REPETITIONS,
    choose_texts,
    speed_report,
    time_in_turns,
)
from workbench.tasks.metrics import Metric
from workbench.tasks.predictions import Scores, answers, check_same_labels, read_predictions

BASELINE = "baseline"
TIMING = "timing.json"
_CHUNK = 256  # texts per durable part

SystemName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]


class EvaluateSpec(Spec):
    """Which classifiers to judge, on which rows, by which figure."""

    name: ArtifactName = option(
        "evaluation", title="Name", help="Name of the report.", group="Result"
    )
    test: DatasetRef = option(
        title="Test set", group="Data",
        help="Labelled rows that no system has been trained on or tuned with.",
    )  # fmt: skip
    train: DatasetRef = option(
        title="Training set", group="Data",
        help="Labelled rows for the baseline, which stands in every table.",
    )  # fmt: skip
    prompts: dict[SystemName, DatasetRef] = option(
        {}, title="Labelled by prompts", group="Data",
        help="The test set as labelled by the label stage, by the name that this prompt and what "
        "answered it shall have in the report.",
    )  # fmt: skip
    models: dict[SystemName, ModelRef] = option(
        {}, title="Models", group="Model",
        help="Models to judge, by the name they shall have in the report.",
    )  # fmt: skip
    metric: Metric = option(
        "macro_recall", title="Figure", group="Rules",
        help="The figure that decides: mean recall over labels, share of right answers, mean F1.",
    )  # fmt: skip
    reference_system: str = option(
        BASELINE, title="Compare with", group="Rules",
        help="The system that all others are compared with on the same rows.",
    )  # fmt: skip
    wished_difference: float = option(
        0.02, title="Wished difference", group="Rules", gt=0, lt=1,
        help="The report says how many rows it takes to see so much of a difference.",
    )  # fmt: skip
    groups: Literal["source", "language", "none"] = option(
        "source", title="Groups", group="Rules",
        help="The report names the group of records on which each system is worst.",
    )  # fmt: skip
    resamples: int = option(
        2000, title="Resamples", help="Bootstrap resamples behind each interval and p-value.",
        group="Rules", ge=100, le=100_000,
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", help="Seed of the resampling; the same seed gives the same intervals.",
        group="Rules", ge=0, le=2**31 - 1,
    )  # fmt: skip
    measure_speed: bool = option(
        True, title="Measure speed", group="Rules",
        help="Time each system, one text at a time on one thread. Timings are facts of the "
        "machine, so that two reports with timings never have equal bytes.",
    )  # fmt: skip
    speed_texts: int = option(
        50, title="Texts to time", help="Number of test texts that every system is timed on.",
        unit="texts", group="Rules", ge=5, le=2000,
    )  # fmt: skip

    @model_validator(mode="after")
    def _names_are_clear(self) -> EvaluateSpec:
        taken = {BASELINE, FP32_ONNX} & {*self.models, *self.prompts}
        taken |= set(self.models) & set(self.prompts)
        if taken:
            raise ValueError(f"a system cannot be named {sorted(taken)[0]!r}: choose another name")
        known = [BASELINE, *self.prompts, *self.models]
        if self.reference_system not in known:
            raise ValueError(
                f"reference_system {self.reference_system!r} is not among {', '.join(known)}"
            )
        return self


class EvaluateOutputs(Outputs):
    """The report: report.json, predictions.parquet, report.html, and timing.json if measured."""

    report: Draft


@dataclass
class System:
    """A classifier under judgement; ``predict`` is None where only its answers are known."""

    name: str
    kind: str
    predict: Callable[[Sequence[str]], Scores] | None
    megabytes: Callable[[], float | None]
    folder: Path | None = None


@stage(title="Evaluate", version=2)
def evaluate(spec: EvaluateSpec, run: RunContext) -> EvaluateOutputs:
    """Judge classifiers on test rows: each figure with its interval, beside a simple baseline.

    Every system answers the same rows; differences are tested on paired rows, and all answers are
    kept so that each figure can be computed again. Rows without a usable label are counted.
    """
    bench = _Bench(spec, run)
    given = {system.name: bench.answers_of(system) for system in bench.systems}
    question = Question(
        spec.metric, bench.labels, spec.resamples, spec.seed, spec.reference_system,
        spec.wished_difference,
    )  # fmt: skip
    run.progress(bench.num_answers, bench.num_answers, "texts", "computing intervals")
    predicted = {name: list(answers.predicted) for name, answers in given.items()}
    found = figures(question, bench.test.truth, predicted, bench.groups)
    report = bench.report(question, found)
    timing = bench.measure_speed() if spec.measure_speed else None
    draft = run.save("report", spec.name)
    write_json(draft.path / REPORT, report)
    write_answers(
        draft.path / PREDICTIONS, bench.test.ids, bench.test.truth, bench.labels, given,
        bench.groups,
    )  # fmt: skip
    if timing is not None:
        write_json(draft.path / TIMING, timing)
    write_evaluation_page(draft.path / "report.html", report, timing, bench.test, given)
    _describe(draft, report, timing, run)
    return EvaluateOutputs(report=draft)


def _describe(
    draft: Draft, report: dict[str, Any], timing: dict[str, Any] | None, run: RunContext
) -> None:
    """Put the figures that are worth showing into the summary and the run's journal."""
    values = {system["name"]: system["value"] for system in report["systems"]}
    for name, value in values.items():
        run.metric(f"{name}.{report['metric']}", value)
    draft.describe(
        task="classify",
        metric=report["metric"],
        rows=report["rows"],
        labels=report["labels"],
        best=max(values, key=lambda name: values[name]),
        systems={
            system["name"]: {
                key: system[key] for key in ("kind", "value", "low", "high", "megabytes", "paired")
            }
            for system in report["systems"]
        },
    )
    if timing is not None:
        draft.describe(speed=timing)


class _Bench:
    """The rows and the systems of one evaluation."""

    def __init__(self, spec: EvaluateSpec, run: RunContext) -> None:
        self.spec, self.run = spec, run
        self._test, self._train = run.open(spec.test), run.open(spec.train)
        test = self._test
        self.labels = label_set(test, self._train)
        self.test: LabelledRows = read_labelled(test, self.labels)
        self.systems = self._open_systems()
        self.num_answers = len(self.test) * sum(s.predict is not None for s in self.systems)
        self._num_done = 0
        left_out = sum(self.test.left_out.values())
        if left_out:
            run.log(f"{left_out} test rows cannot be judged", **self.test.left_out)
        run.count_rows(read=len(self.test) + left_out, written=len(self.test))

    @cached_property
    def groups(self) -> list[str] | None:
        """The group of each test row; None where they are not asked for."""
        column = self.spec.groups
        if column == "none":
            return None
        table = read_records(self._test, ["id", column])
        group_of = dict(zip(table["id"].to_pylist(), table[column].to_pylist(), strict=True))
        return [group_of[row_id] or "unknown" for row_id in self.test.ids]

    @cached_property
    def training_rows(self) -> LabelledRows:
        """The training set's usable rows, read when first needed."""
        return read_labelled(self._train, self.labels)

    @cached_property
    def baseline(self) -> Baseline:
        """The baseline, trained when first asked: a resumed run may have all its answers."""
        self.run.progress(self._num_done, self.num_answers, "texts", "training the baseline")
        trained = train_baseline(self.training_rows.texts, self.training_rows.truth)
        self.run.stop_if_asked()
        return trained

    def _open_systems(self) -> list[System]:
        systems = [
            System(BASELINE, "baseline", self._predict_baseline, lambda: self.baseline.megabytes)
        ]
        systems += [System(name, "prompt", None, lambda: None) for name in self.spec.prompts]
        return systems + [self._open_model(n, ref) for n, ref in self.spec.models.items()]

    def _predict_baseline(self, texts: Sequence[str]) -> Scores:
        """Scores in the order of the label set; a label without training rows has probability 0."""
        scores = np.zeros((len(texts), len(self.labels)), np.float32)
        scores[:, [self.labels.index(label) for label in self.baseline.labels]] = (
            self.baseline.predict(texts)
        )
        return scores

    def _open_model(self, name: str, reference: str) -> System:
        from workbench.models.folder import is_native
        from workbench.models.predictor import load_predictor

        folder = self.run.open(reference).path
        predictor = load_predictor(folder, num_threads=1)
        check_same_labels(predictor.labels, self.labels, f"{name} ({reference})")
        order = [predictor.labels.index(label) for label in self.labels]
        kind = "fp32 model" if is_native(folder) else "int8 model"
        return System(
            name, kind, lambda texts: predictor.predict(texts)[:, order],
            lambda: _megabytes(folder), folder,
        )  # fmt: skip

    # --- answers ---

    def answers_of(self, system: System) -> Answers:
        """Return a system's answers to all test rows, from durable parts of ``_CHUNK`` texts."""
        if system.predict is None:
            return self._answers_of_prompt(self.spec.prompts[system.name])
        parts = []
        for number, start in enumerate(range(0, len(self.test), _CHUNK)):
            texts = self.test.texts[start : start + _CHUNK]
            parts.append(self._part(system, f"answers-{system.name}-{number:05d}", texts))
            self._num_done += len(texts)
            self.run.progress(self._num_done, self.num_answers, "texts", system.name)
            self.run.stop_if_asked()
        scores = np.concatenate(parts)
        return Answers(answers(scores, self.labels), scores)

    def _part(self, system: System, key: str, texts: Sequence[str]) -> Scores:
        predict = system.predict
        assert predict is not None

        def write(folder: Path) -> None:
            np.save(folder / "scores.npy", predict(texts), allow_pickle=False)

        scores: Scores = np.load(self.run.checkpoint(key, write) / "scores.npy", allow_pickle=False)
        return scores

    def _answers_of_prompt(self, labelled: str) -> Answers:
        """Join a prompt's answers to the test rows by id; every test row must have one."""
        table = read_records(self.run.open(labelled))
        predicted, scores = read_predictions(table, self.labels, labelled)
        row_of = {row_id: row for row, row_id in enumerate(table["id"].to_pylist())}
        missing = [row_id for row_id in self.test.ids if row_id not in row_of]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(self.test)} test rows are not in {labelled}, "
                f"first {missing[0]!r}",
                where="prompts",
                next_step=f"Label {self.spec.test} itself and name the result here.",
            )
        rows = [row_of[row_id] for row_id in self.test.ids]
        return Answers([predicted[row] for row in rows], scores[rows])

    # --- results ---

    def report(self, question: Question, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Return the content of report.json; equal inputs give equal content."""
        training = self.training_rows
        return {
            "metric": question.metric,
            "rows": len(self.test),
            "labels": self.labels,
            "left_out": self.test.left_out,
            "training_rows": len(training),
            "training_left_out": training.left_out,
            "seen_in_training": num_seen(self.test.texts, training.texts),
            "reference_system": question.reference_system,
            "resamples": question.resamples,
            "seed": question.seed,
            "wished_difference": question.wished_difference,
            "systems": [
                {"name": s.name, "kind": s.kind, "megabytes": s.megabytes(), **found[s.name]}
                for s in self.systems
            ],
        }

    def measure_speed(self) -> dict[str, Any]:
        """Time all systems in turns; a model's speed-up is against the best fp32 runtime."""
        texts = choose_texts(self.test.texts, self.spec.speed_texts, self.spec.seed)
        timed = {s.name: s.predict for s in self.systems if s.predict is not None}
        teacher = self._largest_fp32()
        if teacher is not None:
            timed[FP32_ONNX] = self._onnx_of(teacher)

        def after_each(num_rounds: int) -> None:
            self.run.progress(num_rounds, REPETITIONS, "rounds", "timing")
            self.run.stop_if_asked()

        measured = time_in_turns(timed, texts, after_each)
        return speed_report(measured, len(texts), teacher.name if teacher else None)

    def _largest_fp32(self) -> System | None:
        """The full model that the others are smaller versions of."""
        full = [system for system in self.systems if system.kind == "fp32 model"]
        return max(full, key=lambda system: system.megabytes() or 0.0, default=None)

    def _onnx_of(self, teacher: System) -> Callable[[Sequence[str]], Scores]:
        """Export the teacher to ONNX Runtime fp32, mostly faster than eager torch."""
        from workbench.models.predictor import load_predictor

        folder = teacher.folder
        assert folder is not None
        self.run.progress(0, REPETITIONS, "rounds", f"exporting {teacher.name} to ONNX")
        exported = self.run.checkpoint(FP32_ONNX, lambda target: _export(folder, target))
        predict: Callable[[Sequence[str]], Scores] = load_predictor(exported, num_threads=1).predict
        return predict


def _export(model: Path, target: Path) -> None:
    """Write the same model with an ONNX graph in place of its weights."""
    from workbench.models.onnx_export import export_onnx

    for path in sorted(model.glob("*.json")):
        if path.name != MANIFEST and ".safetensors." not in path.name:
            shutil.copyfile(path, target / path.name)
    export_onnx(model, target / "model.onnx")


def _megabytes(folder: Path) -> float:
    """Size of all files that a model needs, in 10^6 bytes."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    return sum(path.stat().st_size for path in files) / 1e6
