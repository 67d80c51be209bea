"""The default provider: agents on the daemon's own host, kept alive as long as it lives."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from workbench.core.errors import ResourceError, SpecError
from workbench.core.locks import holder
from workbench.core.spec import option
from workbench.core.workers import Workers, WorkersWish, parse_workers
from workbench.pool.agents import Agents
from workbench.pool.holdings import HOME, agent_lock
from workbench.pool.process import end_process
from workbench.pool.providers.provider import PoolSpec
from workbench.pool.stopped import StoppedProcesses

LOG = logging.getLogger(__name__)
_MORE = f"{HOME}-"  # then a number: the other agents
_LOOK_SECONDS = 0.5
_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0


class LocalPool(PoolSpec):
    """The cores of this host."""

    has_other_hosts: ClassVar[bool] = False

    slots: WorkersWish | None = option(
        None,
        title="Slots",
        help='runs at a time: 4, or as many as are needed within a range: "2..8"; by default '
        "WORKBENCH_SLOTS, else one per core",
    )

    def open(self, root: Path, agents: Agents) -> LocalHosts:
        """Return the provider for a workspace."""
        slots = wished_slots() if self.slots is None else parse_workers(self.slots)
        return LocalHosts(root, agents, slots.least, slots.most // slots.least, wished_dask())


class LocalHosts:
    """Keeps agents on this host: one always, others as long as they are wanted.

    Each is a host to the pool. They outlive a daemon that is killed, and the next daemon finds them
    at work. An agent without slots leads coordinators alone.
    """

    is_resizable = True

    def __init__(
        self, root: Path, agents: Agents, slots_per_host: int, most_hosts: int, dask: str = "own"
    ) -> None:
        self.hosts = Workers(1, most_hosts)
        self.slots_per_host = slots_per_host
        self._dask = dask
        self._root = root
        self._agents = agents
        self._kept: dict[str, subprocess.Popen[bytes] | None] = {HOME: None}
        self._leaving: set[str] = set()
        self._lock = threading.Lock()
        self._stopped = StoppedProcesses()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="local pool", daemon=True)

    def start(self) -> None:
        """Start the first agent, or find those that an earlier daemon has started.

        Raises:
            ResourceError: it did not come up in time.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_there():
            if time.monotonic() > deadline or self._closing.wait(0.01):
                raise ResourceError(
                    f"The pool's agent did not come up in {_START_SECONDS:.0f} s",
                    where="pool",
                    next_step="Look at daemon.log; a smaller WORKBENCH_SLOTS needs less memory.",
                )

    def _is_there(self) -> bool:
        return any(f["agent"] == HOME and f["alive"] for f in self._agents.found())

    def num_coming(self) -> int:
        """Return how many agents are kept and not there yet."""
        there = {found["agent"] for found in self._agents.found() if found["alive"]}
        with self._lock:
            return len(self._kept.keys() - there)

    def troubles(self) -> list[str]:
        """Return nothing: what keeps an agent from coming up is in the daemon's log."""
        return []

    def add_host(self) -> None:
        """Have one more agent."""
        with self._lock:
            names = (f"{_MORE}{number}" for number in itertools.count(2))
            name = next(n for n in names if n not in self._kept and n not in self._leaving)
            self._kept[name] = None

    def release(self, name: str) -> None:
        """Let an agent end; it should have nothing to do."""
        with self._lock:
            process = self._kept.pop(name, None)
            self._leaving.add(name)
        threading.Thread(target=self._see_off, args=(name, process), daemon=True).start()

    def _see_off(self, name: str, process: subprocess.Popen[bytes] | None) -> None:
        pid = self._pid(name, process)
        _end_all([] if pid is None else [pid], [process])
        self._agents.drop(name)
        with self._lock:
            self._leaving.discard(name)

    def close(self) -> None:
        """End the agents and all that works under them."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            kept = dict(self._kept)
        pids = [pid for name, process in kept.items() if (pid := self._pid(name, process))]
        _end_all(pids, kept.values())

    def _keep(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                for found in self._agents.found():  # also those of an earlier daemon
                    if found["agent"].startswith(_MORE) and found["agent"] not in self._leaving:
                        self._kept.setdefault(found["agent"], None)
                kept = dict(self._kept)
            pids = []
            for name, process in kept.items():
                pid = self._pid(name, process)
                if pid is None:
                    self._start_one(name)
                else:
                    pids.append(pid)
            for stopped in self._stopped.look(pids):
                LOG.warning("an agent of the pool was stopped by somebody; it is replaced")
                end_process(stopped, signal.SIGKILL)
            self._closing.wait(_LOOK_SECONDS if self._is_there() else 0.05)

    def _pid(self, name: str, process: subprocess.Popen[bytes] | None) -> int | None:
        """Return the process of the living agent, whoever has started it."""
        if process is not None and process.poll() is None:
            return process.pid
        for found in self._agents.found():
            if found["agent"] == name:
                if _is_alive(found["pid"]):
                    return int(found["pid"])
                self._agents.gone(name, found["incarnation"])
        # One that an earlier daemon has started, and that has not reported to this one yet.
        return holder(agent_lock(self._root, name))

    def _start_one(self, name: str) -> None:
        """Start an agent; it ends at once where another holds the name, which reports soon."""
        command = [
            sys.executable, "-m", "workbench.pool.agent", "--workspace", str(self._root),
            "--name", name, "--slots", str(self.slots_per_host), "--dask", self._dask,
            *(["--home"] * (name == HOME)),
        ]  # fmt: skip
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:  # no more processes or memory: the next look tries again
            LOG.warning("an agent of the pool did not start: %s", error)
            return
        with self._lock:
            if name in self._kept:
                self._kept[name] = process
                return
        process.kill()  # it was released in this moment
        process.wait()


def _end_all(pids: list[int], ours: Iterable[subprocess.Popen[bytes] | None]) -> None:
    """End agents, by force if they take too long; those of ours leave no zombie."""
    children = list(filter(None, ours))
    for pid in pids:
        end_process(pid, signal.SIGTERM)
    deadline = time.monotonic() + _CLOSE_SECONDS
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        for process in children:
            process.poll()
        time.sleep(0.01)
    for pid in filter(_is_alive, pids):
        end_process(pid, signal.SIGKILL)
    for process in children:
        process.wait()


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def wished_slots() -> Workers:
    """Return the number of slots: ``WORKBENCH_SLOTS``, ``4`` or ``2..8``, else one per core.

    Raises:
        ResourceError: the variable is no number of slots.
    """
    wished = os.environ.get("WORKBENCH_SLOTS", "")
    if not wished:
        cores = max(1, os.cpu_count() or 1)
        return Workers(cores, cores)
    try:
        return parse_workers(wished)
    except SpecError as error:
        raise ResourceError(
            f"WORKBENCH_SLOTS={wished!r} is no number of slots",
            where="environment",
            next_step="Give a whole number of 1 or more, or a range such as 2..8.",
        ) from error


def wished_dask() -> str:
    """Return whose Dask cluster is beside the runs: ``WORKBENCH_DASK``, ``own`` or ``none``.

    Raises:
        ResourceError: the variable says something else.
    """
    wished = os.environ.get("WORKBENCH_DASK") or "own"
    if wished not in ("own", "none"):
        raise ResourceError(
            f"WORKBENCH_DASK={wished!r} is neither own nor none",
            where="environment",
            next_step="Give none for a pool without a Dask cluster, or leave it out.",
        )
    return wished
