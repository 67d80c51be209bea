"""Keeps the policy in step with what the store and the pool say, and asks it what follows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from workbench.queue.policy.scheduler import Scheduler, Standing
from workbench.queue.policy.size import Demand
from workbench.queue.policy.values import Decision, Limits, PlacedRun, WaitingRun


class Allocation:
    """The policy's scheduler, told what has changed since the turn before.

    It runs on this process's own clock, which never jumps. A run that this process has not seen
    before has the patience that its submission time tells.
    """

    def __init__(self) -> None:
        self._scheduler = Scheduler()
        self._waiting: dict[str, WaitingRun] = {}
        self._held: set[str] = set()  # runs that hold slots
        self._patience: dict[str, float] = {}  # of runs that have run, and wait again
        self._saved: set[str] = set()
        self._lock = threading.Lock()

    def note_saved(self, run_id: str) -> None:
        """Note that a run has made a checkpoint: less is lost if it gives way now."""
        with self._lock:
            self._saved.add(run_id)

    def adopt(self, run: WaitingRun, slots: tuple[str, ...], seconds: float) -> None:
        """Note a run that holds slots since so many seconds, started by an earlier daemon."""
        now = time.monotonic()
        with self._lock:
            began = now - seconds
            self._scheduler.adopt(PlacedRun(run, slots, began, began), now)
            self._held.add(run.run_id)

    def decide(
        self,
        waiting: Iterable[WaitingRun],
        stopping: Mapping[str, bool],
        slots: Mapping[str, str],
        pool_size: int,
    ) -> list[Decision]:
        """Return what to start and whom to preempt now.

        Args:
            waiting: the runs that could start.
            stopping: for each run that holds slots, whether it was asked to stop.
            slots: the slots that are alive, ``{slot: host}``.
            pool_size: how many there are when every worker is up.
        """
        now = time.monotonic()
        with self._lock:
            self._scheduler.set_slots(slots, pool_size)
            self._update_held(stopping, now)
            self._update_waiting(waiting, now)
            decisions = self._scheduler.decide(now)
            for decision in decisions:
                if self._waiting.pop(decision.run_id, None) is not None:
                    self._held.add(decision.run_id)
            return decisions

    def take_back(self, run_id: str) -> None:
        """Note that a run which was to start could not: it may wait again."""
        with self._lock:
            self._release(run_id, time.monotonic())

    def standings(self) -> list[Standing]:
        """Return the waiting runs in order, and why each waits."""
        with self._lock:
            return self._scheduler.standings(time.monotonic())

    def demands(self) -> list[Demand]:
        """Return what runs need that wait for slots, or for more of them, and for how long.

        Those for which a quota has no room would not start in a larger pool either.
        """
        now = time.monotonic()
        with self._lock:
            waiting = sorted(self._waiting.values(), key=lambda run: (-run.priority, run.position))
            found = [
                Demand(run.least, run.most, self._scheduler.patience(run.run_id, now))
                for run in self._scheduler.within_quotas(waiting)
                if run.least > 0
            ]
            return found + [
                Demand(extra, extra, seconds, is_at_work=True)
                for extra, seconds in self._scheduler.hungry(now)
            ]

    def entitle(self, limits: Limits) -> None:
        """Heed what projects and users are entitled to from now on."""
        with self._lock:
            self._scheduler.entitle(limits)

    def _update_held(self, stopping: Mapping[str, bool], now: float) -> None:
        for run_id in self._held - stopping.keys():
            self._release(run_id, now)
        for run_id, is_so in stopping.items():
            self._scheduler.stopping(run_id, is_so=is_so)
        for run_id in self._saved:
            self._scheduler.saved(run_id, now)
        self._saved.clear()

    def _update_waiting(self, waiting: Iterable[WaitingRun], now: float) -> None:
        found = {run.run_id: run for run in waiting if run.run_id not in self._held}
        for run_id in self._waiting.keys() - found.keys():
            self._scheduler.withdraw(run_id)
        for run_id, run in found.items():
            known = self._waiting.get(run_id)
            if known is None:
                self._scheduler.enqueue(self._with_patience(run), now)
            elif known.priority != run.priority:
                patience = self._scheduler.patience(run_id, now)
                self._scheduler.enqueue(replace(run, patience=patience), now)
        self._waiting = found
        self._patience.clear()  # of those that were paused or are over

    def _with_patience(self, run: WaitingRun) -> WaitingRun:
        patience = self._patience.pop(run.run_id, run.patience)
        return replace(run, patience=patience)

    def _release(self, run_id: str, now: float) -> None:
        self._held.discard(run_id)
        self._patience[run_id] = self._scheduler.release(run_id, now)
