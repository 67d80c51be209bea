"""The machine's clock jumps by hours, forward and back, while runs work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from killing import kill_daemon
from live_workspace import LiveWorkspace, StartWorkspace, diary_lines, wait_until
from workbench_example_stages import CountSpec, NestSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NUM_PARTS = 60
_JUMPING = str(Path(__file__).parents[1] / "jumping_clock")


class Clock:
    """The time of day that a workspace's processes are told; their monotonic clocks stay true."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.jump(0)

    def jump(self, hours: float) -> None:
        """Set all their clocks to so many hours from now."""
        partial = self._path.with_suffix(".partial")
        partial.write_text(f"{hours * 3600}")
        partial.replace(self._path)

    def variables(self) -> dict[str, str]:
        """Return the environment in which processes are told it."""
        path = os.pathsep.join([_JUMPING, os.environ["PYTHONPATH"]])
        return {"TEST_CLOCK": str(self._path), "PYTHONPATH": path}


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def own(clock: Clock, start_workspace: StartWorkspace) -> LiveWorkspace:
    return start_workspace(slots=2, **clock.variables())


@pytest.mark.parametrize("hours", [30.0, -30.0])
def test_runs_do_not_notice_that_the_clock_jumps(
    own: LiveWorkspace, clock: Clock, tmp_path: Path, hours: float
) -> None:
    diary = tmp_path / "diary"
    run = own.submit(CountSpec(parts=NUM_PARTS, seconds=0.1, diary=str(diary)))
    nest = own.submit(NestSpec(depth=1, parts=10, seconds=0.1))
    wait_until(lambda: len(diary_lines(diary)) > 5, "it is in the middle", 60)
    clock.jump(hours)
    wait_until(lambda: len(diary_lines(diary)) > 20, "it goes on", 60)
    told = own.status()
    assert (told["pool"], told["slots_alive"]) == ("running", 2), "no host is given up"
    assert run.wait(60).state == nest.wait(60).state == "succeeded"
    assert run.record()["term"] == 1
    assert diary_lines(diary) == [str(number) for number in range(NUM_PARTS)]
    jumped = [event["time"] for event in run.events()]
    assert abs(max(jumped) - min(jumped) - abs(hours) * 3600) < 600, "its clock did jump"
    assert [event["seq"] for event in run.events()] == sorted(e["seq"] for e in run.events())


def test_a_daemon_that_starts_after_the_clock_was_set_back_goes_on_with_all(
    own: LiveWorkspace, clock: Clock, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    run = own.submit(CountSpec(parts=NUM_PARTS, seconds=0.1, diary=str(diary)))
    wait_until(lambda: len(diary_lines(diary)) > 5, "it is in the middle", 60)
    clock.jump(-30)
    kill_daemon(own)
    assert own.do(CountSpec(tag="later", parts=2)).kind == "dataset"
    assert run.wait(60).state == "succeeded"
    assert run.record()["term"] == 1
