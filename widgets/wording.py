"""Numbers and times in words, one way everywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any


def count(number: float) -> str:
    """Return a count with thousands separated: ``371,944``."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def figure(number: float) -> str:
    """Return a measured figure with four significant digits at most: ``0.709``, ``1,204``."""
    if float(number).is_integer() and abs(number) < 1e15:
        return f"{number:,.0f}"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    text = f"{number:.4g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def share(part: float) -> str:
    """Return a share in percent; never 100 % of what is not whole, nor 0 % of something."""
    percent = part * 100
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "99.9 %"
    return f"{percent:.1f} %".replace(".0 %", " %")


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: ``6 min 39 s``."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def clock_time(epoch_seconds: float) -> str:
    """Return the local time of day, to the second."""
    return time.strftime("%H:%M:%S", time.localtime(epoch_seconds))


def size(megabytes: float) -> str:
    """Return a size: ``8.6 MB``."""
    return f"{megabytes:.1f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def facts(summary: Mapping[str, Any], most: int = 4) -> str:
    """Return an artifact's summary as one short line: ``297,555 rows · 4 labels``."""
    told = [text for name, value in summary.items() if (text := _fact(name, value))]
    return " · ".join(told[:most])


def _fact(name: str, value: Any) -> str:
    label = name.replace("_", " ")
    if isinstance(value, bool):
        return label if value else ""
    if name == "megabytes" and isinstance(value, int | float):
        return size(value)
    if isinstance(value, int):
        return f"{count(value)} {label}" if value else ""
    if isinstance(value, float):
        return f"{label} {figure(value)}"
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return f"{label} {', '.join(value)}" if len(value) <= 6 else f"{len(value)} {label}"
    if isinstance(value, Mapping) and all(isinstance(v, int) for v in value.values()):
        told = ", ".join(f"{key} {count(number)}" for key, number in value.items())
        return told if 0 < len(value) <= 6 else f"{len(value)} {label}" if value else ""
    return f"{label} {value}" if isinstance(value, str) and 0 < len(value) <= 40 else ""
