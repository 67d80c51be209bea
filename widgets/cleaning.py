"""A cleaning, live: what each rule drops, thresholds to move, the ledger to look into, undo."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.cleaning_model import Counts, Movable, present_example, present_rules
from widgets.cleaning_outputs import open_outputs
from widgets.cleaning_record import cleaning_record
from widgets.cleaning_session import CleaningSession
from widgets.cleaning_threshold import thresholds_of
from widgets.form import WISHES
from widgets.view import Intent, View
from widgets.watcher import RunWatcher
from widgets.wording import count
from workbench.core.errors import DataError
from workbench.data.clean.so_far import PartReader
from workbench.data.clean.spec import CleanSpec

if TYPE_CHECKING:
    from workbench.runs import Run


class CleaningPanel:
    """One run of clean as a view shows it: its progress, then what it did.

    ``changed`` is called, from threads of this panel, whenever there is something new to show.

    Raises:
        DataError: the run is no cleaning.
    """

    def __init__(self, run: Run, changed: Any) -> None:
        record = run.record()
        if record["stage"] != "clean":
            raise DataError(f"Run {run.run_id} is {record['stage']}, not a cleaning",
                            where=run.run_id, next_step="Name a run of clean.")  # fmt: skip
        self._changed = changed
        self._spec = CleanSpec.parse(record["spec"])
        self.run = run
        self.session: CleaningSession | None = None
        self._child: RunWatcher | None = None
        self._parts = PartReader(run.workspace.root / "runs" / run.run_id / "checkpoints")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="cleaning texts")
        self._watcher = RunWatcher(run, self._run_changed)
        self._open_if_over()
        self._watcher.start()

    def content(self) -> dict[str, Any]:
        """Return the run, what it did, and the run that was started from here."""
        session = self.session
        return {
            "run": self._watcher.snapshot(),
            "cleaning": session.content() if session else None,
            "so_far": None if session else self._so_far(),
            "child": self._child.snapshot() if self._child else None,
            "answered": session.answered if session else 0,
        }

    def intents(self) -> dict[str, Intent]:
        """Return what a page can ask, by name."""
        in_session = ("change", "reset", "rule", "page", "restore", "restore_rule", "keep_dropped",
                      "copy_of")  # fmt: skip
        return {
            **{name: self._session_intent(name) for name in in_session},
            **dict.fromkeys(("rerun", "undo"), self._submit),
            **dict.fromkeys(WISHES, self._ask),
            "open_child": self._open_child,
        }

    def close(self) -> None:
        """Stop watching."""
        self._watcher.close()
        if self._child:
            self._child.close()
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _session_intent(self, name: str) -> Intent:
        def act(message: Mapping[str, Any]) -> None:
            if self.session:
                self.session.intents()[name](message)
                self._reader.submit(self._explain)

        return act

    def _explain(self) -> None:
        """Read texts apart from the answer, which waits for no disk."""
        if self.session and self.session.explain():
            self._changed()

    def _submit(self, message: Mapping[str, Any]) -> None:
        if self.session:
            run = self.run.workspace.submit(self.session.submission(message["intent"]))
            if self._child:
                self._child.close()
            self._child = RunWatcher(run, self._changed).start()

    def _open_child(self, _message: Mapping[str, Any]) -> None:
        """Show the cleaning that was started from here in place of this one."""
        if self._child and self._child.run.record()["stage"] == "clean":
            self._watcher.close()
            self.run, self._watcher, self._child = self._child.run, self._child, None
            self.session, self._spec = None, CleanSpec.parse(self.run.record()["spec"])
            self._parts = PartReader(
                self.run.workspace.root / "runs" / self.run.run_id / "checkpoints"
            )
            self._open_if_over()

    def _ask(self, message: Mapping[str, Any]) -> None:
        watchers = [watcher for watcher in (self._watcher, self._child) if watcher]
        for watcher in watchers:
            if watcher.run.run_id == message.get("runId"):
                watcher.ask(message["intent"])

    def _run_changed(self) -> None:
        self._open_if_over()
        self._changed()

    def _open_if_over(self) -> None:
        if self.session is None and self.run.record()["state"] == "succeeded":
            self.session = CleaningSession(open_outputs(self.run))

    def _so_far(self) -> dict[str, Any]:
        """Return what the finished parts of a run that goes on have come to."""
        found = self._parts.read()
        counts = Counts(found.num_read, found.dropped, found.changed)
        nothing = Movable(thresholds_of(self._spec), {})
        return {
            "num_read": count(found.num_read),
            "num_left": count(found.num_left),
            "num_parts": found.num_parts,
            "rules": present_rules(counts, None, self._spec, self._spec, nothing),
            "examples": [present_example(example) for example in found.examples],
        }


class CleaningView(View):
    """Shows a run of clean: live while it goes on, then with thresholds to move and a ledger.

    Raises:
        DataError: the run is no cleaning.
    """

    _esm = linked_module("cleaning_view.js")

    def __init__(self, run: Run) -> None:
        self._panel: CleaningPanel | None = None
        self._panel = CleaningPanel(run, self._refresh_if_shown)
        super().__init__({name: self._locked(act) for name, act in self._panel.intents().items()})
        self.refresh()

    def content(self) -> dict[str, Any]:
        """Return the cleaning as plain values."""
        assert self._panel is not None
        return self._panel.content()

    def record(self) -> str:
        """Return the cleaning as static HTML."""
        return cleaning_record(self.content())

    def close(self) -> None:
        """Stop watching and take the view away."""
        if self._panel:
            self._panel.close()
        super().close()

    def _refresh_if_shown(self) -> None:
        if hasattr(self, "_lock"):  # a run's first news may come before the view is made
            self.refresh()

    def _locked(self, act: Intent) -> Intent:
        def locked(message: Mapping[str, Any]) -> None:
            with self._lock:
                act(message)

        return locked
