"""The training loop of one rank: the only one there is, whatever the loss."""

from __future__ import annotations

import math
import time
from typing import Any

from workbench.core.errors import Cause, StageError
from workbench.models.checkpoint import save_weights
from workbench.models.folder import read_json
from workbench.train import batches
from workbench.train.float8 import use_float8
from workbench.train.measure import best_flops, memory_now, most_memory
from workbench.train.options import FitJob
from workbench.train.profile import RankProfile
from workbench.train.ranks import Ranks, Reporter
from workbench.train.saver import Saver
from workbench.train.shards import PART_OF_MODEL, read_shards, write_shards
from workbench.train.state import Place, best_key, read_place
from workbench.train.strategies.make import make_strategy
from workbench.train.strategies.optimiser import MOMENTS, are_numbers
from workbench.train.strategies.strategy import Wishes
from workbench.train.training_task import make_task

_REPORT_SECONDS = 0.5
_OF_MOMENTS = tuple(f".{moment}" for moment in MOMENTS)  # how the names of these tensors end


class Fit:
    """Fits a job's model; all ranks of a gang go through the same steps together."""

    def __init__(self, job: FitJob, ranks: Ranks, reporter: Reporter) -> None:
        self._job = job
        self._ranks = ranks
        self._program_bytes = memory_now(ranks.device)
        self._reporter = reporter
        self._task = make_task(job, ranks)
        self._model: Any = self._task.model
        words = self._model.get_input_embeddings()
        num_looked_up = 0 if words is None else words.weight.numel()
        self._num_dense = sum(p.numel() for p in self._model.parameters()) - num_looked_up
        if job.options.precision == "fp8":
            reporter.tell("float8", layers=use_float8(self._model))
        if job.options.recompute:
            self._model.gradient_checkpointing_enable({"use_reentrant": False})
        self._strategy = make_strategy(self._model, job, ranks)
        if job.options.compile:
            self._model.compile(dynamic=True)
        self._saver = Saver(job.work, ranks.rank, reporter)
        self._place = Place()
        self._losses: list[tuple[int, float]] = []
        self._memory = ranks.tensors.memory
        if ranks.tensors.are_filled:
            self._place, self._losses = ranks.tensors.take_over()
        elif job.resume_from:
            self._place = read_place(job.resume_from)
            read_shards(job.resume_from, self._strategy.held())
        if self._memory is not None and self._memory.place != self._place:
            self._memory.close_update(self._place)
        self._first_step = self._place.step
        self._last_update = max(self._place.step - 1, 0)
        self._epoch_batches: tuple[int, list[batches.Rows]] = (-1, [])
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
        return batches.num_batches(len(self._task.lengths), self._job.options.batch_size)

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
                with self._ranks.clock("validation"):
                    self._evaluate()
            if self._place.step == self._num_steps:
                return self._finish()
            wishes = self._step()
            self._place.step += 1
            if self._ranks.pulse is not None:
                self._ranks.pulse.end_step()
            if self._memory is not None:
                self._memory.close_update(self._place)
            if wishes.stop:
                self._report_losses()
                return self._checkpoint(wait=True)
            if time.monotonic() - self._last_report >= _REPORT_SECONDS:
                self._report_losses()
            if wishes.save:
                self._checkpoint()

    # -- one step ---------------------------------------------------------------------------------

    def _step(self) -> Wishes:
        """Learn from one global batch; return what some rank wants of all ranks after it."""
        step, options = self._place.step, self._job.options
        if step in self._job.skipped:
            return Wishes(stop=False, save=False)
        count = batches.num_slices(options.batch_size, options.virtual_ranks, self._job.num_shrinks)
        scale = self._place.loss_scale if options.precision == "fp16" else 1.0
        work = self._task.work(self._batch(), step, count, scale)
        found = self._strategy.gather(work, self._wishes)
        self._check_loss(found.loss)
        share = batches.learning_rate_share(step, self._num_steps, options.warmup_share)
        with self._ranks.clock("optimiser"):
            was_taken = self._strategy.update(options.learning_rate * share, step, scale)
        self._last_update = step
        if options.precision == "fp16":
            self._place.adapt_scale(was_taken=was_taken)
        return found.wishes

    def _wishes(self) -> Wishes:
        """Return what this rank wants of all: the ranks hear of it together, with the gradients."""
        since = time.monotonic() - self._last_checkpoint
        is_due = self._is_first and since >= self._job.options.checkpoint_seconds
        is_due = is_due and not self._saver.is_busy
        return Wishes(stop=(self._job.work / "stop").exists(), save=is_due)

    def _batch(self) -> batches.Rows:
        epoch, index = divmod(self._place.step, self._steps_per_epoch)
        if self._epoch_batches[0] != epoch:
            options = self._job.options
            order = batches.epoch_batches(
                self._task.lengths, options.batch_size, options.seed, epoch
            )
            self._epoch_batches = (epoch, order)
        return self._epoch_batches[1][index]

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            blamed = self._blamed_step()
            what = f"The loss is {loss} at step {blamed}: training diverged"
            if blamed != self._place.step:
                what = f"The gradient of step {blamed} was no number, though its loss was one"
            # By each rank: whichever is heard to fail first has told it before.
            self._reporter.tell("diverged", step=blamed, is_in_weights=blamed != self._place.step)
            raise StageError(
                what,
                where=f"step {blamed}",
                next_step="Use a smaller learning rate, more warm-up, or precision float32.",
                cause=Cause.NOT_A_NUMBER,
            )
        self._losses.append((self._place.step, loss))
        if self._memory is not None:
            self._memory.note_loss(self._place.step, loss)

    def _blamed_step(self) -> int:
        """Return the step that made the loss no number: this one, or the update before it.

        What the optimiser keeps tells: it begins with zeros, and only gradients get into it.
        """
        kept = [s.values for s in self._strategy.held() if s.name.endswith(_OF_MOMENTS)]
        return self._place.step if are_numbers(kept) else self._last_update

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
        epoch = self._place.step // self._steps_per_epoch
        figures = self._task.judge(self._strategy)
        self._place.evaluated_epochs = epoch
        if self._is_first:
            self._report_losses()
            self._reporter.tell("evaluation", epoch=epoch, figures=figures)
        known, keep_best = self._place.figures, self._job.options.keep_best
        if not keep_best or known is None or self._task.is_better(figures, known):
            self._place.figures = figures
            if keep_best:
                self._keep(epoch)
        self._checkpoint()

    # -- what is kept -----------------------------------------------------------------------------

    def _keep(self, epoch: int) -> None:
        with self._ranks.clock("saving"):
            self._saver.finish()  # what does not point to the new best shall not come after it
            self._place.best, self._place.best_epoch = best_key(epoch), epoch
            # In a folder of its own: the stage may still be at work on that of the epoch before.
            self._save(best_key(epoch), best_key(epoch))

    def _checkpoint(self, *, wait: bool = False) -> None:
        self._last_checkpoint = time.monotonic()
        with self._ranks.clock("saving"):
            self._saver.save(self._place, self._strategy.state(), wait=wait)

    def _finish(self) -> None:
        with self._ranks.clock("saving"):
            self._saver.finish()
            self._report_losses()
            if self._place.best is None:
                self._save("final")
        self._tell_profile()
        if self._is_first:
            self._reporter.tell("finished", place=vars(self._place))

    def _tell_profile(self) -> None:
        device, precision = self._ranks.device, self._job.options.precision
        seconds = self._ranks.clock.read()
        peak = most_memory(device)
        memory = {"program": self._program_bytes, **self._strategy.memory()}
        memory["activations"] = max(peak - sum(memory.values()), 0)
        told = RankProfile(
            seconds={**seconds}, steps=self._place.step - self._first_step,
            tokens=self._task.texts.num_tokens, padded_tokens=self._task.texts.num_padded,
            parameters=self._num_dense, memory=memory, peak_bytes=peak,
            peak_flops=best_flops(device, precision),
        )  # fmt: skip
        self._reporter.tell("profile", profile=told.model_dump())

    def _save(self, name: str, key: str = "") -> None:
        """Write what this rank owns of the model; the stage makes one file of all parts."""
        job, folder = self._job, self._job.work / name
        folder.mkdir(parents=True, exist_ok=True)
        if self._is_first:
            self._task.describe(folder)
        if job.layout.kind != "ddp":
            path = folder / f"{PART_OF_MODEL}{self._ranks.rank:05d}.safetensors"
            write_shards(path, self._strategy.weights())
        elif self._is_first:
            save_weights(self._model, folder)
        self._reporter.tell("model", key=key, folder=str(folder))

    # -- what is told -----------------------------------------------------------------------------

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
