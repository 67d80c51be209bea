"""From a layout to a strategy."""

from __future__ import annotations

from typing import Any

from workbench.train.freed_memory import give_back_freed_memory
from workbench.train.options import FitJob
from workbench.train.ranks import Ranks
from workbench.train.strategies.pipelined import Pipelined
from workbench.train.strategies.replicated import Replicated
from workbench.train.strategies.sharded import Sharded
from workbench.train.strategies.strategy import Strategy


def make_strategy(model: Any, job: FitJob, ranks: Ranks) -> Strategy:
    """Lay a model out on the ranks; it is changed on the way."""
    layout = job.layout
    if layout.kind == "ddp":
        return Replicated(model, job, ranks)
    give_back_freed_memory()  # who spreads a model does so for want of memory
    if layout.kind == "pipeline":
        return Pipelined(model, job, ranks, num_stages=layout.ways)
    is_sharded = layout.kind in ("fsdp", "fsdp+tensor")
    return Sharded(model, job, ranks, ways=layout.ways, fully_sharded=is_sharded)
