"""How a benchmark says what it found: one JSON line a figure."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from statistics import median


def print_figure(
    bench: str, figure: str, ours: float, peer: float, peer_name: str, unit: str,
    *, more_is_better: bool = False,
) -> None:  # fmt: skip
    """Print a figure beside its peer's; ``ratio`` is how many times better ours is."""
    better, worse = (ours, peer) if more_is_better else (peer, ours)
    line = {
        "bench": bench,
        "figure": figure,
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "peer_name": peer_name,
        "ratio": round(better / worse, 3) if worse else None,
        "unit": unit,
    }
    print(json.dumps(line), flush=True)


def print_seconds(bench: str, figure: str, seconds: Sequence[float], **facts: float) -> None:
    """Print how long something took: the median and the longest of several times."""
    line = {
        "bench": bench, "figure": figure, "ours": round(median(seconds), 3),
        "longest": round(max(seconds), 3), "times": len(seconds), "unit": "s", **facts,
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time that a call takes, of this process and its ended children."""
    before = os.times()
    work()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def interleaved(
    ours: Callable[[], object], peer: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Return the median processor seconds of both; whatever else the machine does hits both."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, seconds in zip((ours, peer), spent, strict=True):
            seconds.append(cpu_seconds(work))
    return median(spent[0]), median(spent[1])


def wall_seconds(work: Callable[[], object]) -> float:
    """Return the time on the clock that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
