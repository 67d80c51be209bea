"""The training loop of one rank: the only one there is, whatever the loss."""

from __future__ import annotations

import contextlib
import math
import time
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.core.errors import Cause, StageError
from workbench.models.checkpoint import new_classifier, open_classifier, save_classifier
from workbench.models.folder import read_json
from workbench.models.text_encoder import length_batches
from workbench.tasks.metrics import accuracy_of, macro_recall_of
from workbench.train import batches
from workbench.train.loss import Loss, Totals
from workbench.train.options import FitJob
from workbench.train.parameters import FlatParameters
from workbench.train.ranks import Ranks, Reporter
from workbench.train.reduction import ExactReduction, QuickReduction
from workbench.train.state import Place, best_key, read_state, state_key, write_state
from workbench.train.token_set import TokenSet, open_token_set

_REPORT_SECONDS = 0.5


class Fit:
    """Fits a job's model; all ranks of a gang go through the same steps together."""

    def __init__(self, job: FitJob, ranks: Ranks, reporter: Reporter) -> None:
        self._job = job
        self._ranks = ranks
        self._reporter = reporter
        self._train_set = open_token_set(job.train_set)
        self._model: Any = _open_model(job)
        self._pad_id = int(self._model.config.pad_token_id or 0)
        most_tokens = job.options.batch_size * job.max_tokens
        self._weights = FlatParameters(self._model, most_tokens)
        self._optimiser = _optimiser(self._weights, job)
        self._loss = Loss(job, self._train_set.labels)
        self._reduction = ExactReduction(ranks) if job.options.exact else QuickReduction(ranks)
        self._place = Place()
        if job.resume_from:
            self._place = read_state(job.resume_from, self._weights, self._optimiser)
        self._epoch_batches: tuple[int, list[batches.Rows]] = (-1, [])
        self._losses: list[tuple[int, float]] = []
        self._last_report = -math.inf  # the first step is told at once
        self._last_checkpoint = time.monotonic()

    @property
    def step(self) -> int:
        """Return how many steps are done, those of earlier attempts included."""
        return self._place.step

    @property
    def _is_first(self) -> bool:
        return self._ranks.rank == 0

    @property
    def _steps_per_epoch(self) -> int:
        return batches.num_batches(len(self._train_set), self._job.options.batch_size)

    @property
    def _num_steps(self) -> int:
        return self._steps_per_epoch * self._job.options.epochs

    def run(self) -> None:
        """Train to the end, or to the step at which all ranks know that they shall stop.

        Raises:
            StageError: the loss is no number any more.
            PeerLost: another rank died.
        """
        while True:
            if self._evaluation_is_due():
                self._evaluate()
            if self._place.step == self._num_steps:
                return self._finish()
            shall_stop = self._step()
            self._place.step += 1
            if shall_stop:
                self._report_losses()
                return self._checkpoint()
            self._report_often()

    # -- one step ---------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Learn from one global batch; return whether somebody asked the gang to stop."""
        if self._place.step in self._job.skipped:
            return False
        batch = self._batch()
        tokens = torch.from_numpy(self._train_set.tokens_in(batch))
        self._weights.open_step(tokens)
        self._gather(batch)
        self._check_loss(float(self._weights.extra[0]))
        self._set_learning_rate()
        self._weights.update(self._optimiser, tokens)
        return bool(self._weights.extra[1] > 0)

    def _batch(self) -> batches.Rows:
        epoch, index = divmod(self._place.step, self._steps_per_epoch)
        if self._epoch_batches[0] != epoch:
            options = self._job.options
            order = batches.epoch_batches(
                self._train_set.lengths, options.batch_size, options.seed, epoch
            )
            self._epoch_batches = (epoch, order)
        return self._epoch_batches[1][index]

    def _gather(self, batch: batches.Rows) -> None:
        """Gather the gradients, the loss, and whether somebody wants to stop, over all ranks."""
        totals = self._loss.totals(batch)
        options = self._job.options
        count = batches.num_slices(options.batch_size, options.virtual_ranks, self._job.num_shrinks)
        self._model.train()
        shall_stop = float((self._job.work / "stop").exists())
        with self._autocast():  # around all slices: weights are cast once
            for number in self._reduction.over(self._weights.exchange, count):
                self._weights.extra[1] += shall_stop
                rows = batches.slice_batch(batch, number, count)
                if len(rows):
                    torch.manual_seed(batches.slice_seed(options.seed, self._place.step, number))
                    self._weights.extra[0] += self._backward(rows, totals)

    def _backward(self, rows: batches.Rows, totals: Totals) -> float:
        """Add the gradients of one slice to those gathered; return its part of the loss."""
        inputs = _tensors(self._train_set, rows, self._pad_id)
        output = self._model(**inputs, output_hidden_states=self._loss.needs_hidden)
        loss = self._loss(output, inputs["attention_mask"], rows, totals)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._job.options.precision == "bf16":
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            # By each rank: whichever is heard to fail first has told it before.
            self._reporter.tell("diverged", step=self._place.step)
            raise StageError(
                f"The loss is {loss} at step {self._place.step}: training diverged",
                where=f"step {self._place.step}",
                next_step="Use a smaller learning rate, more warm-up, or precision float32.",
                cause=Cause.NOT_A_NUMBER,
            )
        self._losses.append((self._place.step, loss))

    def _set_learning_rate(self) -> None:
        options = self._job.options
        share = batches.learning_rate_share(self._place.step, self._num_steps, options.warmup_share)
        for group in self._optimiser.param_groups:
            group["lr"] = options.learning_rate * share

    # -- validation -------------------------------------------------------------------------------

    def _evaluation_is_due(self) -> bool:
        epoch, index = divmod(self._place.step, self._steps_per_epoch)
        options = self._job.options
        return (
            self._job.validation_set is not None
            and index == 0
            and epoch > self._place.evaluated_epochs
            and (epoch % options.evaluate_every == 0 or epoch == options.epochs)
        )

    def _evaluate(self) -> None:
        assert self._job.validation_set is not None
        epoch = self._place.step // self._steps_per_epoch
        counts = self._confusion(open_token_set(self._job.validation_set))
        macro_recall, accuracy = float(macro_recall_of(counts)), float(accuracy_of(counts))
        self._place.evaluated_epochs = epoch
        if self._is_first:
            self._report_losses()
            self._reporter.tell(
                "evaluation", epoch=epoch, macro_recall=macro_recall, accuracy=accuracy
            )
        known = self._place.macro_recall
        if not self._job.options.keep_best or known is None or macro_recall > known:
            self._place.macro_recall, self._place.accuracy = macro_recall, accuracy
            if self._job.options.keep_best:
                self._keep(epoch)
        self._checkpoint()

    def _confusion(self, rows: TokenSet) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Count (truth, answer) over all ranks, int64 [num_labels, num_labels + 1]."""
        num_labels = len(self._job.labels)
        counts = torch.zeros(num_labels, num_labels + 1, dtype=torch.int64)
        self._model.eval()
        with torch.inference_mode(), self._autocast():
            for number, part in enumerate(length_batches(rows.lengths)):
                if number % self._ranks.world != self._ranks.rank:
                    continue
                answers = self._model(**_tensors(rows, part, self._pad_id)).logits.argmax(-1)
                np.add.at(counts.numpy(), (rows.labels[part], answers.numpy()), 1)
        self._ranks.sum(counts)
        return counts.numpy()

    # -- what is kept -----------------------------------------------------------------------------

    def _keep(self, epoch: int) -> None:
        self._place.best, self._place.best_epoch = best_key(epoch), epoch
        if self._is_first:
            self._save("best")
            self._reporter.tell("keep", key=best_key(epoch), folder=str(self._job.work / "best"))

    def _checkpoint(self) -> None:
        if self._is_first:
            key = state_key(self._place)
            folder = self._job.work / key
            begun = time.monotonic()
            write_state(folder, self._place, self._weights, self._optimiser)
            best = self._place.best
            self._reporter.tell(
                "checkpoint", key=key, folder=str(folder), best=best, step=self._place.step,
                seconds=time.monotonic() - begun,
            )  # fmt: skip
            self._last_checkpoint = time.monotonic()

    def _finish(self) -> None:
        if not self._is_first:
            return
        self._report_losses()
        if self._place.best is None:
            self._save("final")
        self._reporter.tell("finished", place=vars(self._place))

    def _save(self, name: str) -> None:
        job = self._job
        save_classifier(self._model, job.work / name, job.model, job.max_tokens)

    # -- what is told -----------------------------------------------------------------------------

    def _report_often(self) -> None:
        now = time.monotonic()
        if now - self._last_report >= _REPORT_SECONDS:
            self._report_losses()
        if now - self._last_checkpoint >= self._job.options.checkpoint_seconds:
            self._checkpoint()

    def _report_losses(self) -> None:
        self._last_report = time.monotonic()
        if self._is_first:
            done, epoch = self._place.step, self._place.step // self._steps_per_epoch
            note = f"epoch {min(epoch + 1, self._job.options.epochs)}"
            self._reporter.tell(
                "steps", losses=self._losses, done=done, total=self._num_steps, note=note
            )
        self._losses = []


def fit(job_file: str, ranks: Ranks, reporter: Reporter) -> None:
    """Fit the job in a file."""
    from pathlib import Path

    job = FitJob.model_validate(read_json(Path(job_file)))
    work = Fit(job, ranks, reporter)
    reporter.tell("ready", step=work.step)
    work.run()


def _open_model(job: FitJob) -> Any:
    if job.new_head:
        return new_classifier(job.model, job.labels, job.options.seed)
    return open_classifier(job.model)


def _optimiser(weights: FlatParameters, job: FitJob) -> torch.optim.Optimizer:
    options = job.options
    groups = [
        {"params": [weights.decayed, weights.table], "weight_decay": options.weight_decay},
        {"params": [weights.others], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)


def _tensors(rows: TokenSet, numbers: batches.Rows, pad_id: int) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(a) for name, a in rows.pad(numbers, pad_id).items()}
