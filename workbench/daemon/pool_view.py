"""What the pool and the queue look like, and would: who runs, who waits and why, and until when."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from workbench.daemon.pool import Pool
from workbench.dispatch.dispatcher import Dispatcher
from workbench.pool.agents import Agents
from workbench.pool.holdings import HOME, agent_of
from workbench.queue.entitlements import limits_of
from workbench.queue.forecast import Estimate, forecast
from workbench.queue.policy.values import Group, WaitingRun
from workbench.queue.store import RunStore

_UNKNOWN_SECONDS = 60.0  # for a stage of which no run has ended yet
_LEAST_LEFT = 0.1  # of the typical time: some runs take longer than that


class PoolView:
    """Answers questions about the pool; changes nothing."""

    def __init__(self, store: RunStore, pool: Pool, agents: Agents, dispatcher: Dispatcher) -> None:
        self._store = store
        self._pool = pool
        self._agents = agents
        self._dispatcher = dispatcher

    def pool(self) -> dict[str, Any]:
        """Return the slots with their runs, the runs that work, and those that wait, with why."""
        busy = self._dispatcher.busy_slots()
        slots = self._described_slots(busy)
        waiting = []
        for standing in self._dispatcher.standings():
            run = self._store.run(standing.run_id)
            waiting.append(
                {
                    "run_id": standing.run_id,
                    "stage": run["stage"],
                    "least_workers": run["least_workers"],
                    "workers": run["workers"],
                    "priority": run["priority"],
                    "submitted_by": run["submitted_by"],
                    "project": run["project"],
                    "place": standing.place,
                    "reason": standing.reason,
                }
            )
        return {
            "slots": slots,
            "most_slots": self._pool.num_slots,
            "hosts_coming": self._pool.provider.num_coming(),
            "troubles": self._pool.provider.troubles(),
            "running": [self._described(run_id, n) for run_id, n in Counter(busy.values()).items()],
            "waiting": waiting,
        }

    def _described_slots(self, busy: dict[str, str]) -> list[dict[str, Any]]:
        found = {agent["agent"]: agent for agent in self._agents.found()}
        draining = self._agents.draining()
        reported = [f"{name}/{n}" for name in sorted(found) for n in range(found[name]["slots"])]
        slots = []
        for slot in {**dict.fromkeys(self._pool.expected_slots), **dict.fromkeys(reported)}:
            agent = found.get(agent_of(slot))
            slots.append(
                {
                    "slot": slot,
                    "host": agent["host"] if agent else HOME,
                    "pid": agent["pid"] if agent else None,
                    "alive": bool(agent and agent["alive"]),
                    "draining": agent_of(slot) in draining,
                    "run_id": busy.get(slot),
                }
            )
        return slots

    def _described(self, run_id: str, num_slots: int) -> dict[str, Any]:
        run = self._store.run(run_id)
        names = ("run_id", "stage", "state", "priority", "submitted_by", "project", "progress")
        return {**{name: run[name] for name in names}, "slots": num_slots}

    def forecast(self, num_slots: int | None = None) -> list[dict[str, Any]]:
        """Return when each run would start and end with so many slots; by default the present ones.

        A run is taken to need as long as the newest of its stage did; ``is_guess`` says that none
        has ended yet.
        """
        slots = self._slots()
        if num_slots is not None:
            slots = {f"{HOME}/{number}": HOME for number in range(num_slots)}
        typical: dict[str, float | None] = {}
        stages: dict[str, str] = {}
        estimates = []
        for run, elapsed in [*self._running(), *((run, None) for run in self._store.waiting())]:
            stage = stages[run.run_id] = self._store.run(run.run_id)["stage"]
            if stage not in typical:
                typical[stage] = self._store.typical_seconds(stage)
            whole = typical[stage] or _UNKNOWN_SECONDS
            left = max(whole - (elapsed or 0.0), _LEAST_LEFT * whole)
            estimates.append(Estimate(run, left, is_running=elapsed is not None))
        return [
            {
                "run_id": one.run_id,
                "stage": stages[one.run_id],
                "starts_in": one.starts_in,
                "ends_in": round(one.ends_in, 1),
                "is_guess": typical[stages[one.run_id]] is None,
            }
            for one in forecast(estimates, slots, limits_of(self._store.entitlements()))
        ]

    def _slots(self) -> dict[str, str]:
        """Return every slot there should be, with its host."""
        return self._agents.slots() or dict.fromkeys(self._pool.expected_slots, HOME)

    def _running(self) -> list[tuple[WaitingRun, float]]:
        """Return the runs that hold slots, and for how many seconds each has run."""
        found = []
        for run_id, width in Counter(self._dispatcher.busy_slots().values()).items():
            run = self._store.run(run_id)
            group = Group(run["project"], run["submitted_by"])
            demand = WaitingRun(run_id, run["position"], run["priority"], width, width, group)
            found.append((demand, max(time.time() - (run["started_at"] or time.time()), 0.0)))
        return found
