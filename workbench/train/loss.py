"""What a step makes smaller: the error on labels, and for a student the distance to its teacher.

The loss of a global batch is the sum of its slices' losses: all denominators are those of the
whole batch, so that neither slices nor ranks show in it.

Sources: Hinton, Vinyals and Dean 2015 (soft labels, the factor T^2); Sanh et al. 2019 (a cosine
loss on hidden states beside them).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253 (only ranks import this module, when work starts)
from torch.nn import functional  # noqa: TID253

from workbench.models.embed import mean_pool
from workbench.train.batches import Rows
from workbench.train.options import FitJob, Teaching
from workbench.train.token_set import TokenSet


@dataclass(frozen=True)
class Totals:
    """Denominators of a global batch."""

    num_rows: int
    label_weight: float


class Loss:
    """The loss of a job: cross-entropy alone, or mixed with a teacher's answers.

    Logits of several label schemes stand side by side; a text's loss is over those of its own. A
    scheme of one label stands for scores: its logit shall be the text's, and the square of what is
    between them is the loss.
    """

    def __init__(self, job: FitJob, rows: TokenSet, device: torch.device) -> None:
        self._labels = rows.labels
        self._weights = rows.weights
        self._targets = rows.targets
        self._own = job.loss
        self._num_labels = len(job.labels)
        self._teacher = _Teacher(job.teaching) if job.teaching else None
        self.hard_share = 1.0 - job.teaching.soft_share if job.teaching else 1.0
        self.needs_hidden = bool(job.teaching and job.teaching.hidden_weight > 0)
        self._foreign = _foreign_logits([len(job.labels), *job.others], device)
        self._is_score = _are_scores([len(job.labels), *job.others], device)

    def totals(self, batch: Rows) -> Totals:
        """Return the denominators of a global batch."""
        labelled = batch[self._labels[batch] >= 0]
        return Totals(len(batch), float(self._weights[labelled].sum(dtype=np.float64)))

    def __call__(self, output: Any, mask: torch.Tensor, rows: Rows, totals: Totals) -> torch.Tensor:
        """Return a slice's share of the batch's loss, a scalar."""
        logits = output.logits.float()
        loss = self.hard_share * self._on_labels(logits, rows, totals)
        if self._teacher:
            pooled = mean_pool(output.hidden_states[-1], mask) if self.needs_hidden else None
            loss = loss + self._teacher.distance(logits, pooled, rows) / totals.num_rows
        return loss

    def _on_labels(self, logits: torch.Tensor, rows: Rows, totals: Totals) -> torch.Tensor:
        if totals.label_weight == 0:
            return logits.sum() * 0.0  # no label in the whole batch
        labels = torch.from_numpy(self._labels[rows]).to(logits.device)
        weights = torch.from_numpy(self._weights[rows]).to(logits.device)
        if self._foreign is not None:
            logits = logits.masked_fill(self._foreign[labels], -math.inf)
        each = functional.cross_entropy(logits, labels, ignore_index=-1, reduction="none")
        if self._is_score is not None:
            targets = torch.from_numpy(self._targets[rows]).to(logits.device)
            told = logits.gather(1, labels.clamp_min(0)[:, None])[:, 0]
            each = torch.where(self._is_score[labels], (told - targets) ** 2, each)
        if self._own is not None:
            is_own = (labels >= 0) & (labels < self._num_labels)
            own = self._own(logits[is_own, : self._num_labels], labels[is_own])
            each = each.masked_scatter(is_own, own.to(each.dtype))
        return (each * weights).sum() / totals.label_weight


def _foreign_logits(sizes: list[int], device: torch.device) -> torch.Tensor | None:
    """Return for each label which logits are of other schemes; None where there is only one.

    The last row is of texts without a label (-1): all logits are theirs.
    """
    if len(sizes) == 1:
        return None
    schemes = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    foreign = schemes[:, None] != schemes[None, :]
    return torch.cat([foreign, torch.zeros(1, len(schemes), dtype=torch.bool)]).to(device)


def _are_scores(sizes: list[int], device: torch.device) -> torch.Tensor | None:
    """Return for each label whether it stands for scores; None where none does.

    The last entry is of texts without a label (-1).
    """
    if 1 not in sizes:
        return None
    return torch.tensor([size == 1 for size in sizes for _ in range(size)] + [False]).to(device)


class _Teacher:
    """A teacher's stored answers and how far a student is from them, summed over rows."""

    def __init__(self, teaching: Teaching) -> None:
        self._temperature = teaching.temperature
        self._soft_share = teaching.soft_share
        self._hidden_weight = teaching.hidden_weight
        self._logits = np.load(teaching.scores / "logits.npy", mmap_mode="r")
        hidden = teaching.scores / "hidden.npy"
        self._hidden = np.load(hidden, mmap_mode="r") if teaching.hidden_weight > 0 else None

    def distance(
        self, logits: torch.Tensor, pooled: torch.Tensor | None, rows: Rows
    ) -> torch.Tensor:
        own = functional.log_softmax(logits / self._temperature, dim=-1)
        told = torch.from_numpy(self._logits[rows]).to(logits.device) / self._temperature
        target = functional.log_softmax(told, dim=-1)
        soft = functional.kl_div(own, target, reduction="sum", log_target=True)
        distance = self._soft_share * self._temperature**2 * soft
        if pooled is not None and self._hidden is not None:
            shown = torch.from_numpy(self._hidden[rows].astype(np.float32)).to(logits.device)
            cosine = functional.cosine_similarity(pooled.float(), shown, dim=-1)
            distance = distance + self._hidden_weight * (1.0 - cosine).sum()
        return distance
