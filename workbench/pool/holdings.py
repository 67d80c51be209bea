"""What an agent has, and what follows from the daemon's answer to it (no clock, no process)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOME = "local"  # the daemon's own host; coordinators work there, whatever else the pool has
Order = dict[str, Any]


def attempt_of(key: str) -> str:
    """Return the key of the attempt that a process belongs to: ``RUN/TERM`` of ``RUN/TERM/...``."""
    return "/".join(key.split("/")[:2])


def agent_of(slot: str) -> str:
    """Return the agent that has a slot: ``AGENT`` of ``AGENT/NUMBER``."""
    return slot.rpartition("/")[0]


def number_of(slot: str) -> int:
    """Return which slot of its agent a slot is: ``NUMBER`` of ``AGENT/NUMBER``."""
    return int(slot.rpartition("/")[2])


def agent_lock(root: Path, agent: str) -> Path:
    """Return the lock that the agent of this name holds in a workspace."""
    return root / f"agent-{agent}.lock"


@dataclass(frozen=True)
class Answer:
    """What a daemon wants of an agent, as of one moment."""

    daemon: str  # which daemon this is; another one after each start
    number: int  # a later answer of one daemon has a higher one
    start: dict[str, Order] = field(default_factory=dict)
    kill: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()  # nobody waits for these any more; what still works may end
    stop: bool = False  # the pool is taken down

    @property
    def says_something(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.start or self.kill or self.forget or self.stop)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return {**self.__dict__, "kill": list(self.kill), "forget": list(self.forget)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Answer:
        """Read what ``to_json`` wrote."""
        return cls(**{**value, "kill": tuple(value["kill"]), "forget": tuple(value["forget"])})


class Holdings:
    """The processes of an agent by key: those that run, and those that ended and nobody knows."""

    def __init__(self) -> None:
        self._has: dict[str, int | None] = {}
        self._leaving: set[str] = set()  # still run, and nobody asks for them any more
        self._daemon = ""
        self._number = -1
        self._sent = -1  # the newest report that this daemon has answered

    def report(self) -> dict[str, int | None]:
        """Return what the daemon is told: each key with its exit status, None while it runs."""
        return dict(self._has)

    def running(self) -> list[str]:
        """Return the keys whose processes run."""
        return [*(key for key, status in self._has.items() if status is None), *self._leaving]

    def take(self, answer: Answer, sent: int) -> tuple[dict[str, Order], list[str], list[str]]:
        """Return what to start, what to kill and what to let go; an outdated answer says nothing.

        Answers overtake each other: what an older one wanted may not be wanted any more. ``sent``
        numbers the reports of this agent: of two daemons the one is dead that answers the older.
        """
        if answer.daemon != self._daemon and sent > self._sent:
            self._daemon, self._number = answer.daemon, -1
        if answer.daemon != self._daemon or answer.number <= self._number:
            return {}, [], []
        self._number = answer.number
        self._sent = max(sent, self._sent)
        start = {key: order for key, order in answer.start.items() if key not in self._has}
        self._has.update(dict.fromkeys(start))
        let_go = []
        for key in answer.forget:
            if self._has.pop(key, 0) is None:
                self._leaving.add(key)
                let_go.append(key)
        return start, [key for key in answer.kill if self._has.get(key, 0) is None], let_go

    def ended(self, key: str, status: int) -> None:
        """Note that a process has ended."""
        self._leaving.discard(key)
        if key in self._has:
            self._has[key] = status
