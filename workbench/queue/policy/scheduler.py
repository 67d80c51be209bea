"""The policy: events of runs and slots in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

from workbench.queue.policy.free_slots import FreeSlots
from workbench.queue.policy.line import Line
from workbench.queue.policy.shares import Shares, names_of
from workbench.queue.policy.values import (
    Decision,
    Group,
    Limits,
    PlacedRun,
    Preempt,
    Resize,
    Start,
    WaitingRun,
    level_of,
)
from workbench.queue.policy.victims import choose_victims, width_of

_RECLAIM_PAUSE_SECONDS = 1.0  # between two looks for somebody with more than its share
_SWAP_PAUSE_SECONDS = 1.0  # between two looks for who might give way to his own more urgent run
_INSTANT = 1e-6  # seconds: a moment that was computed may come out a hair too early
_Key = TypeVar("_Key")

# Coordinators that nobody else waits for, at a time: each may hold a notebook's kernel. Those of
# other coordinators start at once, as somebody waits for them.
MOST_COORDINATORS = 16
LOOK_AHEAD = 20  # runs that are looked at, behind one that waits for slots, for some that fit
RECLAIM_SECONDS = 30.0  # before who has less than its share takes slots from who has more
GROW_SECONDS = 3.0  # that slots are free and wanted by nobody before a run at work grows into them
STEADY_SECONDS = 10.0  # that a run works before it grows: each time costs it about half a second


@dataclass(frozen=True)
class Standing:
    """Where a waiting run stands, and why it does not start."""

    run_id: str
    place: int  # 1 is next
    reason: str


class Scheduler:
    """Decides what starts where, and who gives way.

    The order is: priority (raised by one for each ten minutes of waiting, up to that of others who
    wait), fair share by project and by user in it, age. A run gets all its slots or none. The first
    that does not find enough of them holds the *reservation*: those behind it may borrow what is
    free meanwhile, and give it back as soon as that suffices. More urgent runs have less urgent
    ones give way; so have those with less than their share, after a while, ones with more. Runs
    that can be resized give up, for whoever is as urgent, what they can do without; they grow into
    what nobody wants.

    All times are seconds of one clock that never jumps; who calls says what it shows.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._shares = Shares(limits or Limits())
        self._line = Line(self._shares)
        self._slots = FreeSlots()
        self._placed: dict[str, PlacedRun] = {}
        self._elastic: dict[str, PlacedRun] = {}  # of those
        self._unwanted_since: float | None = None  # since when slots are free for nobody
        self._coordinators: dict[str, WaitingRun] = {}
        self._working_coordinators: set[str] = set()  # those that nobody else waits for
        # Slots of runs that were not asked to stop, and of those that were.
        self._held_at_priority: dict[int, int] = {}
        self._held_by_group: dict[Group, int] = {}
        self._coming = 0
        self._reserved: str | None = None
        self._borrowed: set[str] = set()
        self._reclaims_at = 0.0
        self._swaps_at = 0.0
        self._pool_size = 0

    # -- what happens ------------------------------------------------------------------------------

    def set_slots(self, hosts: Mapping[str, str], pool_size: int) -> None:
        """Say which slots may be given away, as ``{slot: host}``.

        ``pool_size`` is how many there are when every worker is up: a wide run waits for one that
        is being restarted rather than starting narrower.
        """
        self._slots.replace(hosts)
        self._pool_size = pool_size

    def entitle(self, limits: Limits) -> None:
        """Say what projects and users are entitled to from now on."""
        if limits != self._shares.limits:
            self._shares.entitle(limits)
            self._line.look_anew()
            self._swaps_at = 0.0

    def within_quotas(self, runs: Iterable[WaitingRun]) -> Iterator[WaitingRun]:
        """Yield the runs for which quotas have room, if those before them start first."""
        return self._shares.within_quotas(runs)

    def enqueue(self, run: WaitingRun, now: float) -> None:
        """Let a run wait; one that waits already changes (its priority, for example)."""
        self._swaps_at = 0.0
        if run.least == 0:
            self._coordinators[run.run_id] = run
        else:
            self._line.add(run, now)

    def withdraw(self, run_id: str) -> None:
        """Let a run wait no more."""
        self._coordinators.pop(run_id, None)
        self._line.remove(run_id)

    def adopt(self, placed: PlacedRun, now: float) -> None:
        """Note a run that works already, started by an earlier daemon."""
        if not placed.slots:
            if not placed.run.is_child:
                self._working_coordinators.add(placed.run.run_id)
            return
        self._shares.at(now)
        self._slots.occupy(placed.slots)
        self._change(placed.run.group, len(placed.slots))
        self._note(placed)

    def saved(self, run_id: str, now: float) -> None:
        """Note that a running run has made a checkpoint."""
        placed = self._placed.get(run_id)
        if placed is not None:
            self._hold(replace(placed, saved_at=now))

    def stopping(self, run_id: str, *, is_so: bool = True, keeps: int = 0) -> None:
        """Note that a running run was asked to stop by somebody, or shall go on after all.

        ``keeps`` slots are its own again afterwards: nobody else shall count on them.
        """
        placed = self._placed.get(run_id)
        if placed is None or placed.stopping == is_so:
            return
        self._forget(placed)
        self._note(replace(placed, stopping=is_so, keeps=keeps if is_so else 0))

    def patience(self, run_id: str, now: float) -> float:
        """Return the patience that a waiting run has shown; 0 for one that waits for no slots."""
        return self._line.get(run_id, now).patience if run_id in self._line else 0.0

    def hungry(self, now: float) -> list[tuple[int, float]]:
        """Return of runs at work how many more slots they could use, and since how many seconds.

        Those for which a quota has no room are left out.
        """
        self._shares.at(now)
        found = []
        for placed in self._elastic.values():
            room = self._shares.room(placed.run.group)
            extra = placed.run.most - len(placed.slots)
            extra = extra if room is None else min(extra, room)
            if placed.can_grow and extra > 0:
                found.append((extra, now - placed.started_at))
        return found

    def release(self, run_id: str, now: float) -> float:
        """Take back the slots of a run that does not run any more; return what patience it has."""
        self._working_coordinators.discard(run_id)
        placed = self._placed.pop(run_id, None)
        self._elastic.pop(run_id, None)
        if placed is None:
            return 0.0
        self._shares.at(now)
        self._forget(placed)
        self._borrowed.discard(run_id)
        self._slots.give_back(placed.slots)
        self._change(placed.run.group, -len(placed.slots))
        return max(placed.run.patience - (now - placed.started_at), 0.0)

    # -- what follows ------------------------------------------------------------------------------

    def decide(self, now: float) -> list[Decision]:
        """Return what to start and whom to preempt now; all of it counts as done."""
        self._shares.at(now)
        decisions: list[Decision] = [Start(run_id, ()) for run_id in self._next_coordinators()]
        turn = _Turn(now, self._slots.count)
        for run in self._turns(now):
            self._consider(run, turn)
            if turn.is_over:
                break
        if turn.reserved is None:
            self._reserve(None)
            self._widen(turn)
        turn.victims += self._grow(turn)
        turn.victims += self._swap_within_quotas(now)
        decisions += turn.victims
        decisions += [self._start(run, width, now) for run, width in turn.starts.values()]
        return decisions

    def standings(self, now: float) -> list[Standing]:
        """Return every waiting run in order, and why it waits."""
        self._shares.at(now)
        found: list[Standing] = []
        num_before = 0
        for run in chain(self._line.turns(now), self._line.barred()):
            full = self._shares.full_quota(run.group, self._need(run))
            if full is not None:
                reason = f"the quota of {full} is used up ({self._shares.told(full)} slots held)"
            else:
                reason = self._reason(run, num_before)
                num_before += 1
            found.append(Standing(run.run_id, len(found) + 1, reason))
        reason = (
            f"{MOST_COORDINATORS} notebooks and pipelines work already, as many as may at a time"
        )
        for run in self._coordinators.values():
            found.append(Standing(run.run_id, len(found) + 1, reason))
        return found

    def _next_coordinators(self) -> list[str]:
        """Take the coordinators that start now, the most urgent and oldest first."""
        started = []
        order = sorted(self._coordinators.values(), key=lambda run: (-run.priority, run.position))
        for run in order:
            if not run.is_child:
                if len(self._working_coordinators) >= MOST_COORDINATORS:
                    continue
                self._working_coordinators.add(run.run_id)
            del self._coordinators[run.run_id]
            started.append(run.run_id)
        return started

    def look_again_at(self, now: float) -> float | None:
        """Return when ``decide`` may find something although nothing has happened; None: never."""
        moments = [self._grows_at()]
        if self._reserved is not None and self._reserved in self._line:
            since = self._line.since(self._reserved)
            moments.append(max(since + RECLAIM_SECONDS, self._reclaims_at))
        return min((m for m in moments if m is not None and m > now), default=None)

    def _turns(self, now: float) -> Iterator[WaitingRun]:
        """Yield who has a turn: who holds the reservation stays first.

        Shares shift with every start. A reservation that went back and forth between two wide runs
        would let neither of them start. More urgent work takes it, and who has clearly less.
        """
        turns = self._line.turns(now)
        first = next(turns, None)
        if first is None:
            return
        held = self._reserved
        if held is None or held not in self._line or self._displaces(first, held, now):
            yield from chain([first], turns)
            return
        yield self._line.get(held, now)
        yield from (run for run in chain([first], turns) if run.run_id != held)

    def _displaces(self, run: WaitingRun, holder: str, now: float) -> bool:
        """Whether a run takes the reservation from who holds it."""
        if self._line.urgency(run.run_id, now) > self._line.urgency(holder, now):
            return True
        group = self._line.get(holder, now).group
        return self._shares.stays_ahead(group, 0, run.group, self._need(run))

    def _consider(self, run: WaitingRun, turn: _Turn) -> None:
        """Start a run, let it reserve, or pass it over."""
        need = self._need(run)
        if self._shares.full_quota(run.group, need) is not None:
            turn.looked += 1
        elif need <= turn.free - turn.held_back:
            turn.free -= need
            turn.starts[run.run_id] = (self._line.get(run.run_id, turn.now), need)
            self._line.remove(run.run_id)
            self._change(run.group, need)
            if turn.is_lending:
                self._borrowed.add(run.run_id)
        elif turn.reserved is None:
            turn.reserved = run
            self._reserve(run)
            self._make_room(run, need, turn)
        else:
            turn.looked += 1

    def _make_room(self, run: WaitingRun, need: int, turn: _Turn) -> None:
        """Have others give way, and set aside what is free once that suffices."""
        missing = need - turn.free - self._coming
        if missing > 0:
            turn.victims += self._give_way(run, need, missing, turn.now)
        if need <= turn.free + self._coming:
            turn.held_back = max(0, need - self._coming)
        else:
            turn.is_lending = True

    def _give_way(
        self, run: WaitingRun, need: int, missing: int, now: float
    ) -> list[Preempt | Resize]:
        """Have others give way: who borrowed, then who can do with less, then who must."""
        run = self._line.get(run.run_id, now)
        lent = [self._placed[run_id] for run_id in self._borrowed]
        lent = [placed for placed in lent if not placed.stopping]
        chosen = self._spared(run, lent, missing, now)
        if not chosen:
            victims = self._victims(run, lent, need, missing, now)
            chosen = [Preempt(victim.run.run_id, run.run_id) for victim in victims]
        for decision in chosen:
            keeps = decision.width if isinstance(decision, Resize) else 0
            self.stopping(decision.run_id, keeps=keeps)
        return chosen

    def _spared(
        self, run: WaitingRun, lent: list[PlacedRun], missing: int, now: float
    ) -> list[Preempt | Resize]:
        """Choose who gives up what it can do without; nobody if that does not suffice."""
        level = level_of(run.priority, run.patience)
        spare = [
            placed for placed in self._elastic.values()
            if placed.surplus and not placed.stopping and placed.level(now) <= level
            and placed.run.run_id not in self._borrowed
        ]  # fmt: skip

        def gives(placed: PlacedRun) -> int:
            is_lent = placed.run.run_id in self._borrowed
            return width_of(placed) if is_lent else placed.surplus

        return [
            Preempt(placed.run.run_id, run.run_id) if placed.run.run_id in self._borrowed
            else Resize(placed.run.run_id, max(1, placed.run.least), run.run_id)
            for placed in choose_victims([*lent, *spare], missing, self._borrowed, now, gives)
        ]  # fmt: skip

    def _victims(
        self, run: WaitingRun, lent: list[PlacedRun], need: int, missing: int, now: float
    ) -> list[PlacedRun]:
        """Choose among who borrowed, who is less urgent, and who has more than its share."""
        level = level_of(run.priority, run.patience)
        givers = self._givers(run, need, missing, now)
        least_urgent = min(self._held_at_priority, default=run.priority)
        if least_urgent >= run.priority and not givers:
            return []
        others = (
            placed for placed in self._placed.values()
            if not placed.stopping and placed.run.run_id not in self._borrowed and (
                placed.level(now) < run.priority
                or (placed.run.group in givers and placed.level(now) <= level)
            )
        )  # fmt: skip
        return choose_victims([*lent, *others], missing, self._borrowed, now)

    def _swap_within_quotas(self, now: float) -> list[Preempt]:
        """Have lesser runs give way to more urgent ones of who may hold no more slots."""
        if not self._shares.limits.quotas or now < self._swaps_at:
            return []
        self._swaps_at = now + _SWAP_PAUSE_SECONDS
        chosen: list[Preempt] = []
        for run in self._line.barred_heads():
            need = self._need(run)
            name = self._shares.full_quota(run.group, need)
            if name is None or min(self._held_at_priority, default=run.priority) >= run.priority:
                continue
            own = [p for p in self._placed.values() if name in names_of(p.run.group)]
            coming = sum(len(placed.slots) for placed in own if placed.stopping)
            missing = self._shares.excess(name, need) - coming
            lesser = [p for p in own if not p.stopping and p.level(now) < run.priority]
            if missing > 0:
                for victim in choose_victims(lesser, missing, self._borrowed, now):
                    chosen.append(Preempt(victim.run.run_id, run.run_id))
                    self.stopping(victim.run.run_id)
        return chosen

    def _givers(self, run: WaitingRun, need: int, missing: int, now: float) -> set[Group]:
        """Return who would still have its share without the slots that a run misses."""
        if run.patience + _INSTANT < RECLAIM_SECONDS or now < self._reclaims_at:
            return set()
        self._reclaims_at = now + _RECLAIM_PAUSE_SECONDS
        return {
            group for group in self._held_by_group
            if self._shares.stays_ahead(group, missing, run.group, need)
        }  # fmt: skip

    def _widen(self, turn: _Turn) -> None:
        """Share out what is left to those that just start and can use more, in order."""
        for run_id, (run, width) in turn.starts.items():
            room = self._shares.room(run.group)
            extra = min(run.most - width, turn.free, turn.free if room is None else room)
            if extra > 0:
                turn.starts[run_id] = (run, width + extra)
                turn.free -= extra
                self._change(run.group, extra)

    def _grow(self, turn: _Turn) -> list[Resize]:
        """Let one run at work grow into slots that have been free for a while."""
        if turn.reserved is not None or turn.free <= 0 or self._coming:
            self._unwanted_since = None
            return []
        if self._unwanted_since is None:
            self._unwanted_since = turn.now
        if turn.now - self._unwanted_since + _INSTANT < GROW_SECONDS:
            return []
        steady = turn.now - STEADY_SECONDS + _INSTANT
        able = [p for p in self._elastic.values() if p.can_grow and p.started_at <= steady]
        able.sort(key=lambda p: (-p.level(turn.now), len(p.slots), p.run.position))
        for placed in able:
            room = self._shares.room(placed.run.group)
            extra = min(placed.run.most - len(placed.slots), turn.free)
            extra = extra if room is None else min(extra, room)
            if extra > 0:
                self.stopping(placed.run.run_id)
                return [Resize(placed.run.run_id, len(placed.slots) + extra)]
        return []

    def _grows_at(self) -> float | None:
        """Return when a run at work may grow; None: not before something happens."""
        if self._unwanted_since is None:
            return None
        steady = [p.started_at for p in self._elastic.values() if p.can_grow]
        if not steady:
            return None
        return max(self._unwanted_since + GROW_SECONDS, min(steady) + STEADY_SECONDS)

    def _start(self, run: WaitingRun, width: int, now: float) -> Start:
        slots = self._slots.take(width)
        self._note(PlacedRun(run, slots, started_at=now, saved_at=now))
        return Start(run.run_id, slots)

    def _reserve(self, run: WaitingRun | None) -> None:
        """Let a run hold the reservation; who borrowed from another's keeps what it has."""
        run_id = None if run is None else run.run_id
        if run_id != self._reserved:
            self._reserved = run_id
            self._borrowed.clear()

    def _change(self, group: Group, slots: int) -> None:
        self._shares.change(group, slots)
        self._line.touch(group.project)

    def _need(self, run: WaitingRun) -> int:
        return max(1, min(run.least, self._pool_size))

    def _hold(self, placed: PlacedRun) -> None:
        self._placed[placed.run.run_id] = placed
        if placed.run.elastic:
            self._elastic[placed.run.run_id] = placed

    def _note(self, placed: PlacedRun) -> None:
        self._hold(placed)
        self._count(placed, 1)

    def _forget(self, placed: PlacedRun) -> None:
        self._count(placed, -1)

    def _count(self, placed: PlacedRun, sign: int) -> None:
        slots = sign * len(placed.slots)
        if placed.stopping:
            self._coming += slots - sign * placed.keeps
            return
        _add(self._held_at_priority, placed.run.priority, slots)
        _add(self._held_by_group, placed.run.group, slots)

    def _reason(self, run: WaitingRun, num_before: int) -> str:
        if self._pool_size == 0:
            return "the pool has no worker"
        need, free = self._need(run), self._slots.count
        wish = f"needs {need} slots at once, {free} free" if need > 1 else f"{free} slots free"
        if run.run_id == self._reserved:
            return f"next: {wish}, {self._coming} more coming free"
        runs = "1 run" if num_before == 1 else f"{num_before} runs"
        return f"{runs} before it; {wish}"


def _add(held: dict[_Key, int], key: _Key, slots: int) -> None:
    held[key] = held.get(key, 0) + slots
    if not held[key]:
        del held[key]


@dataclass
class _Turn:
    """What one decision has found so far."""

    now: float
    free: int
    held_back: int = 0  # free, but set aside for the run that has the reservation
    is_lending: bool = False  # who starts now only borrows its slots
    looked: int = 0
    reserved: WaitingRun | None = None
    starts: dict[str, tuple[WaitingRun, int]] = field(default_factory=dict)
    victims: list[Preempt | Resize] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        nothing_left = self.reserved is not None and self.free <= self.held_back
        return nothing_left or self.looked > LOOK_AHEAD
