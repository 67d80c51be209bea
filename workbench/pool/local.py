"""The default pool: Dask workers on this machine, behind TLS, one thread and one slot each."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple

from workbench.core.errors import ResourceError
from workbench.pool.keepers import SlotKeepers

LOG = logging.getLogger(__name__)
_START_SECONDS = 60


class Sent(NamedTuple):
    """An attempt that was sent to a worker: its future, and the worker's address."""

    future: Future[Any]
    worker: str


class LocalPool:
    """A ``LocalCluster`` whose workers are placed by the dispatcher, never by Dask.

    An open scheduler port is code execution for every user of the host: scheduler and workers
    speak TLS with certificates that exist for this pool only.
    """

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.threads_per_slot = max(1, (os.cpu_count() or 1) // num_slots)
        self._cluster: Any = None
        self._client: Any = None
        self._keepers: Any = None
        self._addresses: dict[str, str] = {}

    def start(self) -> None:
        """Start the workers; returns when all of them have joined.

        Raises:
            ResourceError: they did not join in time.
        """
        import dask
        from distributed import Client, LocalCluster
        from distributed.security import Security

        dask.config.set(
            {
                # A lost worker is the dispatcher's to heal: Dask must not run an attempt twice.
                "distributed.scheduler.allowed-failures": 0,
                "distributed.scheduler.work-stealing": False,
                # A slot does one thing, and Dask keeps no results: it must neither end a worker
                # that needs much memory nor hold a run back from it.
                "distributed.worker.memory.terminate": False,
                "distributed.worker.memory.pause": False,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.target": False,
                "distributed.admin.tick.limit": "30s",
                # An idle pool should cost nothing: Dask samples every thread each 10 ms by default.
                "distributed.worker.profile.enabled": False,
                "distributed.admin.system-monitor.interval": "5s",
                "distributed.admin.system-monitor.gil.enabled": False,
                # The scheduler's own pages have no password: none are served.
                "distributed.scheduler.http.routes": [],
                "distributed.worker.http.routes": [],
            }
        )
        security = Security.temporary()
        self._cluster = LocalCluster(
            n_workers=0,  # each has a keeper
            threads_per_worker=1,
            processes=True,
            security=security,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.ERROR,
            env=_worker_environment(self.threads_per_slot),
        )
        self._client = Client(self._cluster, security=security, set_as_default=False)
        self._keepers = SlotKeepers(self._cluster, self.num_slots)
        self._cluster.loop.add_callback(self._keepers.keep)
        try:
            self._client.wait_for_workers(self.num_slots, timeout=_START_SECONDS)
        except TimeoutError as error:
            raise ResourceError(
                f"The pool's {self.num_slots} workers did not join in {_START_SECONDS} s",
                where="pool",
                next_step="Look at daemon.log; a smaller WORKBENCH_SLOTS needs less memory.",
            ) from error

    def slots(self) -> list[str]:
        """Return the names of the slots that are alive now, in a stable order."""
        if self._client is None:
            return []
        # The scheduler lives in this process: reading its table costs no message.
        workers = list(self._cluster.scheduler.workers.values())
        self._addresses = {str(worker.name): worker.address for worker in workers}
        return sorted(self._addresses, key=_natural)

    def addresses(self, slots: Sequence[str]) -> dict[str, str]:
        """Return where the workers of these slots can be reached, for each other."""
        return {slot: self._addresses[slot] for slot in slots}

    def submit(self, function: Callable[..., Any], order: dict[str, Any], slot: str) -> Sent:
        """Run ``function(order)`` on exactly this slot; the future fails if its worker dies.

        If the worker dies before the order has reached it, the future waits for ever: look with
        ``has_left`` too.
        """
        address = self._addresses[slot]
        future = self._client.submit(
            function,
            order,
            key=f"{order['run_id']}-{order['term']}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        return Sent(future, address)

    def has_left(self, worker: str) -> bool:
        """Whether the worker at this address is gone; one that is started again has a new one."""
        return worker not in self._cluster.scheduler.workers

    def kill(self, slot: str) -> None:
        """End a slot's process at once; its nanny starts a fresh one."""
        # The worker itself cannot be asked: native code that holds the interpreter's lock lets
        # nothing else answer.
        pid = self._keepers.pid(slot)
        if pid is not None:
            with suppress(ProcessLookupError):  # it has died in this moment
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Stop the workers and the scheduler."""
        if self._client is not None:
            self._cluster.sync(self._keepers.close)
            self._client.close(timeout=5)
            self._cluster.close(timeout=10)
            self._client = None


def _worker_environment(threads: int) -> dict[str, str]:
    # Each slot may use its share of the cores and no more; set before numpy and torch are loaded.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {**dict.fromkeys(names, str(threads)), "TOKENIZERS_PARALLELISM": "false"}


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (1 << 30, name)


def default_num_slots() -> int:
    """Return the number of slots: ``WORKBENCH_SLOTS``, else one per core.

    Raises:
        ResourceError: the variable is no positive number.
    """
    wished = os.environ.get("WORKBENCH_SLOTS", "")
    if not wished:
        return max(1, os.cpu_count() or 1)
    if wished.isdigit() and int(wished) >= 1:
        return int(wished)
    raise ResourceError(
        f"WORKBENCH_SLOTS={wished!r} is no number of slots",
        where="environment",
        next_step="Give a whole number of 1 or more.",
    )
