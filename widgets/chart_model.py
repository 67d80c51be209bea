"""Curves as plain numbers: points in, scaled points and ticks out. Drawing is left to the view."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from widgets.wording import count, figure

MOST_DRAWN_POINTS = 240

Points = Sequence[tuple[float, float]]


def thin(points: Points, most: int) -> tuple[tuple[float, float], ...]:
    """Return at most ``most`` points, evenly taken, the first and the last among them."""
    if len(points) <= most:
        return tuple(points)
    step = (len(points) - 1) / (most - 1)
    return tuple(points[round(index * step)] for index in range(most))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten) within ``[low, high]``."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def curve_chart(name: str, points: Points) -> dict[str, Any]:
    """Return one metric's curve: points scaled to 0..1 (y upwards), ticks, and its last value.

    ``points`` are ``(step, value)``, in the order they were measured.
    """
    drawn = thin(points, MOST_DRAWN_POINTS)
    steps, values = [x for x, _ in drawn], [y for _, y in drawn]
    x_low, x_high = min(steps), max(steps)
    y_low, y_high = _padded(min(values), max(values))
    return {
        "name": name.replace("_", " "),
        "last": figure(points[-1][1]),
        "last_step": count(points[-1][0]),
        "points": [[_scaled(x, x_low, x_high), _scaled(y, y_low, y_high)] for x, y in drawn],
        "x_ticks": _ticks(x_low, x_high, 5, count),
        "y_ticks": _ticks(y_low, y_high, 6, figure),
        "words": _in_words(name, points),
    }


def _ticks(
    low: float, high: float, most: int, wording: Callable[[float], str]
) -> list[dict[str, Any]]:
    return [{"at": _scaled(t, low, high), "text": wording(t)} for t in ticks(low, high, most)]


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _scaled(value: float, low: float, high: float) -> float:
    return round((value - low) / (high - low), 4) if high > low else 0.5


def _in_words(name: str, points: Points) -> str:
    """Return the curve as a sentence, for those who do not see it."""
    values = [y for _, y in points]
    return (
        f"{name.replace('_', ' ')}: {len(points)} points, from {figure(values[0])} "
        f"to {figure(values[-1])}, least {figure(min(values))}, most {figure(max(values))}"
    )
