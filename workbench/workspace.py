"""The public face: a Workspace, its runs and its artifacts, from a notebook or a script."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from workbench.core.artifact import Artifact
from workbench.core.client import Client, WorkspaceEndpoint
from workbench.core.errors import (
    ResourceError,
    RunCancelled,
    SpecError,
    WorkbenchError,
    error_from_json,
)
from workbench.core.registry import VIEW_GROUP, stage_of
from workbench.core.spec import Spec
from workbench.queue.states import TERMINAL

_LONG_POLL_SECONDS = 20.0


def default_root() -> Path:
    """Return the workspace's folder: ``WORKBENCH_WORKSPACE``, else ``~/.workbench``."""
    return Path(os.environ.get("WORKBENCH_WORKSPACE") or "~/.workbench").expanduser().absolute()


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
            ResourceError: the timeout (seconds) passed first; the run goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONG_POLL_SECONDS if deadline is None else deadline - time.monotonic()
            record = self.record(wait=max(0.0, min(left, _LONG_POLL_SECONDS)))
            if record["state"] in TERMINAL:
                return self
            if deadline is not None and time.monotonic() >= deadline:
                raise ResourceError(
                    f"Run {self.run_id} is still {record['state']} after {timeout} s",
                    where=f"run {self.run_id}",
                    next_step="It goes on; call wait() again or watch it.",
                )

    def outputs(self) -> Results:
        """Return what the run made.

        Raises:
            WorkbenchError: the run failed; the error is the one that ended it.
            RunCancelled: somebody cancelled it.
            SpecError: it is not over yet.
        """
        record = self.record()
        if record["state"] == "failed":
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

    Opening one joins the workspace's daemon or starts it on first use.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.root = Path(path).expanduser().absolute() if path else default_root()
        self.client = Client(WorkspaceEndpoint(self.root))

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def submit(self, spec: Spec, *, priority: int = 0, workers: int = 1) -> Run:
        """Queue a Spec and return at once; the run is durable when this returns.

        ``workers`` is the most pool slots it may use; higher ``priority`` (-100 to 100) starts
        first and may ask lower runs to give way.

        Raises:
            SpecError: the Spec names an artifact that is not there.
            DataError: something that the Spec reads from outside cannot be read.
        """
        request = {
            "run_id": f"r-{secrets.token_hex(5)}",  # ours, so that asking twice is asking once
            "stage": stage_of(spec).name,
            "spec": spec.model_dump(mode="json"),
            "priority": priority,
            "workers": workers,
            "parent_run_id": os.environ.get("WORKBENCH_PARENT_RUN"),
            "submitted_by": getpass.getuser(),
        }
        return Run(self, self.client.post("/runs", request)["run_id"])

    def do(self, spec: Spec, *, priority: int = 0, workers: int = 1) -> Any:
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

    def run_records(self, limit: int = 50, parent: str | None = None) -> list[dict[str, Any]]:
        """Return the newest runs as plain values, newest first."""
        found: list[dict[str, Any]] = self.client.get("/runs", limit=limit, parent=parent)
        return found

    def artifact(self, reference: str, kind: str | None = None) -> Artifact:
        """Return an artifact by ``name@version`` or ``name@alias``."""
        return Artifact.from_json(self.client.get(f"/artifacts/{reference}", kind=kind))

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """Return the newest artifacts, newest first."""
        return [Artifact.from_json(record) for record in self.client.get("/artifacts", kind=kind)]

    def deployments(self) -> list[dict[str, Any]]:
        """Return what is served now."""
        found: list[dict[str, Any]] = self.client.get("/deployments")
        return found

    def status(self) -> dict[str, Any]:
        """Return what the daemon is doing."""
        found: dict[str, Any] = self.client.get("/status")
        return found

    def open(self, target: str | None = None) -> Any:
        """Show the studio on this workspace (in a notebook)."""
        return load_view("open")(target, self)


def open_studio(target: str | None = None, workspace: str | Path | None = None) -> Any:
    """Show the studio: stage forms, runs, and the live view of a run.

    ``target`` may be files (``"my/*.csv"``), an artifact, a run id or nothing.
    """
    return Workspace(workspace).open(target)


def open_form(stage: str, workspace: str | Path | None = None, **prefilled: Any) -> Any:
    """Show the form of one stage, prefilled."""
    return load_view("form")(stage, Workspace(workspace), **prefilled)


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
