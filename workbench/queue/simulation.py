"""The policy in virtual time: what would become of these runs on that pool."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.queue.policy.scheduler import Scheduler
from workbench.queue.policy.values import Group, Limits, Start, WaitingRun


@dataclass(frozen=True)
class SimulatedRun:
    """A run that comes at a moment and has so many slot-seconds of work."""

    run: WaitingRun
    arrives_at: float
    slot_seconds: float


class Outage(NamedTuple):
    """A slot that is away for a while; whatever runs on it starts again from its checkpoint."""

    begins_at: float
    slot: str
    seconds: float


@dataclass(frozen=True)
class SimulatedPool:
    """The slots, and how long starting, stopping and saving take, in seconds."""

    hosts: Mapping[str, str]  # {slot: host}
    limits: Limits = field(default_factory=Limits)
    start_seconds: float = 0.1
    stop_seconds: float = 0.2
    save_seconds: float = 30.0  # between two checkpoints
    outages: Sequence[Outage] = ()


@dataclass(frozen=True)
class Outcome:
    """What a simulation found; arrays are in the order in which the runs were given."""

    waits: npt.NDArray[np.float64]  # seconds from arrival to the first start
    ends: npt.NDArray[np.float64]  # when each run ended
    use: float  # share of the pool in use while anybody waited
    fairness: float | None  # Jain's index of what users got while all had runs that waited
    num_decisions: int
    num_preempted: int
    policy_seconds: float  # processor time of the policy itself

    @property
    def decisions_per_second(self) -> float:
        """Return how many starts and preemptions the policy decides in a second."""
        return self.num_decisions / self.policy_seconds if self.policy_seconds else 0.0


_Kind = Literal["arrival", "end", "stopped", "outage", "return"]


class Simulation:
    """Carries the policy's decisions out on a clock of its own, from one event to the next."""

    def __init__(self, runs: Sequence[SimulatedRun], pool: SimulatedPool) -> None:
        self._runs = runs
        self._pool = pool
        self._scheduler = Scheduler(pool.limits)
        self._alive = dict(pool.hosts)
        in_order = sorted(runs, key=lambda item: item.arrives_at)
        places = {item.run.run_id: place for place, item in enumerate(in_order)}
        self._lives = {item.run.run_id: _Life(item, places[item.run.run_id]) for item in runs}
        self._use = _Use(len(pool.hosts), {item.run.group for item in runs})
        self._now = 0.0
        self._agenda: list[tuple[float, int, _Kind, str, int]] = []
        self._num_planned = 0
        self._num_decisions = self._num_preempted = 0
        self._policy_seconds = 0.0

    def run(self) -> Outcome:
        """Go on until every run has ended.

        Raises:
            RuntimeError: some runs can never start.
        """
        for item in self._runs:
            self._plan(item.arrives_at, "arrival", item.run.run_id)
        for number, outage in enumerate(self._pool.outages):
            self._plan(outage.begins_at, "outage", outage.slot, number)
        self._scheduler.set_slots(self._alive, len(self._pool.hosts))
        while self._agenda:
            self._now = self._next_moment()
            self._use.advance(self._now)
            while self._agenda and self._agenda[0][0] <= self._now:
                _, _, kind, name, number = heapq.heappop(self._agenda)
                self._happen(kind, name, number)
            self._decide()
        unended = sum(not life.has_ended for life in self._lives.values())
        if unended:
            raise RuntimeError(f"{unended} runs never had a turn")
        return self._outcome()

    def _next_moment(self) -> float:
        """Return when something happens next, or the policy wants to look again."""
        event = self._agenda[0][0]
        look = self._scheduler.look_again_at(self._now)
        return event if look is None else min(event, max(look, self._now))

    # -- what happens ------------------------------------------------------------------------------

    def _happen(self, kind: _Kind, name: str, number: int) -> None:
        if kind == "arrival":
            self._use.wait(self._lives[name].run.group, 1)
            self._enqueue(self._lives[name])
        elif kind == "outage":
            self._lose(name, self._pool.outages[number].seconds)
        elif kind == "return":
            self._alive[name] = self._pool.hosts[name]
            self._scheduler.set_slots(self._alive, len(self._pool.hosts))
        elif self._lives[name].term == number:  # else of an attempt that was lost before
            self._let_go(self._lives[name], has_ended=kind == "end")

    def _enqueue(self, life: _Life) -> None:
        begun = time.process_time()
        self._scheduler.enqueue(replace(life.run, patience=life.patience), self._now)
        self._policy_seconds += time.process_time() - begun

    def _let_go(self, life: _Life, *, has_ended: bool, kept: float | None = None) -> None:
        """End an attempt; what it has done (or ``kept`` seconds of it) is kept."""
        done = self._now - life.began_at - self._pool.start_seconds
        life.left -= max(done if kept is None else kept, 0.0) * life.width
        self._use.hold(life.run.group, -life.width)
        life.width, life.term = 0, life.term + 1
        begun = time.process_time()
        life.patience = self._scheduler.release(life.run.run_id, self._now)
        self._policy_seconds += time.process_time() - begun
        if has_ended:
            life.ended_at = self._now
        else:
            self._use.wait(life.run.group, 1)
            self._enqueue(life)

    def _lose(self, slot: str, seconds: float) -> None:
        """Take a slot away; the run on it keeps what it had saved."""
        if slot not in self._alive:
            return
        del self._alive[slot]
        self._scheduler.set_slots(self._alive, len(self._pool.hosts))
        self._plan(self._now + seconds, "return", slot)
        life = next((one for one in self._lives.values() if slot in one.slots and one.width), None)
        if life is not None:
            done = self._now - life.began_at - self._pool.start_seconds
            kept = done // self._pool.save_seconds * self._pool.save_seconds
            self._let_go(life, has_ended=False, kept=kept)

    # -- what follows ------------------------------------------------------------------------------

    def _decide(self) -> None:
        begun = time.process_time()
        decisions = self._scheduler.decide(self._now)
        self._policy_seconds += time.process_time() - begun
        self._num_decisions += len(decisions)
        for decision in decisions:
            life = self._lives[decision.run_id]
            if isinstance(decision, Start):
                self._begin(life, decision)
                continue
            self._num_preempted += 1
            self._plan(self._now + self._pool.stop_seconds, "stopped", life.run.run_id, life.term)

    def _begin(self, life: _Life, start: Start) -> None:
        life.begin(self._now, start.slots)
        self._use.wait(life.run.group, -1)
        self._use.hold(life.run.group, life.width)
        seconds = self._pool.start_seconds + max(life.left, 0.0) / max(life.width, 1)
        self._plan(self._now + seconds, "end", life.run.run_id, life.term)

    def _plan(self, moment: float, kind: _Kind, name: str, number: int = 0) -> None:
        self._num_planned += 1
        heapq.heappush(self._agenda, (moment, self._num_planned, kind, name, number))

    def _outcome(self) -> Outcome:
        lives = self._lives.values()
        return Outcome(
            waits=np.array([life.first_start - life.arrived_at for life in lives]),
            ends=np.array([life.ended_at for life in lives]),
            use=self._use.share(),
            fairness=self._use.fairness(self._pool.limits),
            num_decisions=self._num_decisions,
            num_preempted=self._num_preempted,
            policy_seconds=self._policy_seconds,
        )


class _Life:
    """A run on its way through a simulation."""

    __slots__ = (
        "arrived_at", "began_at", "ended_at", "first_start", "left", "patience", "run", "slots",
        "term", "width",
    )  # fmt: skip

    def __init__(self, item: SimulatedRun, position: int) -> None:
        self.run = replace(item.run, position=position)
        self.arrived_at = item.arrives_at
        self.left = item.slot_seconds
        self.slots: tuple[str, ...] = ()
        self.width = self.term = 0
        self.patience = self.began_at = 0.0
        self.first_start = self.ended_at = -1.0

    @property
    def has_ended(self) -> bool:
        return self.ended_at >= 0

    def begin(self, now: float, slots: tuple[str, ...]) -> None:
        self.began_at, self.slots, self.width = now, slots, len(slots)
        if self.first_start < 0:
            self.first_start = now


class _Use:
    """How much of the pool was in use while anybody waited, and who got it.

    What users got is only compared over the time in which all of them had runs that waited: at
    other times nobody was short of anything.
    """

    def __init__(self, num_slots: int, groups: Iterable[Group]) -> None:
        self._num_slots = num_slots
        self._now = 0.0
        self._held = self._num_waiting = 0
        self._seconds = self._busy = 0.0  # while somebody waited
        self._held_by = dict.fromkeys(groups, 0)
        self._waiting_by = dict.fromkeys(self._held_by, 0)
        self._num_short = 0  # groups with a run that waits
        self._common = 0.0  # seconds in which all groups were short
        self._got = dict.fromkeys(self._held_by, 0.0)
        self._got_until = dict.fromkeys(self._held_by, 0.0)

    def advance(self, now: float) -> None:
        elapsed, self._now = now - self._now, now
        if self._num_waiting:
            self._seconds += elapsed
            self._busy += elapsed * self._held
        if self._num_short == len(self._held_by):
            self._common += elapsed

    def wait(self, group: Group, number: int) -> None:
        before = self._waiting_by[group]
        self._waiting_by[group] += number
        self._num_short += (before + number > 0) - (before > 0)
        self._num_waiting += number

    def hold(self, group: Group, slots: int) -> None:
        self._settle(group)
        self._held_by[group] += slots
        self._held += slots

    def share(self) -> float:
        return self._busy / (self._seconds * self._num_slots) if self._seconds else 1.0

    def fairness(self, limits: Limits) -> float | None:
        """Return Jain's index, (sum x)² / (n sum x²), of slot-seconds for each unit of weight.

        Jain, Chiu & Hawe 1984; 1 where all got alike, 1 / n where one got all. None where users
        were never short at the same time.
        """
        got = []
        for group in self._held_by:
            self._settle(group)
            weight = limits.weights.get(f"{group.project}/{group.user}", 1.0)
            weight *= limits.weights.get(group.project, 1.0)
            got.append(self._got[group] / weight)
        squares = len(got) * sum(one * one for one in got)
        return sum(got) ** 2 / squares if squares else None

    def _settle(self, group: Group) -> None:
        self._got[group] += self._held_by[group] * (self._common - self._got_until[group])
        self._got_until[group] = self._common
