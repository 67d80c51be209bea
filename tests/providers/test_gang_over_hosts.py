"""A gang whose ranks are on several hosts: it trains, and outlives what happens to one of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from gangs import integrate_rows, ranks_of, remedies
from live_workspace import LiveWorkspace, wait_until
from other_hosts import OtherHosts

from workbench.runs import Run
from workbench.train.train import TrainSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def spread(start_pool: Callable[..., LiveWorkspace], tmp_path: Path) -> LiveWorkspace:
    """Offer a pool of two hosts with one slot each, and rows to train on."""
    own = start_pool(2)
    integrate_rows(own, tmp_path)
    wait_until(lambda: own.status()["slots_alive"] == 2, "both hosts are there", 60)
    return own


def has_checkpoint(run: Run) -> bool:
    return "checkpoint" in {e["kind"] for e in run.events()}


def test_a_gang_over_two_hosts_trains_heals_and_comes_to_the_same_weights(
    spread: LiveWorkspace, spec_of: Callable[..., TrainSpec]
) -> None:
    run = spread.submit(spec_of(checkpoint_seconds=0, epochs=2), workers=2)
    pids = ranks_of(run, 1)
    homes = {Path(f"/proc/{pid}/ns/net").readlink() for pid in pids}
    assert len(homes) == 2, "they are on two hosts"
    wait_until(lambda: has_checkpoint(run), "a checkpoint is there")
    os.kill(pids[1], signal.SIGKILL)
    assert run.wait(120).state == "succeeded", run.record()["error"]
    assert remedies(run) == ["starts again from its last checkpoint (1 of 4)"]
    calm = spread.submit(spec_of(checkpoint_seconds=3600, epochs=2), workers=2).wait(120)
    assert not calm.record()["cached"]
    assert run.outputs().model.version == calm.outputs().model.version


def test_a_gang_goes_on_without_a_host_whose_cable_is_out(
    spread: LiveWorkspace, hosts: OtherHosts, spec_of: Callable[..., TrainSpec]
) -> None:
    run = spread.submit(spec_of(checkpoint_seconds=0.2, epochs=1000), workers="1..2")
    pids = ranks_of(run, 1)
    wait_until(lambda: has_checkpoint(run), "a checkpoint is there")
    leading = spread.pool()["running"][0]["run_id"]
    assert leading == run.run_id
    (first, _) = sorted(spread.status()["slots_busy"])
    other = next(host for host in hosts.others if not first.startswith(host))
    hosts.cut(other)
    cut_at = time.monotonic()
    try:
        wait_until(lambda: run.record()["term"] == 2, "it starts again without that host", 30)
        print(f"noticed after {time.monotonic() - cut_at:.1f} s")
        wait_until(lambda: run.state == "running", "it trains on")
        wait_until(lambda: not any(map(psutil.pid_exists, pids)), "no rank of before is left", 60)
    finally:
        hosts.mend(other)
    wait_until(lambda: spread.status()["slots_alive"] == 2, "the host is back", 90)
    run.cancel()
