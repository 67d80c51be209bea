"""The slots that nobody holds, by host."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping

_Name = tuple[int, str]


class FreeSlots:
    """Gives slots away so that a run lies on as few hosts as can be, and wide gaps stay wide.

    A run goes to the host with the fewest free slots that suffice. Where none has enough, it takes
    from the hosts with the most.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}  # every slot that may be given away, free or not
        self._free: dict[str, list[_Name]] = defaultdict(list)  # host -> heap of its free slots
        self._taken: set[str] = set()
        # How many are free -> heap of hosts; an entry counts while it says the truth.
        self._hosts_by_count: dict[int, list[str]] = defaultdict(list)
        self._most = 0  # no host has more
        self.count = 0

    def replace(self, hosts: Mapping[str, str]) -> None:
        """Say which slots there are now, and on which host each: ``{slot: host}``."""
        if hosts == self._hosts:
            return
        self._hosts = dict(hosts)
        self._free.clear()
        self._hosts_by_count.clear()
        self.count = self._most = 0
        for slot, host in hosts.items():
            if slot not in self._taken:
                self._free[host].append(_natural(slot))
                self.count += 1
        for host, slots in self._free.items():
            heapq.heapify(slots)
            self._list(host)

    def occupy(self, slots: Iterable[str]) -> None:
        """Note that slots are held already."""
        self._taken.update(slots)
        hosts, self._hosts = self._hosts, {}
        self.replace(hosts)

    def take(self, number: int) -> tuple[str, ...]:
        """Give so many slots away; there must be that many."""
        taken: list[str] = []
        while len(taken) < number:
            host = self._host_for(number - len(taken))
            slots = self._free[host]
            width = min(number - len(taken), len(slots))
            taken += [heapq.heappop(slots)[1] for _ in range(width)]
            self._list(host)
        self.count -= number
        self._taken.update(taken)
        return tuple(taken)

    def give_back(self, slots: Iterable[str]) -> None:
        """Take slots back; those that are no more are forgotten."""
        for slot in slots:
            self._taken.discard(slot)
            host = self._hosts.get(slot)
            if host is not None:
                heapq.heappush(self._free[host], _natural(slot))
                self._list(host)
                self.count += 1

    def _list(self, host: str) -> None:
        count = len(self._free[host])
        if count:
            heapq.heappush(self._hosts_by_count[count], host)
            self._most = max(self._most, count)

    def _host_for(self, number: int) -> str:
        """Return the host with the fewest free slots that suffice, else the one with the most."""
        enough = range(number, self._most + 1)
        too_few = range(min(number - 1, self._most), 0, -1)
        for count in (*enough, *too_few):
            hosts = self._hosts_by_count.get(count)
            while hosts:
                if len(self._free[hosts[0]]) == count:
                    return hosts[0]
                heapq.heappop(hosts)
        raise AssertionError("fewer slots are free than are asked for")


def _natural(slot: str) -> _Name:
    return len(slot), slot  # 2 before 10
