"""Where a training's time and memory went, as bars and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from widgets.wording import share
from workbench.core.sizes import format_bytes

_LEAST_SHARE = 0.001


def present_profile(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a view shows of a profile, from the line of the journal that holds it."""
    profile = told["profile"]
    whole = sum(profile["seconds"].values()) or 1.0
    peak = max(profile["peak_bytes"], 1)
    speed = (
        f"a step took {profile['step_seconds'] * 1000:.0f} ms, "
        f"{profile['tokens_per_second']:,.0f} tokens a second, "
        f"{share(profile['padding_share'])} of them padding, "
        f"{share(profile['flops_share'])} of this machine's best"
    )
    return {
        "speed": speed,
        "time": [
            _bar(phase, seconds / whole, f"{seconds:.1f} s")
            for phase, seconds in profile["seconds"].items()
            if seconds > _LEAST_SHARE * whole
        ],
        "memory": [
            _bar(kind, num / peak, format_bytes(num))
            for kind, num in profile["memory"].items()
            if num
        ],
        "peak": f"{format_bytes(profile['peak_bytes'])} of a worker at most",
        "advice": list(told.get("advice", [])) or ["Nothing is out of proportion."],
    }


def _bar(name: str, part: float, told: str) -> dict[str, Any]:
    return {"name": name, "share": round(part, 4), "percent": share(part), "told": told}
