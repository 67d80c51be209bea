"""Leadership: which of several daemons on one database may dispatch its runs.

One row says who holds the lease and for which term. The holder changes the row's beat a few times
in a lease; whoever sees a row that does not change for a whole lease, by its own monotonic
clock, takes it over with the next term. No two clocks are ever compared: wall clocks jump, and
those of two machines differ. What must hold is only that they run about equally fast, which is why
a holder believes in its lease for less time than others wait.

A daemon (``workbench/daemon/lead.py``) calls ``try_acquire`` until it is True, and from then on
``renew`` every ``beat_seconds``. ``check`` is asked first in each of its writing transactions, so
that one that was stopped for long and acts late changes nothing. ``release`` in an orderly
shutdown: the next one need not wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from workbench.catalog.database import Database
from workbench.core.errors import SpecError
from workbench.queue.tables import LEADERS

LEASE_SECONDS = 15.0
# How much of a lease its holder believes in. Two clocks may run at speeds that differ by a third
# of the slower one, far more than any do, before a holder could still believe while another takes.
_BELIEF = 0.75
_BEATS = 6  # in a lease: three in a row may fail before the holder is deposed


class DeposedError(SpecError):
    """Who no longer leads has tried to change what only a leader may: another one leads now."""


def clock_seconds() -> float:
    """Return the seconds of a clock that only this machine reads, and that runs while it sleeps.

    ``time.monotonic`` stands still in a suspended laptop, whose lease others take meanwhile.
    """
    boot_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(boot_clock)


# -- deciding: plain values and the observer's own clock ------------------------------------------


@dataclass(frozen=True)
class Lease:
    """The row of one lease; as long as two of them are equal, its holder has shown no life."""

    holder: str
    term: int
    beat: int
    address: str = ""


@dataclass(frozen=True)
class Sight:
    """A lease, and since when (by the observer's clock) it has been seen exactly so."""

    lease: Lease
    since: float


def look_at(lease: Lease, before: Sight | None, now: float) -> Sight:
    """Return what an observer knows after seeing the lease at ``now``.

    ``now`` must be taken after the row was read, never before: what is seen is not younger then.
    """
    return before if before is not None and before.lease == lease else Sight(lease, now)


def may_take(sight: Sight, observer: str, now: float, lease_seconds: float) -> bool:
    """Whether an observer may try to take the lease: it is free, its own, or its holder is dead."""
    if sight.lease.holder in ("", observer):
        return True
    return now - sight.since >= lease_seconds


def believes(asked_at: float, now: float, lease_seconds: float) -> bool:
    """Whether a holder may still act on a renewal that it *began* at ``asked_at``, own clock."""
    return now - asked_at < lease_seconds * _BELIEF


# -- doing ----------------------------------------------------------------------------------------


class Leadership:
    """One process's part in who leads; its methods may be called from any thread.

    Args:
        database: where the lease is.
        name: what is led.
        holder: this process, by a name that no other process ever had.
        address: where it can be asked; kept in the database, so no secret.
        lease_seconds: how long a dead holder is waited for; the same for all.
        clock: this process's monotonic clock, in seconds.
        is_known_dead: whether a holder of that name cannot live any more, as far as is known here:
            nobody waits for it.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        holder: str,
        address: str = "",
        *,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = clock_seconds,
        is_known_dead: Callable[[str], bool] = lambda holder: False,
    ) -> None:
        self._database = database
        self._name, self._holder, self._address = name, holder, address
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._is_known_dead = is_known_dead
        self._sight: Sight | None = None
        # Term and moment of what was last confirmed, or None: changed and read as one value.
        self._held: tuple[int, float] | None = None
        self._lock = threading.Lock()

    @property
    def beat_seconds(self) -> float:
        """How often to call ``try_acquire`` or ``renew``."""
        return self._lease_seconds / _BEATS

    @property
    def term(self) -> int:
        """The term for which this process leads; 0 while it does not."""
        held = self._held
        return held[0] if held is not None and self.may_lead() else 0

    def may_lead(self) -> bool:
        """Whether this process leads, as far as its own clock can tell; asks nobody."""
        held = self._held
        return held is not None and believes(held[1], self._clock(), self._lease_seconds)

    def try_acquire(self) -> bool:
        """Take the lease if it is free or its holder has shown no life; return ``may_lead``.

        To be called again and again: life is what changes between two calls.
        """
        with self._lock:
            if self.may_lead():
                return True
            self._held = None
            lease = self.leader()
            now = self._clock()
            self._sight = look_at(lease, self._sight, now)
            is_free = may_take(self._sight, self._holder, now, self._lease_seconds)
            if is_free or self._is_known_dead(lease.holder):
                asked_at = self._clock()
                if self._take(lease):
                    self._held = (lease.term + 1, asked_at)
            return self.may_lead()

    def renew(self) -> bool:
        """Show life; False if this process is deposed, by another one or by its own clock.

        A lease that was lost is never found again: ``try_acquire`` begins a new term.
        """
        with self._lock:
            held = self._held
            if held is None or not self.may_lead():
                self._held = None
                return False
            asked_at = self._clock()  # before others can see it: their wait begins later than ours
            is_renewed = self._change(self._is_mine(held[0]), {})
            self._held = (held[0], asked_at) if is_renewed else None
            return self.may_lead()

    def release(self) -> None:
        """Give the lease back, so that the next one need not wait for it to go stale."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                self._change(self._is_mine(held[0]), {"holder": "", "address": ""})

    def check(self, connection: sa.Connection) -> None:
        """See within a writing transaction that this process still leads.

        Nobody else can take the lease before that transaction ends.

        Raises:
            DeposedError: it does not, or no longer with the term it believes in.
        """
        held = self._held
        query = sa.select(LEADERS.c.term)
        if held is None or connection.execute(query.where(*self._is_mine(held[0]))).first() is None:
            raise DeposedError(
                f"{self._holder} does not lead the {self._name} any more",
                where=f"leader of the {self._name}",
                next_step="Ask the daemon that leads now.",
            )

    def leader(self) -> Lease:
        """Return who holds the lease now, alive or not; the holder is empty if nobody does."""
        columns = (LEADERS.c.holder, LEADERS.c.term, LEADERS.c.beat, LEADERS.c.address)
        with self._database.read() as connection:
            row: Any = connection.execute(
                sa.select(*columns).where(LEADERS.c.name == self._name)
            ).first()
        return Lease(*row) if row is not None else Lease("", 0, 0)

    def _is_mine(self, term: int) -> list[sa.ColumnElement[bool]]:
        columns = LEADERS.c
        return [columns.name == self._name, columns.holder == self._holder, columns.term == term]

    def _take(self, seen: Lease) -> bool:
        """Put this process in the place of the holder, if the lease is still as it was seen."""
        mine = {"holder": self._holder, "address": self._address, "term": seen.term + 1}
        if seen.term == 0:
            return self._take_first(mine)
        columns = LEADERS.c
        is_as_seen = [
            columns.name == self._name,
            columns.holder == seen.holder,
            columns.term == seen.term,
            columns.beat == seen.beat,
        ]
        return self._change(is_as_seen, mine)

    def _take_first(self, mine: dict[str, Any]) -> bool:
        with self._database.write(
            is_fenced=False
        ) as connection:  # writers are alone: nobody inserts meanwhile
            known = sa.select(LEADERS.c.name).where(LEADERS.c.name == self._name)
            if connection.execute(known).first() is not None:
                return False
            first = {"name": self._name, "beat": 1, "seen_at": time.time()}
            connection.execute(sa.insert(LEADERS).values(**first, **mine))
            return True

    def _change(self, where: list[sa.ColumnElement[bool]], values: dict[str, Any]) -> bool:
        """Change the row, and its beat, if it meets the conditions; return whether it did."""
        change = sa.update(LEADERS).where(*where)
        beat = {"beat": LEADERS.c.beat + 1, "seen_at": time.time()}
        with self._database.write(is_fenced=False) as connection:
            return connection.execute(change.values(**values, **beat)).rowcount == 1
