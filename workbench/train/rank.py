"""One rank's process, from its order to its exit status."""

from __future__ import annotations

import faulthandler
import os
import signal
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from workbench.core.errors import Cause, ResourceError, WorkbenchError, error_from_exception
from workbench.models.folder import read_json
from workbench.pool.gpus import leave_gpus, take_gpu

TELL_WHERE = signal.SIGUSR1  # has a rank write what each of its threads is doing
_NO_MEMORY = (
    "CUDA out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
)


class RankOrder(TypedDict):
    """What a rank is told when it starts."""

    kind: str  # "fit" or "score"
    job: str  # file of the job
    rank: int
    world: int
    threads: int
    slot: str  # its GPU, if there are any
    memories: int  # how many it is given: its own, and an earlier rank's
    as_it_is: bool  # its own holds what it goes on from
    place: int  # of its pulse, among those of its host
    store: str  # where the ranks of this attempt meet: a file, or ``tcp:ADDRESS:PORT``


def rank_process(order: RankOrder, descriptors: list[int], *, forked: bool) -> int:
    """Do a rank's work and report over the first descriptor; return the exit status.

    Over the second it shows that it gets on. Rank 0 of a gang on several hosts gets, as the third,
    the socket at which all of them meet; ranks of a gang on one host the memory in which they
    train, and that of an earlier rank.
    """
    faulthandler.enable()
    faulthandler.register(TELL_WHERE)  # into its log
    options = read_json(Path(order["job"])).get("options", {})  # a teacher's answers have none
    if options.get("device") == "cpu":
        leave_gpus()
    else:
        take_gpu(order["slot"])
    from workbench.train.memory import Tensors, TrainingMemory
    from workbench.train.pulse import Pulse
    from workbench.train.ranks import PeerLost, Ranks, Reporter

    reporter = Reporter(descriptors[0])
    pulse = Pulse(descriptors[1], order["place"])
    reporter.tell("started", pid=os.getpid(), forked=forked)
    try:
        _check_device(order["slot"], options)
        memories = descriptors[2 : 2 + order["memories"]]
        meeting = descriptors[2 + order["memories"] :]
        ranks = Ranks.join(
            order["rank"], order["world"], order["store"], next(iter(meeting), None),
            Tensors(*map(TrainingMemory, memories), as_it_is=order["as_it_is"]),
            pulse,
        )  # fmt: skip
        _work(order, ranks, reporter)
        ranks.leave()
    except PeerLost:
        traceback.print_exc()
        reporter.tell("lost-peer")
        return 1
    except Exception as error:
        traceback.print_exc()
        reporter.tell("error", error=_named(error, f"rank {order['rank']}").to_json())
        return 1
    reporter.tell("done")
    return 0


def _check_device(slot: str, options: Mapping[str, Any]) -> None:
    """See that a slot has what was asked for, before the others wait for its rank.

    Raises:
        ResourceError: it has no GPU, or one that cannot do what it shall.
    """
    import torch

    from workbench.train.float8 import has_float8

    has_gpu = torch.cuda.is_available()
    if options.get("device") == "gpu" and not has_gpu:
        raise no_gpu(slot)
    device = torch.device("cuda", 0) if has_gpu else torch.device("cpu")
    if options.get("precision") == "fp8" and not has_float8(device):
        raise ResourceError(
            f"{torch.cuda.get_device_name(device)} cannot multiply 8-bit numbers",
            where=f"slot {slot}",
            next_step="Use precision bf16, or a GPU from Ada or Hopper on.",
        )


def no_gpu(slot: str) -> ResourceError:
    """Return the error of a run that was given a slot without the GPU that it asked for."""
    return ResourceError(
        "The training asks for GPUs, and its workers have none",
        where=f"slot {slot}",
        next_step="Use device auto, or add hosts with GPUs to the pool (workbench pool use).",
    )


def _work(order: RankOrder, ranks: object, reporter: object) -> None:
    import torch

    from workbench.train.loop import fit
    from workbench.train.score import score

    torch.set_num_threads(order["threads"])
    torch.use_deterministic_algorithms(True)
    {"fit": fit, "score": score}[order["kind"]](order["job"], ranks, reporter)  # type: ignore[arg-type]


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory was too little: torch raises plain RuntimeErrors."""
    is_told = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)
    return is_told or isinstance(error, MemoryError)


def _named(error: Exception, where: str) -> WorkbenchError:
    if is_out_of_memory(error):
        return out_of_memory(where, detail=traceback.format_exc())
    return error_from_exception(error, where=where)


def out_of_memory(where: str, detail: str) -> ResourceError:
    """Return the error of a rank for which the machine had too little memory."""
    return ResourceError(
        "The training ran out of memory",
        where=where,
        next_step="Use a smaller batch size, fewer tokens or fewer workers, then resume the run.",
        detail=detail,
        cause=Cause.OUT_OF_MEMORY,
    )
