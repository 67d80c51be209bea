"""Who starts next, and who gives way: one pure function over plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class WaitingRun:
    """A run that could start."""

    run_id: str
    priority: int
    position: int  # order of submission
    workers: int  # most slots it may use; 0 for a coordinator


@dataclass(frozen=True)
class PlacedRun:
    """A run that holds slots now."""

    run_id: str
    priority: int
    position: int
    slots: tuple[str, ...]
    stopping: bool  # already asked to stop: its slots will be free soon


@dataclass(frozen=True)
class Start:
    """Start this run on these slots."""

    run_id: str
    slots: tuple[str, ...]


@dataclass(frozen=True)
class Preempt:
    """Ask this run to stop at its next safe point and wait again."""

    run_id: str


def place(
    waiting: Sequence[WaitingRun],
    placed: Sequence[PlacedRun],
    slots: Sequence[str],
    pool_size: int,
) -> list[Start | Preempt]:
    """Decide what to start and what to preempt now.

    ``slots`` are alive now, ``pool_size`` of them when every worker is up: a wide run waits for a
    worker that is being restarted rather than starting narrower.

    Coordinators take no slot and start at once. The rest go by priority, then by age; a run gets
    all its slots or none (a wish above the pool's size is cut to it), and while one waits for
    slots nothing behind it takes them, so a wide run is not starved. Runs of lower priority give
    way: the lowest and youngest first.
    """
    decisions: list[Start | Preempt] = [Start(r.run_id, ()) for r in waiting if r.workers == 0]
    busy = {slot for run in placed for slot in run.slots}
    free = [slot for slot in slots if slot not in busy]
    queue = sorted((r for r in waiting if r.workers), key=lambda r: (-r.priority, r.position))
    for run in queue:
        needed = min(run.workers, pool_size)
        if needed > len(free):
            decisions += _victims(run, needed - len(free), placed)
            break
        decisions.append(Start(run.run_id, tuple(free[:needed])))
        free = free[needed:]
    return decisions


def _victims(run: WaitingRun, missing: int, placed: Sequence[PlacedRun]) -> list[Preempt]:
    """Choose whom to stop so that ``missing`` slots come free; nobody if it would not suffice."""
    coming = sum(len(p.slots) for p in placed if p.stopping)
    candidates = sorted(
        (p for p in placed if not p.stopping and p.priority < run.priority),
        key=lambda p: (p.priority, -p.position),
    )
    chosen: list[PlacedRun] = []
    for candidate in candidates:
        if coming >= missing:
            break
        chosen.append(candidate)
        coming += len(candidate.slots)
    if coming < missing:
        return []
    for candidate in reversed(chosen):  # a wide one may have made narrower ones needless
        if coming - len(candidate.slots) >= missing:
            chosen.remove(candidate)
            coming -= len(candidate.slots)
    return [Preempt(candidate.run_id) for candidate in chosen]
