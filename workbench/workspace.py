"""The public face: a Workspace, its runs and its artifacts, from a notebook or a script."""

from __future__ import annotations

import getpass
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from workbench import __version__
from workbench.core.artifact import Artifact
from workbench.core.client import RUN_PATIENCE_SECONDS, Client
from workbench.core.daemon_process import WorkspaceEndpoint, has_ended, running_daemon
from workbench.core.errors import ResourceError
from workbench.core.paths import home_expanded
from workbench.core.registry import stage_of
from workbench.core.sizes import parse_bytes
from workbench.core.spec import Spec
from workbench.core.views import load_view
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish, read_wish
from workbench.pool.dask_mirror import FOLDER
from workbench.pool.dask_process import address_in, security_of
from workbench.runs import PARENT_RUN, Run

if TYPE_CHECKING:
    from workbench.catalog.artifact_store import ArtifactStore
    from workbench.pool.providers.provider import PoolSpec
    from workbench.tasks.metrics import Metric

_DASK_SECONDS = 3.0  # for a scheduler on this host to answer


def default_root() -> Path:
    """Return the workspace's folder: ``WORKBENCH_WORKSPACE``, else ``~/.workbench``."""
    return home_expanded(os.environ.get("WORKBENCH_WORKSPACE") or "~/.workbench").absolute()


class Workspace:
    """Where everything is kept: catalog, queue and pool, behind one daemon.

    Opening one joins the workspace's daemon or starts it on first use. What is submitted here
    counts against the quota of ``project`` (``WORKBENCH_PROJECT``, else ``default``).
    """

    def __init__(self, path: str | Path | None = None, *, project: str | None = None) -> None:
        self.root = home_expanded(path).absolute() if path else default_root()
        self.project = project or os.environ.get("WORKBENCH_PROJECT") or "default"
        is_in_run = PARENT_RUN in os.environ  # nobody reads an error there in time
        self.client = Client(
            WorkspaceEndpoint(self.root),
            database_seconds=RUN_PATIENCE_SECONDS if is_in_run else 0.0,
        )
        self._store: ArtifactStore | None = None

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def submit(
        self, spec: Spec, *, priority: int = 0, workers: WorkersWish = DEFAULT_WORKERS
    ) -> Run:
        """Queue a Spec and return at once; the run is durable when this returns.

        ``workers`` is how many pool slots it gets: ``4``, or within a range what is free when it
        starts: ``"2..8"``, ``"2.."``. Higher ``priority`` (-100 to 100) starts first and may ask
        lower runs to give way.

        Raises:
            SpecError: the Spec names an artifact that is not there, or the pool can never have as
                many workers as the range needs.
            DataError: something that the Spec reads from outside cannot be read.
        """
        spec = spec.submitted()
        request = {
            "run_id": f"r-{secrets.token_hex(5)}",  # ours, so that asking twice is asking once
            "stage": stage_of(spec).name,
            "spec": spec.model_dump(mode="json"),
            "priority": priority,
            "workers": read_wish(workers),
            "parent_run_id": os.environ.get(PARENT_RUN),
            "submitted_by": getpass.getuser(),
            "project": self.project,
            "version": __version__,
        }
        return Run(self, self.client.post("/runs", request)["run_id"])

    def do(self, spec: Spec, *, priority: int = 0, workers: WorkersWish = DEFAULT_WORKERS) -> Any:
        """Submit, wait, and return the artifact made (or Results, if there are several)."""
        results = self.submit(spec, priority=priority, workers=workers).wait().outputs()
        return next(iter(results.values())) if len(results) == 1 else results

    def run(self, run_id: str) -> Run:
        """Return a run by its id.

        Raises:
            SpecError: there is none.
        """
        run = Run(self, run_id)
        run.record()
        return run

    def runs(self, limit: int = 50) -> list[Run]:
        """Return the newest runs, newest first."""
        return [Run(self, record["run_id"]) for record in self.run_records(limit)]

    def dask_client(self, timeout: float = 60.0) -> Any:
        """Return a ``distributed.Client`` of the pool's own Dask cluster.

        For what is computed beside runs. Runs are in it as placeholders that hold ``slots``: tasks
        that ask for some (``client.submit(f, resources={"slots": 1})``) keep out of their way.

        Raises:
            ResourceError: the cluster did not come up within this many seconds; it comes up some
                seconds after the pool.
        """
        from distributed import Client as DaskClient

        self.client.get("/status")  # starts the daemon, and with it the pool
        folder = self.root / FOLDER
        deadline = time.monotonic() + timeout
        while True:
            try:
                # Not for long at one place: one that has just died has a successor elsewhere.
                return DaskClient(
                    address_in(folder), security=security_of(folder), set_as_default=False,
                    timeout=_DASK_SECONDS,
                )  # fmt: skip
            except OSError as error:  # none yet, or one that has just died
                if time.monotonic() > deadline:
                    raise ResourceError(
                        f"The pool's Dask cluster did not come up in {timeout:g} s",
                        where=str(folder),
                        next_step="Read the end of daemon.log in the workspace; a daemon that was "
                        "started with WORKBENCH_DASK=none has no cluster.",
                    ) from error
                time.sleep(0.1)

    def run_records(self, limit: int = 50, parent: str | None = None) -> list[dict[str, Any]]:
        """Return the newest runs as plain values, newest first."""
        found: list[dict[str, Any]] = self.client.get("/runs", limit=limit, parent=parent)
        return found

    def artifact(self, reference: str, kind: str | None = None) -> Artifact:
        """Return an artifact by ``name@version`` or ``name@alias``, its files under ``path``.

        Raises:
            SpecError: there is none, or it was deleted (by whom and why is told).
        """
        found = Artifact.from_json(self.client.get(f"/artifacts/{reference}", kind=kind))
        return self._localised(found)

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """Return the newest artifacts, newest first.

        In a workspace that keeps its artifacts in an object store, only ``artifact`` brings the
        files to this machine.
        """
        return [Artifact.from_json(record) for record in self.client.get("/artifacts", kind=kind)]

    def _localised(self, artifact: Artifact) -> Artifact:
        from workbench.catalog.artifact_store import localised, open_artifact_store, recorded_url

        if not recorded_url(self.root):
            return artifact
        self._store = self._store or open_artifact_store(self.root)
        return localised(self._store, artifact)

    # -- keeping it tidy --------------------------------------------------------------------------

    def delete(
        self,
        reference: str,
        *,
        kind: str | None = None,
        with_descendants: bool = False,
        dry_run: bool = False,
        reason: str = "",
    ) -> dict[str, Any]:
        """Delete a version, and with ``with_descendants`` all that was made from it.

        What is left is a tombstone (see ``deleted``). ``dry_run`` only says what would go.

        Returns:
            ``{goes: [{kind, reference, num_bytes, committed_at}], num_bytes}``; a dry run also
            says what is in the way: ``blockers`` and ``descendants``.

        Raises:
            SpecError: something depends on it; each thing is named.
        """
        found = Artifact.from_json(self.client.get(f"/artifacts/{reference}", kind=kind))
        query = {"kind": found.kind, "with_descendants": "true" if with_descendants else "false"}
        exact = f"/artifacts/{found.reference}"
        if dry_run:
            return self._record(self.client.get(f"{exact}/deletion", **query))
        query |= {"by": getpass.getuser(), "reason": reason}
        return self._record(self.client.delete(f"{exact}?{urlencode(query)}"))

    def deleted(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the tombstones of what was deleted, newest first: who, when, why, its parents."""
        found: list[dict[str, Any]] = self.client.get("/tombstones", name=name)
        return found

    def gc(self, *, keep_days: float = 30, dry_run: bool = False) -> list[dict[str, Any]]:
        """Clear away what nobody needs; return ``[{what, name, why, num_bytes}]``.

        That is: files of killed attempts, scratch of runs that are over, and versions older than
        ``keep_days`` that are not the newest of their name, have no alias, deployment or pin, and
        are no parent of anything kept.
        """
        body = {"keep_days": keep_days, "dry_run": dry_run, "by": getpass.getuser()}
        found: list[dict[str, Any]] = self.client.post("/gc", body)
        return found

    def pin(self, reference: str, *, kind: str | None = None) -> Artifact:
        """Keep a version whatever else is deleted or cleared away."""
        return Artifact.from_json(self.client.put(self._part(reference, "pin", kind), {}))

    def unpin(self, reference: str, *, kind: str | None = None) -> Artifact:
        """Take a pin away."""
        return Artifact.from_json(self.client.delete(self._part(reference, "pin", kind)))

    def alias(self, reference: str, name: str, *, kind: str | None = None) -> Artifact:
        """Point an alias of your own at a version; the log keeps where it pointed before."""
        part = self._part(reference, f"aliases/{name}", kind)
        return Artifact.from_json(self.client.put(part, {}))

    def unalias(self, reference: str, *, kind: str | None = None) -> Artifact:
        """Take an alias away: ``unalias("comments@gold")``."""
        alias = reference.partition("@")[2]
        found = self.client.get(f"/artifacts/{reference}", kind=kind)
        exact = f"{found['name']}@{found['version']}"
        part = self._part(exact, f"aliases/{alias}", found["kind"])
        return Artifact.from_json(self.client.delete(part))

    def _part(self, reference: str, part: str, kind: str | None) -> str:
        query = f"?{urlencode({'kind': kind})}" if kind else ""
        return f"/artifacts/{reference}/{part}{query}"

    def _record(self, answer: Any) -> dict[str, Any]:
        found: dict[str, Any] = answer
        return found

    def quotas(self) -> list[dict[str, Any]]:
        """Return ``[{project, num_bytes, num_artifacts, limit}]``; no limit is None."""
        found: list[dict[str, Any]] = self.client.get("/quotas")
        return found

    def set_quota(self, project: str, size: str | int | None) -> dict[str, Any]:
        """Limit what a project's artifacts may take (``"20GB"`` or bytes); None lifts the limit.

        Raises:
            SpecError: the size or the project is none.
        """
        if size is None:
            return self._record(self.client.delete(f"/quotas/{project}"))
        num_bytes = parse_bytes(size) if isinstance(size, str) else size
        return self._record(self.client.put(f"/quotas/{project}", {"num_bytes": num_bytes}))

    def backup(
        self, target: str | Path, tell: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, Any]:
        """Save the workspace while it works: into a folder (only what is new), or a ``*.tar``.

        ``tell(done, total)`` is called with the number of artifacts.

        Returns:
            ``{target, num_artifacts, num_copied, num_bytes_copied}``.

        Raises:
            DataError: an artifact is damaged.
        """
        from workbench.daemon.backup import VanishedError, write_backup

        for tries_left in (2, 1, 0):  # an artifact may be deleted while we copy
            body = {"name": secrets.token_hex(8)}
            snapshot = Path(self.client.post("/snapshot", body)["path"])
            try:
                return write_backup(self.root, snapshot, home_expanded(target), tell)
            except VanishedError:
                if not tries_left:
                    raise
            finally:
                snapshot.unlink(missing_ok=True)
        raise AssertionError("the loop returns or raises")

    def deployments(self) -> list[dict[str, Any]]:
        """Return what is served now."""
        found: list[dict[str, Any]] = self.client.get("/deployments")
        return found

    def status(self) -> dict[str, Any]:
        """Return what the daemon is doing."""
        found: dict[str, Any] = self.client.get("/status")
        return found

    def use_pool(self, spec: PoolSpec) -> bool:
        """Have the pool's hosts from this provider from now on; see ``workbench pool use``.

        A daemon that runs is stopped: the next one has the new hosts, and unfinished runs go on
        there from their checkpoints. Returns whether one was stopped.

        Raises:
            SpecError: no provider takes such a Spec.
            ResourceError: the provider cannot be used here; nothing is changed.
        """
        from workbench.pool.agents import Agents
        from workbench.pool.providers.registry import write_pool

        spec.open(self.root, Agents())
        is_stopped = self.stop()
        write_pool(self.root, spec)
        return is_stopped

    def stop(self) -> bool:
        """Stop the daemon in an orderly way; unfinished runs go on with the next one.

        Returns whether there was one.
        """
        found = running_daemon(self.root)
        if found is None:
            return False
        self.client.post("/shutdown")
        while not has_ended(found, self.root):
            time.sleep(0.05)
        return True

    def pool(self) -> dict[str, Any]:
        """Return the slots with their runs, the runs that work, and those that wait, with why."""
        found: dict[str, Any] = self.client.get("/pool")
        return found

    def shares(self) -> list[dict[str, Any]]:
        """Return what projects and users are entitled to in the pool, where something is set."""
        found: list[dict[str, Any]] = self.client.get("/pool/shares")
        return found

    def set_share(
        self, name: str, *, weight: float = 1.0, most_slots: int | None = None
    ) -> dict[str, Any]:
        """Set how a project (or ``PROJECT/USER``) shares the pool with the others.

        Who has twice the weight gets twice the slots while others wait too; ``most_slots`` are the
        most that it may hold at once, whoever else waits.

        Raises:
            SpecError: the name is none, or a number makes no sense.
        """
        body = {"weight": float(weight), "most_slots": most_slots}
        return self._record(self.client.put(f"/pool/shares/{name}", body))

    def drop_share(self, name: str) -> None:
        """Let a project or user share the pool as everybody does."""
        self.client.delete(f"/pool/shares/{name}")

    def watch_pool(self) -> Any:
        """Show the pool, live (in a notebook): who holds its slots, who waits and why."""
        return load_view("pool")(self)

    def forecast(self, slots: int | None = None) -> list[dict[str, Any]]:
        """Foretell when each run starts and ends, in seconds from now.

        ``slots`` is how many there would be; by default those of the pool. A run is taken to need
        as long as the newest of its stage did (``is_guess``: none has ended yet).
        """
        query = "" if slots is None else f"?slots={slots}"
        found: list[dict[str, Any]] = self.client.get(f"/pool/forecast{query}")
        return found

    def prompt_lab(
        self, dataset: str, words: Mapping[str, Sequence[str]] | None = None, *,
        model: str = "minilm", metric: Metric = "macro_recall",
    ) -> Any:  # fmt: skip
        """Show a prompt lab: sentences of labels are edited, and labels and figures move at once.

        Args:
            dataset: records with embeddings (``transform`` with ``features=["embeddings"]`` and
                ``format="parquet"``).
            words: sentences by label to begin with; those for sentiment by default.
            model: what made the embeddings.
            metric: the figure that is told, where records have labels.

        Raises:
            DataError: the data set has no embeddings, or they are another model's.
        """
        from workbench.models.embed import Embedder
        from workbench.models.resolve import resolve_model
        from workbench.prompts.lab import PromptLab
        from workbench.prompts.label import SENTIMENT_SENTENCES

        artifact = self.artifact(dataset, "dataset")
        folder = self.artifact(model, "model").path if "@" in model else resolve_model(model)
        lab = PromptLab.of(artifact, Embedder(folder).embed, words or SENTIMENT_SENTENCES, metric)
        return load_view("prompt_lab")(lab, self, artifact.reference)

    def open(self, target: str | None = None) -> Any:
        """Show the studio on this workspace (in a notebook)."""
        return load_view("open")(target, self)


def open_studio(target: str | None = None, workspace: Workspace | str | Path | None = None) -> Any:
    """Show the studio: stage forms, runs, and the live view of a run.

    ``target`` may be files (``"my/*.csv"``), an artifact, a run id or nothing.
    """
    return _joined(workspace).open(target)


def open_form(
    stage: str | type[Spec] | Spec, workspace: Workspace | str | Path | None = None,
    **prefilled: Any,
) -> Any:  # fmt: skip
    """Show the form of one stage, prefilled: of its name, its Spec, or a ``@stage`` of a cell."""
    return load_view("form")(stage, _joined(workspace), **prefilled)


def _joined(workspace: Workspace | str | Path | None) -> Workspace:
    return workspace if isinstance(workspace, Workspace) else Workspace(workspace)
