"""A pool of a range of slots: it grows for who waits, moves runs together, and shrinks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gangs import integrate_rows, ranks_of
from killing import is_gone, kill_daemon
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from workbench_example_stages import CountSpec, WidthSpec

from workbench.runs import Run
from workbench.train.train import TrainSpec

pytestmark = pytest.mark.slow


@pytest.fixture
def elastic(start_workspace: StartWorkspace) -> LiveWorkspace:
    return start_workspace(slots="1..3", WORKBENCH_GROW_SECONDS="0.3", WORKBENCH_SHRINK_SECONDS="2")


def submit(own: LiveWorkspace, diary: Path, seconds: float = 0.1) -> Run:
    return own.submit(CountSpec(tag=diary.name, parts=400, seconds=seconds, diary=str(diary)))


def running(*runs: Run) -> bool:
    return all(run.state == "running" for run in runs)


def num_slots(own: LiveWorkspace) -> int:
    return int(own.status()["slots_alive"])


def test_a_pool_grows_for_who_waits_and_shrinks_when_it_has_rested(
    elastic: LiveWorkspace, tmp_path: Path
) -> None:
    assert num_slots(elastic) == 1
    runs = [submit(elastic, tmp_path / f"diary-{number}") for number in range(4)]
    wait_until(lambda: num_slots(elastic) == 3, "it has grown", 30)
    wait_until(lambda: running(*runs[:3]), "three work at once", 30)
    assert runs[3].state == "waiting", "that is as large as it gets"
    for run in runs:
        run.cancel()
    wait_until(lambda: num_slots(elastic) == 1, "it has shrunk", 30)
    wait_until(lambda: len(elastic.named("wb-zygote")) == 1, "and nothing is left of it", 30)


def test_a_run_that_needs_more_than_there_is_gets_it(elastic: LiveWorkspace) -> None:
    made = elastic.submit(WidthSpec(), workers="3..8").wait(60).outputs().report
    assert (made.path / "width.txt").read_text() == "3"


def test_a_half_empty_host_is_drained_and_its_run_moves(
    elastic: LiveWorkspace, tmp_path: Path
) -> None:
    first, second = (submit(elastic, tmp_path / name) for name in ("first", "second"))
    wait_until(lambda: running(first, second), "both work", 30)
    wait_until(lambda: len(diary_lines(tmp_path / "second")) > 3, "it is in the middle", 30)
    first.cancel()
    wait_until(lambda: second.record()["term"] == 2, "it has moved", 30)
    wait_until(lambda: num_slots(elastic) == 1, "the host is released", 30)
    wait_until(lambda: elastic.status()["slots_busy"] == {"local/0": second.run_id}, "it works")
    lines = diary_lines(tmp_path / "second")
    assert lines == [str(number) for number in range(len(lines))], "no part is done twice"
    second.cancel()


def test_a_host_that_dies_is_replaced_and_a_daemon_that_dies_finds_it(
    elastic: LiveWorkspace, tmp_path: Path
) -> None:
    runs = [submit(elastic, tmp_path / f"diary-{number}") for number in range(2)]
    wait_until(lambda: running(*runs), "both work", 30)
    kill_daemon(elastic)
    wait_until(lambda: num_slots(elastic) == 2, "the next daemon has found both", 30)
    assert [run.record()["term"] for run in runs] == [1, 1]
    agents = [p for p in elastic.processes() if "local-2" in p.cmdline()]
    (agent,) = [p for p in agents if "workbench.pool.agent" in p.cmdline()]
    agent.kill()
    wait_until(lambda: is_gone(agent), "it is gone")
    wait_until(lambda: sorted(run.record()["term"] for run in runs) == [1, 2], "it is healed", 30)
    for run in runs:
        run.cancel()


def test_a_pool_grows_for_a_training_that_has_worked_long_with_few_slots(
    start_workspace: StartWorkspace, tmp_path: Path, spec_of: Callable[..., TrainSpec]
) -> None:
    own = start_workspace(slots="1..2", WORKBENCH_SLOW_SECONDS="3", WORKBENCH_SHRINK_SECONDS="60")
    integrate_rows(own, tmp_path)
    run = own.submit(spec_of(checkpoint_seconds=3600, epochs=1000), workers="1..2")
    wait_until(lambda: run.state == "running", "it works", 30)
    assert num_slots(own) == 1
    wait_until(lambda: num_slots(own) == 2, "the pool has grown", 30)
    wait_until(lambda: len(ranks_of(run, 2)) == 2, "the training has spread over it", 60)
    run.cancel()
