"""A search, watched: its run, how the best came about, its trials, and optuna-dashboard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.record import frame, heading, run_record, section
from widgets.study_model import present_study
from widgets.view import View
from widgets.watcher import RunWatcher
from workbench.core.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.runs import Run
    from workbench.tune.dashboard import Dashboard
    from workbench.tune.study import StudyReader

_LOOK_SECONDS = 1.0  # between two looks into a journal that grows


class StudyView(View):
    """Shows a search while it goes on and when it is over; ``Run.view`` of a ``tune`` run."""

    _esm = linked_module("study_view.js")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._spec = run.record()["spec"]
        self._study: StudyReader | None = None
        self._dashboard: Dashboard | None = None
        self._rows: list[dict[str, Any]] = []
        self._looked_at = 0.0
        self._watcher = RunWatcher(run, self._changed)
        super().__init__(dict.fromkeys(("pause", "resume", "cancel"), self._ask))
        self._look()
        self.refresh()
        self._watcher.start()

    def content(self) -> dict[str, Any]:
        """Return run and study as they were seen last."""
        return {
            "run": {**self._watcher.snapshot(), "charts": []},
            "study": present_study(self._spec, self._rows),
            "dashboard": self._dashboard.url if self._dashboard else "",
        }

    def record(self) -> str:
        """Return run and study as static HTML."""
        study = self.content()["study"]
        rows = [[*trial["cells"], trial["word"]] for trial in study["trials"]]
        trials = section("Trials", study["names"], rows)
        shown = frame([heading("Study", study["headline"]), heading("Best", study["best"]), trials])
        return run_record(self._watcher.snapshot()) + shown

    def close(self) -> None:
        """Stop watching and serving, and take the view away."""
        self._watcher.close()
        if self._dashboard is not None:
            self._dashboard.close()
            self._dashboard = None
        super().close()

    def _ask(self, message: Mapping[str, Any]) -> None:
        self._watcher.ask(message["intent"])

    def _changed(self) -> None:
        if self._watcher.is_over or time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._look()
        self.refresh()

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        with suppress(WorkbenchError):  # not begun yet, or between two places
            if self._study is None:
                self._study = self._run.study()
                self._dashboard = self._run.dashboard()
            self._rows = self._study.rows()
