"""Training a classifier: on labels, on a teacher's answers, or on both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.models.checkpoint import new_classifier, open_classifier, save_description
from workbench.models.folder import write_json
from workbench.models.text_encoder import length_batches
from workbench.tasks.metrics import accuracy_of, macro_recall_of
from workbench.train.batches import Rows
from workbench.train.loss import Loss, Totals
from workbench.train.options import FitJob
from workbench.train.own_classifier import OwnClassifier, describe_own
from workbench.train.ranks import Ranks
from workbench.train.shards import HEAD_TO_CUT
from workbench.train.step import ModelInputs, SliceWork
from workbench.train.strategies.strategy import Inputs, StepWork, Strategy
from workbench.train.token_set import open_token_set
from workbench.train.training_task import Figures


class Classification:
    """A classifier with the macro recall that it reaches; see ``TrainingTask``."""

    def __init__(self, job: FitJob, ranks: Ranks) -> None:
        self._job = job
        self._ranks = ranks
        self._rows = open_token_set(job.train_set)
        self.lengths = self._rows.lengths
        self.model = _open(job).to(ranks.device)
        self._head = _head_of(self.model, job) if job.others else []
        self._loss = Loss(job, self._rows, ranks.device)
        self._asks = {"output_hidden_states": True} if self._loss.needs_hidden else {}
        self._pad_id = int(self.model.config.pad_token_id or 0)
        self.texts = ModelInputs(self._rows, self._pad_id, ranks, job.options.precision)

    def work(self, batch: Rows, step: int, num_slices: int, scale: float) -> StepWork:
        """Return a global batch as a strategy sees it."""
        return _ClassifierWork(
            self.texts, batch, self._job.options.seed, step, num_slices, scale, self._loss,
            self._asks,
        )  # fmt: skip

    def judge(self, strategy: Strategy) -> Figures:
        """Return macro recall and accuracy over the validation set."""
        counts = self._confusion(strategy)
        return {
            "macro_recall": float(macro_recall_of(counts)),
            "accuracy": float(accuracy_of(counts)),
        }

    def is_better(self, figures: Figures, known: Figures) -> bool:
        """Whether the macro recall is higher."""
        return figures["macro_recall"] > known["macro_recall"]

    def describe(self, folder: Path) -> None:
        """Write configuration, tokenizer and labels."""
        job = self._job
        if job.own_model is not None:
            describe_own(job.own_model, job, folder, self.model.config.pad_token_id)
            return
        if self._head:  # the heads of other schemes were there to learn by
            write_json(folder / HEAD_TO_CUT, {"names": self._head, "rows": len(job.labels)})
            _name_labels(self.model.config, job.labels)
        save_description(self.model, folder, job.model, job.max_tokens)

    def _confusion(self, strategy: Strategy) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Count (truth, answer) over all ranks, int64 [num_labels, num_labels + 1]."""
        assert self._job.validation_set is not None
        rows = open_token_set(self._job.validation_set)
        texts = ModelInputs(rows, self._pad_id, self._ranks, self._job.options.precision)
        num_labels = len(self._job.labels)
        counts = torch.zeros(num_labels, num_labels + 1, dtype=torch.int64)
        for part, logits in strategy.answers(texts, length_batches(rows.lengths)):
            answers = logits[:, :num_labels].argmax(-1).cpu().numpy()
            np.add.at(counts.numpy(), (rows.labels[part], answers), 1)
        self._ranks.sum(counts)
        return counts.numpy()


class _ClassifierWork(SliceWork):
    """One step's batch of a classifier."""

    def __init__(
        self, texts: ModelInputs, batch: Rows, seed: int, step: int, num_slices: int,
        scale: float, loss: Loss, asks: dict[str, bool],
    ) -> None:  # fmt: skip
        super().__init__(texts, batch, seed, step, num_slices, scale)
        self._loss = loss
        self._asks = asks
        self._totals: Totals = loss.totals(batch)

    def arguments(self, _rows: Rows) -> dict[str, Any]:
        """Return what the model is asked for beside its logits."""
        return self._asks

    def loss(self, output: Any, inputs: Inputs, rows: Rows) -> torch.Tensor:
        """Return a slice's share of the batch's loss."""
        return self._loss(output, inputs["attention_mask"], rows, self._totals)


def _open(job: FitJob) -> Any:
    if job.own_model is not None:
        return OwnClassifier(job.own_model, job)
    if job.new_head:
        others = [f"other {number}" for number in range(sum(job.others))]
        return new_classifier(job.model, [*job.labels, *others], job.options.seed)
    return open_classifier(job.model)


def _head_of(model: Any, job: FitJob) -> list[str]:
    """Return the names of the weights that have a row for each label."""
    size = len(job.labels) + sum(job.others)
    heads = [
        name for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == size
    ]  # fmt: skip
    return [name for name, _ in model.named_parameters() if name.rpartition(".")[0] == heads[-1]]


def _name_labels(config: Any, labels: list[str]) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
