"""What a run that succeeds leaves: artifacts, aliases, and an answer for equal submissions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.artifacts import find_artifact, insert_artifact, is_known, move_alias
from workbench.catalog.quotas import has_quota, over_quota, use_of
from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError
from workbench.queue.rows import end_attempt, get_row, move_run, record_of
from workbench.queue.states import RunEvent
from workbench.queue.tables import CACHE, RUNS


class Outcomes:
    """Records results, each within its caller's transaction: all of it or nothing.

    ``is_there`` says whether the files of an artifact are where they should be.
    """

    def __init__(self, artifact_root: Path, is_there: Callable[[Artifact], bool]) -> None:
        self._artifact_root = artifact_root
        self._is_there = is_there

    def succeed(
        self, connection: sa.Connection, row: Any, outputs: Mapping[str, Artifact], *,
        remember: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """Record all outputs and the run's success; ``remember`` offers them to later runs.

        Raises:
            ResourceError: files were cleared away between sealing and this; the run goes on.
        """
        run_id, term = row.run_id, row.term
        for artifact in outputs.values():
            if not self._is_there(artifact):
                raise ResourceError(
                    f"The files of {artifact.reference} were cleared away before they counted",
                    where=str(artifact.path),
                    next_step="Nothing is to be done: the run makes them again.",
                )
            insert_artifact(connection, replace(artifact, project=row.project), self._artifact_root)
        _point_latest_at(connection, outputs.values(), run_id)
        end_attempt(connection, run_id, term, "succeeded")
        references = {name: artifact.reference for name, artifact in outputs.items()}
        kinds = {name: artifact.kind for name, artifact in outputs.items()}
        move_run(
            connection,
            row,
            RunEvent.SUCCEED,
            outputs=json.dumps({"references": references, "kinds": kinds}),
            error=None,
        )
        if remember:
            _remember(connection, row)
        return record_of(get_row(connection, run_id))

    def answer_from_cache(
        self, connection: sa.Connection, run_id: str, cache_key: str | None
    ) -> None:
        """End the run at once with an earlier run's outputs, if those are still there."""
        if cache_key is None:
            return
        earlier = connection.execute(
            sa.select(RUNS)
            .join(CACHE, CACHE.c.run_id == RUNS.c.run_id)
            .where(CACHE.c.cache_key == cache_key)
        ).first()
        if earlier is None:
            return
        outputs = json.loads(earlier.outputs)
        artifacts = [
            find_artifact(connection, reference, self._artifact_root, outputs["kinds"][name])
            for name, reference in outputs["references"].items()
        ]
        if not all(map(self._is_there, artifacts)):
            return
        _point_latest_at(connection, artifacts, run_id)
        move_run(
            connection,
            get_row(connection, run_id),
            RunEvent.SUCCEED,
            cached=True,
            outputs=earlier.outputs,
            rows=earlier.rows,
            started_at=time.time(),
        )


def quota_error(
    connection: sa.Connection, project: str, made: Iterable[Artifact]
) -> ResourceError | None:
    """Return why these may not be committed; what is in the catalog already counts no more."""
    if not has_quota(connection, project):
        return None
    fresh = {a.reference: a.num_bytes for a in made if not is_known(connection, a)}
    use, more = use_of(connection, project), sum(fresh.values())
    return None if use.has_room_for(more) else over_quota(connection, use, more)


def _point_latest_at(connection: sa.Connection, artifacts: Iterable[Artifact], run_id: str) -> None:
    for made in artifacts:
        move_alias(connection, made.kind, made.name, "latest", made.version, run_id)


def _remember(connection: sa.Connection, row: Any) -> None:
    """Offer a finished run to later submissions of the same key; the newest finished wins.

    The first commit of equal content wins in the catalog; here the newest run is kept so that
    an entry whose files were deleted is replaced by the run that made them again.
    """
    if row.cache_key is not None:
        connection.execute(sa.delete(CACHE).where(CACHE.c.cache_key == row.cache_key))
        connection.execute(sa.insert(CACHE).values(cache_key=row.cache_key, run_id=row.run_id))
