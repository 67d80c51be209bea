"""A killed rank costs at most the step it was in: the others, or the next one, find its memory."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch  # noqa: TID253 (tensors in the memory of ranks)
from gangs import integrate_rows, ranks_of
from live_workspace import StartWorkspace, wait_until

from workbench.core.errors import ResourceError
from workbench.runs import Run
from workbench.train.memory import Tensors, TrainingMemory
from workbench.train.state import Place
from workbench.train.train import TrainSpec

pytestmark = pytest.mark.slow


def losses(run: Run) -> list[tuple[int, float]]:
    points = (e["payload"] for e in run.journal() if e["payload"].get("name") == "loss")
    return [(point["step"], point["value"]) for point in points]


def resumed_at(run: Run) -> list[int]:
    """Return the step at which each attempt after the first began."""
    told = (e["payload"] for e in run.journal())
    return [payload["step"] for payload in told if "ready_seconds" in payload][1:]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_rank_costs_a_step_at_most(
    start_workspace: StartWorkspace, tmp_path: Path, spec_of: Callable[..., TrainSpec], workers: int
) -> None:
    own = start_workspace(slots=2)
    integrate_rows(own, tmp_path)
    run = own.submit(spec_of(checkpoint_seconds=3600, epochs=25, exact=True), workers=workers)
    random.seed(workers)
    for term in (1, 2):
        pids = ranks_of(run, term, workers)
        known = len(losses(run))
        wait_until(lambda known=known: len(losses(run)) > known + 10, "it trains on", 60)
        time.sleep(random.uniform(0.0, 0.2))
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)
    ranks_of(run, 3, workers)
    assert run.wait(180).state == "succeeded", run.record()["error"]
    told = losses(run)
    begun = resumed_at(run)
    assert len(begun) == 2
    if workers > 1:  # alone, a rank may die in the middle of an update, and nobody has the rest
        assert [step for step, _ in told] == list(range(len(told))), "each step once, in order"
        assert 10 < begun[0] < begun[1]
    calm = own.submit(spec_of(checkpoint_seconds=3000, epochs=25, exact=True), workers=2).wait(120)
    assert dict(losses(calm)) == dict(told)
    assert calm.outputs().model.version == run.outputs().model.version


def test_memory_is_handed_on_from_rank_to_rank_and_from_run_to_run(
    start_workspace: StartWorkspace, tmp_path: Path, spec_of: Callable[..., TrainSpec]
) -> None:
    own = start_workspace(slots=2)
    integrate_rows(own, tmp_path)
    run = own.submit(spec_of(checkpoint_seconds=3600, epochs=20), workers=2)
    wait_until(lambda: losses(run), "it trains", 60)
    agent = own.agent()
    wait_until(lambda: num_memories(agent) == 2, "the agent keeps what both ranks train in")
    os.kill(ranks_of(run, 1)[1], signal.SIGKILL)
    ranks_of(run, 2)
    wait_until(lambda: len(resumed_at(run)) == 1, "it goes on")
    assert num_memories(agent) == 2
    assert run.wait(120).state == "succeeded", run.record()["error"]
    other = own.submit(spec_of(checkpoint_seconds=3600, epochs=2, seed=1), workers=2).wait(120)
    assert num_memories(agent) == 2
    assert [step for step, _ in losses(other)] == list(range(26)), "nothing of the one before"
    calm = own.submit(spec_of(checkpoint_seconds=3000, epochs=2, seed=1), workers=2).wait(120)
    assert calm.outputs().model.version == other.outputs().model.version


def test_memory_of_a_rank_that_only_stands_still_is_copied() -> None:
    first = TrainingMemory(os.memfd_create("first"))
    values = Tensors(first).like(torch.arange(5.0))
    values.copy_(torch.arange(5.0))
    first.note_loss(0, 0.5)
    first.close_update(Place(step=1))
    assert not first.owner_is_gone, "this process lives"
    second = Tensors(
        TrainingMemory(os.memfd_create("second")), TrainingMemory(os.dup(first.descriptor))
    )
    assert second.like(values).tolist() == [0, 1, 2, 3, 4]
    assert second.take_over() == (Place(step=1), [(0, 0.5)])
    third = Tensors(
        TrainingMemory(os.memfd_create("third")), TrainingMemory(os.dup(first.descriptor))
    )
    first.open_update()
    with pytest.raises(ResourceError, match="changed while it was copied"):
        third.take_over()


def copied(name: str) -> TrainingMemory:
    return TrainingMemory(os.memfd_create(name))


def num_memories(agent: psutil.Process) -> int:
    folder = Path(f"/proc/{agent.pid}/fd")
    return sum("memfd:workbench" in str(entry.readlink()) for entry in folder.iterdir())
