"""The runs that wait, in the order in which they have their turn."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from workbench.queue.policy.shares import Pressure, Shares
from workbench.queue.policy.values import Group, WaitingRun, level_of

_Place = tuple[int, str]  # position, run
_Lane = tuple[int, Group]  # the runs of one priority and group, the oldest first
_Turn = tuple[int, Pressure, _Place, _Lane]  # the smallest has the next turn


class Line:
    """Waiting runs by urgency, then by share, then by age.

    Heaps whose entries count only while they say the truth: whatever happens to one run costs
    logarithmic time, also in a line of a million. Who is first in each lane stands in a heap of its
    own, of which only what may have changed is looked at again.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._runs: dict[str, WaitingRun] = {}
        self._since: dict[str, float] = {}  # since when it would have waited, had it never run
        self._lanes: dict[_Lane, list[_Place]] = {}
        self._lanes_of: dict[str, set[_Lane]] = {}  # by project
        self._priorities: list[int] = []  # of all lanes, ascending
        self._turns: list[_Turn] = []
        self._true_turns: dict[_Lane, _Turn] = {}
        self._changed: set[_Lane] = set()
        self._seen_at = -1.0

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def add(self, run: WaitingRun, now: float) -> None:
        """Let a run stand in the line; one that stands there already changes."""
        self._runs[run.run_id] = run
        self._since[run.run_id] = now - run.patience
        self._put(_lane_of(run), (run.position, run.run_id))

    def remove(self, run_id: str) -> None:
        """Let a run leave the line."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            del self._since[run_id]
            self._changed.add(_lane_of(run))

    def touch(self, project: str) -> None:
        """Note that what the users of a project hold has changed."""
        self._changed |= self._lanes_of.get(project, set())

    def get(self, run_id: str, now: float) -> WaitingRun:
        """Return a run of the line, with the patience it has shown until now."""
        return replace(self._runs[run_id], patience=max(now - self._since[run_id], 0.0))

    def since(self, run_id: str) -> float:
        """Return since when a run would have waited, had it never run between."""
        return self._since[run_id]

    def urgency(self, run_id: str, now: float) -> int:
        """Return the priority that a run's own and its patience amount to.

        It is one of those that runs of the line have themselves: patience lets a run catch up with
        more urgent ones, but among equals it is no advantage, as else who has asked for much first
        would have it before others have their share.
        """
        level = level_of(self._runs[run_id].priority, now - self._since[run_id])
        return self._priorities[bisect_right(self._priorities, level) - 1]

    def turns(self, now: float) -> Iterator[WaitingRun]:
        """Yield the runs in order; a run that the caller removes has had its turn.

        What groups hold may change with such a turn: the next one is chosen then. Groups whose
        quota is used up are left out.
        """
        passed: list[tuple[_Lane, _Place]] = []
        try:
            while (turn := self._next_turn(now)) is not None:
                _, _, place, lane = turn
                yield self._runs[place[1]]
                self._drop(lane, place)
                if place[1] in self._runs:
                    passed.append((lane, place))
        finally:
            for lane, place in passed:
                self._put(lane, place)

    def barred(self) -> list[WaitingRun]:
        """Return the runs whose quota is used up, in the order of their submission."""
        runs = (run for run in self._runs.values() if self._shares.is_full(run.group))
        return sorted(runs, key=lambda run: run.position)

    def barred_heads(self) -> list[WaitingRun]:
        """Return the most urgent run of each group whose quota is used up."""
        heads: dict[Group, WaitingRun] = {}
        for lane in sorted(self._lanes, key=lambda lane: -lane[0]):
            if lane[1] not in heads and self._shares.is_full(lane[1]):
                place = self._first(lane)
                if place is not None:
                    heads[lane[1]] = self._runs[place[1]]
        return list(heads.values())

    def look_anew(self) -> None:
        """Note that what everybody is entitled to has changed."""
        self._changed.update(self._lanes)

    def _next_turn(self, now: float) -> _Turn | None:
        moment = self._shares.moment
        if moment != self._seen_at:  # averages have faded, and patience has grown
            self._seen_at = moment
            self._changed.update(self._lanes)
        while self._changed:
            self._look_again(self._changed.pop(), now)
        while self._turns:
            turn = self._turns[0]
            if self._true_turns.get(turn[3]) == turn:
                return turn
            heapq.heappop(self._turns)
        return None

    def _look_again(self, lane: _Lane, now: float) -> None:
        """Note who is first in a lane now, and when it has its turn."""
        place = self._first(lane)
        if place is None:
            self._true_turns.pop(lane, None)
            self._close(lane)
        elif self._shares.is_full(lane[1]):
            self._true_turns.pop(lane, None)
        else:
            turn = (-self.urgency(place[1], now), self._shares.pressure(lane[1]), place, lane)
            if self._true_turns.get(lane) != turn:
                self._true_turns[lane] = turn
                heapq.heappush(self._turns, turn)

    def _first(self, lane: _Lane) -> _Place | None:
        """Return who is first in a lane; entries that are no longer true go."""
        places = self._lanes.get(lane)
        while places:
            run = self._runs.get(places[0][1])
            if run is not None and _lane_of(run) == lane:
                return places[0]
            heapq.heappop(places)
        return None

    def _put(self, lane: _Lane, place: _Place) -> None:
        places = self._lanes.get(lane)
        if places is None:
            places = self._lanes[lane] = []
            self._lanes_of.setdefault(lane[1].project, set()).add(lane)
            self._note_priorities()
        heapq.heappush(places, place)
        self._changed.add(lane)

    def _drop(self, lane: _Lane, place: _Place) -> None:
        places = self._lanes.get(lane, [])
        while places and places[0] == place:  # it may have been put there more than once
            heapq.heappop(places)
        self._changed.add(lane)

    def _close(self, lane: _Lane) -> None:
        if self._lanes.pop(lane, None) is not None:
            self._lanes_of[lane[1].project].discard(lane)
            self._note_priorities()

    def _note_priorities(self) -> None:
        priorities = sorted({priority for priority, _ in self._lanes})
        if priorities != self._priorities:
            self._priorities = priorities
            self._changed.update(self._lanes)  # with whom patience lets them catch up


def _lane_of(run: WaitingRun) -> _Lane:
    return run.priority, run.group
