"""What a rank owns of a model that is spread over ranks: blocks of parameters, as plain tensors.

The optimiser works on each number by itself, so it works on blocks as on wholes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253 (only ranks import this module, when work starts)
import torch.distributed as dist  # noqa: TID253

from workbench.train.options import FitOptions
from workbench.train.ranks import Ranks, told_as_lost
from workbench.train.shards import Place, Shard
from workbench.train.strategies.optimiser import (
    MOMENTS,
    Optimiser,
    are_numbers,
    scale_to_norm,
)


@dataclass(frozen=True)
class OwnedBlock:
    """This rank's block of a parameter; ``num_copies`` ranks hold the same, one ``writes`` it."""

    name: str
    parameter: Any  # of the model; it may be a DTensor
    values: torch.Tensor
    shape: Place
    offset: Place
    num_copies: int
    writes: bool

    def gradient(self) -> torch.Tensor:
        """Return the block of the gradient; zeros where nothing depended on the parameter."""
        if self.parameter.grad is None:
            self.parameter.grad = torch.zeros_like(self.parameter)
        found = self.parameter.grad
        local: torch.Tensor = found.to_local() if hasattr(found, "to_local") else found
        return local

    def shard(self, values: torch.Tensor, suffix: str = "") -> Shard:
        """Return values that are laid out as the block is, as a shard."""
        return Shard(f"{self.name}{suffix}", values, self.shape, self.offset)


class OwnedBlocks:
    """All blocks of a rank, and their optimiser."""

    def __init__(self, blocks: list[OwnedBlock], options: FitOptions, ranks: Ranks) -> None:
        self._blocks = [block for block in blocks if block.values.numel()]
        self._ranks = ranks
        self._most_norm = options.clip_norm
        self._optimiser = Optimiser(
            [block.values for block in self._blocks if len(block.shape) > 1],
            [block.values for block in self._blocks if len(block.shape) <= 1], options,
        )  # fmt: skip

    def update(self, learning_rate: float, step: int, scale: float) -> bool:
        """Take a step along the gradients, if all ranks' are numbers, and forget them."""
        for block in self._blocks:
            block.values.grad = block.gradient()
        is_well = scale == 1.0 or self._unscale(scale)
        if is_well:
            if self._most_norm is not None:
                self._clip(self._most_norm)
            self._optimiser.update(learning_rate, step)
        for block in self._blocks:
            block.values.grad = block.parameter.grad = None
        return is_well

    def _unscale(self, scale: float) -> bool:
        gradients = [block.gradient() for block in self._blocks]
        num_broken = torch.tensor([0.0 if are_numbers(gradients) else 1.0])
        self._ranks.sum(num_broken)
        if num_broken:
            return False
        for gradient in gradients:
            gradient.div_(scale)
        return True

    def sum_gradients(self, group: Any) -> None:
        """Replace the gradients by their sums over a group of ranks, in one exchange.

        Raises:
            PeerLost: a rank died.
        """
        gradients = [block.gradient() for block in self._blocks]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with told_as_lost():
            dist.all_reduce(flat, group=group)
        start = 0
        for gradient in gradients:
            end = start + gradient.numel()
            gradient.copy_(flat[start:end].view_as(gradient))
            start = end

    def _clip(self, most_norm: float) -> None:
        gradients = [block.values.grad for block in self._blocks]
        squares = torch.zeros(1, dtype=torch.float64)
        for block, gradient in zip(self._blocks, gradients, strict=True):
            assert gradient is not None
            squares += float(gradient.double().square().sum()) / block.num_copies
        self._ranks.sum(squares)
        scale_to_norm([g for g in gradients if g is not None], float(squares), most_norm)

    def memory(self) -> dict[str, int]:
        """Return the bytes of weights, gradients and moments."""
        weights = sum(block.values.nbytes for block in self._blocks)
        return {"weights": weights, "gradients": weights, "moments": len(MOMENTS) * weights}

    def weights(self) -> list[Shard]:
        """Return the weights that this rank writes."""
        return [block.shard(block.values) for block in self._blocks if block.writes]

    def state(self) -> list[Shard]:
        """Return weights and moments that this rank writes."""
        return [s for block in self._blocks if block.writes for s in self._shards(block)]

    def held(self) -> list[Shard]:
        """Return weights and moments of this rank."""
        return [s for block in self._blocks for s in self._shards(block)]

    def _shards(self, block: OwnedBlock) -> list[Shard]:
        moments = [
            block.shard(self._optimiser.moment(name, block.values), f".{name}") for name in MOMENTS
        ]
        return [block.shard(block.values), *moments]


class BlockOwner:
    """What strategies have in common that spread a model: they tell of their blocks alike."""

    blocks: OwnedBlocks

    def memory(self) -> dict[str, int]:
        """Return the bytes of this rank's weights, gradients and moments."""
        return self.blocks.memory()

    def weights(self) -> list[Shard]:
        """Return the blocks of the model that this rank writes."""
        return self.blocks.weights()

    def state(self) -> list[Shard]:
        """Return the blocks of weights and moments that this rank writes."""
        return self.blocks.state()

    def held(self) -> list[Shard]:
        """Return the blocks of weights and moments of this rank."""
        return self.blocks.held()
