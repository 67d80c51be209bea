"""Keeps a pool as large as its work: hosts start for who waits, are drained and released after."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from workbench.dispatch.dispatcher import Dispatcher
from workbench.pool.agents import Agents
from workbench.pool.holdings import agent_of
from workbench.pool.local import HOME, LocalPool
from workbench.queue.policy.size import HostLoad, SizeLimits, Sizer

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5


class PoolKeeper:
    """Carries out what the sizer decides, in a thread of its own; a pool of one size needs none."""

    def __init__(
        self, pool: LocalPool, agents: Agents, dispatcher: Dispatcher, limits: SizeLimits
    ) -> None:
        self._pool = pool
        self._agents = agents
        self._dispatcher = dispatcher
        self._sizer = Sizer(limits)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pool size", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if self._sizer.limits.least_hosts < self._sizer.limits.most_hosts:
            self._thread.start()

    def close(self) -> None:
        """Leave the pool as it is."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception:  # the next look starts from what there is
                LOG.exception("the pool could not be resized; trying again")

    def _look(self) -> None:
        held = Counter(agent_of(slot) for slot in self._dispatcher.busy_slots())
        draining = self._agents.draining()
        hosts = {
            found["agent"]: HostLoad(
                found["slots"], held[found["agent"]],
                draining=found["agent"] in draining, permanent=found["agent"] == HOME,
            )
            for found in self._agents.found()
            if found["alive"]
        }  # fmt: skip
        num_coming = len(set(self._pool.names()) - hosts.keys())
        change = self._sizer.look(time.monotonic(), hosts, num_coming, self._dispatcher.demands())
        for name in change.keep:
            self._agents.keep(name)
        for _ in range(change.start):
            LOG.info("the pool grows: %s is started", self._pool.add_host())
        for name in change.drain:
            LOG.info("the pool shrinks: %s is drained", name)
            self._agents.drain(name)
        for name in change.release:
            LOG.info("the pool shrinks: %s is released", name)
            self._pool.release(name)
        if change.keep or change.drain:
            self._dispatcher.ring()
