"""A model cut into stages of consecutive layers; the slices of a batch pass through them in turn.

One forward, one backward (1F1B): a stage works on a slice backwards as soon as it can, so that it
holds the activations of few slices. Narayanan et al. 2019 (PipeDream); 2021 (Megatron-LM).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch  # noqa: TID253 (only ranks import this module, when work starts)
import torch.distributed as dist  # noqa: TID253
from torch import nn  # noqa: TID253

from workbench.train.batches import Rows, slices_of_rank
from workbench.train.options import FitJob
from workbench.train.ranks import Ranks, told_as_lost
from workbench.train.strategies.families import family_of
from workbench.train.strategies.owned import BlockOwner, OwnedBlock, OwnedBlocks
from workbench.train.strategies.strategy import (
    Gathered,
    Inputs,
    RowInputs,
    StepWork,
    Wishes,
    to_sum,
)


class _OnTheWay(NamedTuple):
    """A slice that a stage has worked on forwards and not yet backwards."""

    received: torch.Tensor | None
    output: torch.Tensor  # the loss, in the last stage


class Pipelined(BlockOwner):
    """A strategy over ``world / num_stages`` rows of ranks; rank s of a row has stage s."""

    def __init__(self, model: Any, job: FitJob, ranks: Ranks, *, num_stages: int) -> None:
        self._ranks = ranks
        self._stage, self._num_stages = ranks.rank % num_stages, num_stages
        self._row, self._num_rows = ranks.rank // num_stages, ranks.world // num_stages
        self._width = int(model.config.hidden_size)
        own = _cut(model, self._stage, num_stages)
        self._model = model
        self._group = _group_of_stage(self._stage, num_stages, self._num_rows)
        blocks = [
            OwnedBlock(
                name, parameter, parameter.detach(), tuple(parameter.shape),
                (0,) * parameter.ndim, num_copies=self._num_rows, writes=self._row == 0,
            )
            for name, parameter in own
        ]  # fmt: skip
        self.blocks = OwnedBlocks(blocks, job.options, ranks)

    @property
    def _is_first(self) -> bool:
        return self._stage == 0

    @property
    def _is_last(self) -> bool:
        return self._stage == self._num_stages - 1

    def gather(self, work: StepWork, wishes: Callable[[], Wishes]) -> Gathered:
        """Pass this row's slices through the stages."""
        own = slices_of_rank(self._row, self._num_rows, work.num_slices)
        numbers = [number for number in own if len(work.rows(number))]
        loss_here = torch.zeros(())
        self._model.train()
        on_the_way: deque[_OnTheWay] = deque()
        sent: list[dist.Work] = []
        with work.autocast(), told_as_lost():
            num_ahead = min(self._num_stages - 1 - self._stage, len(numbers))
            for place, number in enumerate(numbers):
                on_the_way.append(self._forward(work, number, sent))
                if self._is_last:
                    loss_here += on_the_way[-1].output.detach().cpu() / work.scale
                if place >= num_ahead:
                    self._backward(on_the_way.popleft(), sent)
            while on_the_way:
                self._backward(on_the_way.popleft(), sent)
            for each in sent:
                each.wait()
        found = to_sum(loss_here, wishes())
        self._ranks.sum(found)
        return Gathered.from_sums(found)

    def update(self, learning_rate: float, step: int, scale: float) -> bool:
        """Take a step along the gathered gradients, if they are numbers."""
        if self._num_rows > 1:
            self.blocks.sum_gradients(self._group)
        return self.blocks.update(learning_rate, step, scale)

    def answers(
        self, texts: RowInputs, parts: Iterable[Rows]
    ) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Yield logits on the last stage of each row."""
        self._model.eval()
        sent: list[dist.Work] = []
        with torch.no_grad(), texts.autocast(), told_as_lost():
            for number, rows in enumerate(parts):
                if number % self._num_rows != self._row:
                    continue
                inputs = texts.inputs(rows)
                received = self._receive(inputs)
                if self._is_last:
                    yield rows, self._head(inputs, received, **texts.arguments(rows)).logits
                else:
                    self._send(self._body(inputs, received), 1, sent)
            for each in sent:
                each.wait()

    # -- one slice --------------------------------------------------------------------------------

    def _forward(self, work: StepWork, number: int, sent: list[dist.Work]) -> _OnTheWay:
        rows = work.rows(number)
        inputs = work.inputs(rows)
        received = self._receive(inputs)
        if received is not None:
            received.requires_grad_()
        work.seed(number)
        if self._is_last:
            with work.clock("forward"):
                answer = self._head(inputs, received, **work.arguments(rows))
                return _OnTheWay(received, work.loss(answer, inputs, rows) * work.scale)
        with work.clock("forward"):
            output = self._body(inputs, received)
        self._send(output.detach(), 1, sent)
        return _OnTheWay(received, output)

    def _backward(self, slice_: _OnTheWay, sent: list[dist.Work]) -> None:
        gradient = None
        if not self._is_last:
            gradient = torch.empty_like(slice_.output)
            with self._ranks.clock("communication"):
                dist.recv(gradient, self._ranks.rank + 1)
        with self._ranks.clock("backward"):
            slice_.output.backward(gradient)  # type: ignore[no-untyped-call]
        if slice_.received is not None:
            assert slice_.received.grad is not None
            self._send(slice_.received.grad, -1, sent)

    def _receive(self, inputs: Inputs) -> torch.Tensor | None:
        if self._is_first:
            return None
        words = inputs["input_ids"]
        hidden = torch.empty(*words.shape, self._width, device=words.device)
        with self._ranks.clock("communication"):
            dist.recv(hidden, self._ranks.rank - 1)
        return hidden

    def _send(self, tensor: torch.Tensor, towards: int, sent: list[dist.Work]) -> None:
        work = dist.isend(tensor.float().contiguous(), self._ranks.rank + towards)
        assert work is not None
        sent.append(work)

    def _body(self, inputs: Inputs, received: torch.Tensor | None) -> torch.Tensor:
        """Return the hidden states after this stage's layers."""
        output: torch.Tensor = self._model.base_model(**_of(inputs, received)).last_hidden_state
        return output.float()

    def _head(self, inputs: Inputs, received: torch.Tensor | None, **arguments: Any) -> Any:
        return self._model(**_of(inputs, received), **arguments)


def _of(inputs: Inputs, received: torch.Tensor | None) -> Inputs:
    if received is None:
        return inputs
    return {"inputs_embeds": received, "attention_mask": inputs["attention_mask"]}


class _Received(nn.Module):
    """Stands for the embeddings where an earlier stage has made them."""

    def forward(self, inputs_embeds: torch.Tensor, **_others: Any) -> torch.Tensor:
        """Return what was received."""
        return inputs_embeds


def _cut(model: Any, stage: int, num_stages: int) -> list[tuple[str, nn.Parameter]]:
    """Leave a stage's layers in a model; return its parameters by the names they have in the whole.

    The first stage has the embeddings, the last one what stands behind the layers.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    base = model.base_model
    layers = family_of(model.config.to_dict()).layers(base)
    begin, end = (len(layers) * number // num_stages for number in (stage, stage + 1))
    parent, _, leaf = family_of(model.config.to_dict()).path.rpartition(".")
    setattr(base.get_submodule(parent), leaf, nn.ModuleList(list(layers)[begin:end]))
    if stage > 0:
        base.embeddings = _Received()
    if stage < num_stages - 1:
        if getattr(base, "pooler", None) is not None:
            base.pooler = None
        kept = {id(parameter) for parameter in base.parameters()}
    else:
        kept = {id(parameter) for parameter in model.parameters()}
    return [(names[id(p)], p) for p in model.parameters() if id(p) in kept]


def _group_of_stage(stage: int, num_stages: int, num_rows: int) -> Any:
    """Return the group of the ranks that have the same stage; all ranks make all groups."""
    groups = [
        dist.new_group([row * num_stages + each for row in range(num_rows)])
        for each in range(num_stages)
    ]  # fmt: skip
    return groups[stage]
