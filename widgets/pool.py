"""The pool, watched: who holds its slots, who waits and why; both can be acted on."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from widgets.assets import linked_module
from widgets.pool_model import present_forecast, present_pool
from widgets.record import frame, heading, section
from widgets.view import View
from workbench.core.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.workspace import Workspace

_LOOK_SECONDS = 0.5
_FORETELL_SECONDS = 2.0  # the whole policy is run for it
_URGENT = 100


class PoolView(View):
    """Shows hosts with their slots, the runs that work and the runs that wait."""

    _esm = linked_module("pool_view.js")

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._slots_if: int | None = None  # how many slots the forecast takes; None: there is none
        self._foretold_at = 0.0
        self._told: dict[str, Any] = present_pool(workspace.pool())
        self._closing = threading.Event()
        intents = dict.fromkeys(("pause", "cancel", "raise"), self._ask)
        super().__init__({**intents, "foretell": self._choose_slots})
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
                *([self._record_of(pool["forecast"])] if pool["forecast"] else []),
            ]
        )

    @staticmethod
    def _record_of(forecast: Mapping[str, Any]) -> str:
        rows = [[r["stage"], r["run_id"], r["starts"], r["ends"]] for r in forecast["rows"]]
        return section(forecast["title"], ["Stage", "Run", "Starts", "Ends"], rows)

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

    def _choose_slots(self, message: Mapping[str, Any]) -> None:
        """Foretell with another number of slots; with none, foretell no more."""
        slots = message.get("slots")
        self._slots_if = max(int(slots), 1) if slots else None
        self._foretold_at = 0.0
        self._look()

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            before = self._told
            self._look()
            if self._told != before:
                self.refresh()

    def _look(self) -> None:
        try:
            told = present_pool(self._workspace.pool())
            self._told = {**told, "forecast": self._foretell()}
        except WorkbenchError as error:
            self._told = {**self._told, "connection": f"{error.what}. Trying again."}

    def _foretell(self) -> dict[str, Any] | None:
        """Return when each run would start and end; what is hardly old is good enough."""
        slots_if, now = self._slots_if, time.monotonic()
        if slots_if is None:
            return None
        if now - self._foretold_at > _FORETELL_SECONDS or not self._told["forecast"]:
            found = present_forecast(slots_if, self._workspace.forecast(slots_if))
            self._foretold_at = now
            return found
        forecast: dict[str, Any] = self._told["forecast"]
        return forecast
