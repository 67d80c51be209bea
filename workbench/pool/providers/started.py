"""Hosts on each of which one command starts an agent: what providers of that kind share."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from workbench.core.errors import WorkbenchError
from workbench.core.workers import Workers
from workbench.pool.agents import Agents

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_LEAVE_SECONDS = 10.0  # for an agent that was told to end
_CLOSE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 2.0  # after a host that did not come, before the next is asked for
_LONGEST_PAUSE_SECONDS = 60.0


class Started(Protocol):
    """What was started for one host."""

    def ended(self) -> str | None:
        """Return why it has ended, empty if it ended well; None as long as it lives."""

    def is_only_the_way(self) -> bool:
        """Whether what has ended was the way to an agent, which may live on."""

    def end(self) -> None:
        """End it, whatever it is doing; also one that has ended."""


class HostStarter(Protocol):
    """How hosts of one kind are started."""

    def name(self, taken: set[str]) -> str | None:
        """Return the name of the next host's agent; None if there is no host left."""

    def is_ours(self, agent: str) -> bool:
        """Whether an agent with this name is one of ours, whoever has started it."""

    def start(self, name: str) -> Started:
        """Start the agent of a host; may take as long as it takes.

        Raises:
            WorkbenchError: the host was refused.
        """


@dataclass
class _Host:
    started: Started | None = None  # None: not yet, or a daemon before this one has started it
    has_come: bool = False
    leave_by: float | None = None  # it was given up
    came_from: float = field(default_factory=time.monotonic)


class StartedHosts:
    """A provider made of a way to start one host; hosts that end are forgotten."""

    is_resizable = True

    def __init__(
        self,
        agents: Agents,
        starter: HostStarter,
        hosts: Workers,
        slots_per_host: int,
        patience_seconds: float,
    ) -> None:
        """Prepare; a host that has not come after ``patience_seconds`` is given up."""
        self.hosts = hosts
        self.slots_per_host = slots_per_host
        self._agents = agents
        self._starter = starter
        self._patience_seconds = patience_seconds
        self._hosts: dict[str, _Host] = {}
        self._trouble = ""
        self._pause_seconds = 0.0
        self._paused_until: list[float] = []  # of hosts that were refused
        self._refused: list[str] = []  # their names, and none that has come since
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pool hosts", daemon=True)

    def start(self) -> None:
        """Begin to look after the hosts; those of an earlier daemon come as they report."""
        self._thread.start()

    def add_host(self) -> None:
        """Have one more host."""
        with self._lock:
            name = self._next_name()
            if name is None or self._closing.is_set():
                return
            host = self._hosts[name] = _Host()
        LOG.info("the pool asks for a host: %s", name)
        threading.Thread(target=self._start, args=(name, host), daemon=True).start()

    def _next_name(self) -> str | None:
        """Return the next host's name: of those that were refused lately the first one last."""
        there = set(self._hosts)
        while True:
            name = self._starter.name(there | set(self._refused))
            if name is not None or not self._refused:
                return name
            del self._refused[0]

    def release(self, agent: str) -> None:
        """Give up a host."""
        with self._lock:
            host = self._hosts.setdefault(agent, _Host(has_come=True))
            host.leave_by = time.monotonic() + _LEAVE_SECONDS
        self._agents.dismiss(agent)

    def num_coming(self) -> int:
        """Return how many hosts were asked for and are not there; one refused counts for a while.

        So nobody asks again at once for what was just refused.
        """
        now = time.monotonic()
        with self._lock:
            self._paused_until = [until for until in self._paused_until if until > now]
            return len(self._paused_until) + sum(not h.has_come for h in self._hosts.values())

    def troubles(self) -> list[str]:
        """Return why the newest host that was asked for does not come."""
        with self._lock:
            return [self._trouble] if self._trouble else []

    def close(self) -> None:
        """End the agents and give up their hosts."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + _CLOSE_SECONDS
        with self._lock:
            hosts = dict(self._hosts)
        # Each hears with its next report that the pool is taken down.
        while not all(map(self._agents.knows_end, hosts)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for host in hosts.values():
            if host.started is not None:
                host.started.end()

    def _start(self, name: str, host: _Host) -> None:
        try:
            started = self._starter.start(name)
        except Exception as error:
            why = error.what if isinstance(error, WorkbenchError) else f"{error}"
            self._note_refusal(name, why)
            return
        with self._lock:
            host.started = started
            is_wanted = self._hosts.get(name) is host and not self._closing.is_set()
        if not is_wanted:
            started.end()

    def _keep(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception:  # the next look starts from what there is
                LOG.exception("the hosts of the pool could not be looked after; trying again")

    def _look(self) -> None:
        there = {found["agent"] for found in self._agents.found() if found["alive"]}
        with self._lock:
            for name in there:
                if self._starter.is_ours(name):
                    host = self._hosts.setdefault(name, _Host())
                    if not host.has_come:
                        host.has_come = True
                        self._trouble, self._pause_seconds = "", 0.0
                        self._refused = [each for each in self._refused if each != name]
            hosts = dict(self._hosts)
        now = time.monotonic()
        for name, host in hosts.items():
            why = host.started.ended() if host.started is not None else None
            if host.has_come and host.started is not None and host.started.is_only_the_way():
                why = None  # as long as the agent is heard, or may work without being heard
            if why is not None or (host.has_come and self._agents.is_silent(name)):
                self._note_end(name, host, why or "it ended at once")
            elif not host.has_come and now - host.came_from > self._patience_seconds:
                self._note_end(name, host, f"no word in {self._patience_seconds:g} s")
            elif host.leave_by is not None and now > host.leave_by:
                self._note_end(name, host, "")

    def _note_end(self, name: str, host: _Host, why: str) -> None:
        if host.started is not None:
            host.started.end()
        if host.has_come:
            self._agents.drop(name)
            with self._lock:
                self._hosts.pop(name, None)
        else:
            self._note_refusal(name, why)

    def _note_refusal(self, name: str, why: str) -> None:
        LOG.warning("the host %s did not come: %s", name, why)
        with self._lock:
            self._hosts.pop(name, None)
            self._refused = [*(each for each in self._refused if each != name), name]
            self._trouble = f"{name} did not come: {why}"
            self._pause_seconds = min(
                max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS
            )
            self._paused_until.append(time.monotonic() + self._pause_seconds)
