"""The search from fingerprints to groups, step by step; whoever asks makes the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.core.context import PartWriter
from workbench.data.duplicates.candidates import plan_candidates, write_candidates
from workbench.data.duplicates.columns import Column
from workbench.data.duplicates.edges import plan_edges, write_edges
from workbench.data.duplicates.fingerprints import Fingerprints
from workbench.data.duplicates.groups import GroupPart, find_groups, open_groups

# Makes parts, each in a folder of its own, and returns the folders in order; the last argument
# says for people what is done.
MakeParts = Callable[[Mapping[str, Any], PartWriter, str], list[Path]]


def search(taken: list[Path], make_parts: MakeParts, *, only_copies: bool = False) -> Column:
    """Return the group of each row (``groups.GROUP``), mapped into memory.

    Args:
        taken: the fingerprints of all partitions, in order.
        make_parts: makes parts durable, in any number of processes.
        only_copies: group texts of the same words only.
    """
    fingerprints = Fingerprints.of(taken)
    candidates = make_parts(plan_candidates(fingerprints), write_candidates, "candidates")
    edges = []
    if not only_copies:
        edges = make_parts(plan_edges(fingerprints, candidates), write_edges, "near-duplicates")
    part = GroupPart(fingerprints=fingerprints, candidates=tuple(candidates), edges=tuple(edges))
    (folder,) = make_parts({"groups": part}, find_groups, "groups")
    return open_groups(folder)
