"""The dispatcher: a loop that carries out what the queue's placement decides.

All state that matters is in the store; what is kept here (which future belongs to which attempt)
is lost with the daemon and made anew: attempts of a dead daemon are dead, and their runs wait
again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core.errors import WorkbenchError
from workbench.dispatch.allocation import Allocation
from workbench.dispatch.attempt import clear_unfinished, run_attempt
from workbench.dispatch.coordinator import CoordinatorProcess
from workbench.pool.local import LocalPool, Sent
from workbench.queue.policy.scheduler import Standing
from workbench.queue.policy.values import Preempt, Start, WaitingRun
from workbench.queue.states import RunState
from workbench.queue.store import RunStore

LOG = logging.getLogger(__name__)
THIS_HOST = "local"
_WATCH_SECONDS = 0.5  # the longest wait when nothing rings but attempts are live
_READ_AGAIN_SECONDS = 2.0  # a remedy's time may have come
_IDLE_SECONDS = 5.0  # the same when nothing is: an idle daemon costs nothing


@dataclass
class LiveAttempt:
    """What the dispatcher holds of a running attempt."""

    run_id: str
    term: int
    slots: tuple[str, ...]
    folder: Path | None = None  # where it works
    coordinator: CoordinatorProcess | None = None
    sent: Sent | None = None
    stop_asked_at: float | None = None
    gone: str = ""  # why its process is known to be no more


class Dispatcher:
    """Starts, watches and ends attempts in a thread of its own; ``ring`` wakes it.

    A run that was asked to stop and does not within ``stop_seconds`` is ended by force.
    """

    def __init__(
        self,
        store: RunStore,
        pool: LocalPool,
        make_order: Callable[[dict[str, Any], tuple[str, ...]], dict[str, Any]],
        announce: Callable[[], None],
        stop_seconds: float,
    ) -> None:
        self._store = store
        self._pool = pool
        self._make_order = make_order
        self._announce = announce
        self._stop_seconds = stop_seconds
        self._allocation = Allocation()
        self._waiting: list[WaitingRun] = []
        self._seen_revision = -1
        self._read_at = 0.0
        self._live: dict[str, LiveAttempt] = {}
        self.trouble = ""  # why the last turn failed
        self._lock = threading.RLock()
        self._bell = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Take back the runs of a dead daemon, then begin to dispatch."""
        for run in self._store.active():
            self._store.lose(run["run_id"], run["term"], "daemon restarted", blameless=True)
        self._thread.start()

    def ring(self) -> None:
        """Look at the queue now."""
        self._bell.set()

    def close(self) -> None:
        """Stop dispatching and end every attempt; their runs go on with the next daemon."""
        self._closing = True
        self.ring()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for attempt in self._live.values():
                if attempt.coordinator:
                    attempt.coordinator.kill()

    def busy_slots(self) -> dict[str, str]:
        """Return ``{slot: run_id}`` of the slots in use."""
        with self._lock:
            return {slot: a.run_id for a in self._live.values() for slot in a.slots}

    def ended(self, run_id: str, term: int) -> None:
        """Free an attempt's slots: the worker has told how it ended and is done."""
        with self._lock:
            attempt = self._live.get(run_id)
            if attempt is not None and attempt.term == term:
                del self._live[run_id]
        self.ring()

    def saved(self, run_id: str) -> None:
        """Note that a run has made a checkpoint."""
        self._allocation.note_saved(run_id)

    def standings(self) -> list[Standing]:
        """Return the waiting runs in order, and why each waits."""
        return self._allocation.standings()

    # -- the loop ---------------------------------------------------------------------------------

    def _loop(self) -> None:
        waiting = True
        while not self._closing:
            is_idle = not self._live and not waiting
            self._bell.wait(_IDLE_SECONDS if is_idle else _WATCH_SECONDS)
            self._bell.clear()
            try:
                waiting = self._turn()
                self.trouble = ""
            except Exception as error:
                # The loop must outlive any one failure; the next turn starts from the store.
                LOG.exception("dispatching failed; trying again")
                self.trouble = error.what if isinstance(error, WorkbenchError) else repr(error)
                time.sleep(_WATCH_SECONDS)
                self.ring()

    def _turn(self) -> bool:
        """Heal, end and place once; return whether any run was waiting."""
        self._take_back_the_lost()
        active = {run["run_id"]: run for run in self._store.active()}
        self._end_the_unwilling(active)
        waiting = self._line()
        slots = dict.fromkeys(self._pool.slots(), THIS_HOST)
        started = 0
        for decision in self._allocation.decide(
            waiting, self._stopping(active), slots, self._pool.num_slots
        ):
            if isinstance(decision, Preempt):
                self._store.preempt(decision.run_id)
            else:
                started += self._begin(decision)
        if started:
            self._announce()
        return bool(waiting)

    def _line(self) -> list[WaitingRun]:
        """Return who waits; read again when that may have changed, and now and then."""
        now, revision = time.monotonic(), self._store.revision
        if revision != self._seen_revision or now - self._read_at > _READ_AGAIN_SECONDS:
            self._waiting, self._read_at = self._store.waiting(), now
            self._seen_revision = revision
        return self._waiting

    def _stopping(self, active: dict[str, dict[str, Any]]) -> dict[str, bool]:
        """Return for each run with an attempt whether it was asked to stop."""
        with self._lock:
            return {
                run_id: run_id not in active or _shall_stop(active[run_id]) for run_id in self._live
            }

    def _begin(self, decision: Start) -> bool:
        try:
            run = self._store.start(decision.run_id, decision.slots)
        except WorkbenchError:  # paused or cancelled between decision and start
            self._allocation.take_back(decision.run_id)
            return False
        attempt = LiveAttempt(decision.run_id, run["term"], decision.slots)
        with self._lock:
            self._live[decision.run_id] = attempt
        try:
            self._send(attempt, self._make_order(run, decision.slots))
        except WorkbenchError as error:
            attempt.gone = error.what  # also where the failure itself cannot be recorded now
            self._store.fail(decision.run_id, run["term"], error)
            self.ended(decision.run_id, run["term"])
        except Exception as error:
            LOG.exception("run %s could not be started", decision.run_id)
            self._note_gone(attempt, f"could not be started: {error!r}")
        return True

    def _send(self, attempt: LiveAttempt, order: dict[str, Any]) -> None:
        attempt.folder = Path(order["folder"])
        if attempt.slots:
            attempt.sent = self._pool.submit(run_attempt, order, attempt.slots[0])
            attempt.sent.future.add_done_callback(lambda f: self._note_gone(attempt, _cause(f)))
        else:
            attempt.coordinator = CoordinatorProcess(
                order, lambda code: self._note_gone(attempt, f"coordinator exited with {code}")
            )

    def _note_gone(self, attempt: LiveAttempt, cause: str) -> None:
        attempt.gone = cause
        self.ring()

    def _take_back_the_lost(self) -> None:
        """Heal runs whose attempts are gone without having told how they ended.

        What cannot be recorded now (a full disk) stays with the live attempts for the next turn.
        """
        with self._lock:
            attempts = list(self._live.values())
        for attempt in attempts:
            if attempt.sent is not None and self._pool.has_left(attempt.sent.worker):
                attempt.gone = attempt.gone or "worker died"
            if attempt.gone:
                if attempt.folder is not None:
                    # First the files: where they have filled the disk, the record needs the room.
                    clear_unfinished(attempt.folder, attempt.term)
                self._store.lose(attempt.run_id, attempt.term, attempt.gone)
                self.ended(attempt.run_id, attempt.term)
                self._announce()

    def _end_the_unwilling(self, active: dict[str, dict[str, Any]]) -> None:
        """End attempts that were asked to stop long ago; they go on from their last checkpoint."""
        now = time.monotonic()
        with self._lock:
            attempts = list(self._live.values())
        for attempt in attempts:
            run = active.get(attempt.run_id)
            if run is None or not _shall_stop(run):
                attempt.stop_asked_at = None  # or no longer: resumed before it had stopped
                continue
            attempt.stop_asked_at = attempt.stop_asked_at or now
            # A coordinator keeps nothing in its process that its children do not keep for it.
            patience = 0.0 if attempt.coordinator else self._stop_seconds
            if now - attempt.stop_asked_at >= patience:
                self._end(attempt)

    def _end(self, attempt: LiveAttempt) -> None:
        attempt.stop_asked_at = time.monotonic()
        if attempt.coordinator is not None:
            attempt.coordinator.kill()
        else:
            self._pool.kill(attempt.slots[0])


def _shall_stop(run: dict[str, Any]) -> bool:
    return bool(run["preempted"] or run["state"] != RunState.RUNNING)


def _cause(future: Any) -> str:
    """Say in a few words why a future ended without a word from its attempt."""
    error = future.exception() if future.status == "error" else None
    if error is None:
        return f"worker ended the attempt ({future.status})"
    return "worker died" if type(error).__name__ == "KilledWorker" else repr(error)
