"""Which GPU a slot has: on a host with GPUs, each of its slots has one."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.pool.holdings import number_of

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")


def gpus_of_host() -> list[str]:
    """Return the GPUs that processes of this host may use, as CUDA names them.

    A queueing system that lends out some of them says so by ``CUDA_VISIBLE_DEVICES``.
    """
    if _VARIABLE in os.environ:
        return [name for name in os.environ[_VARIABLE].split(",") if name.strip()]
    found = sorted(_DRIVER.iterdir()) if _DRIVER.exists() else []
    return [str(number) for number in range(len(found))]


def take_gpu(slot: str) -> None:
    """Have this process use the GPU of its slot alone; call it before CUDA is first used.

    With more slots than GPUs, some share one; without any nothing changes.
    """
    found = gpus_of_host()
    if found:
        os.environ[_VARIABLE] = found[number_of(slot) % len(found)]


def leave_gpus() -> None:
    """Have this process use no GPU; call it before CUDA is first used."""
    os.environ[_VARIABLE] = ""
