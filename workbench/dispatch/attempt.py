"""One attempt at a run, from its order to its commit; what workers and coordinators execute.

``python -m workbench.dispatch.attempt DAEMON_PID`` reads an order from standard input: the way of
runs that take no slot of the pool.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def run_attempt(order: dict[str, Any]) -> str:
    """Execute an attempt and tell the daemon how it ended; return that outcome as a word.

    ``order`` holds run_id, term, stage, spec, slots, crew, threads_per_worker, workspace, folder,
    inputs, checkpoints, url and token.
    """
    run = RemoteRun(order)
    run.record("environment", {**machine_facts(), "pid": os.getpid()})
    with _environment(order):
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
            shutil.rmtree(run.folder, ignore_errors=True)
    return outcome


def clear_unfinished(folder: Path, term: int) -> None:
    """Delete what an attempt that is over had begun and not made durable."""
    for unfinished in ("partial", "staging"):
        shutil.rmtree(folder / f"{unfinished}-{term}", ignore_errors=True)


@contextmanager
def _environment(order: dict[str, Any]) -> Iterator[None]:
    """Let what the stage starts (a notebook's kernel) find this workspace and its parent run."""
    changed = {"WORKBENCH_WORKSPACE": order["workspace"], "WORKBENCH_PARENT_RUN": order["run_id"]}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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


def die_with_parent(parent_pid: int | None = None) -> None:
    """Have the kernel end this process when its parent dies, however that happens (Linux).

    A parent that has died before is only noticed by its process id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if parent_pid is not None and os.getppid() != parent_pid:
        sys.exit("the daemon has gone")


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    print(run_attempt(json.load(sys.stdin)), file=sys.stderr)
