"""What a training is for: what its model is, what it learns from, and how it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workbench.train.batches import Rows
from workbench.train.options import FitJob
from workbench.train.ranks import Ranks
from workbench.train.step import ModelInputs
from workbench.train.strategies.strategy import StepWork, Strategy

Figures = dict[str, float]


class TrainingTask(Protocol):
    """A model, the rows that it learns from and those that it is judged on."""

    model: Any
    lengths: npt.NDArray[np.int64]  # of the rows to learn from, in tokens

    @property
    def texts(self) -> ModelInputs:
        """Return the rows to learn from, and how many tokens of them were handed out."""
        ...

    def work(self, batch: Rows, step: int, num_slices: int, scale: float) -> StepWork:
        """Return a global batch as a strategy sees it."""
        ...

    def judge(self, strategy: Strategy) -> Figures:
        """Return figures over the validation rows, the same on all ranks.

        Raises:
            PeerLost: a rank died.
        """
        ...

    def is_better(self, figures: Figures, known: Figures) -> bool:
        """Whether a model with these figures is to be kept instead of one with those."""
        ...

    def describe(self, folder: Path) -> None:
        """Write all of the model's folder but its weights."""
        ...


def make_task(job: FitJob, ranks: Ranks) -> TrainingTask:
    """Return the task of a job."""
    from workbench.train.classification import Classification
    from workbench.train.language_modelling import LanguageModelling

    if job.task == "classify":
        return Classification(job, ranks)
    return LanguageModelling(job, ranks)
