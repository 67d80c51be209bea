"""What a rank measures of itself: its memory by kind, and what its processor can do at best."""

from __future__ import annotations

import time

import torch  # noqa: TID253 (only ranks import this module, when work starts)

from workbench.train.options import Precision

_SIZE = 1024  # of the matrices that are multiplied; larger ones are hardly quicker
_SECONDS = 0.2


def memory_now(device: torch.device) -> int:
    """Return the bytes that this process holds now."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    import psutil

    return int(psutil.Process().memory_info().rss)


def most_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def best_flops(device: torch.device, precision: Precision) -> float:
    """Return how many floating-point operations a second this rank reaches in a matrix product.

    For fp8, those of bf16, as not all is multiplied in 8 bits.
    """
    kinds = {"float32": torch.float32, "fp16": torch.float16}
    kind = kinds.get(precision, torch.bfloat16)
    left = torch.ones(_SIZE, _SIZE, dtype=kind, device=device)
    left @ left  # what is chosen and loaded on first use
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < _SECONDS:
        left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        count += 1
    return 2.0 * _SIZE**3 * count / (time.perf_counter() - begun)
