"""What the policy is told and what it decides, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

AGING_SECONDS = 600.0


class Group(NamedTuple):
    """Whose run it is: what shares and quotas are counted by."""

    project: str
    user: str


NOBODY = Group("default", "")


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that could start, with at least ``least`` and at most ``most`` slots.

    ``least`` 0 is a coordinator, which takes none. ``patience`` is how many seconds it has waited
    in all until now, less those that it has run. Somebody waits for a run that ``is_child``. One
    that is ``elastic`` goes on with another number of slots at the cost of a moment.
    """

    run_id: str
    position: int  # order of submission
    priority: int = 0
    least: int = 1
    most: int = 1
    group: Group = NOBODY
    patience: float = 0.0
    is_child: bool = False
    elastic: bool = False


@dataclass(frozen=True, slots=True)
class PlacedRun:
    """A run that holds slots now.

    ``saved_at`` is when its last checkpoint was made (or when it started): what it has done since
    is lost if it is ended by force. ``stopping`` runs were asked to stop already: their slots will
    be free soon.
    """

    run: WaitingRun
    slots: tuple[str, ...]
    started_at: float = 0.0
    saved_at: float = 0.0
    stopping: bool = False
    keeps: int = 0  # slots with which it goes on, once it has stopped to give up the others

    @property
    def surplus(self) -> int:
        """Return how many slots it can do without and still go on."""
        return max(0, len(self.slots) - max(1, self.run.least)) if self.run.elastic else 0

    @property
    def can_grow(self) -> bool:
        """Whether it could use more slots."""
        return self.run.elastic and not self.stopping and len(self.slots) < self.run.most

    def level(self, now: float) -> int:
        """Return how urgent it is: what it has waited protects it for as long as it has waited."""
        return level_of(self.run.priority, self.run.patience - (now - self.started_at))


@dataclass(frozen=True)
class Start:
    """Start this run on these slots (none for a coordinator)."""

    run_id: str
    slots: tuple[str, ...]


@dataclass(frozen=True)
class Preempt:
    """Ask this run to stop at its next safe point and wait again, for the sake of another."""

    run_id: str
    for_run: str = field(default="", compare=False)


@dataclass(frozen=True)
class Resize:
    """Ask this run to stop at its next safe point and go on at once with about so many slots.

    It gives the others up for another run, or grows if there is none named.
    """

    run_id: str
    width: int
    for_run: str = ""


Decision = Start | Preempt | Resize


@dataclass(frozen=True)
class Limits:
    """What projects and users are entitled to.

    ``weights`` say how shares are cut (1 where nothing is said), ``quotas`` how many slots may be
    held at once. Keys are a project's name, or ``project/user`` for one user in it.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)


def level_of(priority: int, patience: float) -> int:
    """Return a run's priority, raised by one for each ten minutes of patience.

    So nobody waits for ever behind a stream of more urgent work.
    """
    return priority + int(max(patience, 0.0) // AGING_SECONDS)
