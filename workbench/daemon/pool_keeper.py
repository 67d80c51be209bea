"""Keeps a pool as large as its work: hosts start for who waits, are drained and released after."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Any

from workbench.daemon.pool import Pool
from workbench.dispatch.dispatcher import Dispatcher
from workbench.pool.agents import Agents
from workbench.pool.holdings import HOME, agent_of
from workbench.queue.policy.size import HostLoad, SizeLimits, Sizer

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5


class PoolKeeper:
    """Carries out what the sizer decides, in a thread of its own; a pool of one size needs none."""

    def __init__(
        self,
        pool: Pool,
        agents: Agents,
        dispatcher: Dispatcher,
        grow_seconds: float,
        slow_seconds: float,
        shrink_seconds: float,
    ) -> None:
        self._pool = pool
        self._provider = pool.provider
        self._agents = agents
        self._dispatcher = dispatcher
        hosts = self._provider.hosts
        self._sizer = Sizer(
            SizeLimits(
                hosts.least,
                hosts.most,
                self._provider.slots_per_host,
                grow_seconds,
                slow_seconds,
                shrink_seconds,
            )
        )
        self._released: set[str] = set()  # and not gone yet
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pool size", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        limits = self._sizer.limits
        is_fixed = self._provider is self._pool.home and limits.least_hosts == limits.most_hosts
        if self._provider.is_resizable and not is_fixed:
            self._thread.start()

    def halt(self) -> None:
        """Ask for nothing any more."""
        self._closing.set()

    def close(self) -> None:
        """Leave the pool as it is."""
        self.halt()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception:  # the next look starts from what there is
                LOG.exception("the pool could not be resized; trying again")

    def _look(self) -> None:
        found_agents = self._agents.found()
        self._released &= {found["agent"] for found in found_agents}
        held = Counter(agent_of(slot) for slot in self._dispatcher.busy_slots())
        draining = self._agents.draining()
        hosts = {
            found["agent"]: HostLoad(
                found["slots"], held[found["agent"]],
                draining=found["agent"] in draining, permanent=found["agent"] == HOME,
            )
            for found in found_agents
            if found["alive"] and self._stays(found)
        }  # fmt: skip
        for found in found_agents:
            if found["leaving"] and not held[found["agent"]]:
                self._release(found["agent"])
        num_coming = self._provider.num_coming()
        change = self._sizer.look(time.monotonic(), hosts, num_coming, self._dispatcher.demands())
        for name in change.keep:
            self._agents.keep(name)
        for _ in range(change.start):
            LOG.info("the pool grows by a host")
            self._provider.add_host()
        for name in change.drain:
            LOG.info("the pool shrinks: %s is drained", name)
            self._agents.drain(name)
        for name in change.release:
            self._release(name)
        if change.keep or change.drain:
            self._dispatcher.ring()

    def _stays(self, found: dict[str, Any]) -> bool:
        """Whether an agent is one that works; one without slots leads coordinators alone."""
        is_going = found["leaving"] or found["agent"] in self._released
        return bool(found["slots"]) and not is_going

    def _release(self, name: str) -> None:
        if name not in self._released:
            LOG.info("the pool shrinks: %s is released", name)
            self._released.add(name)
            self._provider.release(name)
