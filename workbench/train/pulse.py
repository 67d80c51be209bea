"""Whether ranks get on: each counts, in memory that it shares with who started it, what it begins.

A process that was stopped is seen by its state. One that runs and gets nowhere (two that wait for
each other, a disk that does not answer, a loop in somebody's loss) is seen only by a count that
stands still; without that the others would wait for it for minutes, and a single one for ever.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.train.clock import PHASES, Phase

STALL_SECONDS = 60.0  # without a sign, unless signs were further apart before
FIRST_SECONDS = 600.0  # while the first steps are made: a model is loaded, perhaps compiled
_TIMES_LONGER = 10.0  # than the longest time between two signs of before
_FIRST_STEPS = 2
_NUMBERS = 3  # of a rank: signs, steps, and the number of its phase

_Table = npt.NDArray[np.int64]


class Pulse:
    """A rank's own count."""

    def __init__(self, descriptor: int, place: int) -> None:
        table = _map(descriptor)
        self._numbers = table[place]

    def beat(self, phase: Phase) -> None:
        """Count that a phase begins, or goes on after another one within it."""
        self._numbers[2] = PHASES.index(phase)
        self._numbers[0] += 1

    def end_step(self) -> None:
        """Count that a step is done."""
        self._numbers[1] += 1


class Stall(NamedTuple):
    """A rank that gets nowhere: for how long, and in which phase."""

    rank: int
    seconds: float
    phase: Phase


@dataclass
class _Known:
    """What was seen of a rank."""

    count: int
    since: float
    longest: float = 0.0  # between two signs


class Pulses:
    """The counts of the ranks on one host."""

    def __init__(self, ranks: Sequence[int], *, first_only: bool = False) -> None:
        """Make the shared memory, with numbers for each of the ranks, in this order.

        ``first_only``: any step may take as long as the first ones.
        """
        self._file: int = _make_file(len(ranks) * _NUMBERS * np.dtype(np.int64).itemsize)
        self._table = _map(self._file)
        self._places = {rank: place for place, rank in enumerate(ranks)}
        self._first_only = first_only
        self._known: dict[int, _Known] = {}

    @property
    def descriptor(self) -> int:
        """Return the memory as ranks are given it."""
        return self._file

    def look(self, now: float, ranks: Iterable[int]) -> list[Stall]:
        """Return which of the ranks get nowhere; of them only those that are to blame, if known."""
        watched = list(ranks)
        # Whoever waits for a rank that writes a large model waits for as long as that takes.
        is_saving = any(self._phase_of(rank) == "saving" for rank in watched)
        found = [self._stall_of(now, rank, is_saving=is_saving) for rank in watched]
        stalls = [stall for stall in found if stall is not None]
        return [stall for stall in stalls if stall.phase != "communication"] or stalls

    def excuse(self, now: float, rank: int) -> None:
        """Have a rank's time begin anew: it is held for a reason."""
        if rank in self._known:
            self._known[rank].since = now

    def close(self) -> None:
        """Let go of the memory."""
        with suppress(OSError):
            os.close(self._file)

    def _phase_of(self, rank: int) -> Phase:
        return PHASES[int(self._table[self._places[rank]][2])]

    def _stall_of(self, now: float, rank: int, *, is_saving: bool) -> Stall | None:
        count, steps, _ = (int(value) for value in self._table[self._places[rank]])
        known = self._known.setdefault(rank, _Known(count, now))
        seconds, phase = now - known.since, self._phase_of(rank)
        is_early = steps < _FIRST_STEPS
        if count != known.count:
            if not is_early:
                known.longest = max(known.longest, seconds)
            known.count, known.since = count, now
            return None
        patience = max(STALL_SECONDS, _TIMES_LONGER * known.longest)
        # Who waits for others, here or on another host, is hardly ever to blame.
        if is_early or self._first_only or is_saving or phase == "communication":
            patience = max(FIRST_SECONDS, patience)
        return Stall(rank, seconds, phase) if seconds > patience else None


def _make_file(num_bytes: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pulse")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, num_bytes)
    return descriptor


def _map(descriptor: int) -> _Table:
    memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    return np.frombuffer(memory, dtype=np.int64).reshape(-1, _NUMBERS)
