"""The dispatcher: a loop that carries out what the queue's placement decides.

All state that matters is in the store and with the agents. A daemon that starts finds in the store
which attempts should be at work, and hears from the agents which are: those go on undisturbed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core.errors import SpecError, WorkbenchError
from workbench.dispatch.allocation import Allocation
from workbench.dispatch.attempt import clear_unfinished
from workbench.pool.agents import Agents
from workbench.pool.holdings import HOME, agent_of
from workbench.queue.entitlements import limits_of
from workbench.queue.policy.scheduler import Standing
from workbench.queue.policy.size import Demand
from workbench.queue.policy.values import Preempt, Resize, Start, WaitingRun
from workbench.queue.states import RunState
from workbench.queue.store import RunStore

LOG = logging.getLogger(__name__)
_ATTEMPT = "workbench.dispatch.attempt:attempt_process"
_HELPER = "workbench.pool.crew:helper_process"
_WATCH_SECONDS = 0.5  # the longest wait when nothing rings but attempts are live
_READ_AGAIN_SECONDS = 2.0  # a remedy's time may have come
_IDLE_SECONDS = 5.0  # the same when nothing is: an idle daemon costs nothing


@dataclass
class LiveAttempt:
    """What the dispatcher holds of a running attempt."""

    run_id: str
    term: int
    slots: tuple[str, ...]
    folder: Path
    is_adopted: bool = False  # an earlier daemon has begun it
    stop_asked_at: float | None = None
    gone: str = ""  # why its process is known to be no more

    @property
    def key(self) -> str:
        """What the agents call it."""
        return f"{self.run_id}/{self.term}"


class Dispatcher:
    """Starts, watches and ends attempts in a thread of its own; ``ring`` wakes it.

    A run that was asked to stop and does not within ``stop_seconds`` is ended by force.
    """

    def __init__(
        self,
        store: RunStore,
        agents: Agents,
        num_slots: Callable[[], int],
        workspace: Path,
        make_order: Callable[[dict[str, Any], tuple[str, ...]], dict[str, Any]],
        announce: Callable[[], None],
        stop_seconds: float,
    ) -> None:
        self._store = store
        self._agents = agents
        self._num_slots = num_slots
        self._workspace = workspace
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
        """Adopt the attempts that an earlier daemon has begun, then begin to dispatch."""
        for found in self._store.attempts():
            attempt = self._new_attempt(found.run.run_id, found.term, found.slots, is_adopted=True)
            self._agents.adopt(attempt.key, _leading_agent(found.slots))
            self._allocation.adopt(found.run, found.slots, found.seconds)
        self._agents.open()
        self._thread.start()

    def ring(self) -> None:
        """Look at the queue now."""
        self._bell.set()

    def halt(self) -> None:
        """Begin no turn any more."""
        self._closing = True
        self.ring()

    def close(self) -> None:
        """Stop dispatching."""
        self.halt()
        if self._thread.is_alive():
            self._thread.join()

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
        self._agents.forget(f"{run_id}/{term}")
        self.ring()

    def add_helpers(self, run_id: str, term: int, address: str, slots: list[str]) -> None:
        """Have processes started on other slots of a run, which connect to its leader's address.

        Asked twice for one address, none is started twice.

        Raises:
            SpecError: these are not slots of an attempt that is alive.
        """
        with self._lock:
            attempt = self._live.get(run_id)
            if attempt is None or attempt.term != term or not {*slots} <= {*attempt.slots}:
                raise SpecError(f"Attempt {run_id}/{term} does not hold {slots}", where="slots")
            for slot in slots:
                argument = {"address": address, "slot": slot, "workspace": str(self._workspace)}
                order = {"call": _HELPER, "name": "wb-helper", "argument": argument}
                # One address is one crew; the words of a key are between slashes.
                key = f"{attempt.key}/{slot.replace('/', '.')}/{address.replace('/', '.')}"
                self._agents.start(key, agent_of(slot), order)
        self._announce()

    def saved(self, run_id: str) -> None:
        """Note that a run has made a checkpoint."""
        self._allocation.note_saved(run_id)

    def demands(self) -> list[Demand]:
        """Return what the waiting runs need."""
        return self._allocation.demands()

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
            if self._closing:
                return
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
        self._move_from(self._agents.draining(), active)
        waiting = self._line()
        has_changed = False
        for decision in self._allocation.decide(
            waiting, self._stopping(active), self._agents.slots(), self._num_slots()
        ):
            if isinstance(decision, Start):
                has_changed = self._begin(decision) or has_changed
            else:
                self._store.preempt(decision.run_id, _why(decision))
                has_changed = True
        if has_changed:
            self._announce()
        return bool(waiting)

    def _line(self) -> list[WaitingRun]:
        """Return who waits; read again when that may have changed, and now and then."""
        now, revision = time.monotonic(), self._store.revision
        if revision != self._seen_revision or now - self._read_at > _READ_AGAIN_SECONDS:
            self._waiting, self._read_at = self._store.waiting(), now
            self._allocation.entitle(limits_of(self._store.entitlements()))
            self._seen_revision = revision
        return self._waiting

    def _stopping(self, active: dict[str, dict[str, Any]]) -> dict[str, bool]:
        """Return for each run with an attempt whether it was asked to stop."""
        with self._lock:
            return {
                run_id: run_id not in active or _shall_stop(active[run_id]) for run_id in self._live
            }

    def _move_from(self, draining: set[str], active: dict[str, dict[str, Any]]) -> None:
        """Ask the runs on hosts that are to go to stop at a safe point; they wait again."""
        with self._lock:
            attempts = list(self._live.values()) if draining else []
        for attempt in attempts:
            run = active.get(attempt.run_id)
            is_there = set(map(agent_of, attempt.slots)) & draining
            if is_there and run is not None and not _shall_stop(run):
                self._store.preempt(attempt.run_id, "moves: its host is given up")
                self._announce()

    def _begin(self, decision: Start) -> bool:
        try:
            run = self._store.start(decision.run_id, decision.slots)
        except WorkbenchError:  # paused or cancelled between decision and start
            self._allocation.take_back(decision.run_id)
            return False
        attempt = self._new_attempt(decision.run_id, run["term"], decision.slots)
        try:
            order = {
                "call": _ATTEMPT,
                "name": "wb-attempt" if decision.slots else "wb-coordinator",
                "argument": self._make_order(run, decision.slots),
            }
            self._agents.start(attempt.key, _leading_agent(decision.slots), order)
        except WorkbenchError as error:
            attempt.gone = error.what  # also where the failure itself cannot be recorded now
            self._store.fail(decision.run_id, run["term"], error)
            self.ended(decision.run_id, run["term"])
        except Exception as error:
            LOG.exception("run %s could not be started", decision.run_id)
            attempt.gone = f"could not be started: {error!r}"
            self.ring()
        return True

    def _new_attempt(
        self, run_id: str, term: int, slots: tuple[str, ...], *, is_adopted: bool = False
    ) -> LiveAttempt:
        attempt = LiveAttempt(run_id, term, slots, self._workspace / "runs" / run_id, is_adopted)
        with self._lock:
            self._live[run_id] = attempt
        return attempt

    def _take_back_the_lost(self) -> None:
        """Heal runs whose attempts are gone without having told how they ended.

        What cannot be recorded now (a full disk) stays with the live attempts for the next turn.
        """
        with self._lock:
            attempts = list(self._live.values())
        for attempt in attempts:
            attempt.gone = attempt.gone or self._agents.lost(attempt.key)
            if attempt.gone:
                # First the files: where they have filled the disk, the record needs the room.
                clear_unfinished(attempt.folder, attempt.term)
                # What was lost while no daemon was there to see it says nothing of the run.
                cause = attempt.gone
                if attempt.is_adopted:
                    cause = f"{cause} while the daemon was away"
                self._store.lose(attempt.run_id, attempt.term, cause, blameless=attempt.is_adopted)
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
            patience = self._stop_seconds if attempt.slots else 0.0
            if now - attempt.stop_asked_at >= patience:
                self._agents.kill(attempt.key)
                self._announce()


def _why(decision: Preempt | Resize) -> str:
    """Return why a run shall stop, as its journal tells."""
    if isinstance(decision, Preempt):
        return f"gives way to run {decision.for_run}"
    if decision.for_run:
        return f"gives workers to run {decision.for_run}"
    return f"grows to {decision.width} workers"


def _shall_stop(run: dict[str, Any]) -> bool:
    return bool(run["preempted"] or run["state"] != RunState.RUNNING)


def _leading_agent(slots: tuple[str, ...]) -> str:
    """Return the agent that leads an attempt; coordinators hold no slot and work at home."""
    return agent_of(slots[0]) if slots else HOME
