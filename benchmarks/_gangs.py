"""Gangs of two ranks that benchmarks start, kill and see go on: what each system offers for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

NUM_RANKS = 2
HANG_SECONDS = 60.0  # whoever is not training again after so long is counted as hung
_POLL_SECONDS = 0.01

Seen = TypeVar("Seen")


class Hung(Exception):
    """What was waited for did not come in time."""


class Training(Protocol):
    """A training that runs and has made a checkpoint."""

    def kill(self, rank: int) -> float:
        """Kill a rank (SIGKILL); return the seconds until all ranks have made a new step.

        Raises:
            Hung: they have not after ``HANG_SECONDS``.
        """
        ...


class GangSystem(Protocol):
    """What starts gangs: the workbench or a peer."""

    @property
    def name(self) -> str:
        """Return the name that figures give it."""
        ...

    def launch(self) -> float:
        """Start a gang; return the seconds until all ranks have joined and hold the model."""
        ...

    def training(self) -> AbstractContextManager[Training]:
        """Start a training; it ends with the ``with`` block."""
        ...


def await_sight(look: Callable[[], Seen | None], what: str, seconds: float = HANG_SECONDS) -> Seen:
    """Return what ``look`` sees as soon as that is something.

    Raises:
        Hung: it saw nothing for so many seconds.
    """
    deadline = time.monotonic() + seconds
    while (seen := look()) is None:
        if time.monotonic() > deadline:
            raise Hung(f"after {seconds:.0f} s there is no {what}")
        time.sleep(_POLL_SECONDS)
    return seen
