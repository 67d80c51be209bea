"""When waiting runs would start and end: the policy run on the present state in virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.queue.policy.values import Limits, WaitingRun
from workbench.queue.simulation import SimulatedPool, SimulatedRun, Simulation

_AFTER = 1e-3  # seconds: those that run already have their slots first


@dataclass(frozen=True)
class Estimate:
    """A run with the seconds that it will probably still take on its slots."""

    run: WaitingRun
    seconds: float
    is_running: bool


@dataclass(frozen=True)
class Forecast:
    """When a run would start and end, in seconds from now."""

    run_id: str
    starts_in: float
    ends_in: float


def forecast(
    estimates: Sequence[Estimate], slots: Mapping[str, str], limits: Limits | None = None
) -> list[Forecast]:
    """Foretell every run, in the order in which they would end.

    Args:
        estimates: all runs that need slots.
        slots: the slots of the pool, ``{slot: host}``: the present ones or any others.
        limits: weights and quotas; none by default.
    """
    if not slots:
        return []
    needing = [one for one in estimates if one.run.least]
    runs = [
        SimulatedRun(
            replace(one.run, least=min(one.run.least, len(slots))),
            0.0 if one.is_running else _AFTER,
            max(one.seconds, 0.0) * min(one.run.least, len(slots)),
        )
        for one in needing
    ]
    pool = SimulatedPool(slots, limits or Limits())
    outcome = Simulation(runs, pool).run()
    found = [
        Forecast(one.run.run_id, 0.0 if one.is_running else round(float(wait), 1), float(end))
        for one, wait, end in zip(needing, outcome.waits, outcome.ends, strict=True)
    ]
    return sorted(found, key=lambda one: (one.ends_in, one.run_id))
