"""A model whose parameters are spread over ranks: sharded by rows, cut across, or both.

Sharded (FSDP2, ``fully_shard``): each layer is put together while it computes. Zhao et al. 2023.
Cut across (tensor parallel, DTensor): each rank has some heads and some inner neurons of every
layer. Shoeybi et al. 2019 (Megatron-LM).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch  # noqa: TID253 (only ranks import this module, when work starts)
from torch import nn  # noqa: TID253
from torch.distributed.device_mesh import DeviceMesh  # noqa: TID253

from workbench.train.batches import Rows, slices_of_rank
from workbench.train.options import FitJob
from workbench.train.ranks import Ranks
from workbench.train.strategies.families import family_of
from workbench.train.strategies.owned import BlockOwner, OwnedBlock, OwnedBlocks
from workbench.train.strategies.strategy import Gathered, RowInputs, StepWork, Wishes, to_sum

_DATA, _TENSOR = "data", "tensor"


class Sharded(BlockOwner):
    """A strategy over ``world / ways`` rows of ``ways`` ranks that hold a model together.

    Ranks of a row work on the same slices, each on its part of every layer. Where a model is
    ``fully_sharded``, each rank keeps a block of what its row's ranks have in common with those of
    other rows.
    """

    def __init__(
        self, model: Any, job: FitJob, ranks: Ranks, *, ways: int, fully_sharded: bool
    ) -> None:
        self._model = model
        self._ranks = ranks
        self._num_rows, self._row = ranks.world // ways, ranks.rank // ways
        self._is_first_of_row = ranks.rank % ways == 0
        self._mesh = _mesh(model, self._num_rows, ways)
        if ways > 1:
            _cut_across(model, self._mesh[_TENSOR])
        self._sums_by_itself = fully_sharded
        if fully_sharded:
            _shard(model, self._mesh[_DATA])
        blocks = [_block(n, p, self._mesh, ranks) for n, p in model.named_parameters()]
        self.blocks = OwnedBlocks(blocks, job.options, ranks)

    def gather(self, work: StepWork, wishes: Callable[[], Wishes]) -> Gathered:
        """Work on this row's slices; blocks of gradients are summed over rows on the way."""
        of_rows = [self._slices(row, work) for row in range(self._num_rows)]
        numbers = of_rows[self._row]
        loss_here = torch.zeros(())
        self._model.train()
        for place in range(max(map(len, of_rows))):  # all ranks put layers together
            is_filler = place >= len(numbers)
            number = 0 if is_filler else numbers[place]
            rows = work.rows(number)
            work.seed(number)
            with work.autocast():
                inputs = work.inputs(rows)
                with work.clock("forward"):
                    loss = work.loss(self._model(**inputs, **work.arguments(rows)), inputs, rows)
                if is_filler:
                    loss = loss * 0.0
                # What shards a model takes the mean over rows; a batch's loss is a sum.
                factor = work.scale * (self._num_rows if self._sums_by_itself else 1)
                with work.clock("backward"):
                    (loss * factor).backward()  # type: ignore[no-untyped-call]
            if self._is_first_of_row:
                loss_here += loss.detach().cpu()
        found = to_sum(loss_here, wishes())
        self._ranks.sum(found)
        return Gathered.from_sums(found)

    def _slices(self, row: int, work: StepWork) -> list[int]:
        own = slices_of_rank(row, self._num_rows, work.num_slices)
        return [number for number in own if len(work.rows(number))]

    def update(self, learning_rate: float, step: int, scale: float) -> bool:
        """Take a step along the gathered gradients, if they are numbers."""
        if not self._sums_by_itself and self._num_rows > 1:
            self.blocks.sum_gradients(self._mesh.get_group(_DATA))
        return self.blocks.update(learning_rate, step, scale)

    def answers(
        self, texts: RowInputs, parts: Iterable[Rows]
    ) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Yield logits of every so manyth part on the first rank of each row."""
        self._model.eval()
        listed = list(parts)
        with torch.no_grad(), texts.autocast():
            for start in range(0, len(listed), self._num_rows):
                number = start + self._row
                is_filler = number >= len(listed)
                rows = listed[start if is_filler else number]
                logits = self._model(**texts.inputs(rows), **texts.arguments(rows)).logits
                if self._is_first_of_row and not is_filler:
                    yield rows, logits


def _mesh(model: nn.Module, num_rows: int, ways: int) -> DeviceMesh:
    from torch.distributed.device_mesh import init_device_mesh

    kind = next(model.parameters()).device.type
    return init_device_mesh(kind, (num_rows, ways), mesh_dim_names=(_DATA, _TENSOR))


def _cut_across(model: Any, mesh: DeviceMesh) -> None:
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    family = family_of(model.config.to_dict())
    plan: dict[str, Any] = {
        **{name: ColwiseParallel() for name in family.columns},
        **{name: RowwiseParallel() for name in family.rows},
    }
    for layer in family.layers(model.base_model):
        parallelize_module(layer, mesh, plan)


def _shard(model: Any, mesh: DeviceMesh) -> None:
    from torch.distributed.fsdp import fully_shard

    for layer in family_of(model.config.to_dict()).layers(model.base_model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _block(name: str, parameter: Any, mesh: DeviceMesh, ranks: Ranks) -> OwnedBlock:
    sharded: set[str] = set()
    values, offset = parameter.detach(), (0,) * parameter.ndim
    if hasattr(parameter, "to_local"):
        from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

        names = parameter.device_mesh.mesh_dim_names
        placed = zip(names, parameter.placements, strict=True)
        sharded = {name for name, placement in placed if not placement.is_replicate()}
        _, offset = compute_local_shape_and_global_offset(
            parameter.shape, parameter.device_mesh, parameter.placements
        )
        values = parameter.to_local().detach()
    num_blocks = math.prod(mesh[each].size() for each in sharded)
    writes = all(mesh.get_local_rank(each) == 0 for each in {_DATA, _TENSOR} - sharded)
    return OwnedBlock(
        name, parameter, values, tuple(parameter.shape), tuple(offset),
        num_copies=ranks.world // num_blocks, writes=writes,
    )  # fmt: skip
