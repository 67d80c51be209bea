"""Joining rows to groups, and choosing each row's relative, over arrays of one entry a row."""

from __future__ import annotations

from typing import Any

from workbench.data.duplicates.compiled import Integer, compiled


@compiled
def find_root(parents: Any, row: Integer) -> Integer:
    """Return the first row of a row's group so far, shortening the way there."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@compiled
def join(parents: Any, left: Any, right: Any) -> None:
    """Join the groups of both rows of each pair; the lowest row of a group is its root."""
    for pair in range(len(left)):
        a, b = find_root(parents, left[pair]), find_root(parents, right[pair])
        if a < b:
            parents[b] = a
        elif b < a:
            parents[a] = b


@compiled
def flatten(parents: Any) -> None:
    """Let each row point at the root of its group; roots stand before their rows."""
    for row in range(len(parents)):
        parents[row] = parents[parents[row]]


@compiled
def choose_relatives(
    groups: Any, relatives: Any, similarities: Any, left: Any, right: Any, jaccard: Any
) -> None:
    """Take the better relative that pairs offer their rows.

    The best is the group's first row, then the most similar one, then the lowest.
    """
    for pair in range(len(left)):
        for side in range(2):
            row, other = (left[pair], right[pair]) if side else (right[pair], left[pair])
            if groups[row] == row or relatives[row] == groups[row]:
                continue
            is_first = groups[row] == other
            is_nearer = jaccard[pair] > similarities[row]
            is_lower = jaccard[pair] == similarities[row] and other < relatives[row]
            if is_first or is_nearer or is_lower:
                relatives[row], similarities[row] = other, jaccard[pair]
