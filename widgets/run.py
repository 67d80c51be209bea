"""A run, watched: live while it goes on, a static record once it has succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.record import run_record
from widgets.view import View
from widgets.watcher import RunWatcher

if TYPE_CHECKING:
    from workbench.runs import Run


class RunView(View):
    """Shows a run's state, progress, curves, log, error and outputs, and offers what can be asked.

    When the run has succeeded, the notebook's output becomes its record: plain HTML that stays
    readable in a saved notebook, without kernel or widgets.
    """

    _esm = linked_module("run_view.js")

    def __init__(self, run: Run) -> None:
        self._handle: Any = None
        self._watcher = RunWatcher(run, self._changed)
        super().__init__(dict.fromkeys(("pause", "resume", "cancel"), self._ask))
        self.refresh()
        self._watcher.start()

    def content(self) -> dict[str, Any]:
        """Return the newest snapshot of the run."""
        return {"run": self._watcher.snapshot()}

    def record(self) -> str:
        """Return the run as static HTML."""
        return run_record(self._watcher.snapshot())

    def close(self) -> None:
        """Stop watching and take the view away."""
        self._watcher.close()
        super().close()

    def _ask(self, message: Mapping[str, Any]) -> None:
        self._watcher.ask(message["intent"])

    def _changed(self) -> None:
        self.refresh()
        if self._handle is not None and self._watcher.is_over:
            self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, Any]:
        data, _metadata = self._repr_mimebundle_()
        if self._watcher.is_over and self.content()["run"]["state"] == "succeeded":
            # A saved notebook keeps no widget state; JupyterLab would show "model not found".
            return {kind: data[kind] for kind in ("text/plain", "text/html")}
        return dict(data)

    def _ipython_display_(self) -> None:
        """Display under an id of its own, so that the output can become the record later."""
        from IPython.display import display

        self._handle = display(self._bundle(), raw=True, display_id=True)
        if self._watcher.is_over:
            self._changed()
