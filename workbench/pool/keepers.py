"""Keeps the slots of a pool filled: a worker that died, or stands still, is replaced."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from typing import Any

from workbench.pool.stopped import StoppedProcesses

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 20.0  # for a worker that its nanny starts again
_CLOSE_SECONDS = 5.0


class SlotKeepers:
    """A Dask nanny for each slot, and what none of them does: to replace a nanny that gave up.

    A nanny starts its worker again when that dies, but ends itself when the worker dies before it
    has joined. All methods but ``pid`` run in the event loop of the cluster.
    """

    def __init__(self, cluster: Any, num_slots: int) -> None:
        self._cluster = cluster
        self._names = [str(number) for number in range(num_slots)]
        self._nannies: dict[str, Any] = {}
        self._seen: dict[str, float] = {}  # name -> when its worker was last there
        self._stopped = StoppedProcesses()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def pid(self, slot: str) -> int | None:
        """Return the process of a slot's worker, None while there is none."""
        nanny = self._nannies.get(slot)
        return None if nanny is None else nanny.pid

    async def keep(self) -> None:
        """Fill all slots, now and whenever one is empty, until closed."""
        self._task = asyncio.current_task()
        while not self._closing:
            self._end_stopped()
            await asyncio.gather(*map(self._fill, self._names))
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """Stop every worker, and start none any more."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.gather(*map(self._end, list(self._nannies)))

    def _end_stopped(self) -> None:
        """End workers that stand still: their runs go on elsewhere, or once they are replaced."""
        pids = filter(None, map(self.pid, self._names))
        for pid in self._stopped.look(pids):
            LOG.warning("worker process %d stands still: somebody stopped it; it is replaced", pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _fill(self, name: str) -> None:
        if name in self._nannies and not self._has_given_up(name):
            return
        await self._end(name)
        try:
            self._seen[name] = time.monotonic()
            nanny = self._new_nanny(name)
            self._nannies[name] = nanny
            await nanny
        except Exception as error:
            # Whatever it was (killed, out of memory, no more processes): the next look tries anew.
            LOG.warning("the worker of slot %s did not start: %s", name, error)

    def _new_nanny(self, name: str) -> Any:
        kind = self._cluster.new_spec
        return kind["cls"](self._cluster.scheduler.address, name=name, **kind["options"])

    def _has_given_up(self, name: str) -> bool:
        from distributed.core import Status

        now = time.monotonic()
        if any(str(worker.name) == name for worker in self._cluster.scheduler.workers.values()):
            self._seen[name] = now
        if self._nannies[name].status in (Status.closed, Status.failed, Status.closing):
            return True
        return now - self._seen[name] > _PATIENCE_SECONDS

    async def _end(self, name: str) -> None:
        """Stop what is left of a slot's nanny and worker."""
        nanny = self._nannies.pop(name, None)
        if nanny is None:
            return
        try:
            await asyncio.wait_for(nanny.close(timeout=_CLOSE_SECONDS), 2 * _CLOSE_SECONDS)
        except Exception as error:
            LOG.warning("the worker of slot %s did not stop in order: %s", name, error)
