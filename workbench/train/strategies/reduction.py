"""How the gradients of a batch's slices become one sum, over all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.train.batches import slices_of_rank
from workbench.train.ranks import Ranks
from workbench.train.strategies.tree import Node, PartialSums, roots_over


class Reduction(Protocol):
    """Adds up what each slice leaves in a buffer."""

    def over(self, buffer: torch.Tensor, num_slices: int) -> Iterator[int]:
        """Yield this rank's slices; for each, its numbers are to be added to the buffer.

        Once all have been taken, the buffer holds the sum over the slices of all ranks.

        Raises:
            PeerLost: a rank died.
        """


class QuickReduction:
    """In whatever order is the quickest: the sum depends on the ranks, by its rounding."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def over(self, buffer: torch.Tensor, num_slices: int) -> Iterator[int]:
        """Yield this rank's slices, then sum with the other ranks."""
        buffer.zero_()
        yield from slices_of_rank(self._ranks.rank, self._ranks.world, num_slices)
        self._ranks.sum(buffer)


class ExactReduction:
    """In a fixed tree over the slices: the sum is bitwise the same however many ranks there are."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._spare: list[torch.Tensor] = []  # memory for partial sums, used again in each step

    def over(self, buffer: torch.Tensor, num_slices: int) -> Iterator[int]:
        """Yield this rank's slices, adding them up in the tree; then the ranks' shares of it."""
        own = slices_of_rank(self._ranks.rank, self._ranks.world, num_slices)
        sums = PartialSums[torch.Tensor](num_slices, self._add)
        for number in own:
            is_second = number % 2 == 1 and number > own.start
            if not is_second:  # the second of a pair is added to the first, in place
                buffer.zero_()
            yield number
            if number % 2 == 0 and number + 1 < own.stop:
                continue
            sums.push(Node(1, number // 2) if is_second else Node(0, number), buffer)
            if number + 1 < own.stop:
                node, value = sums.nodes[-1]
                sums.nodes[-1] = (node, self._kept(value))
        if self._ranks.world > 1:
            self._exchange(buffer, [value for _, value in sums.nodes], num_slices)

    def _exchange(
        self, buffer: torch.Tensor, own_roots: list[torch.Tensor], num_slices: int
    ) -> None:
        """Add up the partial sums of all ranks: each rank adds a share of the numbers."""
        world = self._ranks.world
        roots = [
            roots_over(slices_of_rank(rank, world, num_slices), num_slices)
            for rank in range(world)
        ]  # fmt: skip
        if world == 2 and len(roots[0]) == len(roots[1]) == 1:
            self._ranks.sum(buffer)  # two numbers: in either order the same
            return
        share = -(-len(buffer) // world)
        sent = buffer.new_zeros(world, len(own_roots), share)
        for number, root in enumerate(own_roots):
            for owner, part in enumerate(torch.split(root, share)):
                sent[owner, number, : len(part)] = part
        received = self._ranks.swap(sent, [len(nodes) for nodes in roots])
        sums = PartialSums[torch.Tensor](num_slices, lambda left, right: left.add_(right))
        for node, value in zip((n for nodes in roots for n in nodes), received, strict=True):
            sums.push(node, value)
        gathered = self._ranks.gather(sums.total).reshape(-1)
        buffer.copy_(gathered[: len(buffer)])
        self._spare += [root for root in own_roots if root.data_ptr() != buffer.data_ptr()]

    def _add(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        self._spare.append(left)
        return right.add_(left)

    def _kept(self, value: torch.Tensor) -> torch.Tensor:
        """Move a partial sum out of the buffer in which the next slice gathers."""
        while self._spare:
            spare = self._spare.pop()
            if len(spare) == len(value):
                return spare.copy_(value)
        return value.clone()
