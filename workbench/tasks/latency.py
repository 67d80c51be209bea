"""How long one text takes, measured so that systems can be compared on a busy machine.

One text at a time, one thread. The systems take turns text by text, so that whatever else the
machine does hits all of them alike; each repetition gives one mean, the median of these is told.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import numpy as np

REPETITIONS = 7
FP32_ONNX = "fp32-onnx"  # the name under which a teacher's export to ONNX Runtime is timed

Predict = Callable[[Sequence[str]], Any]
Milliseconds = dict[str, list[float]]


def choose_texts(texts: Sequence[str], num_texts: int, seed: int) -> list[str]:
    """Draw the texts to be timed, without putting any back."""
    chosen = np.random.default_rng(seed).permutation(len(texts))[:num_texts]
    return [texts[number] for number in sorted(chosen)]


def time_in_turns(
    systems: Mapping[str, Predict], texts: Sequence[str], after_each: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """Time each system on each text, ``REPETITIONS`` times after one unmeasured round.

    Args:
        systems: a function by name that answers a list of one text.
        texts: the texts, taken one at a time.
        after_each: called with the number of finished rounds; may raise to stop.

    Returns:
        By system: ``milliseconds_per_text`` (median over repetitions of the mean over texts), its
        quartiles ``low`` and ``high``, and ``cpu_milliseconds_per_text``.
    """
    wall: Milliseconds = {name: [] for name in systems}
    cpu: Milliseconds = {name: [] for name in systems}
    _one_round(systems, texts)
    after_each(0)
    for repetition in range(REPETITIONS):
        for name, (elapsed, used) in _one_round(systems, texts).items():
            wall[name].append(1000 * elapsed / len(texts))
            cpu[name].append(1000 * used / len(texts))
        after_each(repetition + 1)
    return {name: _summary(wall[name], cpu[name]) for name in systems}


def _one_round(
    systems: Mapping[str, Predict], texts: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return each system's elapsed and CPU seconds over all texts; who comes first rotates."""
    elapsed, used = dict.fromkeys(systems, 0.0), dict.fromkeys(systems, 0.0)
    names = list(systems)
    for number, text in enumerate(texts):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            start, start_cpu = time.perf_counter(), time.process_time()
            systems[name]([text])
            elapsed[name] += time.perf_counter() - start
            used[name] += time.process_time() - start_cpu
    return {name: (elapsed[name], used[name]) for name in names}


def _summary(wall: list[float], cpu: list[float]) -> dict[str, float]:
    low, _, high = quantiles(wall, n=4)
    return {
        "milliseconds_per_text": round(median(wall), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "cpu_milliseconds_per_text": round(median(cpu), 4),
    }


def speed_report(
    measured: Mapping[str, Mapping[str, float]], num_texts: int, teacher: str | None
) -> dict[str, Any]:
    """Return the content of timing.json: timings, and speed-ups against the best fp32 runtime.

    A speed-up against eager torch would flatter: the teacher is taken on its fastest runtime.

    Args:
        measured: as from ``time_in_turns``; with a teacher also under ``FP32_ONNX``.
        num_texts: number of texts that were timed.
        teacher: name of the full-precision model, None if there is none.
    """
    runtimes = {"ONNX Runtime fp32": FP32_ONNX, "eager torch fp32": teacher} if teacher else {}
    fp32 = {r: measured[name]["milliseconds_per_text"] for r, name in runtimes.items() if name}
    best = min(fp32, key=lambda runtime: fp32[runtime]) if fp32 else None
    systems = {name: dict(facts) for name, facts in measured.items() if name != FP32_ONNX}
    return {
        "texts": num_texts,
        "threads": 1,
        "repetitions": REPETITIONS,
        "best_fp32_model": teacher,
        "best_fp32_runtime": best,
        "best_fp32_milliseconds": fp32[best] if best else None,
        "fp32_milliseconds_by_runtime": fp32,
        "systems": systems,
        "speedup_vs_best_fp32": {
            name: round(fp32[best] / facts["milliseconds_per_text"], 3)
            for name, facts in systems.items()
            if best
        },
        "machine": _machine(),
    }


def _machine() -> dict[str, Any]:
    """Return what a timing depends on: processor, its cores, system."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
