"""How much of the pool each project and user holds, and has held lately."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workbench.queue.policy.values import Group, Limits, WaitingRun

HALF_LIFE_SECONDS = 3600.0
MOMENT_SECONDS = 10.0  # how long averages count as they were: they change slowly

# Smaller is first: the project's use and name, then the user's inside it.
Pressure = tuple[float, str, float, str]


class _Use:
    """Slots held now, and their average over the past, in which an hour ago counts half."""

    __slots__ = ("average", "held", "since", "weight")

    def __init__(self, weight: float, now: float) -> None:
        self.held = 0
        self.average = 0.0
        self.since = now
        self.weight = weight

    def change(self, slots: int, now: float) -> None:
        self.average, self.since = self._average_at(now), now
        self.held += slots

    def pressure(self, moment: float) -> float:
        return (self.held + self._average_at(moment)) / self.weight

    def _average_at(self, now: float) -> float:
        fading = 0.5 ** (max(now - self.since, 0.0) / HALF_LIFE_SECONDS)
        return float(self.held + (self.average - self.held) * fading)


class Shares:
    """Fair shares: first between projects, then between the users of one.

    Who holds the fewest slots for its weight has the next turn. The past counts beside the present,
    so that two users of a single slot take turns by the time that each has had it.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._now = 0.0
        self.moment = 0.0  # for which pressures hold, but for what has changed since
        self._use: dict[str, _Use] = {}
        self._known: dict[Group, Pressure] = {}  # at this moment

    @property
    def limits(self) -> Limits:
        """What projects and users are entitled to."""
        return self._limits

    def entitle(self, limits: Limits) -> None:
        """Cut shares anew; what was held until now still counts."""
        self._limits = limits
        for name, use in self._use.items():
            use.weight = limits.weights.get(name, 1.0)
        self._known.clear()

    def at(self, now: float) -> None:
        """Move to another time (seconds)."""
        self._now = now
        moment = now // MOMENT_SECONDS * MOMENT_SECONDS
        if moment != self.moment:
            self.moment = moment
            self._known.clear()

    def change(self, group: Group, slots: int) -> None:
        """Note that a group has taken slots, or given some back (a negative number)."""
        for name in names_of(group):
            self._used(name).change(slots, self._now)
        self._known = {g: known for g, known in self._known.items() if g.project != group.project}

    def told(self, name: str) -> str:
        """Say how much of its quota a project, or a user as ``project/user``, holds."""
        return f"{self._used(name).held} of {self._limits.quotas[name]}"

    def pressure(self, group: Group) -> Pressure:
        """Return what groups are ordered by: the smallest has the next turn."""
        found = self._known.get(group)
        if found is None:
            project, user = (self._used(name).pressure(self.moment) for name in names_of(group))
            found = self._known[group] = (project, group.project, user, group.user)
        return found

    def room(self, group: Group) -> int | None:
        """Return how many more slots a group may take by its quotas; None without one."""
        quotas = self._limits.quotas
        if not quotas:
            return None
        rooms = [quotas[n] - self._used(n).held for n in names_of(group) if n in quotas]
        return min(rooms, default=None)

    def is_full(self, group: Group) -> bool:
        """Whether a group may take no more slots."""
        room = self.room(group)
        return room is not None and room <= 0

    def full_quota(self, group: Group, slots: int) -> str | None:
        """Return the name whose quota has no room for so many slots."""
        quotas = self._limits.quotas
        return next(
            (n for n in names_of(group) if n in quotas and self._used(n).held + slots > quotas[n]),
            None,
        )

    def excess(self, name: str, slots: int) -> int:
        """Return how many slots a name would hold above its quota with so many more."""
        return self._used(name).held + slots - self._limits.quotas[name]

    def within_quotas(self, runs: Iterable[WaitingRun]) -> Iterator[WaitingRun]:
        """Yield the runs for which quotas have room, if those before them start first."""
        quotas = self._limits.quotas
        taken: dict[str, int] = {}
        for run in runs:
            names = [name for name in names_of(run.group) if name in quotas]
            if all(self.excess(name, taken.get(name, 0) + run.least) <= 0 for name in names):
                taken.update({name: taken.get(name, 0) + run.least for name in names})
                yield run

    def stays_ahead(self, giver: Group, gives: int, taker: Group, takes: int) -> bool:
        """Whether the giver would still hold no less for its weight than the taker then does."""
        same_project = giver.project == taker.project
        ours, theirs = (names_of(group)[same_project] for group in (giver, taker))
        if ours == theirs:
            return False
        giving, taking = self._used(ours), self._used(theirs)
        return (giving.held - gives) / giving.weight >= (taking.held + takes) / taking.weight

    def _used(self, name: str) -> _Use:
        found = self._use.get(name)
        if found is None:
            weight = self._limits.weights.get(name, 1.0)
            found = self._use[name] = _Use(weight, self._now)
        return found


def names_of(group: Group) -> tuple[str, str]:
    """Return the names under which a group's slots are counted."""
    return group.project, f"{group.project}/{group.user}"
