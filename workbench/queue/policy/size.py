"""How many hosts a pool should have: pure, told of the load, with patience in both directions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SizeLimits:
    """Within what a pool may grow and shrink, and how patiently."""

    least_hosts: int
    most_hosts: int
    slots_per_host: int
    grow_seconds: float = 5.0  # that a run waits for slots before another host is started for it
    slow_seconds: float = 600.0  # the same, for one that works with fewer slots than it could use
    shrink_seconds: float = 60.0  # that fewer hosts would do before one is given up

    def __post_init__(self) -> None:
        if not 0 <= self.least_hosts <= self.most_hosts or self.slots_per_host < 1:
            raise ValueError(f"impossible limits: {self}")


@dataclass(frozen=True)
class HostLoad:
    """A host that is there."""

    num_slots: int
    num_held: int
    draining: bool = False  # gets no new run; what it has is asked to move
    permanent: bool = False  # never given up


@dataclass(frozen=True)
class Demand:
    """A run that waits for slots, or for more than it works with."""

    least: int
    most: int
    waited_seconds: float
    is_at_work: bool = False


@dataclass(frozen=True)
class Change:
    """What to do about the number of hosts."""

    start: int = 0
    drain: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()  # of those that are draining: they are needed after all
    release: tuple[str, ...] = ()  # draining and empty


@dataclass
class Sizer:
    """Decides when a pool grows and shrinks.

    It grows for runs that have waited for ``grow_seconds``, at once by as many hosts as they need,
    and for those that have worked for ``slow_seconds`` with fewer slots than they could use.
    It shrinks by one host at a time, once fewer would have done for ``shrink_seconds`` on end: the
    host that holds the fewest slots is drained, its runs pause and move, and then it is released.
    """

    limits: SizeLimits
    _too_many_since: float | None = field(default=None, init=False)

    def look(
        self, now: float, hosts: Mapping[str, HostLoad], num_coming: int, waiting: Sequence[Demand]
    ) -> Change:
        """Return what to do now.

        Args:
            now: seconds of a clock that never jumps.
            hosts: the hosts that are there, by name.
            num_coming: hosts that were started and are not there yet.
            waiting: the runs that wait for slots.
        """
        limits = self.limits
        staying = {name: host for name, host in hosts.items() if not host.draining}
        draining = {name: host for name, host in hosts.items() if host.draining}
        needed = self._num_needed(hosts, waiting)
        num_there = len(staying) + num_coming
        if needed > num_there:
            self._too_many_since = None
            keep = tuple(sorted(draining, key=lambda n: -draining[n].num_held))
            keep = keep[: needed - num_there]
            start = min(needed - num_there - len(keep), limits.most_hosts - len(hosts) - num_coming)
            return Change(start=max(start, 0), keep=keep)
        release = tuple(sorted(name for name, host in draining.items() if host.num_held == 0))
        return Change(drain=self._drain(now, staying, num_there, needed), release=release)

    def _num_needed(self, hosts: Mapping[str, HostLoad], waiting: Sequence[Demand]) -> int:
        """Return how many hosts hold what runs, and what has waited for long enough."""
        patient = [d for d in waiting if d.waited_seconds >= self._patience_of(d)]
        held = sum(host.num_held for host in hosts.values())
        # A run that fits into what is free is only between two looks of the queue.
        asked = sum(min(max(d.least, 1), self._most_slots) for d in patient)
        needed = math.ceil((held + asked) / self.limits.slots_per_host)
        return min(max(needed, self.limits.least_hosts), self.limits.most_hosts)

    def _patience_of(self, demand: Demand) -> float:
        return self.limits.slow_seconds if demand.is_at_work else self.limits.grow_seconds

    @property
    def _most_slots(self) -> int:
        return self.limits.most_hosts * self.limits.slots_per_host

    def _drain(
        self, now: float, staying: Mapping[str, HostLoad], num_there: int, needed: int
    ) -> tuple[str, ...]:
        may_go = {name: host for name, host in staying.items() if not host.permanent}
        if num_there <= needed or not may_go:
            self._too_many_since = None
            return ()
        if self._too_many_since is None:
            self._too_many_since = now
        if now - self._too_many_since < self.limits.shrink_seconds:
            return ()
        self._too_many_since = now  # the next one has to be too many for as long again
        return (min(may_go, key=lambda name: (may_go[name].num_held, name)),)
