"""The whole model on each rank; the ranks share the slices of a batch (data parallel)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.train.batches import Rows
from workbench.train.options import FitJob
from workbench.train.ranks import Ranks
from workbench.train.shards import Shard, whole
from workbench.train.strategies.flat_parameters import FlatParameters
from workbench.train.strategies.optimiser import (
    MOMENTS,
    Optimiser,
    are_numbers,
    scale_to_norm,
)
from workbench.train.strategies.reduction import ExactReduction, QuickReduction
from workbench.train.strategies.strategy import Gathered, RowInputs, StepWork, Wishes, to_sum


class Replicated:
    """A strategy with one flat buffer for all that travels: one sum a step."""

    def __init__(self, model: Any, job: FitJob, ranks: Ranks) -> None:
        options = job.options
        self._model = model
        self._ranks = ranks
        self._most_norm = options.clip_norm
        self._weights = FlatParameters(model, options.batch_size * job.max_tokens, ranks.tensors)
        self._optimiser = Optimiser(
            self._weights.decayed_parts, [self._weights.others], options, ranks.tensors
        )
        self._reduction = ExactReduction(ranks) if options.exact else QuickReduction(ranks)
        self._tokens = torch.empty(0, dtype=torch.int64)

    def gather(self, work: StepWork, wishes: Callable[[], Wishes]) -> Gathered:
        """Gather what the slices of this rank give, then sum over all ranks."""
        if self._weights.reads_rows:
            self._tokens = work.tokens()
        self._weights.open_step(self._tokens)
        extra = self._weights.extra
        self._model.train()
        with work.autocast():  # around all slices: weights are cast once
            for number in self._reduction.over(self._weights.exchange, work.num_slices):
                told: torch.Tensor | float = 0.0
                rows = work.rows(number)
                if len(rows):
                    work.seed(number)
                    inputs = work.inputs(rows)
                    with work.clock("forward"):
                        loss = work.loss(
                            self._model(**inputs, **work.arguments(rows)), inputs, rows
                        )
                    with work.clock("backward"):
                        (loss * work.scale).backward()  # type: ignore[no-untyped-call]
                    told = loss.detach()
                extra += to_sum(told, wishes()).to(extra.device)
        return Gathered.from_sums(extra)

    def update(self, learning_rate: float, step: int, scale: float) -> bool:
        """Take a step along the gathered gradients, if they are numbers."""
        gradients = self._weights.gathered
        if scale != 1.0:
            if not are_numbers(gradients):
                self._weights.close_step()
                return False
            for gradient in gradients:
                gradient.div_(scale)
        if self._most_norm is not None:
            squares = sum(float(part.square().sum()) for part in gradients)
            scale_to_norm(gradients, squares, self._most_norm)
        if self._ranks.tensors.memory is not None:
            self._ranks.tensors.memory.open_update()
        with self._weights.rows_in_table(self._tokens):
            self._optimiser.update(learning_rate, step)
        return True

    def answers(
        self, texts: RowInputs, parts: Iterable[Rows]
    ) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Yield the logits of every so manyth part."""
        self._model.eval()
        with torch.inference_mode(), texts.autocast():
            for number, rows in enumerate(parts):
                if number % self._ranks.world == self._ranks.rank:
                    inputs = texts.inputs(rows)
                    yield rows, self._model(**inputs, **texts.arguments(rows)).logits

    def memory(self) -> dict[str, int]:
        """Return the bytes of weights, gradients and moments."""
        weights = sum(s.values.nbytes for s in self.held()) // (1 + len(MOMENTS))
        gradients = self._weights.num_gradient_bytes
        return {"weights": weights, "gradients": gradients, "moments": len(MOMENTS) * weights}

    def weights(self) -> list[Shard]:
        """Return the model, on the first rank: it is quicker written than put together."""
        if self._ranks.rank:
            return []
        return [whole(name, values) for name, values in self._model.state_dict().items()]

    def state(self) -> list[Shard]:
        """Return this rank's rows of each tensor: all ranks hold the same, and each writes some."""
        return [_rows_of(shard, self._ranks) for shard in self.held()]

    def held(self) -> list[Shard]:
        """Return weights and moments, whole."""
        found = []
        for part in self._weights.parts:
            found.append(whole(part.name, part.of(part.flat.data)))
            for moment in MOMENTS:
                values = self._optimiser.moment(moment, part.flat)
                found.append(whole(f"{part.name}.{moment}", part.of(values)))
        return found


def _rows_of(shard: Shard, ranks: Ranks) -> Shard:
    num_rows = shard.shape[0]
    begin, end = (num_rows * rank // ranks.world for rank in (ranks.rank, ranks.rank + 1))
    return shard._replace(values=shard.values[begin:end], offset=(begin, *shard.offset[1:]))
