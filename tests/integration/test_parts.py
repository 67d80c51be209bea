"""Parts of one run are made by all of its workers, and survive each of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from live_workspace import LiveWorkspace, wait_until
from workbench_example_stages import SpreadSpec

from workbench.core.errors import DataError
from workbench.runs import Run


def diary_of(path: Path) -> list[tuple[int, int]]:
    """Return (worker, number) of each part that was made."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), int(number)) for pid, number in map(str.split, lines)]


def leader_of(run: Run) -> int:
    """Return the process that leads a run: it tells its environment, a moment later seen."""

    def told() -> list[int]:
        return [e["payload"]["pid"] for e in run.events() if e["kind"] == "environment"]

    wait_until(told, "the leader has told its environment")
    return told()[0]


def squares(num_parts: int) -> str:
    return "".join(f"{n * n}\n" for n in range(num_parts))


def test_all_workers_of_a_run_make_parts_each_once(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    made = workspace.do(SpreadSpec(parts=30, seconds=0.05, diary=str(diary)), workers=2)
    assert (made.path / "numbers.txt").read_text() == squares(30)
    parts = diary_of(diary)
    assert sorted(number for _, number in parts) == list(range(30))
    assert len({pid for pid, _ in parts}) == 2


def test_a_run_with_one_worker_makes_its_parts_alone(
    workspace: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    alone = SpreadSpec(tag="alone", parts=5, seconds=0, diary=str(diary))
    made = workspace.do(alone)
    assert (made.path / "numbers.txt").read_text() == squares(5) + "alone"
    assert len({pid for pid, _ in diary_of(diary)}) == 1


def test_a_dead_worker_costs_its_part_and_not_the_run(
    fresh_workspace: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    run = fresh_workspace.submit(
        SpreadSpec(tag="dead", parts=40, seconds=0.1, diary=str(diary)), workers=2
    )
    wait_until(lambda: len({pid for pid, _ in diary_of(diary)}) == 2, "both work")
    leading = leader_of(run)
    pids = {pid for pid, _ in diary_of(diary)}
    os.kill(next(pid for pid in pids if pid != leading), signal.SIGKILL)
    made = run.wait(60).outputs().numbers
    assert (made.path / "numbers.txt").read_text() == squares(40) + "dead"
    assert run.record()["term"] == 1


def test_a_dead_leader_costs_the_parts_at_work_only(
    fresh_workspace: LiveWorkspace, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    run = fresh_workspace.submit(
        SpreadSpec(tag="leader", parts=40, seconds=0.1, diary=str(diary)), workers=2
    )
    wait_until(lambda: len(diary_of(diary)) >= 10, "some parts are made")
    os.kill(leader_of(run), signal.SIGKILL)
    made = run.wait(60).outputs().numbers
    assert (made.path / "numbers.txt").read_text() == squares(40) + "leader"
    assert len(diary_of(diary)) <= 40 + 4  # one of each worker, and what was not told yet


def test_pausing_keeps_the_parts_that_were_begun(workspace: LiveWorkspace, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    run = workspace.submit(
        SpreadSpec(tag="pause", parts=40, seconds=0.1, diary=str(diary)), workers=2
    )
    wait_until(lambda: len(diary_of(diary)) >= 6, "some parts are made")
    run.pause()
    wait_until(lambda: run.state == "paused", "it is paused")
    run.resume()
    made = run.wait(60).outputs().numbers
    assert (made.path / "numbers.txt").read_text() == squares(40) + "pause"
    assert sorted(number for _, number in diary_of(diary)) == list(range(40))


@pytest.mark.parametrize("bad_part", [0, 1, 7])
def test_a_part_that_fails_ends_the_run_with_its_own_error(
    workspace: LiveWorkspace, bad_part: int
) -> None:
    run = workspace.submit(SpreadSpec(parts=12, bad_part=bad_part), workers=2)
    with pytest.raises(DataError, match=f"Part {bad_part} is bad"):
        run.wait(60).outputs()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_that_kills_its_workers_is_set_aside_and_the_rest_is_made(
    fresh_workspace: LiveWorkspace, tmp_path: Path, workers: int
) -> None:
    antidote = tmp_path / "antidote"
    spec = SpreadSpec(parts=12, seconds=0.02, poison=3, antidote=str(antidote))
    run = fresh_workspace.submit(spec, workers=workers).wait(60)
    assert run.state == "failed"
    error = run.record()["error"]
    told = "Workers have died again and again over each of these parts: part-003"
    assert (error["family"], error["what"]) == ("data", told)
    assert "in write_number" in error["detail"], "where it crashed"
    made = {e["payload"]["key"] for e in run.events() if e["kind"] == "checkpoint"}
    assert made == {f"part-{n:03d}" for n in range(12) if n != 3}
    antidote.touch()
    made_whole = run.resume().wait(60).outputs().numbers
    assert (made_whole.path / "numbers.txt").read_text() == squares(12)
    assert len([e for e in run.events() if e["kind"] == "checkpoint"]) == 12, "each was made once"


def test_a_worker_that_is_ended_for_a_pause_is_held_against_no_part(
    fresh_workspace: LiveWorkspace,
) -> None:
    run = fresh_workspace.submit(SpreadSpec(parts=2, seconds=1.5))
    tries = fresh_workspace.root / "runs" / run.run_id / "tries"
    for _ in range(4):
        wait_until(lambda: any(tries.glob("*")), "it makes a part")
        (leader,) = fresh_workspace.workers()
        run.pause()
        wait_until(lambda: run.record()["state"] == "pausing", "it was told")
        wait_until(lambda: not any(tries.glob("*")), "it is forgiven")
        leader.kill()
        wait_until(lambda: run.state == "paused", "it rests")
        run.resume()
    assert run.wait(60).state == "succeeded"
