"""Which versions nobody needs any more: the one policy of clearing away, as a pure function.

A version is superseded, and may go, when all of this holds: it is not the newest of its name; it is
older than the days given; no alias, deployment, pin or unfinished run names it; and nothing that is
kept was made from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.catalog.lineage import Needs, Node, ancestors

SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class Version:
    """A committed version as the policy sees it."""

    node: Node
    kind: str
    name: str
    committed_at: float  # seconds since 1970


def superseded(
    versions: Sequence[Version], needs: Needs, now: float, keep_days: float
) -> list[Version]:
    """Return the versions that may go, children before what they were made from."""
    newest: dict[tuple[str, str], Version] = {}
    for version in versions:
        best = newest.setdefault((version.kind, version.name), version)
        if version.committed_at >= best.committed_at:
            newest[version.kind, version.name] = version
    roots = {v.node.reference for v in newest.values()}
    roots |= {
        v.node.reference
        for v in versions
        if now - v.committed_at < keep_days * SECONDS_A_DAY or needs.of(v.node.reference)
    }
    kept = ancestors([v.node for v in versions], roots)
    gone = [v for v in versions if v.node.reference not in kept]
    return sorted(gone, key=lambda v: (-v.committed_at, v.node.reference))
