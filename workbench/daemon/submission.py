"""From what a client asks for to a run in the queue: checked, resolved, with its cache key."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from workbench.catalog.artifacts import find_artifact
from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError
from workbench.core.registry import Stage, load_stage
from workbench.core.spec import Spec
from workbench.queue.store import RunStore, Submission


def make_submission(store: RunStore, request: dict[str, Any]) -> Submission:
    """Check a request and resolve its aliases to versions.

    Raises:
        SpecError: the stage or a parameter is unknown, or an artifact is not in the catalog.
        DataError: something that the Spec reads from outside cannot be read.
    """
    stage = load_stage(str(request.get("stage", "")))
    spec = resolve(store, stage.spec.parse(request.get("spec", {})))
    return Submission(
        run_id=str(request["run_id"]),
        stage=stage.name,
        spec=spec.canonical_json(),
        cache_key=cache_key(stage, spec),
        coordinator=stage.coordinator,
        parent_run_id=request.get("parent_run_id"),
        priority=_between("priority", request.get("priority", 0), -100, 100),
        workers=_between("workers", request.get("workers", 1), 1, 1024),
        submitted_by=str(request.get("submitted_by", ""))[:120],
    )


def resolve(store: RunStore, spec: Spec) -> Spec:
    """Return the Spec with every alias replaced by the version that it points at now."""
    with store.database.read() as connection:
        return spec.map_references(
            lambda kind, reference: (
                find_artifact(connection, reference, store.artifact_root, kind).reference
            )
        )


def read_inputs(store: RunStore, spec: Spec) -> dict[str, Artifact]:
    """Return the artifacts that a resolved Spec reads, by reference."""
    with store.database.read() as connection:
        return {
            reference: find_artifact(connection, reference, store.artifact_root, kind)
            for kind, reference in spec.references()
        }


def cache_key(stage: Stage, spec: Spec) -> str | None:
    """Return the hash of all that the result depends on; None if it must not be cached.

    References are resolved, so they stand for the content of the inputs; environment and hardware
    are recorded with the run and are no part of the key.
    """
    outside = ""
    if stage.fingerprint is not None:
        fingerprint = stage.fingerprint(spec)
        if fingerprint is None:
            return None
        outside = fingerprint
    parts = [stage.name, stage.version, spec.canonical_json(), outside]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _between(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise SpecError(f"{name}={value!r} is not a whole number from {least} to {most}",
                    where=name, next_step=f"Give {name} between {least} and {most}.")  # fmt: skip
