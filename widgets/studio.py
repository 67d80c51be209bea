"""The studio: every stage with its form, the newest runs, and the one in view."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.catalogue import catalogue_of
from widgets.form import WISHES, FormSession, form_of
from widgets.guess import guess_source
from widgets.record import studio_record
from widgets.rows import RowsSession
from widgets.run_model import TERMINAL
from widgets.studio_model import RailStage, looks_like_path, present_rail, present_runs
from widgets.view import Intent, View
from widgets.watcher import RunWatcher
from workbench.core.errors import SpecError, WorkbenchError, error_from_exception
from workbench.core.presets import watch
from workbench.core.registry import load_stage, own_stage_names, stage_names
from workbench.core.spec import parse_reference
from workbench.pipeline.user_stage import shown_stage, shown_values

if TYPE_CHECKING:
    from workbench.runs import Run
    from workbench.workspace import Workspace

NUM_RUNS = 12
BUSY_POLL_SECONDS = 2.0
QUIET_POLL_SECONDS = 10.0
# An idle daemon may stop, and asking it anything would start it again.
SLEEP_AFTER_SECONDS = 600.0
_FIRST_STAGE = "integrate"
_WITHOUT_FORM = ("cell",)  # the stages of cells, which it runs, have forms of their own
_STAGE_FOR_KIND = {"dataset": "clean", "model": "evaluate"}


def open_studio(target: str | None = None, workspace: Workspace | None = None) -> Studio:
    """Return the studio, opened at what ``target`` names.

    Files (``"my/*.csv"``) open the integrate form with a source of the right kind; an artifact
    (``comments@latest``) the form of a stage that reads it; a run id shows that run; a stage's
    name its form; nothing, the first form.

    Raises:
        SpecError: the target is nothing of these.
    """
    if workspace is None:
        from workbench.workspace import Workspace

        workspace = Workspace()
    studio = Studio(workspace)
    if target:
        studio.aim(str(target))
    return studio


class Studio(View):
    """One view of a workspace: rail of stages, form, run, recent runs."""

    _esm = linked_module("studio_view.js")

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._stages = _described_stages()
        self._session: FormSession | None = None
        self._watcher: RunWatcher | None = None
        self._rows: RowsSession | None = None
        self._records: list[dict[str, Any]] = []
        self._status: dict[str, Any] = {}
        self._connection = ""
        self._catalogue = catalogue_of(())
        self._closing = threading.Event()
        self._wake = threading.Event()
        super().__init__(self._own_intents())
        if any(stage.name == _FIRST_STAGE and not stage.problem for stage in self._stages):
            self._choose(_FIRST_STAGE)
        self._poll()
        self.refresh()
        self._stop_hearing = watch(self._look_again)  # at rules and stages written meanwhile
        threading.Thread(target=self._poll_often, name="studio", daemon=True).start()

    def aim(self, target: str) -> None:
        """Show what a target names; see ``open_studio``."""
        if target in {stage.name for stage in self._stages}:
            self._choose(target)
        elif looks_like_path(target):
            self._choose(_FIRST_STAGE, sources=[guess_source(target)])
        elif target.startswith("r-"):
            self._aim_at_run(self.workspace.run(target))
        else:
            self._aim_at_artifact(target)
        self.refresh()

    def content(self) -> dict[str, Any]:
        """Return all of the studio."""
        session = self._session
        form = session.content() if session else None
        return {
            "workspace": self._workspace_line(),
            "rail": present_rail(self._stages, self._records),
            "stage": form["stage"] if form else "",
            "form": form,
            "run": self._watcher.snapshot() if self._watcher else None,
            "rows": self._rows.content() if self._rows else None,
            "runs": present_runs(self._records, time.time()),
            "answered": session.answered if session else 0,
        }

    def record(self) -> str:
        """Return the studio as static HTML."""
        return studio_record(self.content())

    def close(self) -> None:
        """Stop polling and take the studio away."""
        self._stop_hearing()
        self._closing.set()
        self._wake.set()
        if self._watcher:
            self._watcher.close()
        super().close()

    # -- what a person asks -----------------------------------------------------------------------

    def _own_intents(self) -> dict[str, Intent]:
        in_form = ("change", "restore", "reset", "add_item", "remove_item")
        in_rows = ("draw", "redraw")
        own: dict[str, Intent] = {
            "choose": lambda message: self._choose(message["stage"]),
            "watch": lambda message: self._watch(self.workspace.run(message["runId"])),
            "refresh": lambda _message: self._poll(),
            "submit": lambda _message: self._submit(),
        }
        asked = {
            **{name: self._form_intent(name) for name in in_form},
            **{name: self._rows_intent(name) for name in in_rows},
            **dict.fromkeys(WISHES, self._ask),
            **own,
        }
        return {name: self._awake(intent) for name, intent in asked.items()}

    def _form_intent(self, name: str) -> Intent:
        def act(message: Mapping[str, Any]) -> None:
            if self._session:
                self._session.intents()[name](message)

        return act

    def _rows_intent(self, name: str) -> Intent:
        def act(message: Mapping[str, Any]) -> None:
            if self._rows:
                getattr(self._rows, name)(message)

        return act

    def _awake(self, intent: Intent) -> Intent:
        def act(message: Mapping[str, Any]) -> None:
            self._wake.set()
            with self._lock:
                intent(message)

        return act

    def _look_again(self) -> None:
        self._stages = _described_stages()
        self.refresh()

    def _choose(self, stage: str, **prefilled: Any) -> None:
        self._session = FormSession(form_of(stage, **prefilled), self._catalogue)

    def _submit(self) -> None:
        if self._session:
            self._watch(self._session.submit(self.workspace))
            self._poll()

    def _ask(self, message: Mapping[str, Any]) -> None:
        if self._watcher:
            self._watcher.ask(message["intent"])

    def _watch(self, run: Run) -> None:
        if self._watcher:
            self._watcher.close()
        self._rows = None
        self._watcher = RunWatcher(run, self._run_changed).start()

    def _aim_at_run(self, run: Run) -> None:
        record = run.record()
        name = shown_stage(record)
        is_known = name in {stage.name for stage in self._stages}
        self._choose(name if is_known else record["stage"], **shown_values(record))
        self._watch(run)

    def _aim_at_artifact(self, target: str) -> None:
        artifact = self.workspace.artifact(str(parse_reference(target)))
        stage = _STAGE_FOR_KIND.get(artifact.kind, "")
        form = form_of(stage) if stage in {s.name for s in self._stages} else None
        field = next((f.name for f in form.fields if f.reads == artifact.kind), "") if form else ""
        if not field:
            raise SpecError(f"No stage of the studio reads a {artifact.kind}", where=target,
                            next_step="Name a data set or a model.")  # fmt: skip
        self._choose(stage, **{field: str(parse_reference(target))})

    def _run_changed(self) -> None:
        """Show the run; the list of runs is behind when its state has moved on."""
        run = self._watcher.snapshot() if self._watcher else None
        known = {record["run_id"]: record["state"] for record in self._records}
        if run and known.get(run["run_id"]) != run["state"]:
            self._wake.set()
        if self._watcher and self._watcher.is_over and self._rows is None:
            self._load_rows(self._watcher.run)
        self.refresh()

    def _load_rows(self, run: Run) -> None:
        try:
            self._rows = RowsSession.of_run(run)
        except WorkbenchError as error:
            self._notice = f"The rows cannot be shown: {error.what}"

    # -- what goes on -----------------------------------------------------------------------------

    def _workspace_line(self) -> dict[str, str]:
        path = str(self.workspace.root)
        if self._connection:
            return {"path": path, "pool": self._connection, "glyph": "warn"}
        if not self._status:
            return {"path": path, "pool": "asking …", "glyph": "wait"}
        status = self._status
        if status["pool"] != "running":
            is_starting = status["pool"] == "starting"
            glyph = "wait" if is_starting else "fail"
            return {"path": path, "pool": f"pool {status['pool']}", "glyph": glyph}
        pool = f"pool: {len(status['slots_busy'])} of {status['slots_alive']} slots busy"
        return {"path": path, "pool": pool, "glyph": "live"}

    def _poll(self) -> None:
        """Ask the workspace what is new; a lost daemon is shown, and asked again later."""
        try:
            self._records = self.workspace.run_records(NUM_RUNS)
            self._status = self.workspace.status()
            self._catalogue = catalogue_of(self.workspace.artifacts())
        except WorkbenchError as error:
            self._connection = error.what
        else:
            self._connection = ""
        if self._session:
            self._session.catalogue = self._catalogue

    def _poll_often(self) -> None:
        last_wish = time.monotonic()
        while not self._closing.is_set():
            if self._wake.is_set():
                self._wake.clear()
                last_wish = time.monotonic()
            if self._is_busy() or time.monotonic() - last_wish < SLEEP_AFTER_SECONDS:
                self._poll()
                self.refresh()
            self._wake.wait(BUSY_POLL_SECONDS if self._is_busy() else QUIET_POLL_SECONDS)

    def _is_busy(self) -> bool:
        is_starting = self._status.get("pool") == "starting"
        return is_starting or any(r["state"] not in TERMINAL for r in self._records)


def _described_stages() -> list[RailStage]:
    """Return the installed stages and, after them, those that this notebook's cells declared."""
    installed = [name for name in stage_names() if name not in _WITHOUT_FORM]
    return [_describe(name) for name in [*installed, *own_stage_names()]]


def _describe(name: str) -> RailStage:
    """Load a stage for the rail; one that cannot be loaded is shown with the reason."""
    try:
        stage = load_stage(name)
    except Exception as error:  # a third party's stage may fail in any way; the others must show
        return RailStage(name, problem=error_from_exception(error, where=name).what)
    return RailStage(name, title=stage.title, help=stage.help)
