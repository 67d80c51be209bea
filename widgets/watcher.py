"""Follows one run in a thread of its own and keeps its newest snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from widgets.run_model import RunState, apply_events, first_gap, present_run, with_record
from widgets.wording import facts
from workbench.core.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.runs import Run

SHORTEST_INTERVAL_SECONDS = 0.1  # Jupyter's server drops messages above some thousand a second
LONG_POLL_SECONDS = 2.0  # also how often "so far" and "left" are told anew
LONGEST_RETRY_SECONDS = 15.0


class RunWatcher:
    """Long-polls a run's journal until it is over or ``close`` is called.

    ``changed`` is called from the watcher's thread, at most ten times a second.
    """

    def __init__(self, run: Run, changed: Callable[[], None]) -> None:
        self.run = run
        self._changed = changed
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection = ""
        self._asked = ""
        self._outputs: list[dict[str, Any]] = []
        self._is_done = False
        self._state = RunState(record=run.record())

    @property
    def is_over(self) -> bool:
        """Whether the run has ended and all of its journal was read."""
        return self._is_done

    def snapshot(self) -> dict[str, Any]:
        """Return what a view shows of the run now."""
        return present_run(
            self._state,
            time.time(),
            outputs=self._outputs,
            connection=self._connection,
            asked=self._asked,
        )

    def start(self) -> RunWatcher:
        """Begin to follow the run, if this is not being done already."""
        with self._lock:
            if self._thread is None:
                name = f"watch {self.run.run_id}"
                self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
                self._thread.start()
        return self

    def close(self) -> None:
        """Stop following; the last snapshot stays."""
        self._closing.set()

    def ask(self, wish: str) -> None:
        """Pause, resume or cancel the run.

        Raises:
            SpecError: the run is in a state where that cannot be asked.
        """
        wishes = {"pause": self.run.pause, "resume": self.run.resume, "cancel": self.run.cancel}
        wishes[wish]()
        record = self.run.record()
        with self._lock:
            self._asked, self._is_done = wish, False
            self._state = with_record(self._state, record)
        self.start()

    def _watch(self) -> None:
        retry_seconds = SHORTEST_INTERVAL_SECONDS
        poll_seconds = 0.0
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                is_caught_up = self._catch_up(poll_seconds)
            except WorkbenchError as error:
                self._connection = f"{error.what}. Trying again."
                is_caught_up = False
                retry_seconds = min(2 * retry_seconds, LONGEST_RETRY_SECONDS)
            else:
                self._connection = ""
                retry_seconds = SHORTEST_INTERVAL_SECONDS
            poll_seconds = 0.0 if self._state.is_over else LONG_POLL_SECONDS
            self._is_done = self._state.is_over and is_caught_up
            self._changed()
            with self._lock:
                if self._is_done:  # unless somebody asked for more in the meantime
                    self._thread = None
                    return
            self._closing.wait(max(0.0, retry_seconds - (time.monotonic() - began)))

    def _catch_up(self, wait_seconds: float) -> bool:
        """Read what is new; return whether nothing is left to read."""
        events = self.run.events(after=self._state.last_seq, wait=wait_seconds)
        if first_gap(self._state, events) is not None:
            # The journal has no gaps: what is missing was cut on its way. Ask once more.
            events = [*self.run.events(after=self._state.last_seq), *events]
        state = apply_events(self._state, events)
        self._state = with_record(state, self.run.record())
        self._asked = ""
        if self._state.is_over and not events:
            self._outputs = self._describe_outputs()
            return True
        return False

    def _describe_outputs(self) -> list[dict[str, Any]]:
        if self._state.record["state"] != "succeeded":
            return []
        return [
            {
                "output": name,
                "reference": artifact.reference,
                "kind": artifact.kind,
                "facts": facts(artifact.summary),
            }
            for name, artifact in self.run.outputs().items()
        ]
