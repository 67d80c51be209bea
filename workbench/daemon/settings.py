"""What a daemon is told by its environment, checked before it starts."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from workbench.catalog.artifact_store import wanted_url
from workbench.core.errors import ResourceError
from workbench.pool.local import PoolSize, wished_size
from workbench.queue.policy.size import SizeLimits


@dataclass(frozen=True)
class Settings:
    """How a daemon runs; each is set by a variable of the environment."""

    size: PoolSize  # WORKBENCH_SLOTS: runs at a time
    idle_minutes: float = 30.0  # WORKBENCH_IDLE_MINUTES: with nothing to do before it stops
    stop_seconds: float = 20.0  # WORKBENCH_STOP_SECONDS: for a run to heed a pause or cancel
    grow_seconds: float = 5.0  # WORKBENCH_GROW_SECONDS: that a run waits before the pool grows
    shrink_seconds: float = 60.0  # WORKBENCH_SHRINK_SECONDS: with too many slots before it shrinks
    artifacts: str = ""  # WORKBENCH_ARTIFACTS: a URL, where they are not in the workspace's folder

    @property
    def limits(self) -> SizeLimits:
        """Within what the pool grows and shrinks."""
        size = self.size
        return SizeLimits(1, size.most_hosts, size.least, self.grow_seconds, self.shrink_seconds)


def settings_from_environment() -> Settings:
    """Return the settings.

    Raises:
        ResourceError: a variable is no number, or not one that makes sense.
    """
    return Settings(
        size=wished_size(),
        idle_minutes=_positive("WORKBENCH_IDLE_MINUTES", Settings.idle_minutes),
        stop_seconds=_positive("WORKBENCH_STOP_SECONDS", Settings.stop_seconds),
        grow_seconds=_positive("WORKBENCH_GROW_SECONDS", Settings.grow_seconds),
        shrink_seconds=_positive("WORKBENCH_SHRINK_SECONDS", Settings.shrink_seconds),
        artifacts=wanted_url(),
    )


def _positive(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 < number < math.inf:
        return number
    raise ResourceError(
        f"{name}={text!r} is no positive number",
        where="environment",
        next_step=f"Leave it out for {default:g}, or give a number above 0.",
    )
