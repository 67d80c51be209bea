"""What a form offers where a field names an artifact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from widgets.wording import facts
from workbench.core.artifact import Artifact

Catalogue = dict[str, list[dict[str, Any]]]


def catalogue_of(artifacts: Iterable[Artifact]) -> Catalogue:
    """Return ``{kind: [{reference, facts}]}``: newest first, each name's ``@latest`` before all.

    ``artifacts`` come newest first.
    """
    latest: Catalogue = {}
    exact: Catalogue = {}
    seen: set[tuple[str, str]] = set()
    for artifact in artifacts:
        told = facts(artifact.summary)
        if (artifact.kind, artifact.name) not in seen:
            seen.add((artifact.kind, artifact.name))
            entry = {"reference": f"{artifact.name}@latest", "facts": told}
            latest.setdefault(artifact.kind, []).append(entry)
        entry = {"reference": artifact.reference, "facts": told}
        exact.setdefault(artifact.kind, []).append(entry)
    return {kind: [*latest[kind], *exact[kind]] for kind in latest}
