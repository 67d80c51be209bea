"""Which blocks of a page are its main text: the subtree with most prose, less what is around it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from workbench.data.pages.blocks import CONTAINERS, Block, Outline

_SENTENCE_END = re.compile(r"[.!?…。！？:;,،؟।][\"”’»)\']*(?:\s|$)|[。！？]")
_LITTLE_PROSE = 250  # characters


def select(page: Outline) -> list[Block]:
    """Return the blocks of the main text, in the order of the page."""
    if not page.parents:
        return []
    worth = [_worth(block) for block in page.blocks]
    totals = [0.0] * len(page.parents)
    for block, value in zip(page.blocks, worth, strict=True):
        totals[block.node] += value
    _add_up(page, totals)
    root = _descend(page, totals, _root(page, totals))
    inside = [False] * len(totals)
    inside[root] = True
    for node in range(root + 1, len(totals)):
        inside[node] = inside[page.parents[node]]
    chosen = [(b, v) for b, v in zip(page.blocks, worth, strict=True) if inside[b.node]]
    return _without_links(page, _after_title(chosen))


def _worth(block: Block) -> float:
    """Return the characters that speak for a block being prose, negative if against."""
    num = len(block.text)
    if block.link_characters > 0.5 * num:
        return -num
    if block.tag in ("p", "blockquote", "pre"):
        return num if num > 40 or _SENTENCE_END.search(block.text) else 0
    if block.tag[0] == "h" and len(block.tag) == 2:
        return 0
    has_end = _SENTENCE_END.search(block.text)
    if num > 80 and has_end:
        return num
    if num < 25:
        return -5
    return 0 if has_end else -0.3 * num


def _root(page: Outline, totals: list[float]) -> int:
    """Return the element with most prose, or the one named an article's body with nearly as much.

    Where there is hardly any prose, as in tables of results, a name is all there is to go by.
    """
    most = max(totals)
    named = [node for node, is_body in enumerate(page.is_body) if is_body]
    bodies = [node for node in named if totals[node] >= 0.8 * most]
    if most < _LITTLE_PROSE and named:
        characters = _characters(page)
        return max(named, key=lambda node: (characters[node], node))
    if bodies:
        most_body = max(totals[node] for node in bodies)
        return max(node for node in bodies if totals[node] >= 0.9 * most_body)
    best = [node for node, total in enumerate(totals) if total == most]
    if most <= 0:  # a few short lines
        characters = _characters(page)
        return max(best, key=lambda node: (characters[node], -node))
    return best[-1]


def _characters(page: Outline) -> list[int]:
    """Return how much text that is no link stands below each node."""
    characters = [0] * len(page.parents)
    for block in page.blocks:
        characters[block.node] += len(block.text) - block.link_characters
    _add_up(page, characters)
    return characters


def _add_up(page: Outline, values: list[Any]) -> None:
    """Add to each node's value those of all nodes below it."""
    for node in range(len(values) - 1, 0, -1):
        values[page.parents[node]] += values[node]


def _descend(page: Outline, totals: list[float], root: int) -> int:
    """Return the smallest container below a node that holds nearly all its prose."""
    if totals[root] <= 0:
        return root
    for node in range(root + 1, len(totals)):
        is_inner = page.parents[node] == root and totals[node] >= 0.85 * totals[root]
        if is_inner and page.tags[node] in CONTAINERS:
            root = node
    return root


def _after_title(chosen: list[tuple[Block, float]]) -> list[tuple[Block, float]]:
    """Leave out the headline and what stands above it, unless prose does."""
    first = next((i for i, (block, _) in enumerate(chosen) if block.tag == "h1"), None)
    if first is None:
        return chosen
    below = sum(max(0.0, value) for _, value in chosen[first + 1 :])
    return chosen[first + 1 :] if below > 0.8 * sum(max(0.0, v) for _, v in chosen) else chosen


def _without_links(page: Outline, chosen: list[tuple[Block, float]]) -> list[Block]:
    """Leave out what is mostly links, unless it is an item among items of prose."""
    lists: Counter[int] = Counter()
    for block, _ in chosen:
        if block.tag == "li":
            lists[page.parents[block.node]] += -1 if _is_links(block) else 1
    return [
        block
        for block, _ in chosen
        if not _is_links(block) or (block.tag == "li" and lists[page.parents[block.node]] > 0)
    ]


def _is_links(block: Block) -> bool:
    return block.link_characters > 0.5 * len(block.text) and len(block.text) < 200
