"""What a daemon is told by its environment, checked before it starts."""

from __future__ import annotations

import ipaddress
import math
import os
from dataclasses import dataclass

from workbench.catalog.artifact_store import wanted_url
from workbench.core.errors import ResourceError


@dataclass(frozen=True)
class Settings:
    """How a daemon runs; each is set by a variable of the environment."""

    idle_minutes: float = 30.0  # WORKBENCH_IDLE_MINUTES: with nothing to do before it stops
    stop_seconds: float = 20.0  # WORKBENCH_STOP_SECONDS: for a run to heed a pause or cancel
    grow_seconds: float = 5.0  # WORKBENCH_GROW_SECONDS: that a run waits before the pool grows
    slow_seconds: float = 600.0  # WORKBENCH_SLOW_SECONDS: with too few slots before it grows
    shrink_seconds: float = 60.0  # WORKBENCH_SHRINK_SECONDS: with too many slots before it shrinks
    host: str = ""  # WORKBENCH_HOST: this host's address for the others of its pool
    port: int = 0  # behind a colon in WORKBENCH_HOST: where the daemon listens; 0: anywhere
    artifacts: str = ""  # WORKBENCH_ARTIFACTS: a URL, where they are not in the workspace's folder


def settings_from_environment() -> Settings:
    """Return the settings.

    Raises:
        ResourceError: a variable is no number, or not one that makes sense.
    """
    host, port = _host_and_port()
    return Settings(
        host=host,
        port=port,
        idle_minutes=_positive("WORKBENCH_IDLE_MINUTES", Settings.idle_minutes),
        stop_seconds=_positive("WORKBENCH_STOP_SECONDS", Settings.stop_seconds),
        grow_seconds=_positive("WORKBENCH_GROW_SECONDS", Settings.grow_seconds),
        slow_seconds=_positive("WORKBENCH_SLOW_SECONDS", Settings.slow_seconds),
        shrink_seconds=_positive("WORKBENCH_SHRINK_SECONDS", Settings.shrink_seconds),
        artifacts=wanted_url(),
    )


def _host_and_port() -> tuple[str, int]:
    text = os.environ.get("WORKBENCH_HOST", "")
    host, _, port = text.partition(":")
    try:
        if text:
            ipaddress.IPv4Address(host)
        if int(port or 0) in range(1 << 16):
            return host, int(port or 0)
    except ValueError:
        pass
    raise ResourceError(
        f"WORKBENCH_HOST={text!r} is no address",
        where="environment",
        next_step="Give this host's IPv4 address, with a port or without: 10.0.0.1:7788.",
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
