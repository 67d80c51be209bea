"""The daemon's book of its agents: who is there, what each has, what each should have.

Level-triggered: an agent reports what it has, and is answered what of that is not as it should be.
A message that is lost, doubled or late changes nothing; the next one says the same again.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench import __version__
from workbench.pool.holdings import Answer, Order, attempt_of
from workbench.pool.lease import LEASE, LeaseTimes

LOG = logging.getLogger(__name__)
WORKER_DIED = "worker died"


@dataclass(frozen=True)
class Report:
    """What an agent tells."""

    agent: str
    incarnation: str  # another one for each process that calls itself by this name
    host: str
    pid: int
    num_slots: int
    has: dict[str, int | None]  # exit status by key, None while it runs
    version: str = __version__  # of the workbench that it has loaded
    leaving: bool = False  # its host is taken back soon: what works there shall move


@dataclass
class _Agent:
    """An agent as of its newest report."""

    report: Report
    heard_at: float
    is_gone: bool = False


@dataclass
class _Wanted:
    """A process that an agent should have."""

    agent: str
    order: Order | None  # None: an earlier daemon gave it
    sent_to: str = ""  # the incarnation that has been told
    kill: bool = False
    lost: str = ""  # why it is no more


class Agents:
    """Which agents a pool has; safe to use from every thread."""

    def __init__(
        self, times: LeaseTimes = LEASE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._times = times
        self._clock = clock
        self._daemon = secrets.token_hex(8)
        self._number = 0
        self._agents: dict[str, _Agent] = {}
        self._wanted: dict[str, _Wanted] = {}
        self._begun_at = clock()
        self._draining: set[str] = set()
        self._dismissed: set[str] = set()
        self._told: set[str] = set()  # to end, and has asked since
        self._is_open = False
        self._stopping = False
        self._lock = threading.RLock()

    # -- what the dispatcher asks -----------------------------------------------------------------

    def slots(self) -> dict[str, str]:
        """Return the slots that can be given work, with the host of each, in a stable order."""
        with self._lock:
            fresh = [
                agent.report for name, agent in sorted(self._agents.items())
                if self._is_fresh(agent) and name not in self._draining
            ]  # fmt: skip
        return {f"{r.agent}/{n}": r.host for r in fresh for n in range(r.num_slots)}

    def start(self, key: str, agent: str, order: Order) -> None:
        """Have an agent start a process, once; ``lost`` tells if it comes to nothing."""
        with self._lock:
            self._wanted.setdefault(key, _Wanted(agent, order))

    def adopt(self, key: str, agent: str) -> None:
        """Expect a process that an earlier daemon has had started."""
        with self._lock:
            self._wanted.setdefault(key, _Wanted(agent, None))

    def open(self) -> None:
        """Say that all is adopted: what is not wanted from now on may be ended."""
        with self._lock:
            self._is_open = True

    def kill(self, key: str) -> None:
        """Have a process ended at once; ``lost`` tells when it has."""
        with self._lock:
            if key in self._wanted:
                self._wanted[key].kill = True

    def forget(self, attempt: str) -> None:
        """Want an attempt's processes no longer: it has told how it ended."""
        with self._lock:
            for key in [key for key in self._wanted if attempt_of(key) == attempt]:
                del self._wanted[key]

    def lost(self, key: str) -> str:
        """Return why a process that should be there is no more; empty as long as it may be."""
        with self._lock:
            wanted = self._wanted.get(key)
            if wanted is None:
                return ""
            if not wanted.lost and self._has_lapsed(wanted.agent):
                wanted.lost = f"its host is out of reach ({wanted.agent})"
            return wanted.lost

    def gone(self, agent: str, incarnation: str = "") -> None:
        """Note that an agent's process is known to have died, and all it had with it."""
        with self._lock:
            known = self._agents.get(agent)
            if known is None or incarnation not in ("", known.report.incarnation):
                return
            known.is_gone = True
            for wanted in self._wanted.values():
                if wanted.agent == agent and wanted.sent_to:
                    wanted.lost = wanted.lost or WORKER_DIED

    def drain(self, agent: str) -> None:
        """Give an agent no new work."""
        with self._lock:
            self._draining.add(agent)

    def keep(self, agent: str) -> None:
        """Give an agent work again."""
        with self._lock:
            self._draining.discard(agent)

    def draining(self) -> set[str]:
        """Return the agents that get no new work."""
        with self._lock:
            return set(self._draining)

    def dismiss(self, agent: str) -> None:
        """Tell an agent to end; it gets no new work, and is forgotten once it is ``drop``ped."""
        with self._lock:
            self._draining.add(agent)
            self._dismissed.add(agent)

    def drop(self, agent: str) -> None:
        """Forget an agent that has ended."""
        with self._lock:
            self.gone(agent)
            self._agents.pop(agent, None)
            for names in (self._draining, self._dismissed, self._told):
                names.discard(agent)

    def knows_end(self, agent: str) -> bool:
        """Whether an agent has heard that it is to end, or is not there to hear it."""
        with self._lock:
            known = self._agents.get(agent)
            return agent in self._told or known is None or not self._is_fresh(known)

    def is_silent(self, agent: str) -> bool:
        """Whether an agent has been silent for so long that it has ended all it had."""
        with self._lock:
            return self._has_lapsed(agent)

    def stop(self) -> None:
        """Tell every agent from now on that the pool is taken down."""
        with self._lock:
            self._stopping = True

    def found(self) -> list[dict[str, Any]]:
        """Return what is known of each agent."""
        with self._lock:
            return [
                {
                    "agent": name, "host": a.report.host, "pid": a.report.pid,
                    "incarnation": a.report.incarnation, "slots": a.report.num_slots,
                    "alive": self._is_fresh(a), "leaving": a.report.leaving,
                }
                for name, a in sorted(self._agents.items())
            ]  # fmt: skip

    # -- what an agent asks -----------------------------------------------------------------------

    def exchange(self, report: Report) -> Answer:
        """Note what an agent has; return what it should do about it."""
        with self._lock:
            if report.version != __version__:
                # What it forks is not what this daemon, and who submits to it, takes it for.
                LOG.warning("agent %s is version %s, this daemon %s: it is replaced",
                            report.agent, report.version, __version__)  # fmt: skip
                self._number += 1
                return Answer(self._daemon, self._number, stop=True)
            self._agents[report.agent] = _Agent(report, self._clock())
            if report.leaving:
                self._draining.add(report.agent)
            return self.answer(report)

    def answer(self, report: Report) -> Answer:
        """Return what an agent should do, as of now, if it still has what it reported."""
        with self._lock:
            self._number += 1
            if self._stopping or report.agent in self._dismissed:
                self._told.add(report.agent)
                return Answer(self._daemon, self._number, stop=True)
            if not self._is_open:
                return Answer(self._daemon, self._number)
            start: dict[str, Order] = {}
            for key, wanted in self._wanted.items():
                if wanted.agent == report.agent and not wanted.lost:
                    self._compare(key, wanted, report, start)
            kill = tuple(
                key for key, status in report.has.items()
                if status is None and key in self._wanted and self._wanted[key].kill
            )  # fmt: skip
            forget = tuple(key for key in report.has if not self._is_wanted(key))
            return Answer(self._daemon, self._number, start, kill, forget)

    def _compare(self, key: str, wanted: _Wanted, report: Report, start: dict[str, Order]) -> None:
        if key in report.has:
            wanted.sent_to = report.incarnation
            status = report.has[key]
            if status is not None:
                wanted.lost = _told(status)
        elif wanted.order is None or wanted.sent_to not in ("", report.incarnation):
            # It had it, or an earlier process of that name had: that one has died.
            wanted.lost = WORKER_DIED
        elif wanted.kill and not wanted.sent_to:
            wanted.lost = "ended before it began"
        else:
            wanted.sent_to = report.incarnation
            start[key] = wanted.order

    def _is_wanted(self, key: str) -> bool:
        """Whether a process is wanted; what an attempt had started for itself is wanted with it."""
        return key in self._wanted or attempt_of(key) in self._wanted

    def _is_fresh(self, agent: _Agent) -> bool:
        return not agent.is_gone and self._clock() - agent.heard_at <= self._times.stale

    def _has_lapsed(self, name: str) -> bool:
        """Whether an agent has been silent for so long that it has ended all it had."""
        agent = self._agents.get(name)
        heard_at = self._begun_at if agent is None else agent.heard_at
        return self._clock() - heard_at > self._times.length + self._times.margin


def _told(status: int) -> str:
    if status < 0:
        return f"{WORKER_DIED} (signal {-status})"
    return f"{WORKER_DIED} (exit status {status})"
