"""What a daemon is told by its environment, checked before it starts."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from workbench.catalog.artifact_store import wanted_url
from workbench.core.errors import ResourceError
from workbench.pool.local import default_num_slots


@dataclass(frozen=True)
class Settings:
    """How a daemon runs; each is set by a variable of the environment."""

    num_slots: int  # WORKBENCH_SLOTS: runs at a time
    idle_minutes: float = 30.0  # WORKBENCH_IDLE_MINUTES: with nothing to do before it stops
    stop_seconds: float = 20.0  # WORKBENCH_STOP_SECONDS: for a run to heed a pause or cancel
    artifacts: str = ""  # WORKBENCH_ARTIFACTS: a URL, where they are not in the workspace's folder


def settings_from_environment() -> Settings:
    """Return the settings.

    Raises:
        ResourceError: a variable is no number, or not one that makes sense.
    """
    return Settings(
        num_slots=default_num_slots(),
        idle_minutes=_positive("WORKBENCH_IDLE_MINUTES", Settings.idle_minutes),
        stop_seconds=_positive("WORKBENCH_STOP_SECONDS", Settings.stop_seconds),
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
