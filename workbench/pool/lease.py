"""Until when an agent may work without a word from the daemon, and when the daemon gives it up.

Each side judges by a clock of its own, and no message says what time it is. The agent counts from
the moment in which it *sent* the newest report that was answered, the daemon from the moment in
which it *received* the newest report: the later one. So the agent has ended all it had before the
daemon gives it to others, if neither clock runs faster than the other by more than the margin.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeaseTimes:
    """In seconds."""

    length: float = 30.0  # a daemon that was killed is back within that
    margin: float = 5.0
    report: float = 2.0  # the longest time between two reports of an agent that is well
    stale: float = 6.0  # without a report for so long, an agent gets no new work


LEASE = LeaseTimes()


class Lease:
    """An agent's own view: renewed by every report that was answered."""

    def __init__(self, now: float, times: LeaseTimes = LEASE) -> None:
        self._times = times
        self._from = now

    def renew(self, sent_at: float) -> None:
        """Note that a report which was sent at this moment has been answered."""
        self._from = max(self._from, sent_at)

    def has_lapsed(self, now: float) -> bool:
        """Whether everything must be ended now."""
        return now - self._from > self._times.length
