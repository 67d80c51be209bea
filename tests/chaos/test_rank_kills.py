"""Ranks are killed while they train: the run heals by itself, and the weights are the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from gangs import integrate_rows, ranks_of, remedies
from live_workspace import LiveWorkspace, StartWorkspace, wait_until

from workbench.queue.healing import RULES, Cause
from workbench.train.train import TrainSpec

pytestmark = pytest.mark.slow


def start_with_rows(start: StartWorkspace, folder: Path) -> LiveWorkspace:
    own = start(slots=2)
    integrate_rows(own, folder)
    return own


def test_a_killed_rank_heals_its_run_to_the_same_weights(
    start_workspace: StartWorkspace, tmp_path: Path, spec_of: Callable[..., TrainSpec]
) -> None:
    own = start_with_rows(start_workspace, tmp_path)
    run = own.submit(spec_of(checkpoint_seconds=0, epochs=10), workers=2)
    victim = ranks_of(run, 1)[1]
    wait_until(lambda: "checkpoint" in {e["kind"] for e in run.events()}, "a checkpoint is there")
    os.kill(victim, signal.SIGKILL)
    assert run.wait(120).state == "succeeded", run.record()["error"]
    assert run.record()["term"] == 2
    assert remedies(run) == ["starts again from its last checkpoint (1 of 4)"]
    steps = [e["payload"]["step"] for e in run.events() if e["payload"].get("name") == "loss"]
    assert len(steps) - len(set(steps)) <= 1, "at most the step after the checkpoint is done twice"
    calm = own.submit(spec_of(checkpoint_seconds=3600, epochs=10), workers=2).wait(120)
    assert not calm.record()["cached"]
    assert run.outputs().model.version == calm.outputs().model.version


@pytest.mark.parametrize("who", ["a rank", "the zygote", "the worker"])
def test_a_process_that_somebody_stops_is_replaced_within_seconds(
    start_workspace: StartWorkspace, tmp_path: Path, spec_of: Callable[..., TrainSpec], who: str
) -> None:
    own = start_with_rows(start_workspace, tmp_path)
    run = own.submit(spec_of(checkpoint_seconds=0.1, epochs=1000), workers=2)
    rank = psutil.Process(ranks_of(run, 1)[1])
    wait_until(lambda: "checkpoint" in {e["kind"] for e in run.events()}, "a checkpoint is there")
    victim = {"a rank": rank, "the zygote": rank.parent(), "the worker": rank.parent().parent()}[
        who
    ]
    victim.suspend()
    stopped_at = time.monotonic()
    wait_until(lambda: run.record()["term"] == 2, "the run starts again", 20)
    assert time.monotonic() - stopped_at < 15, "a busy machine takes its time; minutes it does not"
    ranks_of(run, 2)  # they train on
    run.cancel()
    assert not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE


def test_a_run_whose_ranks_die_again_and_again_is_failed_with_the_cause(
    start_workspace: StartWorkspace, tmp_path: Path, spec_of: Callable[..., TrainSpec]
) -> None:
    own = start_with_rows(start_workspace, tmp_path)
    run = own.submit(spec_of(checkpoint_seconds=3600, epochs=1000), workers=2)
    most = RULES[Cause.RANK_KILLED].most
    for term in range(1, most + 1):
        for pid in ranks_of(run, term):
            with suppress(ProcessLookupError):  # the gang was ended for the other one's sake
                os.kill(pid, signal.SIGKILL)
    assert run.wait(120).state == "failed"
    error = run.record()["error"]
    assert error["what"].endswith(f"(SIGKILL), {most} times with no checkpoint between")
    assert error["cause"] == Cause.RANK_KILLED
    assert len(remedies(run)) == most - 1
