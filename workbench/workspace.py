"""The public face: a Workspace, its runs and its artifacts, from a notebook or a script."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from workbench import __version__
from workbench.core.artifact import Artifact
from workbench.core.client import RUN_PATIENCE_SECONDS, Client
from workbench.core.daemon_process import WorkspaceEndpoint, has_ended, running_daemon
from workbench.core.errors import (
    ResourceError,
    RunCancelled,
    SpecError,
    WorkbenchError,
    error_from_json,
)
from workbench.core.paths import home_expanded
from workbench.core.registry import VIEW_GROUP, stage_of
from workbench.core.sizes import parse_bytes
from workbench.core.spec import Spec
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish, read_wish
from workbench.pool.dask_mirror import FOLDER
from workbench.pool.dask_process import address_in, security_of
from workbench.queue.states import TERMINAL, is_at_rest

if TYPE_CHECKING:
    from workbench.catalog.artifact_store import ArtifactStore
    from workbench.pool.providers.provider import PoolSpec
    from workbench.train.profile import Profile
    from workbench.tune.dashboard import Dashboard
    from workbench.tune.study import StudyReader

_LONG_POLL_SECONDS = 20.0
_REST_SECONDS = 1.0
_DASK_SECONDS = 3.0  # for a scheduler on this host to answer
_PARENT_RUN = "WORKBENCH_PARENT_RUN"  # set for what a run starts


def default_root() -> Path:
    """Return the workspace's folder: ``WORKBENCH_WORKSPACE``, else ``~/.workbench``."""
    return home_expanded(os.environ.get("WORKBENCH_WORKSPACE") or "~/.workbench").absolute()


class Results(Mapping[str, Artifact]):
    """The artifacts that a run made, by output name; also readable as attributes."""

    def __init__(self, artifacts: Mapping[str, Artifact]) -> None:
        self._artifacts = dict(artifacts)

    def __getitem__(self, name: str) -> Artifact:
        return self._artifacts[name]

    def __getattr__(self, name: str) -> Artifact:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._artifacts[name]
        except KeyError:
            raise AttributeError(
                f"There is no output {name!r}; there are {', '.join(self._artifacts)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def __repr__(self) -> str:
        return f"Results({', '.join(f'{k}={v.reference}' for k, v in self._artifacts.items())})"


class Run:
    """One durable execution of a stage. It goes on without this object, kernel or terminal."""

    def __init__(self, workspace: Workspace, run_id: str) -> None:
        self.workspace = workspace
        self.run_id = run_id

    def __repr__(self) -> str:
        record = self.record()
        return f"<Run {self.run_id} {record['stage']}: {record['state']}>"

    @property
    def state(self) -> str:
        """Where the run stands now."""
        return str(self.record()["state"])

    def record(self, wait: float = 0.0) -> dict[str, Any]:
        """Return the run as the daemon knows it; with ``wait``, once it is over or time is up."""
        found: dict[str, Any] = self._client.get(f"/runs/{self.run_id}", wait=wait or None)
        return found

    def events(self, after: int = 0, wait: float = 0.0) -> list[dict[str, Any]]:
        """Return the journal after a sequence number; with ``wait`` seconds for something new."""
        found: list[dict[str, Any]] = self._client.get(
            f"/runs/{self.run_id}/events", after=after, wait=wait or None
        )
        return found

    def pause(self) -> Run:
        """Stop at the next safe point; ``resume`` goes on from there."""
        return self._ask("pause")

    def resume(self) -> Run:
        """Go on after a pause, a failure or a cancellation; finished parts are not redone."""
        return self._ask("resume")

    def cancel(self) -> Run:
        """Stop for good (``resume`` takes even that back)."""
        return self._ask("cancel")

    def prioritise(self, priority: int) -> Run:
        """Change how urgent the run is, from -100 to 100."""
        self._client.post(f"/runs/{self.run_id}/priority", {"priority": priority})
        return self

    def wait(self, timeout: float | None = None) -> Run:
        """Return when the run is over.

        Raises:
            ResourceError: the timeout (seconds) passed first, and the run goes on; or the run had
                to pause (for a full disk, say), and goes on when somebody resumes it.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONG_POLL_SECONDS if deadline is None else deadline - time.monotonic()
            record = self.record(wait=max(0.0, min(left, _LONG_POLL_SECONDS)))
            if record["state"] in TERMINAL:
                return self
            if is_at_rest(record):
                if _PARENT_RUN not in os.environ:
                    raise error_from_json(record["error"])
                time.sleep(_REST_SECONDS)  # whoever waits here is told to pause as well
            if deadline is not None and time.monotonic() >= deadline:
                raise ResourceError(
                    f"Run {self.run_id} is still {record['state']} after {timeout} s",
                    where=f"run {self.run_id}",
                    next_step="It goes on; call wait() again or watch it.",
                )

    def journal(self) -> Iterator[dict[str, Any]]:
        """Yield all events that there are now."""
        seen = 0
        while events := self.events(seen):
            yield from events
            seen = events[-1]["seq"]

    def profile(self, page: str | Path | None = None) -> Profile:
        """Return where a training's time and memory went; with ``page``, write it as HTML, too.

        Raises:
            SpecError: the run is no training, or not at its end yet.
        """
        from workbench.train.profile import profile_in, write_profile

        found = profile_in(self.journal())
        if found is None:
            raise SpecError(f"Run {self.run_id} has told no profile", where=f"run {self.run_id}",
                            next_step="Trainings do, when they end.")  # fmt: skip
        if page is not None:
            write_profile(home_expanded(page), *found)
        return found[0]

    def study(self) -> StudyReader:
        """Return the study of a search, as far as it is now.

        Raises:
            SpecError: the run is no search, or has tried nothing yet.
        """
        from workbench.tune.study import StudyReader

        return StudyReader(self._study_journal)

    def _study_journal(self) -> Path:
        from workbench.tune.study import JOURNAL

        record = self.record()
        folder = self.workspace.root / "runs" / self.run_id
        if record["state"] == "succeeded" and "study" in record["outputs"]:
            folder = self.workspace.artifact(record["outputs"]["study"], "study").path
        if record["stage"] != "tune" or not (folder / JOURNAL).exists():
            raise SpecError(f"Run {self.run_id} has no study", where=f"run {self.run_id}",
                            next_step="Searches (tune) do, once they have begun.")  # fmt: skip
        return folder / JOURNAL

    def dashboard(self, port: int = 0) -> Dashboard:
        """Show the study of a search in optuna-dashboard, at an address of this machine.

        It is served as long as this process lives, or until ``close``.

        Raises:
            SpecError: the run is no search, or has tried nothing yet.
            ResourceError: optuna-dashboard is not installed, or the port is taken.
        """
        from workbench.tune.dashboard import Dashboard

        return Dashboard(self.study(), port)

    def outputs(self) -> Results:
        """Return what the run made.

        Raises:
            WorkbenchError: the run failed, or had to pause; the error is the one of that.
            RunCancelled: somebody cancelled it.
            SpecError: it is not over yet.
        """
        record = self.record()
        if record["error"] is not None:
            raise error_from_json(record["error"])
        if record["state"] == "cancelled":
            raise RunCancelled(f"run {self.run_id} was cancelled")
        if record["state"] != "succeeded":
            raise SpecError(f"Run {self.run_id} is {record['state']}", where=f"run {self.run_id}",
                            next_step="Call wait() first.")  # fmt: skip
        kinds = record["output_kinds"]
        return Results(
            {
                name: self.workspace.artifact(reference, kinds[name])
                for name, reference in record["outputs"].items()
            }
        )

    def watch(self) -> Any:
        """Show the run live: a widget in a notebook, a progress line in a terminal."""
        if _in_notebook():
            return load_view("watch")(self)
        from workbench.terminal.follow import follow

        return follow(self)

    def view(self) -> Any:
        """Show in a notebook what the run did, as its stage's own view does; else watch it."""
        stage = self.record()["stage"]
        if _in_notebook() and has_view(stage):
            return load_view(stage)(self)
        return self.watch()

    @property
    def _client(self) -> Client:
        return self.workspace.client

    def _ask(self, verb: str) -> Run:
        self._client.post(f"/runs/{self.run_id}/{verb}")
        return self


class Workspace:
    """Where everything is kept: catalog, queue and pool, behind one daemon.

    Opening one joins the workspace's daemon or starts it on first use. What is submitted here
    counts against the quota of ``project`` (``WORKBENCH_PROJECT``, else ``default``).
    """

    def __init__(self, path: str | Path | None = None, *, project: str | None = None) -> None:
        self.root = home_expanded(path).absolute() if path else default_root()
        self.project = project or os.environ.get("WORKBENCH_PROJECT") or "default"
        is_in_run = _PARENT_RUN in os.environ  # nobody reads an error there in time
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
            "parent_run_id": os.environ.get(_PARENT_RUN),
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
                        next_step="Read the end of daemon.log in the workspace.",
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


def load_view(name: str) -> Any:
    """Return a view by entry point: the workbench itself knows no widget.

    Raises:
        ResourceError: no package that offers this view is installed.
    """
    for entry in entry_points(group=VIEW_GROUP, name=name):
        return entry.load()
    raise ResourceError(f"No view {name!r} is installed", where=VIEW_GROUP,
                        next_step="Install nlp-workbench with its widgets.")  # fmt: skip


def has_view(name: str) -> bool:
    """Whether an installed package offers this view."""
    return bool(entry_points(group=VIEW_GROUP, name=name))


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


__all__ = ["Results", "Run", "WorkbenchError", "Workspace", "open_form", "open_studio"]
