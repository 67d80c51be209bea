"""One attempt at a run, from its order to its commit: a process that an agent has forked."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from workbench.core.artifact import Artifact
from workbench.core.errors import (
    BugError,
    Interruption,
    WorkbenchError,
    error_from_exception,
)
from workbench.core.registry import load_stage
from workbench.dispatch.context import RemoteRun
from workbench.pool.forks import AGENT_VARIABLE
from workbench.pool.gpus import take_gpu


def attempt_process(order: dict[str, Any], _descriptors: list[int], *, forked: bool) -> int:
    """Be the process of one attempt; what the stage starts finds this workspace and this run."""
    del forked
    os.environ["WORKBENCH_WORKSPACE"] = order["workspace"]
    os.environ["WORKBENCH_PARENT_RUN"] = order["run_id"]
    os.environ[AGENT_VARIABLE] = order["agent"]
    for slot in order["slots"][:1]:
        take_gpu(slot)
    if order["threads_per_worker"] > 1:
        from threadpoolctl import threadpool_limits

        threadpool_limits(order["threads_per_worker"], "blas")  # the zygote had to be alone
    print(f"run {order['run_id']}: {run_attempt(order)}", file=sys.stderr)
    return 0


def run_attempt(order: dict[str, Any]) -> str:
    """Execute an attempt and tell the daemon how it ended; return that outcome as a word.

    ``order`` holds run_id, term, stage, spec, slots, threads_per_worker, workspace, folder, inputs,
    checkpoints, and the agent's socket.
    """
    run = RemoteRun(order)
    run.record("environment", {**machine_facts(), "pid": os.getpid()})
    try:
        outputs = _execute(order, run)
    except Interruption:
        return _end(run, "stopped", {})
    except WorkbenchError as error:
        return _end(run, "failed", error.to_json())
    except (Exception, SystemExit) as error:
        named = error_from_exception(error, where=_place(order))
        return _end(run, "failed", named.to_json())
    body = {"outputs": {name: artifact.to_json() for name, artifact in outputs.items()}}
    return _end(run, "committed", body)


def _execute(order: dict[str, Any], run: RemoteRun) -> dict[str, Artifact]:
    stage = load_stage(order["stage"])
    outputs = stage.function(stage.spec.parse(order["spec"]), run)
    if not isinstance(outputs, stage.outputs):
        raise BugError(
            f"Stage {stage.name} returned {type(outputs).__name__}",
            where=stage.name,
            next_step=f"Return {stage.outputs.__name__} from it.",
        )
    parents = tuple(order["inputs"])
    sealed = {name: run.store.commit(draft) for name, draft in outputs.drafts().items()}
    return {
        name: replace(artifact, parents=parents, made_by=run.run_id)
        for name, artifact in sealed.items()
    }


def _place(order: dict[str, Any]) -> str:
    return f"run {order['run_id']} ({order['stage']}) in {order['folder']}"


def _end(run: RemoteRun, outcome: str, body: dict[str, Any]) -> str:
    """Clear away what nobody can use any more, then report the outcome."""
    # First the files: where the disk is full, the report itself needs the room.
    clear_unfinished(run.folder, run.term)
    # A superseded attempt may not speak for its run any more; the newer one does. Where the daemon
    # cannot record the outcome, it takes the run back as soon as this process is done.
    with suppress(WorkbenchError):
        run.close()
        run.tell(outcome, body)
        if outcome == "committed":
            run.trash.throw(run.folder)()
    return outcome


def clear_unfinished(folder: Path, term: int) -> None:
    """Delete what an attempt that is over had begun and not made durable."""
    for unfinished in ("partial", "staging"):
        shutil.rmtree(folder / f"{unfinished}-{term}", ignore_errors=True)


@cache
def machine_facts() -> dict[str, Any]:
    """Return what a result may owe to the machine and its packages; recorded, never keyed."""
    packages = {}
    for name in _RECORDED_PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = package_version(name)
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "packages": packages,
    }


_RECORDED_PACKAGES = (
    "nlp-workbench", "dask", "numpy", "onnxruntime", "pyarrow", "scikit-learn", "tokenizers",
    "torch", "transformers",
)  # fmt: skip
