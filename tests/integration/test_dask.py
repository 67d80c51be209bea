"""The pool's Dask cluster: it knows what is busy, computes beside runs, and matters to none."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from killing import is_gone
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from workbench_example_stages import CountSpec

from workbench.core.errors import ResourceError

pytestmark = pytest.mark.slow


# The scheduler's process does not know this module: what it shall call is sent whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def held(client: Any) -> dict[str, float]:
    """Return the slots that Dask takes for held, by placeholder."""
    found: dict[str, float] = client.run_on_scheduler(_held)
    return found


def _held(dask_scheduler: Any) -> dict[str, float]:
    workers = dask_scheduler.workers.values()
    tasks = [task for worker in workers for task in worker.processing]
    return {t.key: t.resource_restrictions["slots"] for t in tasks if t.key.startswith("run ")}


def dask_process(own: LiveWorkspace, role: str) -> psutil.Process:
    wait_until(lambda: own.named(f"wb-{role}"), f"the Dask {role} is there")
    return own.named(f"wb-{role}")[0]


def test_dask_knows_what_runs_hold_and_computes_beside_them(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=2, WORKBENCH_DASK="own")
    run = own.submit(CountSpec(parts=600, seconds=0.1, diary=str(tmp_path / "diary")), workers=2)
    with own.dask_client() as client:
        wait_until(lambda: held(client) == {f"run {run.run_id}/1": 2}, "both slots are held")
        assert client.submit(pow, 2, 10).result(timeout=30) == 1024
        waits = client.submit(os.getpid, resources={"slots": 1}, pure=False)
        run.pause()
        wait_until(lambda: run.state == "paused", "it is paused")
        assert waits.result(timeout=30) not in (os.getpid(), own.daemon().pid)
        wait_until(lambda: held(client) == {}, "nothing is held")
    run.cancel()


def test_nobody_without_the_key_speaks_with_the_cluster(start_workspace: StartWorkspace) -> None:
    from distributed import Client

    own = start_workspace(slots=1, WORKBENCH_DASK="own")
    with own.dask_client() as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
    with pytest.raises((OSError, ValueError, TypeError)):
        Client(address.replace("tls", "tcp"), timeout=3)
    folder = own.root / "dask"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "key.pem").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("role", "number"), [("scheduler", signal.SIGKILL), ("worker", signal.SIGSTOP)]
)
def test_what_dask_loses_no_run_notices(
    start_workspace: StartWorkspace, tmp_path: Path, role: str, number: signal.Signals
) -> None:
    own = start_workspace(slots=1, WORKBENCH_DASK="own")
    diary = tmp_path / "diary"
    run = own.submit(CountSpec(parts=3_000, seconds=0.1, diary=str(diary)))
    victim = dask_process(own, role)
    dask_process(own, "worker")
    victim.send_signal(number)
    wait_until(lambda: is_gone(victim), "it has ended")
    before = len(diary_lines(diary))
    assert dask_process(own, role).pid != victim.pid
    with own.dask_client() as client:
        wait_until(lambda: f"run {run.run_id}/1" in held(client), "the next one knows it again", 60)
    assert len(diary_lines(diary)) > before
    assert run.record()["term"] == 1
    run.cancel()


def test_a_cluster_that_does_not_come_up_in_time_is_told(start_workspace: StartWorkspace) -> None:
    own = start_workspace(slots=1, WORKBENCH_DASK="own")
    with pytest.raises(ResourceError, match="did not come up in 0 s"):
        own.dask_client(timeout=0)


def test_a_pool_without_a_dask_cluster_has_none_of_its_processes(
    start_workspace: StartWorkspace, tmp_path: Path
) -> None:
    own = start_workspace(slots=1, WORKBENCH_DASK="none")
    assert own.submit(CountSpec(tag="alone", parts=1)).wait(60).state == "succeeded"
    assert not [p for p in own.processes() if "workbench.pool.dask_process" in p.cmdline()]
    with pytest.raises(ResourceError, match="did not come up") as missed:
        own.dask_client(timeout=0.2)
    assert "WORKBENCH_DASK=none" in missed.value.next_step
