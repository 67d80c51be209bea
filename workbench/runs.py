"""One run, wherever it works: what it says, what can be asked of it, and what it has made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.artifact import Artifact
from workbench.core.client import Client
from workbench.core.errors import ResourceError, RunCancelled, SpecError, error_from_json
from workbench.core.paths import home_expanded
from workbench.core.views import has_view, in_notebook, load_view
from workbench.queue.states import TERMINAL, is_at_rest

if TYPE_CHECKING:
    from workbench.train.profile import Profile
    from workbench.tune.dashboard import Dashboard
    from workbench.tune.study import StudyReader
    from workbench.workspace import Workspace

PARENT_RUN = "WORKBENCH_PARENT_RUN"  # set for what a run starts
_LONG_POLL_SECONDS = 20.0
_REST_SECONDS = 1.0


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
                if PARENT_RUN not in os.environ:
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
        if in_notebook():
            return load_view("watch")(self)
        from workbench.terminal.follow import follow

        return follow(self)

    def view(self) -> Any:
        """Show in a notebook what the run did, as its stage's own view does; else watch it."""
        stage = self.record()["stage"]
        if in_notebook() and has_view(stage):
            return load_view(stage)(self)
        return self.watch()

    @property
    def _client(self) -> Client:
        return self.workspace.client

    def _ask(self, verb: str) -> Run:
        self._client.post(f"/runs/{self.run_id}/{verb}")
        return self
