"""A workspace without its daemon: a catalog, a queue, a folder of artifacts, and who keeps them."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from workbench.catalog.artifact_store import Address, ArtifactStore, localised
from workbench.catalog.artifacts import ARTIFACTS, find_artifact, list_artifacts
from workbench.catalog.database import Database, open_database
from workbench.catalog.folder_store import FolderStore
from workbench.catalog.retention import SECONDS_A_DAY
from workbench.core.artifact import Artifact, Draft
from workbench.daemon.keeping import Keeping
from workbench.queue.states import RunEvent
from workbench.queue.store import RunStore
from workbench.queue.submissions import Submission
from workbench.queue.tables import RUNS


class KeptWorkspace:
    """Makes artifacts as runs do, each by a run of its own, and looks at what is left of them."""

    def __init__(
        self, root: Path, artifacts: ArtifactStore | None = None, database: Database | None = None
    ) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.database: Database = database or open_database(root)
        self.artifacts = artifacts or FolderStore(root / "artifacts", root / "trash")
        self.runs = RunStore(self.database, root / "artifacts")
        self.keeping = Keeping(root, self.runs, self.artifacts)
        self._num_runs = len(self.runs.runs(limit=1_000))

    def start(self) -> None:
        """Begin as a new daemon does after a kill, and give up what was running."""
        for run in self.runs.active():
            self.runs.lose(run["run_id"], run["term"], "daemon restarted", blameless=True)
        for waiting in self.runs.waiting():
            self.runs.ask(waiting.run_id, RunEvent.CANCEL)
        self.keeping.start()

    def anew(self) -> KeptWorkspace:
        """Return the same workspace as the next daemon finds it."""
        return KeptWorkspace(self.root, self.artifacts, Database(self.database.engine.url))

    def close(self) -> None:
        """Close the database, as a daemon that ends."""
        self.database.close()

    def make(
        self, name: str, text: str, *parents: Artifact, cache_key: str | None = None,
        project: str = "default",
    ) -> Artifact:  # fmt: skip
        """Have a run make a data set of one file from its parents."""
        run_id = self.submit(*parents, cache_key=cache_key, project=project)
        self.runs.start(run_id, ["0"])
        made = self.seal(name, text, *parents)
        self.runs.commit(run_id, 1, {"dataset": made})
        return self.find(made.reference)

    def submit(
        self, *parents: Artifact, cache_key: str | None = None, project: str = "default",
        parent_run_id: str | None = None,
    ) -> str:  # fmt: skip
        """Submit a run that reads these."""
        self._num_runs += 1
        run_id = f"r{self._num_runs}"
        spec = json.dumps({"reads": [parent.reference for parent in parents]})
        self.runs.submit(
            Submission(run_id, "count", spec, cache_key, project=project,
                       parent_run_id=parent_run_id)
        )  # fmt: skip
        return run_id

    def seal(self, name: str, text: str, *parents: Artifact) -> Artifact:
        """Put files at their address, as an attempt does before it commits."""
        staging = self.root / "staging" / name
        shutil.rmtree(staging, ignore_errors=True)
        draft = Draft("dataset", name, staging)
        (draft.path / "rows.txt").write_text(text)
        sealed = self.artifacts.commit(draft)
        return Artifact(
            **{**sealed.__dict__, "parents": tuple(p.reference for p in parents), "made_by": "r0"}
        )

    def age(self, days: float, *artifacts: Artifact) -> None:
        """Make artifacts, or all runs, as old as this."""
        then = time.time() - days * SECONDS_A_DAY
        with self.database.write() as connection:
            for artifact in artifacts:
                change = sa.update(ARTIFACTS).where(ARTIFACTS.c.version == artifact.version)
                connection.execute(change.values(committed_at=then))
            if not artifacts:
                ended = RUNS.c.ended_at.is_not(None)
                connection.execute(sa.update(RUNS).where(ended).values(ended_at=then))

    def delete(self, artifact: Artifact, *, with_descendants: bool = False) -> dict[str, Any]:
        """Delete a version."""
        return self.keeping.delete(
            artifact.reference, artifact.kind, with_descendants, "somebody", "no longer wanted"
        )

    def find(self, reference: str) -> Artifact:
        """Return an artifact of the catalog."""
        with self.database.read() as connection:
            return find_artifact(connection, reference, self.runs.artifact_root)

    def references(self) -> set[str]:
        """Return all that the catalog names."""
        with self.database.read() as connection:
            found = list_artifacts(connection, self.runs.artifact_root)
        return {artifact.reference for artifact in found}

    def stored(self) -> set[str]:
        """Return all that the artifact store shows to readers."""
        found = [stored.address for stored in self.artifacts.find() if stored.is_whole]
        return {f"{address.name}@{address.version}" for address in found}

    def check_all_or_nothing(self) -> None:
        """See that what the catalog names is whole, and that what it does not name is not there."""
        with self.database.read() as connection:
            found = list_artifacts(connection, self.runs.artifact_root)
        for artifact in found:
            localised(self.artifacts, artifact).verify()
        assert self.stored() == {artifact.reference for artifact in found}


def make_old(path: Path, days: float) -> None:
    """Give a file or folder an old time of change."""
    then = time.time() - days * SECONDS_A_DAY
    os.utime(path, (then, then))


def address_of(artifact: Artifact) -> Address:
    """Return where an artifact is stored."""
    return Address(artifact.kind, artifact.name, artifact.version)
