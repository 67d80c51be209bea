"""Where the time of a rank goes: each moment belongs to one phase, the innermost that was begun."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Phase = Literal[
    "input", "forward", "backward", "communication", "optimiser", "validation", "saving", "other"
]

PHASES: tuple[Phase, ...] = (
    "input", "forward", "backward", "communication", "optimiser", "validation", "saving", "other",
)  # fmt: skip


class PhaseClock:
    """Adds up seconds by phase; what is in none is ``other``.

    A GPU works on while the processor goes ahead: ``settle`` waits for it at each change of phase.
    ``beat`` is told of each.
    """

    def __init__(
        self,
        settle: Callable[[], None] | None = None,
        beat: Callable[[Phase], None] | None = None,
    ) -> None:
        self.seconds: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
        self._settle = settle
        self._beat = beat
        self._phase: Phase = "other"
        self._since = time.perf_counter()

    @contextmanager
    def __call__(self, phase: Phase) -> Iterator[None]:
        """Have what is done within the block belong to a phase."""
        outer = self._change(phase)
        try:
            yield
        finally:
            self._change(outer)

    def read(self) -> dict[Phase, float]:
        """Return the seconds until now."""
        self._change(self._phase)
        return dict(self.seconds)

    def _change(self, phase: Phase) -> Phase:
        if self._settle is not None:
            self._settle()
        now = time.perf_counter()
        self.seconds[self._phase] += now - self._since
        self._since, outer, self._phase = now, self._phase, phase
        if self._beat is not None:
            self._beat(phase)
        return outer
