"""A trial that is at work or rests: where its run stands, as far as its search has heard."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Trial:
    """A trial that is not over: where its run stands, as far as it is known.

    Trials with equal values share a run; those after the first are its ``twins``.
    """

    number: int
    run_id: str
    twins: list[int] = field(default_factory=list)
    known: int = 0  # the last event that was heard of
    curves: dict[str, dict[int, float]] = field(default_factory=dict)  # metric -> step -> value
    finals: dict[str, float] = field(default_factory=dict)
    not_numbers: set[str] = field(default_factory=set)  # metrics that were NaN or infinite
    reported: set[int] = field(default_factory=set)  # steps
    rests_at: int | None = None
    num_slots: int = 1
    held_seconds: float = 0.0  # for which its run has held slots
    begun_at: float | None = None  # since when it does so now

    @property
    def numbers(self) -> list[int]:
        """Return all trials that share the run."""
        return [self.number, *self.twins]

    @property
    def slot_seconds(self) -> float:
        """Return for how long its run has held slots until now, times their number."""
        running = max(time.time() - self.begun_at, 0.0) if self.begun_at is not None else 0.0
        return (self.held_seconds + running) * self.num_slots

    def note_state(self, state: str, moment: float) -> None:
        """Note that its run has changed its state."""
        if self.begun_at is not None:
            self.held_seconds += max(moment - self.begun_at, 0.0)
        is_at_work = state in ("running", "pausing", "cancelling")
        self.begun_at = moment if is_at_work else None
