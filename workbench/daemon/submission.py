"""From what a client asks for to a run in the queue: checked, resolved, with its cache key."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from workbench import __version__
from workbench.catalog.artifacts import find_artifact
from workbench.catalog.quotas import check_project
from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError, SpecError, WorkbenchError
from workbench.core.registry import Stage, load_stage
from workbench.core.spec import Spec
from workbench.core.workers import DEFAULT_WORKERS, MOST_WORKERS, Workers, parse_workers
from workbench.daemon.request import between, required
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission


def make_submission(store: RunStore, request: dict[str, Any], num_slots: int) -> Submission:
    """Check a request and resolve its aliases to versions; ``num_slots`` is the pool's size.

    Raises:
        SpecError: the stage or a parameter is unknown, an artifact is not in the catalog, or a
            range of workers begins above the pool's size.
        DataError: something that the Spec reads from outside cannot be read.
        ResourceError: who asks has another version of the workbench than this daemon.
    """
    _refuse_other_version(request.get("version", __version__))
    run_id = _run_id(required(request, "run_id", str), "run_id")
    parent = request.get("parent_run_id")
    stage = load_stage(required(request, "stage", str))
    workers = parse_workers(request.get("workers", DEFAULT_WORKERS))
    if not stage.coordinator:
        _refuse_what_never_starts(workers, num_slots)
    spec = resolve(store, stage.spec.parse(required({"spec": {}, **request}, "spec", dict)))
    workers, note = _of_use(workers, stage, spec)
    if not stage.coordinator and workers.least > num_slots:
        note = f"The pool has {num_slots} workers at most: the run gets those instead of {workers}"
    return Submission(
        run_id=run_id,
        stage=stage.name,
        spec=spec.canonical_json(),
        cache_key=cache_key(stage, spec),
        coordinator=stage.coordinator,
        elastic=stage.elastic is not None,
        note=note,
        parent_run_id=None if parent is None else _run_id(parent, "parent_run_id"),
        priority=_whole({"priority": 0, **request}, "priority", -100, 100),
        workers=workers,
        submitted_by=str(request.get("submitted_by", ""))[:120],
        project=check_project(required({"project": "default", **request}, "project", str)),
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


def key_now(store: RunStore, run_id: str) -> str:
    """Return the cache key that a run would have if it were submitted now.

    Empty where nothing from outside is part of it; not the one that it has where that has changed
    since, or is gone: what the run has made must not answer for what it was asked.
    """
    run = store.run(run_id)
    stage = load_stage(run["stage"])
    if stage.fingerprint is None:
        return ""
    try:
        return cache_key(stage, stage.spec.parse(run["spec"])) or "none"
    except WorkbenchError:
        return "none"


def _of_use(wished: Workers, stage: Stage, spec: Spec) -> tuple[Workers, str]:
    """Return for how many workers there is work, and what to tell of it if that is fewer."""
    most = wished.most if stage.elastic is None else stage.elastic(spec)
    workers = Workers(min(wished.least, most), min(wished.most, most))
    if wished.least <= most and (wished.most <= most or wished.most == MOST_WORKERS):
        return workers, ""
    return workers, f"There is work for {most} workers at most: {wished.wish} became {workers}"


def _refuse_other_version(version: object) -> None:
    """Refuse a Spec that another version has checked: here it may mean something else."""
    if version != __version__:
        raise ResourceError(
            f"This workspace's daemon is version {__version__}, yours is {version}",
            where="daemon",
            next_step="workbench down; the next daemon is of your version, and unfinished runs "
            "go on with it.",
        )


def _refuse_what_never_starts(workers: Workers, num_slots: int) -> None:
    """Refuse a range that begins above the pool's size; a plain number is cut to it instead."""
    if workers.is_range and workers.least > num_slots:
        raise SpecError(
            f"{workers.wish!r} needs at least {workers.least} workers, the pool has {num_slots}",
            where="workers",
            next_step=f"Ask for {Workers(num_slots, workers.most)}, or restart the daemon with "
            f"WORKBENCH_SLOTS={workers.least} or more.",
        )


def _whole(request: dict[str, Any], name: str, least: int, most: int) -> int:
    return between(required(request, name, int), name, least, most)


# A run's id is also the name of its folder.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def _run_id(text: Any, name: str) -> str:
    if isinstance(text, str) and _RUN_ID.fullmatch(text):
        return text
    raise SpecError(f"{name}={text!r:.80} is no run id", where=name,
                    next_step="Use up to 40 letters, digits, dots and dashes.")  # fmt: skip
