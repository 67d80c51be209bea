"""What the training loop asks of a strategy, and what a strategy asks of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.train.batches import Rows
from workbench.train.clock import PhaseClock
from workbench.train.shards import Shard

Inputs = dict[str, torch.Tensor]


class Wishes(NamedTuple):
    """What shall happen after a step: all ranks do it as soon as one of them wants it."""

    stop: bool
    save: bool


class Gathered(NamedTuple):
    """What a step has found over all ranks, beside the gradients."""

    loss: float
    wishes: Wishes

    @classmethod
    def from_sums(cls, numbers: torch.Tensor) -> Gathered:
        """Read the sum of ``to_sum`` over all ranks and slices."""
        loss, *wishes = numbers.tolist()
        return cls(loss, Wishes(*(number > 0 for number in wishes)))


def to_sum(loss: torch.Tensor | float, wishes: Wishes) -> torch.Tensor:
    """Return float32 [3]: a loss, and the wishes as numbers."""
    return torch.tensor([float(loss), *map(float, wishes)])


class RowInputs(Protocol):
    """Rows of a token set as a model takes them."""

    clock: PhaseClock

    def inputs(self, rows: Rows) -> Inputs:
        """Return ``input_ids`` and ``attention_mask`` of rows, int64 [rows, longest]."""
        ...

    def arguments(self, rows: Rows) -> dict[str, Any]:
        """Return what the model is told beside the inputs of rows: what else it shall return."""
        ...

    def autocast(self) -> Any:
        """Return the context in which the model computes in the precision asked for."""
        ...


class StepWork(RowInputs, Protocol):
    """One global batch, cut into slices."""

    num_slices: int
    scale: float  # of the loss before it goes backwards, so that small gradients are not lost

    def tokens(self) -> torch.Tensor:
        """Return the distinct token ids of the whole batch, int64, sorted."""
        ...

    def rows(self, number: int) -> Rows:
        """Return the rows of a slice; there may be none."""
        ...

    def seed(self, number: int) -> None:
        """Seed the random numbers of a slice: the same whoever works on it."""
        ...

    def loss(self, output: Any, inputs: Inputs, rows: Rows) -> torch.Tensor:
        """Return a slice's share of the batch's loss, a scalar."""
        ...


class Strategy(Protocol):
    """A model on the ranks of a gang: all ranks call the same methods in the same order."""

    def gather(self, work: StepWork, wishes: Callable[[], Wishes]) -> Gathered:
        """Gather the gradients of a global batch, its loss, and the wishes of all ranks.

        What a rank wishes is asked as late as can be, so that it is done after this very step.

        Raises:
            PeerLost: a rank died.
        """
        ...

    def update(self, learning_rate: float, step: int, scale: float) -> bool:
        """Take step number ``step``, from 0, along the gathered gradients.

        They are ``scale`` times too long. Returns False, and takes no step, where one of them is no
        number any more: the scale was too large.
        """
        ...

    def answers(
        self, texts: RowInputs, parts: Iterable[Rows]
    ) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Yield rows and their logits; each part is yielded on one rank."""
        ...

    def memory(self) -> dict[str, int]:
        """Return the bytes of this rank's weights, gradients and moments."""
        ...

    def weights(self) -> list[Shard]:
        """Return what this rank owns of the model; the ranks together own each number once."""
        ...

    def state(self) -> list[Shard]:
        """Return what this rank owns of weights and optimiser, each number once over all ranks."""
        ...

    def held(self) -> list[Shard]:
        """Return what this rank needs of weights and optimiser, to be filled from a checkpoint."""
        ...
