"""Who gives way to a run that waits for slots."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from workbench.queue.policy.values import PlacedRun

# (level, loss, position): the first gives way first.
_Reluctance = tuple[int, float, int]


def loss_of(placed: PlacedRun, now: float) -> float:
    """Return the slot-seconds that are lost if a run is ended by force now."""
    return len(placed.slots) * max(now - placed.saved_at, 0.0)


def width_of(placed: PlacedRun) -> int:
    """Return how many slots come free when a run stops."""
    return len(placed.slots)


def choose_victims(
    candidates: Iterable[PlacedRun],
    missing: int,
    borrowed: set[str],
    now: float,
    gives: Callable[[PlacedRun], int] = width_of,
) -> list[PlacedRun]:
    """Choose whom to stop so that ``missing`` slots come free; nobody if it would not suffice.

    ``gives`` says how many of a run's slots others may have then.

    Those that only borrowed the slots go first, then the least urgent, and of equals who loses
    least; the youngest where that is equal, too.
    """

    def reluctance(placed: PlacedRun) -> _Reluctance:
        is_owner = placed.run.run_id not in borrowed
        level = placed.level(now) if is_owner else -(1 << 30)
        return level, loss_of(placed, now), -placed.run.position

    chosen: list[PlacedRun] = []
    coming = 0
    for placed in sorted(candidates, key=reluctance):
        if coming >= missing:
            break
        chosen.append(placed)
        coming += gives(placed)
    if coming < missing:
        return []
    for placed in reversed(chosen):  # a wide one may have made narrower ones needless
        if coming - gives(placed) >= missing:
            chosen.remove(placed)
            coming -= gives(placed)
    return chosen
