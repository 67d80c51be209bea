"""The pool, watched: who holds its slots, who waits and why; both can be acted on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.pool_model import present_pool
from widgets.record import frame, heading, section
from widgets.view import View
from workbench.core.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.workspace import Workspace

_LOOK_SECONDS = 0.5
_URGENT = 100


class PoolView(View):
    """Shows hosts with their slots, the runs that work and the runs that wait."""

    _esm = linked_module("pool_view.js")

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._told: dict[str, Any] = present_pool(workspace.pool())
        self._closing = threading.Event()
        super().__init__(dict.fromkeys(("pause", "cancel", "raise"), self._ask))
        self.refresh()
        threading.Thread(target=self._watch, name="watch the pool", daemon=True).start()

    def content(self) -> dict[str, Any]:
        """Return the pool as it was seen last."""
        return {"pool": self._told}

    def record(self) -> str:
        """Return the pool as static HTML."""
        pool = self._told
        hosts = [
            [host["name"], host["host"], ", ".join(s["told"] for s in host["slots"]), host["note"]]
            for host in pool["hosts"]
        ]
        working = [
            [r["stage"], r["run_id"], r["who"], r["slots"], r["priority"], r["progress"]]
            for r in pool["running"]
        ]
        waiting = [
            [r["place"], r["stage"], r["run_id"], r["who"], r["slots"], r["priority"], r["reason"]]
            for r in pool["waiting"]
        ]
        return frame(
            [
                heading("Pool", " · ".join([pool["headline"], *pool["troubles"]])),
                section("Hosts", ["Agent", "Host", "Slots", ""], hosts),
                section("Working", ["Stage", "Run", "Who", "Slots", "Priority", "Done"], working),
                section(
                    "Waiting",
                    ["Place", "Stage", "Run", "Who", "Slots", "Priority", "Why"],
                    waiting,
                ),
            ]
        )

    def close(self) -> None:
        """Stop watching and take the view away."""
        self._closing.set()
        super().close()

    def _ask(self, message: Mapping[str, Any]) -> None:
        run = self._workspace.run(str(message["runId"]))
        match message["intent"]:
            case "pause":
                run.pause()
            case "cancel":
                run.cancel()
            case "raise":
                run.prioritise(_URGENT)
        self._look()

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            before = self._told
            self._look()
            if self._told != before:
                self.refresh()

    def _look(self) -> None:
        try:
            self._told = present_pool(self._workspace.pool())
        except WorkbenchError as error:
            self._told = {**self._told, "connection": f"{error.what}. Trying again."}
