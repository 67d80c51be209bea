"""The fixed tree in which the parts of a sum are added, so that its every bit is always the same.

Adding floating-point numbers in another order rounds in another way. A sum over virtual ranks is
therefore added up in a binary tree that depends on their number alone: whichever process holds
which of them, the same pairs are added. Two numbers give the same sum in both orders, so it does
not matter who adds a pair either.

Source of the idea: EasyScale (Li et al. 2023), which fixes the virtual ranks ("EasyScaleThreads")
and the order of their sum; here the tree lets each process add what it holds before it sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

_Value = TypeVar("_Value")


class Node(NamedTuple):
    """A node of the tree over ``num_leaves`` leaves: the leaves of one aligned block.

    Level 0 is a leaf; node ``position`` of a level stands above ``2 * position`` and, if there are
    so many leaves, ``2 * position + 1`` of the level below.
    """

    level: int
    position: int

    @property
    def start(self) -> int:
        """Return the first leaf below it."""
        return self.position << self.level


class PartialSums(Generic[_Value]):
    """Adds up neighbouring nodes of a tree as they come, from left to right."""

    def __init__(self, num_leaves: int, add: Callable[[_Value, _Value], _Value]) -> None:
        """Begin with none; ``add(left, right)`` returns a sum and may reuse either value."""
        self._num_leaves = num_leaves
        self._add = add
        self.nodes: list[tuple[Node, _Value]] = []  # that cannot be added up yet

    def push(self, node: Node, value: _Value) -> None:
        """Add the next node; it begins where the one before it ends."""
        while node.start > 0 or 1 << node.level < self._num_leaves:
            if node.position % 2:
                if not self.nodes or self.nodes[-1][0] != (node.level, node.position - 1):
                    break
                value = self._add(self.nodes.pop()[1], value)
            elif (node.position + 1) << node.level < self._num_leaves:
                break  # what stands on its right is still to come
            node = Node(node.level + 1, node.position // 2)
        self.nodes.append((node, value))

    @property
    def total(self) -> _Value:
        """Return the sum, once all leaves have come."""
        (((_, value),)) = self.nodes
        return value


def roots_over(leaves: Iterable[int], num_leaves: int) -> list[Node]:
    """Return the nodes into which consecutive leaves can be added up without any other."""
    sums = PartialSums[None](num_leaves, lambda _left, _right: None)
    for leaf in leaves:
        sums.push(Node(0, leaf), None)
    return [node for node, _ in sums.nodes]
